"""/metrics in Prometheus' text format: requests of this process, proposals and job runs of the store."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping

_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

METRICS: Mapping[str, tuple[str, str]] = {
    "offerwright_http_requests_total": ("counter", "Requests answered, by route, method and status."),
    "offerwright_http_request_seconds": ("histogram", "Time to answer, by route."),
    "offerwright_proposals": ("gauge", "Proposals in the store, by state."),
    "offerwright_job_runs": ("gauge", "Job runs in the store, by job and state."),
}
Labels = tuple[tuple[str, str], ...]


class RequestMetrics:
    """Counts and times of the requests that this process answered. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[Labels] = Counter()
        self._seconds: Counter[str] = Counter()
        self._buckets: Counter[tuple[str, float]] = Counter()
        self._counts: Counter[str] = Counter()

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one request."""
        with self._lock:
            self._requests[("route", route), ("method", method), ("status", str(status))] += 1
            self._counts[route] += 1
            self._seconds[route] += seconds  # type: ignore[assignment]
            for limit in _BUCKETS:
                self._buckets[route, limit] += seconds <= limit

    def lines(self) -> list[str]:
        """Write the samples."""
        with self._lock:
            lines = _family("offerwright_http_requests_total", sorted(self._requests.items()))
            lines += _heading("offerwright_http_request_seconds")
            for route in sorted(self._counts):
                lines += self._histogram(route)
        return lines

    def _histogram(self, route: str) -> list[str]:
        name = "offerwright_http_request_seconds"
        lines = [
            _sample(f"{name}_bucket", (("route", route), ("le", f"{limit:g}")), self._buckets[route, limit])
            for limit in _BUCKETS
        ]
        lines.append(_sample(f"{name}_bucket", (("route", route), ("le", "+Inf")), self._counts[route]))
        lines.append(_sample(f"{name}_sum", (("route", route),), round(self._seconds[route], 6)))
        lines.append(_sample(f"{name}_count", (("route", route),), self._counts[route]))
        return lines


def render_metrics(requests: RequestMetrics, proposals: Mapping[str, int], runs: Mapping[tuple[str, str], int]) -> str:
    """Write the whole page."""
    states = [((("state", state),), count) for state, count in sorted(proposals.items())]
    jobs = [((("job", job), ("state", state)), count) for (job, state), count in sorted(runs.items())]
    lines = requests.lines() + _family("offerwright_proposals", states) + _family("offerwright_job_runs", jobs)
    return "\n".join(lines) + "\n"


def _family(name: str, samples: Iterable[tuple[Labels, float]]) -> list[str]:
    return _heading(name) + [_sample(name, labels, value) for labels, value in samples]


def _heading(name: str) -> list[str]:
    kind, says = METRICS[name]
    return [f"# HELP {name} {says}", f"# TYPE {name} {kind}"]


def _sample(name: str, labels: Labels, value: float) -> str:
    shown = ",".join(f'{key}="{_escape(text)}"' for key, text in labels)
    return f"{name}{{{shown}}} {value}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
