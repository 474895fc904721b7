"""The level model judged on weeks it has not seen, beside forecasts that anybody could have made.

The last weeks are held out. A forecast made h weeks ahead comes from models fitted on weeks up to its origin or earlier
and reads the past as of its origin; of the target week it knows the plan: price, leaflet, display.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from engine.demand.backtest_record import (
    FILTER,
    FREE_TREES,
    GLM,
    LOGLOG,
    NAIVE,
    TREES,
    Backtest,
    BacktestCoverage,
    BacktestInterval,
    BacktestRow,
    BacktestWeek,
)
from engine.demand.backtest_score import HeldOut, score_differences, score_rows, score_weeks
from engine.demand.baselines import fit_glm, fit_loglog, last_weeks_mean
from engine.demand.level import FIRST_WEEKS, LevelModel, LevelOptions, fit_level, history_of, predict
from engine.demand.level_features import History, by_product
from engine.demand.level_plan import Plan, drivers, plan_of
from engine.panel import Panel
from engine.progress import Progress, Silent
from engine.proposal import Reason
from engine.settings import Settings

__all__ = ["Backtest", "BacktestCoverage", "BacktestInterval", "BacktestRow", "BacktestWeek", "backtest"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

TEST_WEEKS = 8
LONG_HORIZON = 8
MIN_TRAINING_WEEKS = 6
NORMAL_95 = 1.645
WITHOUT = "without "
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
    reasons += _untested(windows, settings.demand.horizon_weeks)
    inputs = _Inputs(panel, settings, mix, text, seed)
    runs = _variants(inputs, ablations=ablations)
    progress = progress or Silent()
    forecasts: dict[tuple[str, int], Floats] = {}
    coverage: BacktestCoverage | None = None
    for done, window in enumerate(windows):
        models = {name: _fit(inputs, window, options) for name, options in runs.items()}
        forecasts |= _forecasts(inputs, window, models)
        if window.horizon == 1:
            coverage = _coverage(inputs, window, models[TREES])
        progress.advance((done + 1) / len(windows))
    return _summary(inputs, windows, forecasts, coverage, reasons)


def _windows(n_weeks: int, horizon: int) -> tuple[_Window, ...]:
    """One week ahead, and eight (or the horizon, if that is less); fewer where the history is short."""
    held = min(TEST_WEEKS, n_weeks // 4)
    targets = np.arange(n_weeks - held, n_weeks)
    windows = (_Window(targets, ahead) for ahead in sorted({1, min(LONG_HORIZON, horizon)}))
    return tuple(w for w in windows if held and w.trained >= MIN_TRAINING_WEEKS + w.horizon)


def _untested(windows: tuple[_Window, ...], horizon: int) -> tuple[Reason, ...]:
    """Say so where the history was too short for the long horizon."""
    ahead = min(LONG_HORIZON, horizon)
    if any(window.horizon == ahead for window in windows):
        return ()
    return (Reason("not tested {weeks} weeks ahead: the history is too short", {"weeks": ahead}),)


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
            variants[WITHOUT + name] = LevelOptions(without=groups)
    return variants


def _forecasts(inputs: _Inputs, window: _Window, models: Mapping[str, LevelModel]) -> dict[tuple[str, int], Floats]:
    """(model, horizon) -> (S, W) forecasts of the target weeks."""
    plan = plan_of(inputs.panel)
    history = history_of(models[TREES], inputs.panel)
    found = _baselines(history, plan, window)
    for name, model in models.items():
        own = history if name in (TREES, FREE_TREES) else history_of(model, inputs.panel)
        found[name] = predict(model, own, plan, window.targets, window.horizon)
    return {(name, window.horizon): units for name, units in found.items()}


def _coverage(inputs: _Inputs, window: _Window, model: LevelModel) -> BacktestCoverage | None:
    """Forecast the whole test from the week before it, and see whether the stated errors hold."""
    if len(window.targets) != model.horizon:
        return None
    panel, history, plan = inputs.panel, history_of(model, inputs.panel), plan_of(inputs.panel)
    test = HeldOut(panel, window.targets)
    weekly = [predict(model, history, plan, window.targets[[k]], k + 1)[:, 0] for k in range(len(window.targets))]
    hoped = np.where(test.usable, np.column_stack(weekly), 0.0).sum(axis=1)
    hoped = by_product(hoped, panel.series_product, panel.n_products)
    sold = by_product(test.units.sum(axis=1), panel.series_product, panel.n_products)
    if sold.sum() <= 0:
        return None
    there = hoped > 0
    spread = model.error.relative_sd(hoped[there]) * hoped[there]
    inside = np.abs(sold[there] - hoped[there]) <= NORMAL_95 * spread
    total_error = float(hoped.sum() / sold.sum()) - 1.0
    return BacktestCoverage(int(there.sum()), float(inside.mean()), total_error, model.error.common_sd)


def _fit(inputs: _Inputs, window: _Window, options: LevelOptions) -> LevelModel:
    return fit_level(
        first_weeks(inputs.panel, window.trained),
        inputs.settings,
        horizon=inputs.settings.demand.horizon_weeks,
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
        FILTER: np.exp(history.log_mean(as_of, window.targets, seen)),
    }
    if window.trained > window.horizon + FIRST_WEEKS:
        glm = fit_glm(history, plan, window.trained, window.horizon, FIRST_WEEKS)
        found[GLM] = glm.predict(history, plan, window.targets)
    return found


def _summary(
    inputs: _Inputs,
    windows: tuple[_Window, ...],
    forecasts: Mapping[tuple[str, int], Floats],
    coverage: BacktestCoverage | None,
    reasons: tuple[Reason, ...],
) -> Backtest:
    test = HeldOut(inputs.panel, windows[0].targets)
    rows = score_rows(test, forecasts, inputs.settings.demand.min_weeks_sold)
    tested = Backtest(
        rows=tuple(row for row in rows if not row.model.startswith(WITHOUT)),
        ablations=tuple(row for row in rows if row.model.startswith(WITHOUT)),
        intervals=score_differences(test, forecasts, inputs.seed),
        weeks=score_weeks(test, forecasts),
        coverage=coverage,
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
