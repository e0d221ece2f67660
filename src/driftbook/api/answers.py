"""What the API answers: the models of every response."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from driftbook.api.tensors import Datatype, OutputName


class Answer(BaseModel):
    """Base of all answers: they have the documented keys only."""

    model_config = ConfigDict(extra="forbid")


class Health(Answer):
    """The process lives."""

    status: Literal["alive"] = "alive"


class Ready(Answer):
    """A verified champion is loaded and the log can be written."""

    status: Literal["ready"] = "ready"
    model_version: str


class ValueWarning(Answer):
    """What a row holds that the reference never showed; its prediction is a guess beyond it."""

    feature: str
    kind: Literal["outside_range", "unseen_category"]
    detail: str


class Prediction(Answer):
    """One row's prediction: 0 or 1, a class, or a value, and the chances behind it."""

    prediction: int | float | str
    probability: float | None = Field(None, ge=0, le=1, description="Of the target being 1.")
    probabilities: dict[str, float] | None = Field(None, description="A chance a class.")
    value: float | None = Field(None, description="The predicted number.")
    model_version: str
    prediction_id: str = Field(json_schema_extra={"format": "uuid"})
    id: str | int | None = Field(None, description="The caller's own id of the row, as it came.")
    warnings: list[ValueWarning] = Field(description="Empty where the reference knows such rows.")


class Predictions(Answer):
    """The scores of a batch, in the order of its records."""

    model_version: str
    predictions: list[Prediction] = Field(min_length=1)


class FeedbackStored(Answer):
    """What became of the labels."""

    stored: int = Field(ge=0, description="Labels that are new.")
    known: int = Field(ge=0, description="Labels known before.")


class ModelFeature(Answer):
    """A feature of the model."""

    name: str
    kind: Literal["numeric", "boolean", "categorical"]


class ModelMetric(BaseModel):
    """A metric of the model with its interval."""

    model_config = ConfigDict(extra="allow")
    metric: str
    value: float | None
    ci_low: float | None
    ci_high: float | None


class ModelCard(BaseModel):
    """What the registry says about the served model, and what scores it."""

    model_config = ConfigDict(extra="allow")
    name: str
    version: str
    target: str
    features: list[ModelFeature] = Field(min_length=1)
    metrics: list[ModelMetric]
    origin: dict[str, Any] = Field(description="Source and windows it learnt from.")
    scorer: Literal["linear", "trees", "scikit-learn"]


class ServerMetadata(Answer):
    """The server's name, version and protocol extensions."""

    name: str
    version: str
    extensions: list[str]


class Live(Answer):
    """The process lives."""

    live: Literal[True] = True


class ServerReady(Answer):
    """A verified champion is loaded and the log can be written."""

    ready: Literal[True] = True


class ModelReady(Answer):
    """This very model is served."""

    name: str
    ready: Literal[True] = True


class ModelVersions(Answer):
    """The versions that are served: the champion's."""

    name: str
    versions: list[str]


class TensorMetadata(Answer):
    """A tensor of the model; -1 stands for any number of rows."""

    name: str
    datatype: Datatype
    shape: list[int]


class ModelMetadata(Answer):
    """The served model's tensors."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class OutputTensor(Answer):
    """One value a row; the probability of several classes has one a class."""

    name: OutputName
    datatype: Datatype
    shape: list[int]
    data: list[Any]


class InferResponse(Answer):
    """The outputs that were asked for; ``id`` is the request's."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor] = Field(min_length=1)
