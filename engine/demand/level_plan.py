"""A shop's weeks, past and planned: prices, leaflets, displays; and which of them are evidence of demand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.panel import Panel

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Plan:
    """What the shop plans for W consecutive weeks; matrices are (S, W)."""

    price: Floats
    """Shelf price, money per unit."""
    regular: Floats
    """Everyday price, money per unit."""
    mailer: Floats
    display: Floats
    week_start: npt.NDArray[np.datetime64]
    """(W,) Mondays."""

    def at(self, weeks: Ints) -> Plan:
        """The plan of some of its weeks, by position."""
        return Plan(
            price=self.price[:, weeks],
            regular=self.regular[:, weeks],
            mailer=self.mailer[:, weeks],
            display=self.display[:, weeks],
            week_start=self.week_start[weeks],
        )


def plan_of(panel: Panel) -> Plan:
    """What the panel says was done, week by week."""
    regular = np.maximum(_positive(panel.regular_price), 1e-6)
    price = np.maximum(_positive(panel.price), 0.1 * regular)
    return Plan(price, regular, panel.mailer, panel.display, panel.week_start)


def _positive(price: Floats) -> Floats:
    """Prices with what is missing or not above zero replaced by the median price: such cells are not evidence."""
    good = np.isfinite(price) & (price > 0)
    return np.where(good, price, np.median(price[good]) if good.any() else 1.0)


def drivers(plan: Plan, anchor: Floats) -> Floats:
    """(S, W, 4) discount and everyday price (logs), leaflet and display, against `anchor` (S, W)."""
    discount = np.log(plan.price / plan.regular)
    regular = np.nan_to_num(np.log(plan.regular) - anchor)
    return np.stack([np.clip(discount, -2.5, 0.5), np.clip(regular, -2.0, 2.0), plan.mailer, plan.display], axis=-1)


def usable_cells(panel: Panel) -> Bools:
    """(S, T) observed cells in which the product was there to be bought."""
    return panel.observed & (panel.stock_out < 0.5) & np.isfinite(panel.units)


def live_cells(panel: Panel) -> Bools:
    """(S, T) True from the first observed week of the series."""
    return np.maximum.accumulate(panel.observed, axis=1)


def first_everyday_price(panel: Panel) -> Floats:
    """(S, T) log everyday price of the first observed week, NaN before it."""
    live = live_cells(panel)
    log_price = np.log(plan_of(panel).regular)
    first = np.take_along_axis(log_price, live.argmax(axis=1)[:, None], axis=1)
    return np.where(live, first, np.nan)


def coming_plan(panel: Panel, price: Floats, horizon: int, promotions: str) -> Plan:
    """The panel's plan with `horizon` weeks after it."""
    past = plan_of(panel)
    last = past.regular[:, -1]
    planned = _series_prices(panel, price, last)[:, None] * np.ones(horizon)
    repeated = np.arange(horizon) % min(horizon, past.price.shape[1]) - min(horizon, past.price.shape[1])
    on = 1.0 if promotions == "recent" else 0.0
    depth = (past.price / past.regular)[:, repeated] ** on
    week = np.timedelta64(7, "D")
    return Plan(
        price=np.hstack([past.price, planned * depth]),
        regular=np.hstack([past.regular, planned]),
        mailer=np.hstack([past.mailer, past.mailer[:, repeated] * on]),
        display=np.hstack([past.display, past.display[:, repeated] * on]),
        week_start=np.concatenate([past.week_start, past.week_start[-1] + week * np.arange(1, horizon + 1)]),
    )


def _series_prices(panel: Panel, price: Floats, last: Floats) -> Floats:
    """(S,) planned price of each series, at its store's distance from the product's mean."""
    if len(panel.series_product) == panel.n_products:
        planned = price[panel.series_product]
    else:
        count = np.bincount(panel.series_product, minlength=panel.n_products)
        mean = np.bincount(panel.series_product, weights=last, minlength=panel.n_products) / np.maximum(count, 1)
        planned = (price / np.where(mean > 0, mean, 1.0))[panel.series_product] * last
    return np.where(np.isfinite(planned) & (planned > 0), planned, last)
