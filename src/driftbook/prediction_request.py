"""Reading the body of a prediction request into rows, or saying which field is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from driftbook.problems import ProblemError, invalid

if TYPE_CHECKING:
    from driftbook.model.scoring import WireValue

# Far beyond any measurement, and small enough that every score stays finite.
LARGEST_NUMBER = 1e100
MAX_ERRORS = 20

_TYPES: Mapping[str, frozenset[type]] = {
    "numeric": frozenset({float, int, type(None)}),
    "boolean": frozenset({bool, type(None)}),
    "categorical": frozenset({str, type(None)}),
}
_EXPECTED: Mapping[str, str] = {
    "numeric": "a finite number or null",
    "boolean": "true, false or null",
    "categorical": "text or null",
}
_NAMES: Mapping[type, str] = {
    bool: "a boolean",
    dict: "an object",
    float: "a number",
    int: "a number",
    list: "a list",
    str: "text",
    type(None): "null",
}

Error = dict[str, str]


def describe(value: Any) -> str:
    """Return what ``value`` is, never its content.

    >>> describe("secret"), describe(float("nan")), describe([])
    ('text', 'NaN', 'an empty list')
    """
    if isinstance(value, float):
        if value != value:
            return "NaN"
        return "an infinite number" if abs(value) == float("inf") else "a number"
    if isinstance(value, list | dict) and not value:
        return f"an empty {'list' if isinstance(value, list) else 'object'}"
    return _NAMES.get(type(value), type(value).__name__)


def parse_json(body: bytes) -> Any:
    """Return the JSON value of ``body``; NaN and infinities are read, and refused by field later.

    Raises:
        ProblemError: no body, or no JSON text.
    """
    if not body:
        raise invalid([{"field": "body", "expected": "a JSON object", "found": "an empty body"}])
    try:
        return from_json(body, allow_inf_nan=True)
    except ValueError as error:
        raise invalid(
            [{"field": "body", "expected": "a JSON object", "found": "text that is no valid JSON"}]
        ) from error


class RequestReader:
    """Reads rows for one model: its features in order, each with its kind."""

    def __init__(self, features: Sequence[tuple[str, str]], max_batch: int) -> None:
        self.names = [name for name, _ in features]
        self._kinds = [kind for _, kind in features]
        self._accepted = [_TYPES[kind] for kind in self._kinds]
        self._known = frozenset(self.names)
        self._max_batch = max_batch

    def read(self, body: Any) -> tuple[bool, list[list[WireValue]]]:
        """Return whether one row was asked for as ``features``, and the rows in feature order.

        Numbers must be finite; null is a missing value, which the model imputes.

        Raises:
            ProblemError: 422 with the wrong fields, or 413 where the batch is too large.
        """
        if type(body) is not dict:
            raise invalid([_error("body", "an object with features or records", body)])
        if len(body) != 1:
            raise invalid(_one_key(body))
        if "features" in body:
            return True, [self.row(body["features"])]
        if "records" in body:
            return False, self.records(body["records"])
        raise invalid(_one_key(body))

    def row(self, values: Any) -> list[WireValue]:
        """Return ``values``, a list of one value a feature."""
        if type(values) is not list or len(values) != len(self.names):
            raise invalid([self._wrong_length(values)])
        if not self._fits(values):
            places = [f"features[{i}] ({name})" for i, name in enumerate(self.names)]
            raise invalid(self._errors(values, places))
        return values

    def records(self, records: Any) -> list[list[WireValue]]:
        """Return the rows of ``records``, a list of objects with a key a feature."""
        if type(records) is not list or not records:
            raise invalid([_error("records", "a list of at least one object", records)])
        self.check_batch(len(records), "records")
        rows: list[list[WireValue]] = []
        errors: list[Error] = []
        for position, record in enumerate(records):
            row, wrong = self._record(record, f"records[{position}]")
            rows.append(row)
            errors += wrong
            if len(errors) >= MAX_ERRORS:
                break
        if errors:
            raise invalid(errors[:MAX_ERRORS])
        return rows

    def kind_of(self, name: str) -> str:
        """Return the kind of a feature."""
        return self._kinds[self.names.index(name)]

    def check_batch(self, rows: int, field: str) -> None:
        """Refuse a batch that is larger than the server takes.

        Raises:
            ProblemError: 413.
        """
        if rows > self._max_batch:
            raise ProblemError(
                "too-large", f"{field}: at most {self._max_batch} rows a request, found {rows}"
            )

    def values(self, values: list[Any], place: str) -> list[Error]:
        """Return the errors of one row of values in feature order; none where all fit."""
        if self._fits(values):
            return []
        return self._errors(values, [f"{place}.{name}" for name in self.names])

    def _record(self, record: Any, place: str) -> tuple[list[WireValue], list[Error]]:
        if type(record) is not dict:
            return [], [_error(place, f"an object with the keys {', '.join(self.names)}", record)]
        if record.keys() != self._known:
            return [], self._wrong_keys(record, place)
        row = [record[name] for name in self.names]
        return row, self.values(row, place)

    def _fits(self, values: list[Any]) -> bool:
        for value, accepted in zip(values, self._accepted, strict=True):
            kind = type(value)
            if kind not in accepted:
                return False
            # NaN fails every comparison.
            if (kind is float or kind is int) and not (-LARGEST_NUMBER <= value <= LARGEST_NUMBER):
                return False
        return True

    def _errors(self, values: list[Any], places: list[str]) -> list[Error]:
        errors = []
        for value, place, kind in zip(values, places, self._kinds, strict=True):
            if type(value) not in _TYPES[kind]:
                errors.append(_error(place, _EXPECTED[kind], value))
            elif kind == "numeric" and value is not None and not abs(value) <= LARGEST_NUMBER:
                within = f"{_EXPECTED[kind]}, within ±{LARGEST_NUMBER:g}"
                errors.append(_error(place, within, value))
        return errors

    def _wrong_length(self, values: Any) -> Error:
        expected = f"a list of {len(self.names)} values ({', '.join(self.names)})"
        found = f"{len(values)} values" if type(values) is list and values else describe(values)
        return {"field": "features", "expected": expected, "found": found}

    def _wrong_keys(self, record: Mapping[str, Any], place: str) -> list[Error]:
        missing = [
            {"field": f"{place}.{name}", "expected": _EXPECTED[kind], "found": "no such key"}
            for name, kind in zip(self.names, self._kinds, strict=True)
            if name not in record
        ]
        known = f"only the keys {', '.join(self.names)}"
        unknown = [
            {"field": f"{place}.{key[:80]}", "expected": known, "found": "an unknown key"}
            for key in record
            if key not in self._known
        ]
        return [*missing, *unknown]


def _one_key(body: Mapping[str, Any]) -> list[Error]:
    expected = "exactly one of features and records"
    unknown = [
        {"field": key[:80], "expected": expected, "found": "an unknown key"}
        for key in body
        if key not in ("features", "records")
    ]
    if unknown:
        return unknown[:MAX_ERRORS]
    found = "both" if body else "an empty object"
    return [{"field": "body", "expected": expected, "found": found}]


def _error(field: str, expected: str, value: Any) -> Error:
    return {"field": field, "expected": expected, "found": describe(value)}
