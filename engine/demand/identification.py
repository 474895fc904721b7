"""Identification: whether a product's own history says enough about its price response to act on it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.demand.channels import Channels
from engine.panel import Panel
from engine.proposal import Reason
from engine.settings import Settings

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

LEVEL_SHARE = 0.01
"""Two prices that differ by less than this count as one level."""
LEVEL_WEEKS = 2
"""A price level counts when it was in force for this many weeks."""
MANY_LEVELS = 3
"""So many different prices count as moves even where none came twice."""
LEAST_SLACK = 0.02

FEW_WEEKS = "held at today's price: sold in {weeks} weeks, {least} are needed"
NO_MOVES = "held at today's price: its price never moved, so nothing is known of its elasticity"
NOT_IDENTIFIED = "held at today's price: elasticity not identified ({mean:.1f} ± {se:.1f})"
NOT_NEGATIVE = "held at today's price: the estimate does not show that demand falls with price ({mean:.1f} ± {se:.1f})"
IDENTIFIED = "elasticity {mean:.1f} ± {se:.1f}"


def judge_products(
    panel: Panel, settings: Settings, channels: Channels, mean: Floats, sd: Floats, raw_se: Floats
) -> tuple[Bools, tuple[Reason, ...]]:
    """Say for each product whether its price may be moved, and why.

    Args:
        panel: weekly sales and prices.
        settings: `demand.min_weeks_sold` and `demand.max_elasticity_se`.
        channels: the panel's prices, taken apart.
        mean: (P,) posterior mean of the elasticity.
        sd: (P,) its posterior standard deviation.
        raw_se: (P,) standard error of the product's own evidence.

    Returns:
        identified (P,), and a sentence for each.
    """
    weeks = _by_product(panel, (channels.usable & (panel.units > 0)).sum(axis=1))
    levels = price_levels(panel, channels)
    identified = np.zeros(panel.n_products, dtype=np.bool_)
    reasons: list[Reason] = []
    for i in range(panel.n_products):
        values = {"mean": float(mean[i]), "se": float(min(raw_se[i], 99.9))}
        least = settings.demand.min_weeks_sold
        if weeks[i] < least:
            reasons.append(Reason(FEW_WEEKS, {"weeks": int(weeks[i]), "least": least}))
        elif levels[i] < 2:
            reasons.append(Reason(NO_MOVES))
        elif raw_se[i] > settings.demand.max_elasticity_se:
            reasons.append(Reason(NOT_IDENTIFIED, values))
        elif mean[i] + sd[i] >= 0:
            reasons.append(Reason(NOT_NEGATIVE, {"mean": float(mean[i]), "se": float(sd[i])}))
        else:
            identified[i] = True
            reasons.append(Reason(IDENTIFIED, {"mean": float(mean[i]), "se": float(sd[i])}))
    return identified, tuple(reasons)


def price_levels(panel: Panel, channels: Channels) -> Ints:
    """(P,) distinct price levels, each in force for two weeks or more, in the series that has most of them."""
    out = np.zeros(panel.n_products, dtype=np.int64)
    for s, product in enumerate(panel.series_product):
        prices = panel.price[s, channels.usable[s]]
        if prices.size:
            level = np.round(np.log(prices) / LEVEL_SHARE).astype(np.int64)
            count = np.unique(level, return_counts=True)[1]
            lasting, many = int((count >= LEVEL_WEEKS).sum()), 2 if len(count) > MANY_LEVELS else 1
            out[product] = max(out[product], lasting, many)
    return out


def price_range(panel: Panel, channels: Channels, largest_slack: float) -> tuple[Floats, Floats]:
    """Lowest and highest price at which a product's response is taken to hold.

    The range of prices seen (second lowest to second highest week), widened on each side by half its own width in
    logs, at least 2 % and at most `largest_slack`: who has seen little may be moved little beyond it.

    Returns:
        (P,) low and (P,) high, money per unit; the last price carried, twice, for a product without a usable week.
    """
    low, high = np.zeros(panel.n_products), np.zeros(panel.n_products)
    low[panel.series_product] = high[panel.series_product] = panel.price[:, -1]
    order = np.argsort(panel.series_product, kind="stable")
    bounds = np.searchsorted(panel.series_product[order], np.arange(panel.n_products + 1))
    for i in range(panel.n_products):
        rows = order[bounds[i] : bounds[i + 1]]
        seen = np.sort(panel.price[rows][channels.usable[rows]])
        if seen.size:
            first, last = seen[min(1, seen.size - 1)], seen[max(seen.size - 2, 0)]
            slack = np.clip(0.5 * np.log(max(last / first, 1.0)), LEAST_SLACK, max(largest_slack, LEAST_SLACK))
            low[i], high[i] = min(first, last) * np.exp(-slack), max(first, last) * np.exp(slack)
    return low, high


def _by_product(panel: Panel, values: npt.NDArray[np.int64]) -> Ints:
    """(P,) largest value over the series of each product."""
    out = np.zeros(panel.n_products, dtype=np.int64)
    np.maximum.at(out, panel.series_product, values)
    return out
