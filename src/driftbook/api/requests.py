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


# The two forms of a request; they stand in the place of an error and are left out of its field.
ONE, BATCH = "(one)", "(batch)"


class OneRow(BaseModel):
    """One row; the values in the model's order of features."""

    model_config = ConfigDict(extra="forbid")
    features: Any


class Rows(BaseModel):
    """A batch of rows; a key a feature."""

    model_config = ConfigDict(extra="forbid")
    records: list[Any] = Field(min_length=1)


@dataclass(frozen=True)
class RequestModels:
    """The Pydantic models of the requests to one model."""

    features: Features
    names: list[str]
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
        predict=create_model("PredictRequest", __base__=RootModel[either]),
        rows=TypeAdapter(table),
        feedback=build_feedback_request(task),
    )


def _form_of(body: Any) -> str | None:
    if not isinstance(body, dict) or len(body) != 1:
        return None
    return ONE if "features" in body else BATCH if "records" in body else None


def list_rows(request: RootModel[Any]) -> tuple[bool, list[Any]]:
    """Return whether one row was asked for as ``features``, and the rows in order of features."""
    if isinstance(request.root, OneRow):
        return True, [request.root.features]
    # Pydantic keeps a model's values in the order of its fields.
    return False, [list(vars(record).values()) for record in request.root.records]


class TrueLabel(BaseModel):
    """The true label of an answered prediction."""

    model_config = ConfigDict(extra="forbid")
    # PostgreSQL stores no NUL in text.
    prediction_id: Annotated[
        StrictStr,
        Field(min_length=1, max_length=64, pattern=r"^[^\x00]+$"),
        Expected("the id of an answered prediction"),
    ]
    label: Any


class TrueLabels(BaseModel):
    """A batch of true labels."""

    model_config = ConfigDict(extra="forbid")
    feedback: list[TrueLabel] = Field(min_length=1)


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
    batch: Any = (list.__class_getitem__(one), Field(min_length=1))
    many = create_model("TrueLabels", __base__=TrueLabels, feedback=batch)
    either: Any = Annotated[
        Annotated[one, Tag(ONE)] | Annotated[many, Tag(BATCH)], Discriminator(_label_form_of)
    ]
    return create_model("FeedbackRequest", __base__=RootModel[either])


def _label_form_of(body: Any) -> str:
    return BATCH if isinstance(body, dict) and "feedback" in body else ONE


def list_labels(request: RootModel[Any]) -> list[tuple[str, str]]:
    """Return the labels as pairs of prediction id and label, as the log keeps it."""
    found = request.root.feedback if isinstance(request.root, TrueLabels) else [request.root]
    return [(one.prediction_id, f"{one.label}") for one in found]


# What feedback is read by while nothing is served.
UNSERVED_REQUESTS = build_request_models((("feature", "numeric"),), ServedTask())
