"""The API's metrics in the Prometheus text format."""

from __future__ import annotations

import functools
import json
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import Metric

    from driftbook.serving import Service

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0)
ACTIONS = ("hold", "monitor", "retrain", "investigate")
_PATHS = frozenset(
    {"/predict", "/feedback", "/health", "/ready", "/model", "/metrics", "/openapi.json"}
)
_OTHER = "other"


@functools.lru_cache(maxsize=4096)
def path_label(path: str) -> str:
    """Return the path as a label with few values: names and versions are left out.

    >>> path_label("/v2/models/delayed/versions/m1/infer"), path_label("/wp-login.php")
    ('/v2/models/{name}/infer', 'other')
    """
    if path in _PATHS:
        return path
    parts = path.strip("/").split("/")
    if parts[0] != "v2":
        return _OTHER
    if parts[1:2] == ["models"] and len(parts) > 2:
        last = f"/{parts[-1]}" if parts[-1] in ("infer", "ready", "versions") else ""
        return f"/v2/models/{{name}}{last}"
    return path if path in ("/v2", "/v2/health/live", "/v2/health/ready") else _OTHER


class RequestMetrics:
    """Counts and latencies of requests; written by the event loop, read by a scrape."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, str]] = Counter()
        self.latencies: dict[str, list[int]] = {}
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.predictions: Counter[tuple[str, str]] = Counter()
        self.feedback: Counter[str] = Counter()

    def observe(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        label = path_label(path)
        self.requests[label, method, str(status)] += 1
        buckets = self.latencies.get(label)
        if buckets is None:
            buckets = self.latencies[label] = [0] * (len(BUCKETS_S) + 1)
        buckets[bisect_left(BUCKETS_S, seconds)] += 1
        self.seconds[label] += seconds


class ServiceCollector:
    """What a scrape finds: requests, predictions, the log, the model and the last run."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family of the API."""
        yield from self._request_families()
        yield from self._log_families()
        yield from self._model_families()
        yield from self._run_families()

    def _request_families(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        metrics = self._service.metrics
        requests = CounterMetricFamily(
            "driftbook_http_requests", "Requests answered.", labels=["path", "method", "status"]
        )
        for labels, count in metrics.requests.items():
            requests.add_metric(labels, count)
        yield requests
        latency = HistogramMetricFamily(
            "driftbook_http_request_duration_seconds",
            "Time from a request's headers to the end of its answer.",
            labels=["path"],
        )
        for path, counts in metrics.latencies.items():
            latency.add_metric([path], _cumulated(counts), metrics.seconds[path])
        yield latency
        predictions = CounterMetricFamily(
            "driftbook_predictions",
            "Rows scored, logged and answered, by model version and predicted class.",
            labels=["model_version", "prediction"],
        )
        for (version, predicted), count in metrics.predictions.items():
            predictions.add_metric([version, predicted], count)
        yield predictions
        feedback = CounterMetricFamily(
            "driftbook_feedback", "True labels received, by what became of them.", labels=["result"]
        )
        for result, count in metrics.feedback.items():
            feedback.add_metric([result], count)
        yield feedback

    def _log_families(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        log = self._service.log
        lag = "Time that the last rows, or those still waiting, took to be committed."
        gauges = {
            "up": ("Whether the prediction log could be written last.", log.failure is None),
            "lag_seconds": (lag, log.lag()),
            "pending_requests": ("Requests that wait for the log.", log.pending),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(f"driftbook_prediction_log_{name}", text, value=float(value))
        counters = {
            "rows": ("Predictions written to the log.", log.written),
            "failures": ("Requests that could not be logged.", log.failed),
            "deleted_rows": ("Predictions past retention, deleted.", log.deleted),
        }
        for name, (text, count) in counters.items():
            yield CounterMetricFamily(f"driftbook_prediction_log_{name}", text, value=count)

    def _model_families(self) -> Iterator[Metric]:
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            InfoMetricFamily,
        )

        service = self._service
        info = InfoMetricFamily("driftbook_model", "The model that is served.")
        loaded = GaugeMetricFamily(
            "driftbook_model_loaded_timestamp_seconds", "When the served model was loaded."
        )
        if service.served is not None:
            champion = service.served.champion
            names = {
                "name": champion.name,
                "version": champion.version,
                "scorer": champion.scorer.kind,
            }
            info.add_metric([], names)
            loaded.add_metric([], service.served.since)
        yield info
        yield loaded
        yield GaugeMetricFamily(
            "driftbook_ready",
            "Whether a verified model is served and the log can be written.",
            value=float(service.served is not None and service.log.failure is None),
        )
        yield CounterMetricFamily(
            "driftbook_model_load_failures",
            "Champions that were not loaded because their files failed the check.",
            value=service.load_failures,
        )

    def _run_families(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        when = GaugeMetricFamily(
            "driftbook_last_run_timestamp_seconds", "When the last run was published."
        )
        action = GaugeMetricFamily(
            "driftbook_last_run_action",
            "The last run's recommendation: 1 for its action.",
            labels=["action"],
        )
        found = _last_run(self._service.artifacts)
        if found is not None:
            when.add_metric([], found[0])
            for name in ACTIONS:
                action.add_metric([name], float(name == found[1]))
        yield when
        yield action


def _cumulated(counts: list[int]) -> list[tuple[str, float]]:
    total, buckets = 0, []
    for edge, count in zip((*map(str, BUCKETS_S), "+Inf"), counts, strict=True):
        total += count
        buckets.append((edge, float(total)))
    return buckets


def _last_run(artifacts: Path) -> tuple[float, str] | None:
    """Return when the recommendation was published and its action; ``None`` without one."""
    path = artifacts / "policy" / "retrain_recommendation.json"
    try:
        return path.stat().st_mtime, str(json.loads(path.read_text(encoding="utf-8"))["action"])
    except (OSError, ValueError, KeyError):  # no run yet, or one that is being published now
        return None


def exposition(service: Service) -> bytes:
    """Return all metrics as text.

    Source: Prometheus text exposition format 0.0.4, and its naming conventions.
    """
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

    registry = CollectorRegistry()
    registry.register(ServiceCollector(service))
    ProcessCollector(registry=registry)
    return generate_latest(registry)
