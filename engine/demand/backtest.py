"""The level model judged on weeks it has not seen, beside forecasts that anybody could have made.

The last weeks are held out. A forecast made h weeks ahead comes from models fitted on weeks up to its origin or earlier
and reads the past as of its origin; of the target week it knows the plan: price, leaflet, display.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from engine.demand.baselines import fit_glm, fit_loglog, last_weeks_mean
from engine.demand.level import FIRST_WEEKS, LevelModel, LevelOptions, fit_level, history_of, predict
from engine.demand.level_features import History, Plan, by_product, drivers, plan_of
from engine.panel import Panel
from engine.progress import Progress, Silent
from engine.proposal import Reason
from engine.settings import Settings

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

TEST_WEEKS = 8
LONG_HORIZON = 8
MIN_TRAINING_WEEKS = 6
NEW_WEEKS = 13
"""A product first seen fewer weeks than this before the test is new."""
RESAMPLES = 999

NAIVE = "last 4 weeks"
LOGLOG = "log-log, fixed effects"
GLM = "Poisson GLM"
FILTER = "filtered Poisson"
TREES = "XGBoost"
FREE_TREES = "XGBoost, not monotone"

ABLATIONS: Mapping[str, frozenset[str]] = {
    "price": frozenset({"price"}),
    "promotions": frozenset({"promotions"}),
    "lags": frozenset({"lags"}),
    "category": frozenset({"category"}),
    "calendar": frozenset({"calendar"}),
    "profile": frozenset({"profile"}),
    "text": frozenset({"text"}),
    "profile and text": frozenset({"profile", "text"}),
}


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
class Backtest:
    """What the held-out weeks say. The headline figures are of all products, one week ahead; NaN: nothing held out."""

    rows: tuple[BacktestRow, ...] = ()
    ablations: tuple[BacktestRow, ...] = ()
    """`model` names what was left out."""
    intervals: tuple[BacktestInterval, ...] = ()
    weeks: tuple[BacktestWeek, ...] = ()
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


@dataclass(frozen=True)
class _Inputs:
    panel: Panel
    settings: Settings
    profile_mix: Floats | None
    text: npt.NDArray[np.float32] | None
    seed: int


@dataclass(frozen=True)
class _Window:
    """The held-out weeks at one horizon."""

    targets: Ints
    horizon: int

    @property
    def trained(self) -> int:
        """Number of weeks that models may be fitted on: up to the first target's origin."""
        return int(self.targets[0]) - self.horizon + 1


def backtest(
    panel: Panel,
    settings: Settings,
    *,
    profile_mix: Floats | None = None,
    text: npt.NDArray[np.float32] | None = None,
    seed: int,
    progress: Progress | None = None,
    profile_week: int | None = None,
    ablations: bool = False,
) -> Backtest:
    """Hold out the last eight weeks (a quarter of a shorter history) and forecast them one and eight weeks ahead.

    Args:
        panel: S series by T weeks.
        settings: as for `fit_level`; `demand.min_weeks_sold` says which products are thin.
        profile_mix: (P, F) buyers' profiles as of `profile_week`.
        text: (P, E) embedding of the products' texts.
        seed: of trees and bootstrap.
        progress: told the share done.
        profile_week: the last week that `profile_mix` knows of. Unless no forecast origin lies before it, the mix is
            left out: it would know the test.
        ablations: also fit without each group of features, and without the monotone constraint.
    """
    windows = _windows(len(panel.weeks), settings.demand.horizon_weeks)
    if not windows:
        said = Reason("nothing was held out: {weeks} weeks of history are too short", {"weeks": len(panel.weeks)})
        return Backtest(reasons=(said,))
    mix, reasons = _honest_mix(panel, windows, profile_mix, profile_week)
    inputs = _Inputs(panel, settings, mix, text, seed)
    runs = _variants(inputs, ablations=ablations)
    progress = progress or Silent()
    forecasts: dict[tuple[str, int], Floats] = {}
    for done, window in enumerate(windows):
        forecasts |= _forecasts(inputs, window, runs)
        progress.advance((done + 1) / len(windows))
    return _summary(inputs, windows, forecasts, reasons)


def _windows(n_weeks: int, horizon: int) -> tuple[_Window, ...]:
    """One week ahead, and eight (or the horizon, if that is less); fewer where the history is short."""
    held = min(TEST_WEEKS, n_weeks // 4)
    targets = np.arange(n_weeks - held, n_weeks)
    windows = (_Window(targets, ahead) for ahead in sorted({1, min(LONG_HORIZON, horizon)}))
    return tuple(w for w in windows if held and w.trained >= MIN_TRAINING_WEEKS + w.horizon)


def _honest_mix(
    panel: Panel, windows: tuple[_Window, ...], mix: Floats | None, week: int | None
) -> tuple[Floats | None, tuple[Reason, ...]]:
    first_origin = int(panel.weeks[min(window.trained for window in windows) - 1])
    if mix is None or (week is not None and week <= first_origin):
        return mix, ()
    said = Reason(
        "the buyers' profiles were left out of the backtest: they know weeks after {week}", {"week": first_origin}
    )
    return None, (said,)


def _variants(inputs: _Inputs, *, ablations: bool) -> dict[str, LevelOptions]:
    """Name -> options of the tree models to fit."""
    variants = {TREES: LevelOptions()}
    if not ablations:
        return variants
    given = {"profile": inputs.profile_mix is not None, "text": inputs.text is not None}
    variants[FREE_TREES] = LevelOptions(monotone=False)
    for name, groups in ABLATIONS.items():
        if all(given.get(group, True) for group in groups):
            variants[f"without {name}"] = LevelOptions(without=groups)
    return variants


def _forecasts(inputs: _Inputs, window: _Window, variants: Mapping[str, LevelOptions]) -> dict[tuple[str, int], Floats]:
    """(model, horizon) -> (S, W) forecasts of the target weeks."""
    plan = plan_of(inputs.panel)
    models = {name: _fit(inputs, window, options) for name, options in variants.items()}
    history = history_of(models[TREES], inputs.panel)
    found = _baselines(history, plan, window)
    for name, model in models.items():
        own = history if name in (TREES, FREE_TREES) else history_of(model, inputs.panel)
        found[name] = predict(model, own, plan, window.targets, window.horizon)
    return {(name, window.horizon): units for name, units in found.items()}


def _fit(inputs: _Inputs, window: _Window, options: LevelOptions) -> LevelModel:
    return fit_level(
        first_weeks(inputs.panel, window.trained),
        inputs.settings,
        horizon=window.horizon,
        profile_mix=inputs.profile_mix,
        text=inputs.text,
        seed=inputs.seed,
        options=options,
    )


def first_weeks(panel: Panel, n: int) -> Panel:
    """The panel as it stood after its first `n` weeks."""
    matrices = ("units", "price", "regular_price", "mailer", "display", "stock_out", "experiment", "observed")
    cut = {name: getattr(panel, name)[:, :n] for name in matrices}
    return replace(panel, weeks=panel.weeks[:n], week_start=panel.week_start[:n], **cut)


def _baselines(history: History, plan: Plan, window: _Window) -> dict[str, Floats]:
    as_of = window.targets - window.horizon
    seen = drivers(plan.at(window.targets), history.anchor[:, as_of])
    found = {
        NAIVE: last_weeks_mean(history, as_of),
        LOGLOG: fit_loglog(history, plan, window.trained).predict(seen),
        FILTER: np.exp(history.filtered.log_mean(as_of, seen)),
    }
    if window.trained > window.horizon + FIRST_WEEKS:
        glm = fit_glm(history, plan, window.trained, window.horizon, FIRST_WEEKS)
        found[GLM] = glm.predict(history, plan, window.targets)
    return found


def _summary(
    inputs: _Inputs,
    windows: tuple[_Window, ...],
    forecasts: Mapping[tuple[str, int], Floats],
    reasons: tuple[Reason, ...],
) -> Backtest:
    targets = windows[0].targets
    usable = inputs.panel.observed[:, targets] & (inputs.panel.stock_out[:, targets] < 0.5)
    units = np.where(usable, inputs.panel.units[:, targets], 0.0)
    segments = _segments(inputs.panel, int(targets[0]), inputs.settings.demand.min_weeks_sold)
    rows = [
        _score(name, horizon, segment, units, forecast, usable & chosen[:, None])
        for (name, horizon), forecast in forecasts.items()
        for segment, chosen in segments.items()
    ]
    rows = [row for row in rows if row.n]
    tested = Backtest(
        rows=tuple(row for row in rows if not row.model.startswith("without ")),
        ablations=tuple(row for row in rows if row.model.startswith("without ")),
        intervals=_intervals(inputs, windows, units, usable, forecasts),
        weeks=_weeks(inputs.panel, targets, units, usable, forecasts),
        horizons=tuple(window.horizon for window in windows),
        reasons=reasons,
    )
    head, naive, glm = (tested.row(name, windows[0].horizon) for name in (TREES, NAIVE, GLM))
    return replace(
        tested,
        wape=head.wape if head else float("nan"),
        bias=head.bias if head else float("nan"),
        wape_naive=naive.wape if naive else float("nan"),
        wape_glm=glm.wape if glm else float("nan"),
    )


def _segments(panel: Panel, start: int, thin_weeks: int) -> dict[str, Bools]:
    """Segment -> (S,) series in it, judged by what was known before the test."""
    sold = np.where(panel.observed, panel.units, 0.0)[:, :start]
    volume = by_product(sold.sum(axis=1), panel.series_product, panel.n_products)
    third = np.argsort(np.argsort(-volume, kind="stable")) * 3 // max(panel.n_products, 1)
    seen = np.maximum.accumulate(panel.observed, axis=1)[:, :start].sum(axis=1)
    new = (seen < NEW_WEEKS) & (start >= NEW_WEEKS)
    classes = {name: (third == k)[panel.series_product] for k, name in enumerate(("high", "medium", "low"))}
    return {
        "all": np.ones(len(panel.series_product), dtype=bool),
        **classes,
        "thin": ((sold > 0).sum(axis=1) < thin_weeks) & ~new,
        "new": new,
    }


def _score(name: str, horizon: int, segment: str, units: Floats, forecast: Floats, counted: Bools) -> BacktestRow:
    sold, hoped = units[counted], forecast[counted]
    total = float(sold.sum())
    scale = total if total > 0 else float("nan")
    return BacktestRow(
        model=name,
        horizon=horizon,
        segment=segment,
        wape=float(np.abs(sold - hoped).sum()) / scale,
        bias=float(hoped.sum()) / scale - 1.0,
        n=int(counted.sum()),
        units=total,
    )


def _intervals(
    inputs: _Inputs,
    windows: tuple[_Window, ...],
    units: Floats,
    usable: Bools,
    forecasts: Mapping[tuple[str, int], Floats],
) -> tuple[BacktestInterval, ...]:
    """XGBoost against each simpler model; products are resampled whole, as their weeks are not independent."""
    rng = np.random.default_rng(inputs.seed)
    n = inputs.panel.n_products
    draws = rng.multinomial(n, np.full(n, 1.0 / n), size=RESAMPLES).astype(np.float64)

    def errors(key: tuple[str, int]) -> Floats:
        missed = np.where(usable, np.abs(units - forecasts[key]), 0.0).sum(axis=1)
        return by_product(missed, inputs.panel.series_product, n)

    sold = by_product(units.sum(axis=1), inputs.panel.series_product, n)
    if sold.sum() <= 0:
        return ()
    found = []
    for horizon in (window.horizon for window in windows):
        for other in (NAIVE, LOGLOG, GLM, FILTER, FREE_TREES):
            if (other, horizon) not in forecasts:
                continue
            gap = errors((TREES, horizon)) - errors((other, horizon))
            total = draws @ sold
            spread = (draws @ gap)[total > 0] / total[total > 0]
            low, high = (float(q) for q in np.quantile(spread, (0.05, 0.95)))
            found.append(BacktestInterval(TREES, other, horizon, float(gap.sum() / sold.sum()), low, high))
    return tuple(found)


def _weeks(
    panel: Panel, targets: Ints, units: Floats, usable: Bools, forecasts: Mapping[tuple[str, int], Floats]
) -> tuple[BacktestWeek, ...]:
    totals = {
        f"{name}, {horizon} ahead": np.where(usable, forecast, 0.0).sum(axis=0)
        for (name, horizon), forecast in forecasts.items()
        if name in (TREES, NAIVE, GLM)
    }
    return tuple(
        BacktestWeek(int(panel.weeks[t]), float(units[:, k].sum()), {name: float(v[k]) for name, v in totals.items()})
        for k, t in enumerate(targets)
    )
