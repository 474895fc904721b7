"""Scoring forecasts of held-out weeks: by segment, by week, and against each other over resampled products."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.demand.backtest_record import (
    FILTER,
    FREE_TREES,
    GLM,
    LOGLOG,
    NAIVE,
    TREES,
    BacktestInterval,
    BacktestRow,
    BacktestWeek,
)
from engine.demand.level_features import by_product
from engine.demand.level_plan import usable_cells
from engine.panel import Panel

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Forecasts = Mapping[tuple[str, int], Floats]
"""(model, weeks ahead) -> (S, W)."""

NEW_WEEKS = 13
"""A product first seen fewer weeks than this before the test is new."""
RESAMPLES = 999


@dataclass(frozen=True)
class HeldOut:
    """The test weeks of a panel."""

    panel: Panel
    targets: Ints
    """(W,) positions."""

    @property
    def usable(self) -> Bools:
        """(S, W) cells that are scored."""
        return usable_cells(self.panel)[:, self.targets]

    @property
    def units(self) -> Floats:
        """(S, W) units sold; 0 in cells that are not scored."""
        return np.where(self.usable, self.panel.units[:, self.targets], 0.0)


def score_rows(test: HeldOut, forecasts: Forecasts, thin_weeks: int) -> tuple[BacktestRow, ...]:
    """Score every forecast on every segment that has a product."""
    units, usable = test.units, test.usable
    segments = _segments(test.panel, int(test.targets[0]), thin_weeks)
    rows = (
        _score(name, horizon, segment, units, forecast, usable & chosen[:, None])
        for (name, horizon), forecast in forecasts.items()
        for segment, chosen in segments.items()
    )
    return tuple(row for row in rows if row.n)


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


def score_differences(test: HeldOut, forecasts: Forecasts, seed: int) -> tuple[BacktestInterval, ...]:
    """XGBoost against each other model; products are resampled whole, as their weeks are not independent."""
    n = test.panel.n_products
    sold = by_product(test.units.sum(axis=1), test.panel.series_product, n)
    if sold.sum() <= 0:
        return ()
    draws = np.random.default_rng(seed).multinomial(n, np.full(n, 1.0 / n), size=RESAMPLES).astype(np.float64)
    pairs = [
        (horizon, other)
        for name, horizon in forecasts
        if name == TREES
        for other in (NAIVE, LOGLOG, GLM, FILTER, FREE_TREES)
        if (other, horizon) in forecasts
    ]
    return tuple(_difference(test, forecasts, horizon, other, sold, draws) for horizon, other in pairs)


def _difference(
    test: HeldOut, forecasts: Forecasts, horizon: int, other: str, sold: Floats, draws: Floats
) -> BacktestInterval:
    def missed(name: str) -> Floats:
        errors = np.where(test.usable, np.abs(test.units - forecasts[name, horizon]), 0.0).sum(axis=1)
        return by_product(errors, test.panel.series_product, len(sold))

    gap = missed(TREES) - missed(other)
    total = draws @ sold
    low, high = np.quantile((draws @ gap)[total > 0] / total[total > 0], (0.05, 0.95))
    return BacktestInterval(TREES, other, horizon, float(gap.sum() / sold.sum()), float(low), float(high))


def score_weeks(test: HeldOut, forecasts: Forecasts) -> tuple[BacktestWeek, ...]:
    """All products together, week by week."""
    totals = {
        f"{name}, {horizon} ahead": np.where(test.usable, forecast, 0.0).sum(axis=0)
        for (name, horizon), forecast in forecasts.items()
        if name in (TREES, NAIVE, GLM)
    }
    sold = test.units.sum(axis=0)
    return tuple(
        BacktestWeek(int(test.panel.weeks[t]), float(sold[k]), {name: float(v[k]) for name, v in totals.items()})
        for k, t in enumerate(test.targets)
    )
