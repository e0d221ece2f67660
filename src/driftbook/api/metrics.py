"""The API's metrics, in one Prometheus registry an application."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
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

if TYPE_CHECKING:
    from driftbook.api.log.rows import FeedbackResult
    from driftbook.api.service import Service

METRICS_MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0)
ACTIONS = ("hold", "monitor", "retrain", "investigate")


class ServiceMetrics:
    """What happened so far, and at a scrape the state of the log, the model and the last run."""

    def __init__(self, service: Service) -> None:
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
        self._registry.register(_StateCollector(service))
        ProcessCollector(registry=self._registry)

    def observe_request(self, path: str, method: str, status: int, seconds: float) -> None:
        """Count one answered request; ``path`` is its route's, so that it has few values."""
        self._requests.labels(path, method, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def count_predictions(self, version: str, predictions: Sequence[int]) -> None:
        """Count the predictions of one request."""
        for prediction in set(predictions):
            rows = predictions.count(prediction)
            self._predictions.labels(version, str(prediction)).inc(rows)

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
    """Reads the state of a service when it is scraped."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """Yield the state of the log, of the model and of the last run."""
        yield from self._log_families()
        yield from self._model_families()
        yield from _run_families(self._service.artifacts)

    def _log_families(self) -> Iterator[Metric]:
        log, prefix = self._service.log, "driftbook_prediction_log"
        yield GaugeMetricFamily(
            f"{prefix}_up",
            "Whether the prediction log could be written last.",
            value=float(log.failure is None),
        )
        yield GaugeMetricFamily(
            f"{prefix}_lag_seconds",
            "Time that the last rows, or those still waiting, took to be committed.",
            value=log.lag(),
        )
        for name, text, count in (
            ("rows", "Predictions written to the log.", log.written),
            ("failures", "Requests that could not be logged.", log.failed),
            ("deleted_rows", "Predictions past retention, deleted.", log.deleted),
        ):
            yield CounterMetricFamily(f"{prefix}_{name}", text, value=count)
        yield GaugeMetricFamily(
            f"{prefix}_pending_requests", "Requests that wait for the log.", value=log.pending
        )

    def _model_families(self) -> Iterator[Metric]:
        served = self._service.served
        info = InfoMetricFamily("driftbook_model", "The model that is served.")
        loaded = GaugeMetricFamily(
            "driftbook_model_loaded_timestamp_seconds", "When the served model was loaded."
        )
        if served is not None:
            info.add_metric(
                [], {"name": served.name, "version": served.version, "scorer": served.scorer.kind}
            )
            loaded.add_metric([], served.loaded_at)
        yield info
        yield loaded
        yield GaugeMetricFamily(
            "driftbook_ready",
            "Whether a verified model is served and the log can be written.",
            value=float(served is not None and self._service.log.failure is None),
        )
        yield CounterMetricFamily(
            "driftbook_model_load_failures",
            "Champions that were not loaded because their files failed the check.",
            value=self._service.load_failures,
        )


def _run_families(artifacts: Path) -> Iterator[Metric]:
    when = GaugeMetricFamily(
        "driftbook_last_run_timestamp_seconds", "When the last run was published."
    )
    action = GaugeMetricFamily(
        "driftbook_last_run_action",
        "The last run's recommendation: 1 for its action.",
        labels=["action"],
    )
    path = artifacts / "policy" / "retrain_recommendation.json"
    # Without a run, or while one is being published, the series are absent.
    with contextlib.suppress(OSError, ValueError, KeyError):
        published = path.stat().st_mtime
        found = json.loads(path.read_text(encoding="utf-8"))["action"]
        when.add_metric([], published)
        for name in ACTIONS:
            action.add_metric([name], float(name == found))
    yield when
    yield action
