"""Pydantic's errors as the fields of a problem document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from driftbook.api.problems import ProblemError, WrongField, describe_value, invalid_request
from driftbook.api.requests import BATCH, EXPECTED_VALUES, ONE, OWN, RequestModels

# What is expected at a place that names its type by no ``Expected``; ``[]`` stands for an item.
_EXPECTED: Mapping[str, str] = {
    "body": "a JSON object",
    "records": "a list of at least one object",
    "feedback": "a list of at least one object",
    "feedback[]": "an object with label and either prediction_id or id",
    "inputs": "a list of at least one tensor",
    "inputs[]": "an object with name, shape, datatype and data",
    "outputs": "a list of at least one output",
    "outputs[]": "an object with a name",
    "data": "a list of values; binary tensors are not taken",
    "parameters": "an object",
    "prediction_id": "the id of an answered prediction",
    "label": "0 or 1",
}


def explain_errors(
    errors: Sequence[Mapping[str, Any]], requests: RequestModels | None = None
) -> ProblemError:
    """Return the problem of a request that its model refused, field by field.

    ``requests`` are the models of the request's features, where it holds any.
    """
    expected, names = dict(_EXPECTED), list[str]()
    if requests is not None:
        names, keys = requests.names, ", ".join(requests.names)
        expected |= {name: EXPECTED_VALUES[kind] for name, kind in requests.features}
        expected["features"] = f"a list of {len(names)} values ({keys})"
        expected["records[]"] = f"an object with the keys {keys}, and if you like {requests.id_key}"
    # A tuple that is too short is an error a missing value.
    found = {one.field: one for one in (_explain(error, expected, names) for error in errors)}
    return invalid_request([*found.values()])


def _explain(
    error: Mapping[str, Any], expected: Mapping[str, str], names: Sequence[str]
) -> WrongField:
    kind, value = error["type"], error["input"]
    place = [part for part in error["loc"] if part not in ("body", ONE, OWN, BATCH)]
    if kind == "json_invalid" or (kind == "missing" and not place):
        found = "an empty body" if value in (b"", "", None) else "text that is no valid JSON"
        return WrongField(field="body", expected=expected["body"], found=found)
    if kind.startswith("union_tag"):
        return _explain_form(value)
    if kind == "missing" and isinstance(place[-1], int):
        kind, place = "too_short", place[:-1]
    wanted = error["msg"] if kind == "expected" else expected.get(_key_of(place), "another value")
    found = describe_value(value)
    if kind in ("too_short", "too_long") and value:
        found = f"{len(value)} values"
    elif kind == "missing":
        found = "no such key"
    elif kind == "extra_forbidden":
        wanted, found = expected.get(_key_of(place[:-1]), "no such key"), "an unknown key"
    return WrongField(field=_field_of(place, names), expected=wanted, found=found)


def _key_of(place: Sequence[Any]) -> str:
    if not place:
        return "body"
    return place[-1] if isinstance(place[-1], str) else f"{_key_of(place[:-1])}[]"


def _field_of(place: Sequence[Any], names: Sequence[str]) -> str:
    """Return where the error is.

    >>> _field_of(["records", 1, "age"], ["age"]), _field_of(["features", 0], ["age"])
    ('records[1].age', 'features[0] (age)')
    >>> _field_of([2, 0], ["age"])
    'row 2.age'
    """
    match place:
        case []:
            return "body"
        case ["features", int(position)]:
            return f"features[{position}] ({names[position]})"
        case [int(row), int(position)]:
            return f"row {row}.{names[position]}"
    steps = (f"[{part}]" if isinstance(part, int) else f".{part[:80]}" for part in place)
    return "".join(steps).removeprefix(".")


def _explain_form(body: Any) -> WrongField:
    """Return why the body of a prediction request is neither of its two forms."""
    if not isinstance(body, dict):
        expected = "an object with features or records"
        return WrongField(field="body", expected=expected, found=describe_value(body))
    expected = "exactly one of features and records"
    for key in body:
        if key not in ("features", "records", "id"):
            return WrongField(field=key[:80], expected=expected, found="an unknown key")
    found = "both" if len(body) > 1 else "neither" if body else "an empty object"
    return WrongField(field="body", expected=expected, found=found)
