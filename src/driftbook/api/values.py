"""Types of the values that requests hold; a wrong one is answered by what was expected instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, StrictBool, StrictStr
from pydantic_core import CoreSchema, core_schema

Features = Sequence[tuple[str, str]]

# Far beyond any measurement, and small enough that every score stays finite.
LARGEST_NUMBER = 1e100


@dataclass(frozen=True)
class Expected:
    """Marks a type: whatever is wrong with a value of it, the error says what was expected."""

    text: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Return the type's schema with one error for every fault of a value."""
        return core_schema.custom_error_schema(
            handler(source), "expected", custom_error_message=self.text
        )


def to_whole(value: Any) -> Any:
    """Return a whole number as an integer; anything else as it is."""
    # JSON knows one kind of number: 1.0 is as good as 1, but neither true nor "1" is.
    return int(value) if type(value) is float and value.is_integer() else value


EXPECTED_VALUES: Mapping[str, str] = {
    "numeric": f"a finite number or null, within ±{LARGEST_NUMBER:g}",
    "boolean": "true, false or null",
    "categorical": "text or null",
}
_Number = Annotated[
    float, Field(strict=True, allow_inf_nan=False, ge=-LARGEST_NUMBER, le=LARGEST_NUMBER)
]
# The type of a feature's value by the feature's kind; null is a missing value.
VALUE_TYPES: Mapping[str, Any] = {
    kind: Annotated[value | None, Expected(EXPECTED_VALUES[kind])]
    for kind, value in {
        "numeric": _Number,
        "boolean": StrictBool,
        "categorical": StrictStr,
    }.items()
}


def row_type(features: Features) -> Any:
    """Return the type of one row: a list of one value a feature, in the model's order."""
    kinds = [kind for _, kind in features]
    if len(set(kinds)) == 1:
        same = list.__class_getitem__(VALUE_TYPES[kinds[0]])
        return Annotated[same, Field(min_length=len(kinds), max_length=len(kinds))]
    return tuple.__class_getitem__(tuple(VALUE_TYPES[kind] for kind in kinds))
