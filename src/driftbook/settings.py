"""Settings of a run: one validated, frozen record read from ``runbook.yaml``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)

from driftbook import paths
from driftbook.addresses import ENVIRONMENT, NOT_SHOWN, hide_secrets, is_database, name_database
from driftbook.errors import UsageError

Scenario = Literal["none", "covariate", "irrelevant", "concept", "prior", "correlation", "outage"]
SCENARIOS: tuple[str, ...] = get_args(Scenario)
# Numbers beyond this are far from any measurement, some other program's word for none: in data they
# count as infinite, a request is refused. Below it every score stays finite.
LARGEST_NUMBER = 1e100
TASKS = ("binary", "multiclass", "regression")
ESTIMATORS = ("linear", "hist_gradient_boosting", "external")

# Schemes whose first part is a host; that of others, such as Slack's, is a token.
_WITH_HOST = frozenset(
    ("json", "jsons", "xml", "xmls", "form", "forms", "http", "https", "mailto", "mailtos")
)

# What a source implies for the keys that a settings file leaves out.
_FLIGHTS = {"target": "delayed", "timestamp": "time_hour", "window": "month"}
_SYNTHETIC = {"target": "target", "timestamp": None, "window": 1200}
_FILES = {"target": "target", "timestamp": None, "window": 1000}
_FILE_ENDINGS = r"(\.(csv|tsv|txt|parquet|pq|gz|bz2|xz|zip|zst))+$"


def parse_scenario(source: str) -> tuple[str, str]:
    """Return scenario and task of a source such as ``synthetic:concept?task=regression``.

    Raises:
        ValueError: an unknown scenario, or a task that there is none of.
    """
    scenario, _, wish = source.removeprefix("synthetic:").partition("?")
    if scenario not in SCENARIOS:
        raise ValueError(f"unknown scenario in source {source!r}; known: {', '.join(SCENARIOS)}")
    task = wish.removeprefix("task=") if wish else "binary"
    if task not in TASKS:
        raise ValueError(f"unknown task in source {source!r}; known: {', '.join(TASKS)}")
    return scenario, task


class Section(BaseModel):
    """Base of all sections: frozen, and an unknown key names the nearest known one."""

    # A value may be an address with a password, and a failed notebook keeps the whole traceback.
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        for key in values:
            if key not in cls.model_fields:
                near = difflib.get_close_matches(str(key), cls.model_fields, n=1, cutoff=0.5)
                hint = (
                    f"did you mean {near[0]!r}?"
                    if near
                    else f"known: {', '.join(cls.model_fields)}"
                )
                raise ValueError(f"unknown key {key!r}; {hint}")
        return values


class DataSettings(Section):
    """Where rows come from and how time cuts them into windows.

    ``source`` is what may be shown of it: of a database neither user nor password nor options.
    ``query``: what a database is asked for; the pages show it, so that it holds no secret.
    ``memory_rows``: files of more rows than this are streamed, counted whole and sampled for the
    rest; ``engine``: by whom, this machine (``local``) or the address of a Dask scheduler, which
    streams files of any size.
    """

    source: str = "flights"
    query: str | None = None
    target: str = "delayed"
    features: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    record_id: str | None = None
    weight: str | None = None
    prediction: str | tuple[str, ...] | None = None
    model_version: str | None = None
    timestamp: str | None = "time_hour"
    window: Literal["day", "week", "month", "quarter", "year"] | int = "month"
    reference: int = Field(default=2, ge=1)
    label_delay: int = Field(default=0, ge=0)
    sample_rows: int = Field(default=200_000, ge=1000)
    memory_rows: int = Field(default=5_000_000, ge=1000)
    engine: str = "local"
    share: float = Field(default=1.0, gt=0.0, le=1.0)

    _address: str | None = PrivateAttr(default=None)

    @model_validator(mode="wrap")
    @classmethod
    def _hide_address(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        address = values.get("source") if isinstance(values, Mapping) else None
        shown = hide_secrets(address) if isinstance(address, str) else address
        if shown == address:
            return handler(values)
        made = handler({**values, "source": shown})
        made._address = address  # noqa: SLF001
        return made

    @model_validator(mode="before")
    @classmethod
    def _fill_from_source(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        source = str(values.get("source", "flights"))
        if source in ("flights", "predictions"):
            implied: Mapping[str, Any] = _FLIGHTS if source == "flights" else {}
        elif source.startswith("synthetic:"):
            parse_scenario(source)
            implied = _SYNTHETIC
        else:
            implied = _FILES
        return {**implied, **values}

    @field_validator("engine")
    @classmethod
    def _known_engine(cls, name: str) -> str:
        here = name in ("local", "spark://local")
        if not here and not re.fullmatch(r"(tcp|tls|wss?|ucx|spark|sc)://[^/\s@]+:\d+", name):
            raise ValueError(
                f"unknown engine {name!r}; write local, the address of a Dask scheduler such as "
                "tcp://127.0.0.1:8786, or of a Spark master such as spark://127.0.0.1:7077"
            )
        return name

    @property
    def address(self) -> str:
        """Return the source with all that :attr:`source` hides: never write or show it."""
        return self._address or self.source

    @property
    def prediction_columns(self) -> tuple[str, ...]:
        """Return the columns that hold a served model's predictions, none where there are none."""
        named = self.prediction or ()
        return (named,) if isinstance(named, str) else named

    @model_validator(mode="after")
    def _asks_databases_only(self) -> DataSettings:
        if self.source == f"{ENVIRONMENT}{NOT_SHOWN}":
            raise ValueError(
                "source begins with env: and what follows is no name of a variable (it is not "
                "shown: it may be a secret); write env:NAME"
            )
        asked = bool((self.query or "").strip())
        if is_database(self.source) and not asked:
            raise ValueError(
                f"source {self.source!r} is a database and query says nothing; add data.query: "
                "the SELECT whose rows are judged"
            )
        if asked and not is_database(self.source):
            raise ValueError(
                f"query is for databases, but source is {self.source!r}; leave query out, or give "
                "duckdb:FILE, a SQLAlchemy URL such as postgresql+psycopg://…, or env:NAME"
            )
        return self

    @model_validator(mode="after")
    def _consistent(self) -> DataSettings:
        if isinstance(self.window, int) and self.window < 1:
            raise ValueError(f"window is {self.window} rows; it needs at least 1")
        if isinstance(self.window, str) and self.timestamp is None:
            raise ValueError(
                f"window is {self.window!r} but timestamp is null; "
                "name the timestamp column or give window as a number of rows"
            )
        return self


class ModelSettings(Section):
    """The estimator and how it is evaluated.

    ``holdout``: the newest share of the reference, on which a fit that never saw it is graded;
    ``refit``: whether the served model then learns from that share too. A model that stops
    learning before its newest labels is stale on its first day. ``estimator``: ``linear``
    (logistic or ridge regression), ``hist_gradient_boosting``, ``external`` (a model served
    elsewhere, whose predictions are columns of the data), or an import path such as
    ``lightgbm:LGBMClassifier``; ``params`` are given to it. ``trusted``: types, or modules ending
    in ``.*``, that a stored model of such an estimator may consist of.
    """

    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    task: Literal["auto", "binary", "multiclass", "regression"] = "auto"
    estimator: str = "linear"
    params: dict[str, Any] = Field(default_factory=dict)
    trusted: tuple[str, ...] = ()
    holdout: float = Field(default=0.25, gt=0.0, lt=1.0)
    refit: bool = True
    seed: int = Field(default=0, ge=0, le=2**32 - 1)

    _folders: tuple[Path, ...] = PrivateAttr(default=())

    @property
    def folders(self) -> tuple[Path, ...]:
        """Return the folders from which an estimator of the owner's own may be imported."""
        return self._folders

    @property
    def is_imported(self) -> bool:
        """Return whether the estimator is named by its import path."""
        return ":" in self.estimator

    @field_validator("estimator")
    @classmethod
    def _known_estimator(cls, name: str) -> str:
        name = "linear" if name == "logistic_regression" else name
        if name not in ESTIMATORS and not re.fullmatch(r"[\w.]+:[\w.]+", name):
            raise ValueError(
                f"unknown estimator {name!r}; known: {', '.join(ESTIMATORS)}, or an import path "
                "such as lightgbm:LGBMClassifier"
            )
        return name


class DriftSettings(Section):
    """When a change of the inputs is called drift.

    ``alpha``: the chance of any drift flag in a window without drift, all rows together;
    ``min_effect``: the largest change that is harmless, in reference standard deviations;
    ``bins``: reference-quantile bins of the PSI; ``psi_threshold``: the conventional mark for a
    large PSI, shown beside it and never a reason for a flag.
    """

    alpha: float = Field(default=0.033, gt=0.0, lt=1.0)
    bins: int = Field(default=10, ge=2, le=100)
    min_effect: float = Field(default=0.055, ge=0.0)
    psi_threshold: float = Field(default=0.2, gt=0.0)


class PolicySettings(Section):
    """What an error and a retrain cost, and how sure a retrain must be.

    Costs share one unit, ``currency``, or simply units of loss. ``false_positive`` and
    ``false_negative``: the price of each kind of mistake of two classes; the loss is then what
    acting from the chance that they imply costs, and a window pays for each of its rows.
    ``error_cost``: the price of one unit of mean loss over one window; ``retrain_cost``: the
    price of one retrain, with review and roll-out. ``horizon``: for how many windows at most a
    retrain is credited with its gain; fewer where models grow stale so fast that the next one
    is due before. ``confidence``: how sure it must be that a retrain earns more than it costs:
    0.5 acts on the average, larger values retrain later. ``tolerance``: the rise of the loss
    that matters to nobody; a tenth of the baseline's where it is null. ``min_rows``: fewer rows
    than this say nothing. ``false_alarms``: the chance of any action but ``hold`` in a whole
    year in which nothing changed; ``horizon_windows``: over this many windows instead of a year
    of them (52 of windows of a number of rows). ``metrics``: import paths of functions of outcomes
    and predictions that are read beside the others and decide nothing.
    """

    min_rows: int = Field(default=30, ge=2)
    currency: str | None = Field(default=None, min_length=1, max_length=12)
    false_positive: float | None = Field(default=None, gt=0.0)
    false_negative: float | None = Field(default=None, gt=0.0)
    error_cost: float = Field(default=1.0, ge=0.0)
    retrain_cost: float = Field(default=0.002, ge=0.0)
    horizon: int = Field(default=6, ge=1)
    confidence: float = Field(default=0.6, ge=0.5, lt=1.0)
    tolerance: float | None = Field(default=None, gt=0.0)
    false_alarms: float = Field(default=0.05, gt=0.0, le=0.5)
    horizon_windows: int | None = Field(default=None, ge=1)
    metrics: tuple[str, ...] = ()

    @field_validator("metrics")
    @classmethod
    def _importable(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        for path in paths:
            if not re.fullmatch(r"[\w.]+:[\w.]+", path):
                raise ValueError(f"{path!r} is no import path; write it as mine.metrics:profit")
        return paths

    @model_validator(mode="after")
    def _priced(self) -> PolicySettings:
        both = (self.false_positive, self.false_negative)
        if both.count(None) == 1:
            missing = "false_positive" if self.false_positive is None else "false_negative"
            raise ValueError(f"{missing} is not set; both kinds of mistake need a price, or none")
        if self.currency is not None and None in both:
            raise ValueError(
                f"currency is {self.currency!r}, but false_positive and false_negative are not "
                "set; say what each kind of mistake costs, or leave currency out"
            )
        return self

    @property
    def is_priced(self) -> bool:
        """Return whether each kind of mistake has a price: the loss is then a cost a row."""
        return self.false_positive is not None

    def for_rows(self, rows: float) -> PolicySettings:
        """Return the policy of a window of ``rows`` rows: where mistakes are priced it pays each.

        ``error_cost`` is then the price of one unit of mean cost in the whole window.
        """
        if not self.is_priced:
            return self
        return self.model_copy(update={"error_cost": self.error_cost * rows})


class ServingSettings(Section):
    """How the API listens, what it accepts, and how it follows the registry.

    ``allowed_hosts``: names that requests may give as ``Host``, without a port; ``*.example.org``
    stands for all names below. On a loopback address they come to those of this machine; on others
    every name is taken where none are set.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    threshold: float = Field(default=0.5, gt=0.0, lt=1.0)
    max_batch: int = Field(default=1000, ge=1)
    max_body_bytes: int = Field(default=1_048_576, ge=1024)
    max_header_bytes: int = Field(default=32_768, ge=1024)
    max_headers: int = Field(default=100, ge=10)
    max_connections: int = Field(default=1000, ge=1)
    header_timeout_s: float = Field(default=10.0, gt=0.0)
    timeout_s: float = Field(default=10.0, gt=0.0)
    poll_s: float = Field(default=0.5, gt=0.0, le=2.0)
    log_features: bool = False
    allowed_hosts: tuple[str, ...] = ()


class LogSettings(Section):
    """Where answered predictions and their feedback are kept, and for how long."""

    url: str | None = None
    max_age_days: float | None = Field(default=400.0, gt=0.0)
    max_mb: float | None = Field(default=2000.0, gt=0.0)
    clean_every_s: float = Field(default=600.0, gt=0.0)


class TrackingSettings(Section):
    """Where MLflow keeps runs and models, and how long a run waits for it."""

    uri: str | None = None
    experiment: str | None = Field(default=None, min_length=1)
    timeout_s: float = Field(default=90.0, gt=0.0, le=3600.0)


class AlertSettings(Section):
    """Whom a decision is told, beyond the pages: addresses as `apprise` knows them.

    ``urls`` may hold passwords and tokens. Nothing that is written or printed shows more of one
    than :func:`mask_address` leaves; ``env:NAME`` takes it from the environment instead. ``on``:
    the actions that are told; ``site``: where the pages are served, for the link in the message.
    """

    urls: tuple[SecretStr, ...] = ()
    on: tuple[paths.Action, ...] = ("retrain", "investigate")
    site: str | None = Field(default=None, pattern=r"^https?://\S+$")

    @model_validator(mode="before")
    @classmethod
    def _take_on_for_a_key(cls, values: Any) -> Any:
        # YAML 1.1 reads the bare word "on" as true.
        if not isinstance(values, Mapping):
            return values
        return {"on" if key is True else key: value for key, value in values.items()}

    @field_validator("urls")
    @classmethod
    def _addressed(cls, urls: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for number, url in enumerate(urls, start=1):
            if not re.match(rf"{ENVIRONMENT}\w+$|[\w+.-]+://\S", url.get_secret_value()):
                raise ValueError(
                    f"entry {number} is no address such as mailtos://… or json://…, nor env:NAME "
                    "of a variable that holds one (its text is not shown: it may be a secret)"
                )
        return urls

    @field_validator("on", mode="before")
    @classmethod
    def _known_actions(cls, actions: Any) -> Any:
        for action in actions if isinstance(actions, list | tuple) else (actions,):
            if action not in paths.ACTIONS:
                near = difflib.get_close_matches(str(action), paths.ACTIONS, n=1, cutoff=0.5)
                hint = (
                    f"did you mean {near[0]!r}?" if near else f"known: {', '.join(paths.ACTIONS)}"
                )
                raise ValueError(f"unknown action {action!r}; {hint}")
        return actions

    @field_serializer("urls")
    def _mask_urls(self, urls: tuple[SecretStr, ...]) -> list[str]:
        return [mask_address(url.get_secret_value()) for url in urls]


def mask_address(url: str) -> str:
    """Return what may be shown of an address: its scheme, and its host where that is no token.

    >>> mask_address("json://me:secret@example.org:8080/path?token=abc")
    'json://example.org:8080/…'
    >>> mask_address("slack://TokenA/TokenB/TokenC"), mask_address("env:MY_ALERT_URL")
    ('slack://…', 'env:MY_ALERT_URL')
    """
    if url.startswith(ENVIRONMENT):
        return url
    scheme, _, rest = url.partition("://")
    # A password with a slash in it would end the host too early: then no host is shown.
    found = re.match(r"(?:[^/?#@]*@)?([\w.-]+(?::\d+)?)(?![^/?#])(?![^?#]*@)", rest)
    return f"{scheme}://{found[1]}/…" if found and scheme in _WITH_HOST else f"{scheme}://…"


class RunbookSettings(Section):
    """What the owner adds to the runbook, and how much of it is kept.

    ``notebooks`` are paths relative to the settings file. They are executed after 04, each becomes
    a page, and all lie in one folder then: their names differ from each other's and from those of
    the runbook's own. ``keep_runs``: the newest so many runs stay, with all that models in use
    rest on; None: every run.
    """

    notebooks: tuple[str, ...] = ()
    keep_runs: int | None = Field(default=None, ge=1)

    @field_validator("notebooks")
    @classmethod
    def _named_apart(cls, notebooks: tuple[str, ...]) -> tuple[str, ...]:
        taken = {Path(name).stem for name in (*paths.STEPS.values(), paths.BACKTEST_NOTEBOOK)}
        for notebook in notebooks:
            if not re.fullmatch(r"[A-Za-z0-9][\w.-]*\.ipynb", Path(notebook).name):
                raise ValueError(
                    f"{notebook!r} is no name for a page; call the notebook with letters, digits, "
                    "'-' and '_', such as fairness.ipynb"
                )
            stem = Path(notebook).stem.lower()
            if stem in taken:
                raise ValueError(f"{notebook!r} has a name that is taken; give it another one")
            taken.add(stem)
        return notebooks


class CardSettings(Section):
    """What only the owner can say on the model card."""

    intended_use: str | None = None
    ethical_considerations: str | None = None


class Settings(Section):
    """Every setting a run depends on. ``Settings()`` is the built-in flights runbook."""

    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    drift: DriftSettings = DriftSettings()
    policy: PolicySettings = PolicySettings()
    serving: ServingSettings = ServingSettings()
    tracking: TrackingSettings = TrackingSettings()
    log: LogSettings = LogSettings()
    alerts: AlertSettings = AlertSettings()
    runbook: RunbookSettings = RunbookSettings()
    card: CardSettings = CardSettings()

    _bases: tuple[Path, ...] = PrivateAttr(default=())
    _served_as: str | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _has_predictions(self) -> Settings:
        named = bool(self.data.prediction_columns)
        if self.is_external and not named:
            raise ValueError(
                "model.estimator is 'external', which needs data.prediction: the column that holds "
                "the served model's score (a list of one column a class for several)"
            )
        if named and not self.is_external:
            raise ValueError(
                f"data.prediction names {self.data.prediction!r}, but model.estimator is "
                f"{self.model.estimator!r}; set it to 'external', or leave data.prediction out"
            )
        return self

    @property
    def is_external(self) -> bool:
        """Return whether the model is served elsewhere and only its predictions are known."""
        return self.model.estimator == "external"

    def for_learning(self) -> Settings:
        """Return the settings of whatever is trained: beside an external model a linear one."""
        if not self.is_external:
            return self
        model = self.model.model_copy(update={"estimator": "linear", "params": {}})
        return self.model_copy(update={"model": model}).based(*self._bases)

    def for_window(self, rows: float) -> Settings:
        """Return the settings by which a window of ``rows`` rows is priced."""
        return self.model_copy(update={"policy": self.policy.for_rows(rows)}).based(*self._bases)

    @property
    def bases(self) -> tuple[Path, ...]:
        """Return the folders that a relative ``data.source`` is looked for in first."""
        return self._bases

    def based(self, *bases: Path) -> Settings:
        """Return the same settings with the folders that a relative source is looked for in."""
        model = self.model.model_copy()
        model._folders = bases  # noqa: SLF001
        other = self.model_copy(update={"model": model})
        other._bases = bases  # noqa: SLF001
        return other

    def addressed_as(self, other: Settings) -> Settings:
        """Return the same settings with the address that others hide behind the same source."""
        if self.data.source != other.data.source:
            return self
        data = self.data.model_copy()
        data._address = other.data.address  # noqa: SLF001
        return self.model_copy(update={"data": data}).based(*self._bases)

    def reading(self, path: Path) -> Settings:
        """Return the same settings with a file of this machine as their source."""
        data = self.data.model_copy(update={"source": str(path), "query": None})
        data._address = None  # noqa: SLF001
        return self.model_copy(update={"data": data}).based(*self._bases)

    @property
    def model_name(self) -> str:
        """Return the name the model is served under: ``model.name``, or the target's name.

        A target that is called just ``target`` says nothing: then the source's file or folder does.
        """
        said_nothing = self.data.target == "target"
        return (
            self.model.name
            or self._served_as
            or (derive_source_name(self.data.source) if said_nothing else "")
            or self.target_name
        )

    def served_as(self, name: str) -> Settings:
        """Return the same settings about a model that goes by a name already.

        It counts where they name none and find none but the target's or the source's: a model that
        an earlier release named, or one whose own predictions are the source.
        """
        if name != self.target_name and self.data.source != "predictions":
            return self
        other = self.model_copy()
        other._served_as = name  # noqa: SLF001
        return other

    @property
    def target_name(self) -> str:
        """Return the target's name as that of a model; earlier releases named all models so."""
        return _plain_name(self.data.target) or "model"

    @classmethod
    def load(cls, path: str | Path) -> Settings:
        """Return the settings of a YAML file; keys left out keep their defaults.

        Raises:
            UsageError: no such file, not YAML, an unknown key or a value out of range.
        """
        path = Path(path)
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(
                f"settings file {path} cannot be read ({error.strerror}); "
                "give an existing file with --settings"
            ) from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UsageError(
                f"settings file {path} is not valid YAML: {_first_line(error)}"
            ) from error
        if not isinstance(values, Mapping | None):
            raise UsageError(
                f"settings file {path} holds a {type(values).__name__}; it needs keys such as "
                "'data:'"
            )
        return cls.parse(values or {}, origin=str(path)).based(path.resolve().parent, Path.cwd())

    @classmethod
    def parse(cls, values: Mapping[str, Any], origin: str = "settings") -> Settings:
        """Return validated settings; ``origin`` names their source in messages.

        Raises:
            UsageError: the first thing that is wrong, with its place and the value found.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise UsageError(f"{origin}: {_explain(error)}") from error

    def to_yaml(self) -> str:
        """Return the settings as YAML that :meth:`load` reads back to an equal record."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def derive_source_name(source: str) -> str:
    """Return the name of the source's file, or of its folder for a glob; empty where it has none.

    >>> derive_source_name("data/churn.csv.gz"), derive_source_name("s3://bucket/churn/a*.pq?x=1")
    ('churn', 'churn')
    >>> [derive_source_name(source) for source in ("flights", "synthetic:none", "./*.csv")]
    ['', '', '']
    """
    if source in ("flights", "predictions") or source.startswith("synthetic:"):
        return ""
    if is_database(source):
        return _plain_name(name_database(source))
    if "://" in source:
        source = source.rpartition("://")[2].partition("?")[0]
    parts = [part for part in re.split(r"[/\\\\]", source) if part.strip(".")]
    fixed = [part for part in parts if not re.search(r"[*?\[=]", part)]
    return _plain_name(re.sub(_FILE_ENDINGS, "", fixed[-1], flags=re.IGNORECASE)) if fixed else ""


def _plain_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"] if not str(part).startswith("literal"))
    message = first["msg"].removeprefix("Value error, ")
    found = first["input"]
    hidden = isinstance(found, Mapping) or place.partition(".")[0] == "alerts"
    # Whatever it was meant for, an address in a wrong place may hold a password.
    shown = "" if hidden else f" (found {_hide_addresses(repr(found))})"
    return f"{place}: {message}{shown}" if place else f"{message}{shown}"


def _first_line(error: Exception) -> str:
    # The parser quotes the line that it stumbled over, which may be an address with a password.
    return _hide_addresses(" ".join(str(error).split()))


def _hide_addresses(text: str) -> str:
    return re.sub(r"://\S+", "://…", text)
