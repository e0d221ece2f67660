"""What the API reads: the requests for one model's features, and feedback for any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    RootModel,
    StrictBool,
    StrictStr,
    Tag,
    TypeAdapter,
    create_model,
)
from pydantic_core import CoreSchema, core_schema

from driftbook.api.log.rows import GivenLabel
from driftbook.api.served_task import ServedTask
from driftbook.settings import LARGEST_NUMBER

Features = Sequence[tuple[str, str]]


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


def round_whole(value: Any) -> Any:
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
    for kind, value in {"numeric": _Number, "boolean": StrictBool, "categorical": StrictStr}.items()
}


def _row_type(features: Features) -> Any:
    """Return the type of one row: a list of one value a feature, in the model's order."""
    kinds = [kind for _, kind in features]
    if len(set(kinds)) == 1:
        same = list.__class_getitem__(VALUE_TYPES[kinds[0]])
        return Annotated[same, Field(min_length=len(kinds), max_length=len(kinds))]
    return tuple.__class_getitem__(tuple(VALUE_TYPES[kind] for kind in kinds))


# The forms of a request; they stand in the place of an error and are left out of its field.
ONE, OWN, BATCH = "(one)", "(own)", "(batch)"

# The id that a caller gives a row: no control characters, and what PostgreSQL stores as text.
ID_EXPECTED = "text of 1 to 128 characters without control characters, or a whole number"
_IdText = Annotated[StrictStr, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
_IdNumber = Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63), BeforeValidator(round_whole)]
RowId = Annotated[_IdText | _IdNumber, Expected(ID_EXPECTED)]
GivenRowId = Annotated[_IdText | _IdNumber | None, Expected(f"{ID_EXPECTED}, or null")]
# The key of that id in a record: the first that is no feature's name.
_ID_KEYS = ("id", "record_id", "row_id", "caller_id")


class OneRow(BaseModel):
    """One row; the values in the model's order of features."""

    model_config = ConfigDict(extra="forbid")
    features: Any
    id: GivenRowId = Field(None, description="Your own id of the row; it comes back.")


class Rows(BaseModel):
    """A batch of rows; a key a feature, and your own id of the row if you like."""

    model_config = ConfigDict(extra="forbid")
    records: list[Any] = Field(min_length=1)


@dataclass(frozen=True)
class RequestModels:
    """The Pydantic models of the requests to one model."""

    features: Features
    names: list[str]
    id_key: str
    predict: type[RootModel[Any]]
    rows: TypeAdapter[list[Any]]
    feedback: type[RootModel[Any]]


def build_request_models(features: Features, task: ServedTask) -> RequestModels:
    """Return the models of requests for ``features``, pairs of name and kind in order."""
    names = [name for name, _ in features]
    order = f"In this order: {', '.join(names)}."
    one = create_model(
        "OneRow", __base__=OneRow, features=(_row_type(features), Field(description=order))
    )
    # A feature's name may be no identifier, or one that Pydantic uses itself; so it is an alias.
    columns: dict[str, Any] = {
        f"column_{position}": (VALUE_TYPES[kind], Field(alias=name))
        for position, (name, kind) in enumerate(features)
    }
    id_key = name_id_key(names)
    own = Field(None, alias=id_key, description="Your own id of the row; it comes back.")
    columns["own_id"] = (GivenRowId, own)
    record = create_model("Record", __config__=ConfigDict(extra="forbid"), **columns)
    records: Any = Annotated[list[record], Field(min_length=1)]  # type: ignore[valid-type]
    batch = create_model("Rows", __base__=Rows, records=(records, ...))
    either: Any = Annotated[
        Annotated[one, Tag(ONE)] | Annotated[batch, Tag(BATCH)], Discriminator(_form_of)
    ]
    table: Any = list.__class_getitem__(_row_type(features))
    return RequestModels(
        features=features,
        names=names,
        id_key=id_key,
        predict=create_model("PredictRequest", __base__=RootModel[either]),
        rows=TypeAdapter(table),
        feedback=build_feedback_request(task),
    )


def name_id_key(names: Sequence[str]) -> str:
    """Return the key of the caller's own id in a record of features with these names.

    >>> name_id_key(["age"]), name_id_key(["id", "age"])
    ('id', 'record_id')
    """
    free = (key for key in _ID_KEYS if key not in names)
    return next(free, "_".join([*_ID_KEYS, *names]))


def _form_of(body: Any) -> str | None:
    if not isinstance(body, dict) or len(body.keys() - {"id"}) != 1:
        return None
    return ONE if "features" in body else BATCH if "records" in body else None


@dataclass(frozen=True)
class GivenRows:
    """The rows of a request in order of features, and the caller's own ids of them."""

    rows: list[Any]
    ids: list[str | int | None]
    single: bool  # asked for as ``features``


def list_rows(request: RootModel[Any]) -> GivenRows:
    """Return the rows that a request holds."""
    if isinstance(request.root, OneRow):
        return GivenRows([request.root.features], [request.root.id], True)
    # Pydantic keeps a model's values in the order of its fields; the id is the last of them.
    every = [list(vars(record).values()) for record in request.root.records]
    ids = [values.pop() for values in every]
    return GivenRows(every, ids, False)


def find_repeated_id(ids: Sequence[str | int | None]) -> tuple[int, int] | None:
    """Return the places of the first two rows with one id; 7 and "7" are the same.

    >>> find_repeated_id(["a", None, "b", None, "a"])
    (0, 4)
    """
    known: dict[str, int] = {}
    for place, one in enumerate(ids):
        if one is not None and known.setdefault(f"{one}", place) != place:
            return known[f"{one}"], place
    return None


class TrueLabel(BaseModel):
    """The true label of an answered prediction, by the id that it was answered with."""

    model_config = ConfigDict(extra="forbid")
    # PostgreSQL stores no NUL in text.
    prediction_id: Annotated[
        StrictStr,
        Field(min_length=1, max_length=64, pattern=r"^[^\x00]+$"),
        Expected("the id of an answered prediction"),
    ]
    label: Any


class OwnLabel(BaseModel):
    """The true label of an answered prediction, by the caller's own id: of its newest one."""

    model_config = ConfigDict(extra="forbid")
    id: RowId
    label: Any


class TrueLabels(BaseModel):
    """A batch of true labels."""

    model_config = ConfigDict(extra="forbid")
    feedback: list[TrueLabel | OwnLabel] = Field(min_length=1)


def _label_type(task: ServedTask) -> Any:
    """Return the type of a true label: 0 or 1, one of the classes, or a finite number."""
    if task.name == "regression":
        return Annotated[_Number, Expected("a finite number")]
    if task.name == "multiclass":
        names = Literal.__getitem__(task.classes)
        return Annotated[names, Expected(f"one of {', '.join(task.classes)}")]
    whole = Annotated[int, Field(strict=True, ge=0, le=1), BeforeValidator(round_whole)]
    return Annotated[whole, Expected("0 or 1")]


def build_feedback_request(task: ServedTask) -> type[RootModel[Any]]:
    """Return the model of true labels for a task: one label, or a batch."""
    label: Any = (_label_type(task), ...)
    one = create_model("TrueLabel", __base__=TrueLabel, label=label)
    own = create_model("OwnLabel", __base__=OwnLabel, label=label)
    by_id: Any = Annotated[one, Tag(ONE)] | Annotated[own, Tag(OWN)]
    item: Any = Annotated[by_id, Discriminator(_label_form_of)]
    batch: Any = (list.__class_getitem__(item), Field(min_length=1))
    many = create_model("TrueLabels", __base__=TrueLabels, feedback=batch)
    either: Any = Annotated[by_id | Annotated[many, Tag(BATCH)], Discriminator(_label_form_of)]
    return create_model("FeedbackRequest", __base__=RootModel[either])


def _label_form_of(body: Any) -> str:
    if not isinstance(body, dict):
        return ONE
    if "feedback" in body:
        return BATCH
    return OWN if "id" in body and "prediction_id" not in body else ONE


def list_labels(request: RootModel[Any]) -> list[GivenLabel]:
    """Return the labels by the id that each was given with, as the log keeps them."""
    found = request.root.feedback if isinstance(request.root, TrueLabels) else [request.root]
    return [
        GivenLabel(f"{one.id}", f"{one.label}", True)
        if isinstance(one, OwnLabel)
        else GivenLabel(one.prediction_id, f"{one.label}")
        for one in found
    ]


# What feedback is read by while nothing is served.
UNSERVED_REQUESTS = build_request_models((("feature", "numeric"),), ServedTask())
