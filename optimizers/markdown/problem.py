"""A markdown as it is asked: products, stock, demand and rules, and what they must be before it is planned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MAX_LOG_DEMAND = 50.0


@dataclass(frozen=True)
class MarkdownProblem:
    """P products, W weeks until the date, K columns of the ladder, D draws of demand.

    Demand of product i in week w at price p under draw d:
        week_units_wi · base_scale_di · noise_dwi · (p / reference_price_i)^own_di

    Raises:
        ProblemError: a shape, a NaN, a stock below 0, a ladder that does not ascend; the product, the value and the
            remedy are named.
    """

    product_ids: tuple[str, ...]
    stock: Floats
    """(P,) units to be sold, 0 or more."""
    ladder: Floats
    """(P, K) prices that may be charged, money per unit, ascending; NaN where there is no rung."""
    current_rung: Ints
    """(P,) column of the price in force."""
    week_units: Floats
    """(W, P) expected demand at the reference price in each week left: decay and season are in it."""
    reference_price: Floats
    """(P,) money per unit."""
    own: Floats
    """(D, P) draws of the own-price elasticity."""
    base_scale: Floats
    """(D, P) draws of the level's relative error, mean 1."""
    unit_cost: Floats
    """(P,) money that each unit sold still costs (handling, consignment); 0 where the stock is paid for."""
    salvage: Floats
    """(P,) money for each unit left at the date; negative: its disposal costs money."""
    noise: Floats | None = None
    """(D, W, P) relative noise of the weeks within each draw, mean 1 (`draw_noise`); None: none."""
    weight: Floats | None = None
    """(D, P) probability of each draw for each product, columns add up to 1; None: all alike."""
    dispersion: float = 0.0
    """Overdispersion of weekly sales: variance = mean + dispersion · mean²; what `replan` weighs draws by."""
    non_increasing: bool = True
    """Prices never rise again."""
    max_steps: Ints | None = None
    """(P,) most changes of price that each product has left; None: no limit."""
    min_weeks_between: int = 1
    """Weeks from one change of a product to its next, at least."""
    weeks_held: Ints | None = None
    """(P,) weeks that the price in force has stood; None: long enough."""
    max_changed: int | None = None
    """Most products whose price changes in one week; None: no limit."""

    def __post_init__(self) -> None:
        check_markdown_problem(self)

    @property
    def weeks(self) -> int:
        """W."""
        return len(self.week_units)

    def probability(self) -> Floats:
        """(D, P) probability of each draw for each product."""
        draws = len(self.own)
        return np.full(self.own.shape, 1.0 / draws) if self.weight is None else self.weight

    def demand(self, product: int) -> Floats:
        """(D, W, K) demand of one product in units; NaN where the ladder has no rung."""
        ratio = self.ladder[product] / self.reference_price[product]
        response = ratio[None, :] ** self.own[:, product, None] * self.base_scale[:, product, None]
        weeks = np.broadcast_to(self.week_units[None, :, product], (len(self.own), self.weeks))
        if self.noise is not None:
            weeks = weeks * self.noise[:, :, product]
        return np.asarray(weeks[:, :, None] * response[:, None, :])


def check_markdown_problem(problem: MarkdownProblem) -> None:
    """Refuse a problem that is not well posed.

    Raises:
        ProblemError: names the product, the value and the remedy.
    """
    _check_shapes(problem)
    _check_ladder(problem)
    _refuse(problem, ~_at_least(problem.stock, 0), "stock", problem.stock, "give units, 0 or more")
    reference = problem.reference_price
    _refuse(problem, ~(_at_least(reference, 0) & (reference > 0)), "reference price", reference, "give a price above 0")
    for name in ("unit_cost", "salvage"):
        values = getattr(problem, name)
        _refuse(problem, ~np.isfinite(values), name.replace("_", " "), values, "give a finite amount of money")
    _refuse(problem, np.asarray(problem.unit_cost < 0), "unit cost", problem.unit_cost, "give 0 or more")
    for name in ("week_units", "base_scale", "noise"):
        values = getattr(problem, name)
        if values is not None:
            bad = ~_at_least(values, 0)
            flat = bad.reshape(-1, bad.shape[-1]).any(axis=0)
            worst = np.where(np.isfinite(values), values, np.nan).reshape(-1, values.shape[-1])
            _refuse(problem, flat, name, worst[0], "give finite numbers, 0 or more")
    _check_response(problem)
    _check_rules(problem)


def _check_shapes(problem: MarkdownProblem) -> None:
    products, draws, weeks = len(problem.product_ids), len(problem.own), len(problem.week_units)
    if not weeks:
        raise ProblemError("week_units holds no week; give one row for each week until the date")
    if not draws:
        raise ProblemError("own has no draws; give at least one, the point estimate")
    if problem.ladder.ndim != 2 or len(problem.ladder) != products or not problem.ladder.shape[1]:
        raise ProblemError(f"ladder has shape {problem.ladder.shape}; give ({products}, rungs), at least one rung")
    expected: dict[str, tuple[int, ...]] = dict.fromkeys(
        ("stock", "current_rung", "reference_price", "unit_cost", "salvage", "max_steps", "weeks_held"), (products,)
    )
    expected |= dict.fromkeys(("own", "base_scale", "weight"), (draws, products))
    expected |= {"week_units": (weeks, products), "noise": (draws, weeks, products)}
    for name, shape in expected.items():
        values = getattr(problem, name)
        if values is not None and np.shape(values) != shape:
            raise ProblemError(f"{name} has shape {np.shape(values)}, expected {shape}")


def _check_ladder(problem: MarkdownProblem) -> None:
    ladder, rung = problem.ladder, problem.current_rung
    _refuse(problem, (np.isinf(ladder) | (ladder <= 0)).any(axis=1), "ladder", ladder[:, 0], "give prices above 0")
    for i, row in enumerate(ladder):
        prices = row[np.isfinite(row)]
        if not len(prices):
            raise ProblemError(f"product {problem.product_ids[i]}: its ladder has no price; give at least one")
        if (np.diff(prices) <= 0).any():
            raise ProblemError(f"product {problem.product_ids[i]}: its ladder {prices.tolist()} must ascend")
    inside = (rung >= 0) & (rung < ladder.shape[1])
    _refuse(problem, ~inside, "current rung", rung, f"give a column of the ladder, 0 to {ladder.shape[1] - 1}")
    missing = np.isnan(np.take_along_axis(ladder, rung[:, None], axis=1)[:, 0])
    _refuse(problem, missing, "current rung", rung, "the ladder has no price there; add the price in force to it")


def _check_response(problem: MarkdownProblem) -> None:
    own = problem.own
    ratio = np.log(problem.ladder / problem.reference_price[:, None])
    reach = np.abs(own).max(axis=0) * np.nan_to_num(np.abs(ratio)).max(axis=1, initial=0)
    remedy = f"all draws must be finite, and demand may move by e^{MAX_LOG_DEMAND:g} on the ladder at most"
    _refuse(problem, ~(reach <= MAX_LOG_DEMAND), "own elasticity", own[0], remedy)
    if problem.weight is not None:
        weight = problem.weight
        sound = (weight >= 0).all(axis=0) & (np.abs(weight.sum(axis=0) - 1) < 1e-6)
        _refuse(problem, ~sound, "weight of draws", weight.sum(axis=0), "give probabilities that add up to 1")


def _check_rules(problem: MarkdownProblem) -> None:
    if not (np.isfinite(problem.dispersion) and problem.dispersion >= 0):
        raise ProblemError(f"dispersion is {problem.dispersion}; give 0 (Poisson) or more")
    if problem.min_weeks_between < 1:
        raise ProblemError(f"min_weeks_between is {problem.min_weeks_between}; give 1 or more")
    if problem.max_changed is not None and problem.max_changed < 0:
        raise ProblemError(f"max_changed is {problem.max_changed}; give 0 or more, or None")
    for name, least in (("max_steps", 0), ("weeks_held", 1)):
        values = getattr(problem, name)
        if values is not None:
            _refuse(problem, values < least, name, values, f"give {least} or more")


def _at_least(values: Floats, least: float) -> npt.NDArray[np.bool_]:
    return np.isfinite(values) & (values >= least)


def _refuse(problem: MarkdownProblem, bad: npt.ArrayLike, name: str, value: npt.ArrayLike, remedy: str) -> None:
    found = np.flatnonzero(bad)
    if len(found):
        first = int(found[0])
        raise ProblemError(f"product {problem.product_ids[first]}: {name} is {np.asarray(value)[first]}; {remedy}")
