"""What Prometheus reads from /metrics."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.process_collector import ProcessCollector

from tvm_c4n.server.job import Job

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
# Paths with a label of their own; whatever else was asked for is one.
_PATHS = ("/v1/completions", "/v1/chat/completions", "/v1/models", "/health", "/metrics", "/")


class Metrics:
    """Counts of one server; any thread may count."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        # A second series for each of them, which nobody asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "c4n_requests",
            "Requests that were answered, by path and status; 499: the client left before the end.",
            ["path", "status"],
            registry=registry,
        )
        self._prompt = Counter(
            "c4n_prompt_tokens", "Tokens of prompts whose reading began.", registry=registry
        )
        self._cached = Counter(
            "c4n_cached_tokens", "Those of them that kept states had read.", registry=registry
        )
        self._read = Counter(
            "c4n_read_tokens", "Tokens of prompts that the models read.", registry=registry
        )
        self._generated = Counter("c4n_generated_tokens", "Tokens generated.", registry=registry)
        self._hits = Counter(
            "c4n_prefix_hits", "Prompts that went on from a kept state.", registry=registry
        )
        self._first = Histogram(
            "c4n_first_token_seconds",
            "From a request's arrival to its first token.",
            buckets=_SECONDS,
            registry=registry,
        )

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a number that is asked for when the metrics are."""
        Gauge(name, text, registry=self._registry).set_function(value)

    def answered(self, path: str, status: int) -> None:
        """Count a request."""
        known = path if path in _PATHS else "other"
        self._requests.labels(known, str(status)).inc()

    def begun(self, job: Job) -> None:
        """Count a prompt whose reading begins."""
        self._prompt.inc(len(job.ids))
        if job.cached:
            self._hits.inc()
            self._cached.inc(job.cached)

    def read(self, tokens: int) -> None:
        """Count tokens of a prompt."""
        self._read.inc(tokens)

    def generated(self, tokens: int) -> None:
        """Count tokens of answers."""
        self._generated.inc(tokens)

    def first_token(self, secs: float) -> None:
        """Count a first token."""
        self._first.observe(secs)

    def text(self) -> bytes:
        """Return all of them in Prometheus' text format."""
        return bytes(generate_latest(self._registry))
