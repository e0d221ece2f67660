"""The API's metrics, in one Prometheus registry an application."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    Metric,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from driftbook import paths

if TYPE_CHECKING:
    from driftbook.api.log.rows import FeedbackResult
    from driftbook.api.log.writer import LogWriter
    from driftbook.api.served import ServedModel

METRICS_MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0)

# Returns what is served, if anything, and how often a champion could not be loaded.
ModelReader = Callable[[], tuple["ServedModel | None", int]]


class ServiceMetrics:
    """What happened so far, and at a scrape the state of the log, the model and the last run."""

    def __init__(self, log: LogWriter, artifacts: Path, read_model: ModelReader) -> None:
        # A series a label that nobody asked for.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "driftbook_http_requests",
            "Requests answered.",
            ["path", "method", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "driftbook_http_request_duration_seconds",
            "Time from a request's headers to the end of its answer.",
            ["path"],
            buckets=BUCKETS_S,
            registry=self._registry,
        )
        self._predictions = Counter(
            "driftbook_predictions",
            "Rows scored, logged and answered, by model version and predicted class.",
            ["model_version", "prediction"],
            registry=self._registry,
        )
        self._feedback = Counter(
            "driftbook_feedback",
            "True labels received, by what became of them.",
            ["result"],
            registry=self._registry,
        )
        self._refusals = Counter(
            "driftbook_connections_refused",
            "Connections closed before a request was read, by the kind of problem.",
            ["problem"],
            registry=self._registry,
        )
        self._registry.register(_StateCollector(log, artifacts, read_model))
        ProcessCollector(registry=self._registry)

    def observe_request(self, path: str, method: str, status: int, seconds: float) -> None:
        """Count one answered request; ``path`` is its route's, so that it has few values."""
        self._requests.labels(path, method, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def count_refusal(self, problem: str) -> None:
        """Count one connection that was refused with a kind of problem."""
        self._refusals.labels(problem).inc()

    def count_predictions(self, version: str, predictions: Sequence[str]) -> None:
        """Count the predictions of one request."""
        for prediction in set(predictions):
            rows = predictions.count(prediction)
            self._predictions.labels(version, prediction).inc(rows)

    def count_feedback(self, result: FeedbackResult, labels: int) -> None:
        """Count the labels of one request."""
        if result.refused:
            refusal = "unknown" if result.unknown_ids else "contradicting"
            self._feedback.labels(refusal).inc(labels)
        else:
            self._feedback.labels("stored").inc(result.stored)
            self._feedback.labels("known").inc(result.known)

    def to_text(self) -> bytes:
        """Return all metrics as text.

        Source: Prometheus text exposition format 0.0.4, and its naming conventions.
        """
        return generate_latest(self._registry)


class _StateCollector(Collector):
    """Reads the state of the log, of the model and of the last run when it is scraped."""

    def __init__(self, log: LogWriter, artifacts: Path, read_model: ModelReader) -> None:
        self._log, self._artifacts, self._read_model = log, artifacts, read_model

    def collect(self) -> Iterator[Metric]:
        """Yield what is known now; without a model or a run their series are absent."""
        log, (served, load_failures) = self._log, self._read_model()
        up = log.failure is None
        ready = served is not None and up
        gauges: dict[str, tuple[str, float]] = {
            "prediction_log_up": ("Whether the prediction log could be written last.", up),
            "prediction_log_lag_seconds": (
                "Time that the last rows, or those still waiting, took to be committed.",
                log.lag(),
            ),
            "prediction_log_pending_requests": ("Requests that wait for the log.", log.pending),
            "ready": ("Whether a verified model is served and the log can be written.", ready),
        }
        counters: dict[str, tuple[str, float]] = {
            "prediction_log_rows": ("Predictions written to the log.", log.written),
            "prediction_log_failures": ("Requests that could not be logged.", log.failed),
            "prediction_log_deleted_rows": ("Predictions past retention, deleted.", log.deleted),
            "model_load_failures": ("Champions whose files failed the check.", load_failures),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(f"driftbook_{name}", text, value=float(value))
        for name, (text, value) in counters.items():
            yield CounterMetricFamily(f"driftbook_{name}", text, value=value)
        if served is not None:
            scorer = served.scorer.kind
            shown = {"name": served.name, "version": served.version, "scorer": scorer}
            yield InfoMetricFamily("driftbook_model", "The model that is served.", shown)
            yield GaugeMetricFamily(
                "driftbook_model_loaded_timestamp_seconds",
                "When the served model was loaded.",
                value=served.loaded_at,
            )
        yield from _run_families(self._artifacts / paths.RECOMMENDATION)


def _run_families(recommendation: Path) -> Iterator[Metric]:
    try:
        published = recommendation.stat().st_mtime
        found = json.loads(recommendation.read_text(encoding="utf-8"))["action"]
    except (OSError, ValueError, KeyError):  # there was no run, or one is being published
        return
    name, text = "driftbook_last_run_timestamp_seconds", "When the last run was published."
    yield GaugeMetricFamily(name, text, value=published)
    name, text = "driftbook_last_run_action", "The last run's recommendation: 1 for its action."
    action = GaugeMetricFamily(name, text, labels=["action"])
    for one in paths.ACTIONS:
        action.add_metric([one], float(one == found))
    yield action
