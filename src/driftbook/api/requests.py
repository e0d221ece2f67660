"""What the API reads: the requests for one model's features, and feedback for any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    RootModel,
    StrictStr,
    Tag,
    TypeAdapter,
    create_model,
)

from driftbook.api.tensors import InferRequest, build_infer_request
from driftbook.api.values import VALUE_TYPES, Expected, Features, row_type, to_whole

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
    infer: type[InferRequest]
    rows: TypeAdapter[list[Any]]


def build_request_models(features: Features) -> RequestModels:
    """Return the models of requests for ``features``, pairs of name and kind in order."""
    names = [name for name, _ in features]
    order = f"In this order: {', '.join(names)}."
    one = create_model(
        "OneRow", __base__=OneRow, features=(row_type(features), Field(description=order))
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
        Annotated[one, Tag(ONE)] | Annotated[batch, Tag(BATCH)],
        Discriminator(_form_of),
    ]
    table: Any = list.__class_getitem__(row_type(features))
    return RequestModels(
        features=features,
        names=names,
        predict=create_model("PredictRequest", __base__=RootModel[either]),
        infer=build_infer_request(features),
        rows=TypeAdapter(table),
    )


def _form_of(body: Any) -> str | None:
    if not isinstance(body, dict) or len(body) != 1:
        return None
    return ONE if "features" in body else BATCH if "records" in body else None


def rows_of(request: RootModel[Any]) -> tuple[bool, list[Any]]:
    """Return whether one row was asked for as ``features``, and the rows in order of features."""
    if isinstance(request.root, OneRow):
        return True, [request.root.features]
    # Pydantic keeps a model's values in the order of its fields.
    return False, [list(vars(record).values()) for record in request.root.records]


class Label(BaseModel):
    """The true label of an answered prediction."""

    model_config = ConfigDict(extra="forbid")
    # PostgreSQL stores no NUL in text.
    prediction_id: Annotated[
        StrictStr,
        Field(min_length=1, max_length=64, pattern=r"^[^\x00]+$"),
        Expected("the id of an answered prediction"),
    ]
    label: Annotated[
        int, BeforeValidator(to_whole), Field(strict=True, ge=0, le=1), Expected("0 or 1")
    ]


class Labels(BaseModel):
    """A batch of true labels."""

    model_config = ConfigDict(extra="forbid")
    feedback: list[Label] = Field(min_length=1)


def _label_form_of(body: Any) -> str:
    return BATCH if isinstance(body, dict) and "feedback" in body else ONE


class FeedbackRequest(
    RootModel[
        Annotated[
            Annotated[Label, Tag(ONE)] | Annotated[Labels, Tag(BATCH)],
            Discriminator(_label_form_of),
        ]
    ]
):
    """One true label, or a batch: all of them are stored or none."""

    def pairs(self) -> list[tuple[str, int]]:
        """Return the labels as pairs of prediction id and label."""
        labels = self.root.feedback if isinstance(self.root, Labels) else [self.root]
        return [(one.prediction_id, one.label) for one in labels]
