"""Controls: what else moves a product's demand beside its price and its category's week."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.demand.channels import PROMOTION, Channels
from engine.demand.rivals import RIVALS, rivals_index
from engine.panel import Panel
from engine.proposal import N_

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SMALLEST_GROUP = 4
"""Fewer products than this do not make a group whose common weeks can be told from their own prices."""
YEAR_WEEKS = 365.25 / 7
WEEKS_FOR_SEASON = 70
WEEKS_FOR_TREND = 12
STOCKPILING_WEEKS = 4

TREND, SEASON, MAILER = N_("trend"), N_("season"), N_("mailer")
DISPLAY, STOCKPILING, GROUPS = N_("display"), N_("stockpiling"), N_("category weeks")
CONFOUNDERS = (TREND, SEASON, MAILER, DISPLAY, STOCKPILING, GROUPS, RIVALS)
"""What can be left out to see how much an observed confounder matters."""


@dataclass(frozen=True)
class Controls:
    """C columns that may move demand."""

    values: Floats
    """(S, T, C)."""
    names: tuple[str, ...]
    sd: Floats
    """(C,) how far products are thought to differ, before the data speak."""
    group: Ints
    """(P,) group whose week effects the product shares; -1: none."""


def build_controls(panel: Panel, channels: Channels, without: frozenset[str] = frozenset()) -> Controls:
    """Collect the controls that the panel can give.

    Args:
        panel: weekly sales and prices.
        channels: its prices, taken apart.
        without: names of CONFOUNDERS to leave out (to measure how much they matter).
    """
    shape = channels.usable.shape
    columns: list[tuple[str, Floats, float]] = []
    weeks = shape[1]
    clock = (np.arange(weeks) - (weeks - 1) / 2) / max(weeks, 1)
    if TREND not in without and weeks >= WEEKS_FOR_TREND:
        columns.append((TREND, np.broadcast_to(clock, shape), 0.4))
    if SEASON not in without and weeks >= WEEKS_FOR_SEASON:
        angle = 2 * np.pi * np.arange(weeks) / YEAR_WEEKS
        columns.extend((SEASON, np.broadcast_to(wave, shape), 0.1) for wave in (np.sin(angle), np.cos(angle)))
    for name, values in ((MAILER, panel.mailer), (DISPLAY, panel.display)):
        if name not in without and np.ptp(values) > 0:
            columns.append((name, values, 0.3))
    if STOCKPILING not in without:
        columns.extend((STOCKPILING, values, 0.3) for values in _recent_depth(channels))
    if RIVALS not in without:
        columns.append((RIVALS, rivals_index(panel, channels), 0.5))
    kept = [column for column in columns if np.ptp(column[1]) > 0]
    stacked = np.stack([values for _, values, _ in kept], axis=2) if kept else np.zeros((*shape, 0))
    group = np.full(panel.n_products, -1) if GROUPS in without else week_groups(panel)
    return Controls(stacked, tuple(name for name, _, _ in kept), np.array([sd for *_, sd in kept]), group)


def _recent_depth(channels: Channels) -> list[Floats]:
    """Depth of last week's promotion, and mean depth of the three weeks before: what shoppers still have at home."""
    depth = channels.column(PROMOTION)
    lags = [_lagged(depth, lag) for lag in range(1, STOCKPILING_WEEKS + 1)]
    return [lags[0], np.mean(lags[1:], axis=0)]


def _lagged(values: Floats, weeks: int) -> Floats:
    out = np.zeros_like(values)
    if weeks < values.shape[1]:
        out[:, weeks:] = values[:, :-weeks]
    return out


def week_groups(panel: Panel) -> Ints:
    """(P,) the smallest of category, department and shop that holds enough products; -1 where none does."""
    products = panel.products
    category = pd.Series("c:" + products["category"].astype(str).to_numpy())
    department = pd.Series("d:" + products["department"].astype(str).to_numpy())
    name = category.where(_size(category) >= SMALLEST_GROUP, department)
    name = name.where(_size(name) >= SMALLEST_GROUP, "shop")
    name = name.where(_size(name) >= SMALLEST_GROUP, other=pd.NA)
    return pd.factorize(name)[0].astype(np.int64)


def _size(names: pd.Series) -> pd.Series:
    return names.groupby(names).transform("size")
