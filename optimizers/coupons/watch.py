"""Watching a search: what is held and proven while it runs, and when it has to stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from optimizers.gap import gap_below

StopReason = Literal["time_limit", "cancelled"]


@dataclass(frozen=True)
class Standing:
    """Where a search stands."""

    stage: str
    """"multipliers", "repair", "proof" or "exact"."""
    seconds: float
    """Since the search began."""
    objective: float | None
    """Profit of the plan in hand, money; None: none is held yet."""
    bound: float | None
    """No plan brings more, money; None: nothing is proven yet."""

    @property
    def gap(self) -> float:
        """(bound - objective) / |bound|; infinite while either is missing."""
        if self.objective is None or self.bound is None:
            return math.inf
        return gap_below(self.objective, self.bound)


@dataclass(frozen=True)
class Watch:
    """A time limit, a way to cancel, and a listener."""

    seconds: float = math.inf
    cancelled: Callable[[], bool] | None = None
    """Asked between steps; True: stop with what is held (the `is_set` of a threading.Event will do)."""
    listener: Callable[[Standing], None] | None = None
    began: float = field(default_factory=time.perf_counter)

    @property
    def elapsed(self) -> float:
        """Seconds since the search began."""
        return time.perf_counter() - self.began

    @property
    def left(self) -> float:
        """Seconds left, at least 0."""
        return max(0.0, self.seconds - self.elapsed)

    def stop(self) -> StopReason | None:
        """Why to stop now; None: go on."""
        if self.cancelled is not None and self.cancelled():
            return "cancelled"
        return "time_limit" if self.elapsed >= self.seconds else None

    def tell(self, stage: str, objective: float | None, bound: float | None) -> None:
        """Say where the search stands."""
        if self.listener is not None:
            bound = bound if bound is None or math.isfinite(bound) else None
            self.listener(Standing(stage, self.elapsed, objective, bound))
