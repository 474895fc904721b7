"""The level of demand: how much of each product will be sold at the planned price.

Boosted trees (XGBoost, Poisson) correct a filtered Poisson regression of each series, which is handed to them as the
offset; both fall as the price rises. The forecast is for today's everyday price or a planned one near it: how demand
answers to a price move is the response's matter (engine.demand.response), as a good forecast is not a price response.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from engine.demand.level_error import LevelError, measure_error
from engine.demand.level_features import (
    Design,
    History,
    Wanted,
    build_design,
    build_history,
    by_product,
    usual_promotions,
)
from engine.demand.level_filter import DRIVERS, Noise
from engine.demand.level_noise import choose_noise
from engine.demand.level_plan import Plan, coming_plan, drivers, first_everyday_price, plan_of, usable_cells
from engine.demand.level_season import pooled_with_season
from engine.errors import DataError
from engine.interrupts import uninterrupted
from engine.panel import Panel
from engine.proposal import Reason
from engine.settings import Settings

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MIN_ROWS = 300
"""Fewer product-weeks than this teach trees nothing; the filter alone is used."""
MAX_ROWS = 200_000
"""More product-weeks (times horizons) than this are sampled."""
MAX_CORRECTION = 5.0
"""The trees may not correct the filter by more than this factor; beyond it they extrapolate from other products."""
FIRST_WEEKS = 3
"""Weeks of history before the first target that the trees learn from."""
LONG_PANEL = 60
"""From this many weeks on, weeks have a season to learn from and their common shocks stay in the training data."""
TEXT_COMPONENTS = 8
LEARNING = 16.0
"""Learning rate times trees: more trees take smaller steps."""
PRICE_DRIVERS = ("discount", "regular")


@dataclass(frozen=True)
class LevelOptions:
    """What is left out or changed, for ablations; the defaults are the model."""

    without: frozenset[str] = frozenset()
    """Feature groups: lags, price, promotions, category, calendar, age, filter, profile, text."""
    monotone: bool = True
    horizons: tuple[int, ...] | None = None
    """Horizons to learn from; None: 1 and doublings of it up to the horizon."""
    parameters: tuple[tuple[str, Any], ...] = ()
    """XGBoost parameters that differ from `TREE_PARAMETERS`."""


# Chosen on weeks 29-45 of the Complete Journey data, two folds, one and eight weeks ahead; the optimum is flat.
TREE_PARAMETERS: dict[str, Any] = {
    "objective": "count:poisson",
    "tree_method": "hist",
    "base_score": 1.0,
    "max_depth": 5,
    "min_child_weight": 50,
    "subsample": 0.8,
    "colsample_bytree": 0.5,
    "reg_lambda": 20,
    "max_delta_step": 0.7,
    "max_bin": 128,
}


@dataclass(frozen=True)
class LevelModel:
    """A fitted level model."""

    booster: Any
    """xgboost.Booster; None where the filter stands alone."""
    names: tuple[str, ...]
    """Features of the booster."""
    pooled: Floats
    """(4,) effects of discount, everyday price, leaflet, display common to all series."""
    own: Bools
    """(4,) which of them each series has its own of."""
    noise: Noise
    """What the filter takes for chance."""
    season: Floats
    """(P, J) harmonics of the yearly season of each product's category; zeros: none."""
    static: Floats
    """(P, E) profile mix and text components of the products."""
    static_names: tuple[str, ...]
    horizon: int
    rows: int
    """Product-weeks (times horizons) that the trees learned from."""
    error: LevelError
    reasons: tuple[Reason, ...] = ()
    """What a reader must know, such as that the trees were left out."""


@dataclass(frozen=True)
class LevelForecast:
    """Units to come at the planned everyday price."""

    units: Floats
    """(S, H) expected units of each series, 1…H weeks after the panel's end."""
    product_units: Floats
    """(P,) expected units over the horizon, all series of the product."""
    relative_sd: Floats
    """(P,) standard deviation of the relative error of `product_units`, the part common to all products included."""
    common_sd: float = 0.0
    """Standard deviation of the relative error that all products share (a shop-wide shock)."""
    category_sd: float = 0.0
    """Standard deviation of what the products of a category share beyond that."""
    category: Ints | None = None
    """(P,) codes; None: each product stands alone."""
    reasons: tuple[Reason, ...] = ()

    def draws(self, n: int, rng: np.random.Generator) -> Floats:
        """(n, P) relative levels, mean 1: log-normal with factors common to all products and to each category."""
        common = np.log1p(self.common_sd**2)
        total = np.maximum(np.log1p(np.square(self.relative_sd)), common)
        shared = np.minimum(np.log1p(self.category_sd**2), total - common)
        group = np.arange(total.size) if self.category is None else self.category
        factor = rng.standard_normal((n, int(group.max(initial=-1)) + 1))[:, group]
        shock = np.sqrt(common) * rng.standard_normal((n, 1)) + np.sqrt(shared) * factor
        shock = shock + np.sqrt(total - common - shared) * rng.standard_normal((n, total.size))
        return np.asarray(np.exp(shock - total / 2), dtype=np.float64)


def fit_level(
    panel: Panel,
    settings: Settings,
    *,
    horizon: int,
    profile_mix: Floats | None = None,
    text: npt.NDArray[np.float32] | None = None,
    seed: int,
    options: LevelOptions | None = None,
) -> LevelModel:
    """Fit the level model on the whole panel.

    Args:
        panel: S series by T weeks, P products.
        settings: `demand.trees`, `data.threads`.
        horizon: weeks ahead that forecasts are wanted for.
        profile_mix: (P, F) mean profile of each product's buyers, known at the panel's end.
        text: (P, E) embedding of title and description; its leading principal components are used.
        seed: of the trees' sampling.
        options: ablations.

    Raises:
        DataError: the panel has no observed week of any product.
    """
    options = options or LevelOptions()
    usable = usable_cells(panel)
    if not usable.any():
        raise DataError("no observed week of any product: there is nothing to forecast from; check units and stock_out")
    own = np.array([not _left_out(name, options.without) for name in DRIVERS])
    seen = drivers(plan_of(panel), first_everyday_price(panel))
    category = panel.category_code[panel.series_product]
    pooled, by_category = pooled_with_season(panel.units, usable, seen, category, own)
    season = by_category[panel.category_code] * ("calendar" not in options.without)
    static, names = _static_features(panel, profile_mix, text, options.without)
    at = panel.series_product
    noise = choose_noise(panel, pooled, own, season[at], _doublings(horizon))
    history = build_history(panel, pooled, own, noise=noise, season=season[at], static=static[at], static_names=names)
    model = LevelModel(
        booster=None,
        names=(),
        pooled=pooled,
        own=own,
        noise=noise,
        season=season,
        static=static,
        static_names=names,
        horizon=horizon,
        rows=0,
        error=measure_error(history, plan_of(panel), at, panel.category_code, horizon),
    )
    return _with_trees(model, history, plan_of(panel), settings, options, seed)


def _left_out(driver: str, without: frozenset[str]) -> bool:
    return ("price" if driver in PRICE_DRIVERS else "promotions") in without


def _static_features(
    panel: Panel, profile_mix: Floats | None, text: npt.NDArray[np.float32] | None, without: frozenset[str]
) -> tuple[Floats, tuple[str, ...]]:
    """(P, E) profile mix and leading components of the text embedding."""
    parts: dict[str, Floats] = {}
    if profile_mix is not None and "profile" not in without:
        parts |= {f"profile.{k}": column for k, column in enumerate(profile_mix.T)}
    if text is not None and "text" not in without:
        parts |= {f"text.{k}": column for k, column in enumerate(_leading_components(text).T)}
    static = np.column_stack(list(parts.values())) if parts else np.zeros((panel.n_products, 0))
    return static, tuple(parts)


def _leading_components(text: npt.NDArray[np.float32]) -> Floats:
    """(P, ≤8) principal components of the embedding, signs fixed so that runs agree."""
    centred = text.astype(np.float64) - text.mean(axis=0, dtype=np.float64)
    if not centred.any():
        return np.zeros((len(text), 0))
    values, vectors = np.linalg.eigh(centred.T @ centred)
    axes = vectors[:, np.argsort(values)[::-1][: min(TEXT_COMPONENTS, len(text))]]
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    return np.asarray(np.round(centred @ (axes * signs), 6), dtype=np.float64)


def _with_trees(
    model: LevelModel, history: History, plan: Plan, settings: Settings, options: LevelOptions, seed: int
) -> LevelModel:
    values, offset, units, names = _training_rows(history, plan, model.horizon, options, seed)
    if len(units) < MIN_ROWS or units.sum() <= 0:
        said = Reason(
            "forecast from each product's own level alone: {rows} product-weeks are too few for trees (least: {least})",
            {"rows": len(units), "least": MIN_ROWS},
        )
        return replace(model, reasons=(*model.reasons, said))
    booster = _boost(values, offset, units, names, settings, options, seed)
    return replace(model, booster=booster, names=names, rows=len(units))


def _training_rows(
    history: History, plan: Plan, horizon: int, options: LevelOptions, seed: int
) -> tuple[npt.NDArray[np.float32], Floats, Floats, tuple[str, ...]]:
    """Features, offset and units of every usable cell, at each of the horizons learned from."""
    n_weeks = history.units.shape[1]
    parts: list[tuple[npt.NDArray[np.float32], Floats, Floats]] = []
    names: tuple[str, ...] = ()
    for ahead in options.horizons or _doublings(horizon):
        targets = np.arange(ahead + FIRST_WEEKS, n_weeks)
        if not targets.size:
            continue
        design = build_design(history, plan, targets, ahead, Wanted(without=options.without))
        names = design.names
        parts.append(_usable_rows(history, design, n_weeks))
    if not parts:
        return np.zeros((0, 0), dtype=np.float32), np.zeros(0), np.zeros(0), names
    values, offset, units = (np.concatenate(column) for column in zip(*parts, strict=True))
    if len(units) > MAX_ROWS:
        kept = np.sort(np.random.default_rng(seed).choice(len(units), MAX_ROWS, replace=False))
        values, offset, units = values[kept], offset[kept], units[kept]
    return values, offset, units, names


def _doublings(horizon: int) -> tuple[int, ...]:
    return tuple(2**k for k in range(horizon.bit_length()))


def _usable_rows(history: History, design: Design, n_weeks: int) -> tuple[npt.NDArray[np.float32], Floats, Floats]:
    cell = (design.rows["series"], design.rows["week"])
    usable, units = history.usable[cell], history.units[cell]
    offset = design.offset
    if n_weeks < LONG_PANEL:
        offset = offset + _week_shocks(units, np.exp(design.expected) * usable, design.rows["week"])
    return design.values[usable], offset[usable], units[usable]


def _week_shocks(units: Floats, expected: Floats, week: Ints) -> Floats:
    """Log ratio of all units to all expected units in the row's week.

    Taken out of what the trees learn from: in a short panel they would memorise each week by whatever feature names
    it, and read chance shocks of the past into weeks to come.
    """
    sold = np.bincount(week, weights=np.where(expected > 0, units, 0.0))
    hoped = np.bincount(week, weights=expected)
    return np.asarray(np.log((sold + 1.0) / (hoped + 1.0))[week], dtype=np.float64)


def _boost(
    values: npt.NDArray[np.float32],
    offset: Floats,
    units: Floats,
    names: tuple[str, ...],
    settings: Settings,
    options: LevelOptions,
    seed: int,
) -> Any:  # noqa: ANN401 - an xgboost.Booster
    import xgboost

    trees = settings.demand.trees
    pace = {"eta": float(np.clip(LEARNING / trees, 0.01, 0.3)), "nthread": settings.data.threads, "seed": seed}
    parameters = {**TREE_PARAMETERS, **pace, **dict(options.parameters)}
    if options.monotone:
        parameters["monotone_constraints"] = tuple(_sign(name) for name in names)
    bins, threads = parameters["max_bin"], settings.data.threads
    with uninterrupted():  # the matrix is handed over by callbacks
        rows = xgboost.QuantileDMatrix(values, units, base_margin=offset, max_bin=bins, nthread=threads)
    return xgboost.train(parameters, rows, trees)


def _sign(name: str) -> int:
    """Direction that predictions must take in a feature: those that grow with the planned price push them down."""
    if name.startswith("price."):
        return -1
    return 1 if name == "filter.log_mean" else 0


def predict(
    model: LevelModel,
    history: History,
    plan: Plan,
    targets: Ints,
    horizon: int,
    *,
    given: Mapping[str, Floats] | None = None,
) -> Floats:
    """(S, W) expected units in the target weeks, seen `horizon` weeks before; see `build_design` and `Wanted.given`."""
    design = build_design(history, plan, targets, horizon, Wanted(model.names, given=given or {}))
    units = corrected(model.booster, design.values, design.offset, design.expected)
    return units.reshape(len(history.units), len(targets))


def corrected(booster: Any, values: npt.NDArray[np.float32], offset: Floats, expected: Floats) -> Floats:  # noqa: ANN401
    """(n,) units: the filter's expectation, corrected by the trees within `MAX_CORRECTION`.

    Args:
        booster: xgboost.Booster; None: the filter alone.
        values: (n, F) features.
        offset: (n,) log units that the trees start from.
        expected: (n,) log units that the filter expects.
    """
    alone = np.exp(expected)
    if booster is None:
        return np.asarray(alone, dtype=np.float64)
    import xgboost

    units = booster.predict(xgboost.DMatrix(values, base_margin=offset)).astype(np.float64)
    return np.asarray(np.clip(units, alone / MAX_CORRECTION, alone * MAX_CORRECTION), dtype=np.float64)


def history_of(model: LevelModel, panel: Panel) -> History:
    """The past of a panel as the model sees it; the panel may go on after the weeks that the model was fitted on."""
    at = panel.series_product
    return build_history(
        panel,
        model.pooled,
        model.own,
        noise=model.noise,
        season=model.season[at],
        static=model.static[at],
        static_names=model.static_names,
    )


def forecast(
    model: LevelModel, panel: Panel, price: Floats, *, promotions: Literal["none", "recent"] = "none"
) -> LevelForecast:
    """Forecast the weeks after the panel's end.

    Args:
        model: fitted on this panel.
        panel: S series by T weeks.
        price: (P,) planned everyday price, money per unit; NaN keeps the last one. In a shop with series by store,
            each store keeps its distance from the product's mean price.
        promotions: "none": every week at the everyday price, no leaflet, no display, in a category that otherwise
            promotes as usual in the past year; "recent": the discounts, leaflets and displays of the last weeks of
            the panel come again.
    """
    history = history_of(model, panel)
    plan = coming_plan(panel, price, model.horizon, promotions)
    n_weeks = history.units.shape[1]
    given = usual_promotions(history, plan) if promotions == "none" else None
    ahead = range(1, model.horizon + 1)
    weekly = [predict(model, history, plan, np.array([n_weeks + h - 1]), h, given=given)[:, 0] for h in ahead]
    units = np.column_stack(weekly)
    product_units = by_product(units.sum(axis=1), panel.series_product, panel.n_products)
    return LevelForecast(
        units=units,
        product_units=product_units,
        relative_sd=model.error.relative_sd(product_units),
        common_sd=model.error.common_sd,
        category_sd=model.error.category_sd,
        category=panel.category_code,
        reasons=model.reasons,
    )
