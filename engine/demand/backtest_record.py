"""What a backtest says: accuracy by model, horizon and segment, intervals of differences, coverage, weekly totals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.proposal import N_, Reason

NAIVE = N_("last 4 weeks")
LOGLOG = N_("log-log, fixed effects")
GLM = N_("Poisson GLM")
FILTER = N_("filtered Poisson")
TREES = "XGBoost"
FREE_TREES = N_("XGBoost, not monotone")


@dataclass(frozen=True)
class BacktestRow:
    """Accuracy of one model at one horizon, on one segment of the products."""

    model: str
    horizon: int
    """Weeks ahead."""
    segment: str
    """"all"; "high", "medium", "low" (thirds of the products by units before the test); "thin"; "new"."""
    wape: float
    """Σ |units - forecast| / Σ units over product-weeks."""
    bias: float
    """Σ forecast / Σ units - 1."""
    n: int
    """Product-weeks."""
    units: float


@dataclass(frozen=True)
class BacktestInterval:
    """WAPE of `model` less that of `other`, with a 90 % bootstrap interval over products."""

    model: str
    other: str
    horizon: int
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class BacktestWeek:
    """One test week, all products together."""

    week: int
    actual: float
    forecast: Mapping[str, float] = field(default_factory=dict)
    """"model, h ahead" -> units."""


@dataclass(frozen=True)
class BacktestCoverage:
    """The horizon totals of the products, forecast from the week before the test, against their stated errors."""

    products: int
    covered: float
    """Share of products whose sold units lie within the 90 % interval of their forecast."""
    total_error: float
    """All products together: forecast / sold - 1."""
    total_sd: float
    """The standard deviation that was stated for the error all products share."""


@dataclass(frozen=True)
class Backtest:
    """What the held-out weeks say. The headline figures are of all products, one week ahead; NaN: nothing held out."""

    rows: tuple[BacktestRow, ...] = ()
    ablations: tuple[BacktestRow, ...] = ()
    """`model` names what was left out."""
    intervals: tuple[BacktestInterval, ...] = ()
    weeks: tuple[BacktestWeek, ...] = ()
    coverage: BacktestCoverage | None = None
    """None where the test is shorter than the horizon of the forecast."""
    wape: float = float("nan")
    bias: float = float("nan")
    wape_naive: float = float("nan")
    wape_glm: float = float("nan")
    horizons: tuple[int, ...] = ()
    reasons: tuple[Reason, ...] = ()

    def row(self, model: str, horizon: int, segment: str = "all") -> BacktestRow | None:
        """The row of a model, if it is there."""
        wanted = (model, horizon, segment)
        return next((row for row in self.rows if (row.model, row.horizon, row.segment) == wanted), None)
