"""What the level model is told about a series and a week: its past as of the forecast's origin, and the week's plan.

Strictly point in time. `History` holds statistics as of each week, made of weeks up to and with it. A row for target
week w at horizon h reads them at w - h; of week w itself it reads only what the shop plans: price, leaflet, display.
Feature names are "group.name"; the groups are what the ablations leave out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.demand.level_calendar import holiday_distance, season
from engine.demand.level_filter import USUAL_NOISE, Filtered, Noise, filter_series
from engine.demand.level_plan import Plan, drivers, first_everyday_price, live_cells, plan_of, usable_cells
from engine.demand.level_season import HARMONICS, harmonics
from engine.panel import Panel

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

SEASON_WEEKS = 52
LEAST_SEASON = 8
"""Weeks beyond a year from which the season is looked at; in less it would only name the weeks."""
SMALL = 0.05
"""Added to weekly units before a logarithm."""
OFFSET_SHARE = np.array([0.7, 0.7, 1.0, 1.0])
"""Share of the filter's effects (discount, everyday price, leaflet, display) that goes into the offset. The trees may
only steepen the fall in price, never flatten it; with the whole effect in the offset they could not correct it."""
MATURE_WEEKS = 13.0
"""Beyond this age a series is not new. Age must not run on: it would tell the trees which week it is."""

USUAL = 0.6
"""Share of the past year's weeks with no more promotions in the category than the week that forecasts assume. Chosen
for the smallest bias in the worst of four kinds of simulated shop (docs/demand-level.md); the mean is nearly as good,
while the quietest weeks (a quarter or less) forecast up to a fifth too little."""


@dataclass(frozen=True)
class History:
    """A panel's past, as of each of its T weeks."""

    units: Floats
    usable: Bools
    """(S, T) cells that are evidence of demand: observed, and not out of stock."""
    anchor: Floats
    """(S, T) log everyday price of the series' first week, NaN before it."""
    filtered: Filtered
    season: Floats
    """(S, J) harmonics of the series' yearly season; zeros: none."""
    known: Mapping[str, Floats]
    """Feature name -> (S, T) as of each week; what is a level is in log units relative to the filtered level."""
    group: Ints
    """(S,) category within store, 0…G-1."""
    group_units: Floats
    """(G, T) units of each group, promotions taken out; a cell without evidence counts at its filtered level."""
    static: Floats
    """(S, E) what does not change: profile mix, text components."""
    static_names: tuple[str, ...]

    def log_mean(self, as_of: Ints, targets: Ints, drivers: Floats) -> Floats:
        """(S, W) log units that the filter expects in the weeks `targets` (W,), from its state as of `as_of` (W,)."""
        return self.filtered.log_mean(as_of, drivers) + self.season @ harmonics(targets).T


@dataclass(frozen=True)
class Wanted:
    """Which features a design has."""

    names: tuple[str, ...] = ()
    """Exactly these, in this order; empty: all there are."""
    without: frozenset[str] = frozenset()
    """Groups that are left out of all there are."""
    given: Mapping[str, Floats] = field(default_factory=dict)
    """(S, 1) values of features that are not to be read from the plan."""

    def of(self, available: Mapping[str, Floats]) -> tuple[str, ...]:
        """Names of the columns."""
        return self.names or tuple(name for name in available if name.split(".")[0] not in self.without)


@dataclass(frozen=True)
class Design:
    """Rows (series by target week) for one horizon, series-major."""

    values: Floats32
    """(S·W, K)."""
    names: tuple[str, ...]
    expected: Floats
    """(S·W,) log expected units by the filter alone."""
    offset: Floats
    """(S·W,) what the trees start from: as `expected`, with a part of the price effects only."""
    rows: Mapping[str, Ints] = field(default_factory=dict)
    """"series" and "week" (position) of each row."""


def series_groups(panel: Panel) -> Ints:
    """(S,) category within store, as a code."""
    category = panel.products["category"].to_numpy(dtype=object)[panel.series_product]
    keys = pd.MultiIndex.from_arrays([category, panel.series_store.astype(object)])
    return pd.factorize(keys)[0].astype(np.int64)


def build_history(
    panel: Panel,
    pooled: Floats,
    own: Bools,
    *,
    noise: Noise = USUAL_NOISE,
    season: Floats | None = None,
    static: Floats | None = None,
    static_names: tuple[str, ...] = (),
) -> History:
    """The past of a panel as of each week.

    Args:
        panel: the panel.
        pooled: (4,) effects of the drivers common to all series (`level_filter.pooled_effects`).
        own: (4,) whether the series have their own effect.
        noise: what the filter takes for chance.
        season: (S, J) harmonics of the series' yearly season (`level_season`); None: no season.
        static: (S, E) constant features.
        static_names: (E,) their names.
    """
    usable, live, anchor = usable_cells(panel), live_cells(panel), first_everyday_price(panel)
    plan, group = plan_of(panel), series_groups(panel)
    seen = drivers(plan, anchor)
    units = np.where(usable, panel.units, 0.0)
    season = np.zeros((len(units), 2 * HARMONICS)) if season is None else season
    path = season @ harmonics(np.arange(units.shape[1])).T
    filtered = filter_series(units, usable, live, seen, pooled, group, own=own, season=path, noise=noise)
    plain = units / np.exp(np.clip(np.einsum("stk,stk->st", filtered.effects, seen) + path, -3.0, 3.0))
    bridged = np.where(usable, plain, np.where(live, np.exp(filtered.level), 0.0))
    group_units = _by_group(bridged, group)
    known = {
        **_lags(bridged, np.where(usable, units, bridged), live, filtered.level),
        **_past_prices(plan, live),
        **_past_promotions(seen, live),
        **_category(group_units, group),
        "age.weeks": np.minimum(np.cumsum(live, axis=1), MATURE_WEEKS).astype(np.float64),
        "filter.level": filtered.level,
        "filter.variance": filtered.level_variance,
        **{f"filter.effect_{k}": filtered.effects[:, :, k] for k in range(seen.shape[-1])},
    }
    static = np.zeros((len(units), 0)) if static is None else static
    return History(units, usable, anchor, filtered, season, known, group, group_units, static, static_names)


def rolling_mean(values: Floats, counted: Bools, weeks: int) -> Floats:
    """(S, T) mean of the counted cells among the last `weeks`, this one included; NaN where there is none."""
    sums = _trailing_sum(np.where(counted, values, 0.0), weeks)
    counts = _trailing_sum(counted.astype(np.float64), weeks)
    mean: Floats = np.divide(sums, counts, out=np.full(values.shape, np.nan), where=counts > 0)
    return mean


def _trailing_sum(values: Floats, weeks: int) -> Floats:
    """Sum of the last weeks, by shifts: the same rounding whatever came before the window."""
    total = values.copy()
    for lag in range(1, min(weeks, values.shape[1])):
        total[:, lag:] += values[:, :-lag]
    return total


def _shifted(values: Floats, lag: int) -> Floats:
    out = np.full(values.shape, np.nan)
    out[:, lag:] = values[:, : values.shape[1] - lag]
    return out


def _lags(plain: Floats, units: Floats, live: Bools, level: Floats) -> dict[str, Floats]:
    """Units of the last weeks and their means, freed of promotions, relative to the filtered level.

    A week without evidence counts at its filtered level in both matrices: a stock-out leaves no gap and no fall.
    """
    known: dict[str, Floats] = {}
    for weeks in (4, 8, 13, 26):
        known[f"lags.mean_{weeks}"] = np.log(rolling_mean(plain, live, weeks) + SMALL) - level
    for weeks in (4, 13):
        known[f"lags.raw_mean_{weeks}"] = np.log(rolling_mean(units, live, weeks) + SMALL) - level
    last = np.log(np.where(live, plain, np.nan) + SMALL)
    for lag in range(min(4, units.shape[1])):
        known[f"lags.units_{lag}"] = _shifted(last, lag) - level
    mean = rolling_mean(units, live, 13)
    spread = rolling_mean(np.square(units - np.nan_to_num(mean)), live, 13)
    known["lags.zeros_13"] = rolling_mean((units == 0).astype(np.float64), live, 13)
    known["lags.variation_13"] = np.sqrt(spread) / (mean + 0.5)
    if units.shape[1] > SEASON_WEEKS:
        known["lags.year_ago"] = np.log(_shifted(rolling_mean(plain, live, 3), SEASON_WEEKS - 1) + SMALL) - level
    return known


def _past_prices(plan: Plan, live: Bools) -> dict[str, Floats]:
    price, regular = np.log(plan.price), np.log(plan.regular)
    lowest = np.where(live, price, np.inf)
    for lag in range(1, min(13, price.shape[1])):
        lowest[:, lag:] = np.minimum(lowest[:, lag:], np.where(live, price, np.inf)[:, :-lag])
    return {
        "price.mean_13": rolling_mean(price, live, 13),
        "price.mean_26": rolling_mean(price, live, 26),
        "price.lowest_13": np.where(np.isfinite(lowest), lowest, np.nan),
        "price.last": np.where(live, price, np.nan),
        "price.regular_mean_13": rolling_mean(regular, live, 13),
    }


def _past_promotions(seen: Floats, live: Bools) -> dict[str, Floats]:
    discount, mailer, display = seen[:, :, 0], seen[:, :, 2], seen[:, :, 3]
    return {
        "promotions.discount_0": discount,
        "promotions.discount_13": rolling_mean(discount, live, 13),
        "promotions.mailer_0": mailer,
        "promotions.mailer_13": rolling_mean(mailer, live, 13),
        "promotions.display_0": display,
    }


def _category(sums: Floats, group: Ints) -> dict[str, Floats]:
    """How the category's sales stand against their mean of a quarter, promotions taken out."""
    every = np.ones(sums.shape, dtype=bool)
    quarter = rolling_mean(sums, every, 13) + 1.0
    return {
        "category.month": np.log((rolling_mean(sums, every, 4) + 1.0) / quarter)[group],
        "category.week": np.log((sums + 1.0) / quarter)[group],
    }


def by_product(values: Floats, series_product: Ints, n_products: int) -> Floats:
    """(P,) sums over the series of each product."""
    return np.bincount(series_product, weights=values, minlength=n_products).astype(np.float64)


def _by_group(values: Floats, group: Ints) -> Floats:
    """(G, …) sums over the series of each group."""
    sums = np.zeros((int(group.max()) + 1, *values.shape[1:]))
    np.add.at(sums, group, values)
    return sums


def build_design(history: History, plan: Plan, targets: Ints, horizon: int, wanted: Wanted) -> Design:
    """Rows for the weeks `targets` (W,), positions in both plan and panel, seen `horizon` weeks before.

    Beyond the panel's end the plan may go on; the past is then read as of the last week that is both in the panel and
    at least `horizon` weeks before.

    Args:
        history: as of each week.
        plan: for all weeks up to the last target.
        targets: positions of the target weeks; each at least `horizon`.
        horizon: weeks ahead.
        wanted: which features, in which order.
    """
    as_of = targets - horizon
    anchor = history.anchor[:, as_of]
    planned = drivers(plan.at(targets), anchor)
    expected = history.log_mean(as_of, targets, planned)
    offset = history.log_mean(as_of, targets, planned * OFFSET_SHARE)
    blocks = {name: values[:, as_of] for name, values in history.known.items() if not name.startswith("price.")}
    blocks |= _planned_features(history, plan.at(targets), planned, as_of)
    blocks |= _calendar(plan.week_start[targets], history)
    if history.units.shape[1] > SEASON_WEEKS + LEAST_SEASON:
        blocks |= _year_ago(history, targets, as_of)
    blocks |= _weeks_before(plan, targets)
    blocks["horizon.weeks"] = np.full(offset.shape, float(horizon))
    blocks["filter.log_mean"] = expected
    blocks |= {name: history.static[:, [k]] for k, name in enumerate(history.static_names)}
    blocks |= wanted.given
    return _assemble(blocks, expected, offset, targets, wanted)


def _assemble(blocks: Mapping[str, Floats], expected: Floats, offset: Floats, targets: Ints, wanted: Wanted) -> Design:
    names = wanted.of(blocks)
    values = np.empty((offset.size, len(names)), dtype=np.float32)
    for k, name in enumerate(names):
        values[:, k] = np.broadcast_to(blocks[name], offset.shape).ravel()
    series, week = np.indices(offset.shape)
    rows = {"series": series.ravel(), "week": targets[week.ravel()]}
    return Design(values, names, expected.ravel(), offset.ravel(), rows)


def _planned_features(history: History, plan: Plan, planned: Floats, as_of: Ints) -> dict[str, Floats]:
    """The plan of the target week against the past; every "price." feature grows with the planned price."""
    price, regular = np.log(plan.price), np.log(plan.regular)
    past = {name: history.known[name][:, as_of] for name in history.known if name.startswith("price.")}
    weight = np.exp(history.filtered.level[:, as_of])
    others = {
        name: _others_mean(values, weight, history.group)
        for name, values in (("price", price), ("discount", planned[:, :, 0]), ("mailer", plan.mailer))
    }
    return {
        "price.to_mean_13": price - past["price.mean_13"],
        "promotions.lowest_13": past["price.lowest_13"] - past["price.mean_13"],
        "promotions.last": past["price.last"] - past["price.mean_13"],
        "promotions.half_year": past["price.mean_26"] - past["price.mean_13"],
        "price.regular_to_mean_13": regular - past["price.regular_mean_13"],
        "price.discount": planned[:, :, 0],
        "price.to_category": price - others["price"],
        "promotions.mailer": plan.mailer,
        "promotions.display": plan.display,
        "category.discount": others["discount"],
        "category.mailer": others["mailer"],
    }


def usual_promotions(history: History, plan: Plan) -> dict[str, Floats]:
    """(S, 1) discount and leaflets of the category's other products in a usual week of the year up to the panel's end.

    For forecasts that plan no promotions. The trees take a category without any for one in a quiet week, as shops
    promote when demand is high, and demand will not be quiet because the plan is: see `USUAL`.
    """
    n_weeks = history.units.shape[1]
    year = np.arange(max(n_weeks - SEASON_WEEKS, 0), n_weeks)
    past = plan.at(year)
    weight = np.exp(history.filtered.level[:, [-1]]) * np.ones(len(year))
    discount = _others_mean(drivers(past, history.anchor[:, year])[:, :, 0], weight, history.group)
    mailer = _others_mean(past.mailer, weight, history.group)
    return {
        "category.discount": np.quantile(discount, 1.0 - USUAL, axis=1)[:, None],
        "category.mailer": np.quantile(mailer, USUAL, axis=1)[:, None],
    }


def _others_mean(values: Floats, weight: Floats, group: Ints) -> Floats:
    """(S, W) mean over the other series of the group, by weight; NaN where there is none."""
    total, mass = _by_group(values * weight, group)[group], _by_group(weight, group)[group]
    rest = mass - weight
    alone = rest <= 1e-9 * mass
    mean: Floats = np.divide(total - values * weight, rest, out=np.full(values.shape, np.nan), where=~alone)
    return mean


def _calendar(week_start: npt.NDArray[np.datetime64], history: History) -> dict[str, Floats]:
    """Holidays near; the season only where more than a year was seen, as it would name the weeks otherwise."""
    near = holiday_distance(week_start)
    features = {"calendar.to_holiday": near[None, :, 0], "calendar.since_holiday": near[None, :, 1]}
    if history.units.shape[1] > SEASON_WEEKS + LEAST_SEASON:
        cycle = season(week_start)
        features |= {f"calendar.season_{k}": cycle[None, :, k] for k in range(cycle.shape[1])}
    return features


def _year_ago(history: History, targets: Ints, as_of: Ints) -> dict[str, Floats]:
    """Growth from the origin's week to the target's a year before (three-week means), of category and shop."""
    then, origin = np.minimum(targets - SEASON_WEEKS + 1, as_of), as_of - SEASON_WEEKS + 1
    known = origin >= 1
    features = {}
    for name, units, row in (
        ("category.year_ago", history.group_units, history.group),
        ("calendar.year_ago", history.group_units.sum(axis=0, keepdims=True), np.zeros(1, dtype=np.int64)),
    ):
        smooth = np.log(rolling_mean(units, np.ones(units.shape, dtype=bool), 3) + 1.0)
        growth = smooth[:, np.maximum(then, 0)] - smooth[:, np.maximum(origin, 0)]
        features[name] = np.where(known, growth, np.nan)[row]
    return features


def _weeks_before(plan: Plan, targets: Ints) -> dict[str, Floats]:
    """Planned discounts of the weeks just before the target: what was stocked up then is not bought now."""
    discount = np.clip(np.log(plan.price / plan.regular), -2.5, 0.5)
    return {
        f"promotions.before_{lag}": np.where(targets >= lag, discount[:, np.maximum(targets - lag, 0)], np.nan)
        for lag in (1, 2, 3)
    }
