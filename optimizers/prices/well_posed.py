"""Whether a price problem is well posed: what is refused, with the product, the value and the remedy."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError
from optimizers.prices.ladder import LadderRules
from optimizers.prices.problem import PriceProblem

Floats = npt.NDArray[np.float64]

MAX_ELASTICITY = 100.0
MAX_CURVATURE = 5.0
MAX_FAMILY = 10_000_000
MAX_LOG_DEMAND = 50.0
MAX_TURNOVER = 1e15
"""Money of one product: beyond, cents are lost in rounding."""
_NUMBERS, _WHOLE, _FLAGS = "fiu", "iu", "b"


def check_effort(gap: float, seconds: float) -> None:
    """Refuse a gap or a time limit that is none.

    Raises:
        ProblemError: not a number, or below 0.
    """
    for name, value, example in (("gap", gap, "0.0001"), ("seconds", seconds, "60")):
        if math.isnan(value) or value < 0:
            raise ProblemError(f"{name} is {value:g}; give a number of 0 or more, such as {example}")


def check_problem(problem: PriceProblem) -> None:
    """Refuse a problem that is not well posed.

    Raises:
        ProblemError: a product twice, a wrong shape or type, NaN, a price of 0, a negative cost, an absurd elasticity
            or turnover, an unknown risk setting; the message names the product, the value and the remedy.
    """
    products = len(problem.product_ids)
    _check_ids(problem)
    _check_shapes(problem, products)
    price, cost, units = problem.current_price, problem.unit_cost, problem.base_units
    refuse(problem, ~(np.isfinite(price) & (price > 0)), "current price", price, "give a price above 0")
    refuse(problem, ~(np.isfinite(cost) & (cost >= 0)), "unit cost", cost, "give a cost of 0 or more")
    refuse(problem, ~(np.isfinite(units) & (units >= 0)), "forecast of units", units, "give 0 or more")
    with np.errstate(over="ignore"):
        turnover = units * np.maximum(price, cost)
    refuse(problem, turnover > MAX_TURNOVER, "turnover", turnover, f"give units and money up to {MAX_TURNOVER:g}")
    for name in ("own", "cross"):
        draws = getattr(problem, name)
        bad = ~(np.abs(draws) <= MAX_ELASTICITY).all(axis=0)
        refuse(problem, bad, f"{name} elasticity", draws.mean(axis=0), f"all draws must be within ±{MAX_ELASTICITY:g}")
    scale = problem.base_scale
    refuse(
        problem,
        ~(np.isfinite(scale) & (scale >= 0)).all(axis=0),
        "base_scale",
        scale.mean(axis=0),
        "give draws of 0 or more",
    )
    _check_rules(problem)
    LadderRules(problem.max_change, problem.step, problem.min_margin, problem.endings).check()
    _check_reach(problem)


def _check_ids(problem: PriceProblem) -> None:
    """Refuse products that are listed more than once: no line, rule or lock could tell them apart."""
    twice = [name for name, count in Counter(problem.product_ids).items() if count > 1]
    if twice:
        more = f" (and {len(twice) - 1} more)" if len(twice) > 1 else ""
        times = problem.product_ids.count(twice[0])
        raise ProblemError(f"product {twice[0]}{more}: listed {times} times; give each product once")


def _check_reach(problem: PriceProblem) -> None:
    """Refuse elasticities under which profit at the ends of the ladder is no number any more."""
    ends = np.abs(problem.own).max(axis=0, initial=0) + np.abs(problem.cross).max(axis=0, initial=0)
    reach = ends * -np.log1p(-problem.max_change)
    refuse(
        problem,
        reach > MAX_LOG_DEMAND,
        "largest elasticity",
        ends,
        f"demand would move by more than e^{MAX_LOG_DEMAND:g} on its ladder",
    )


def _check_shapes(problem: PriceProblem, products: int) -> None:
    draws = len(problem.own)
    given = [name for name in ("price_low", "price_high", "index_weight") if getattr(problem, name) is not None]
    lines = ("current_price", "unit_cost", "base_units", "family", "movable", *given)
    expected: dict[str, tuple[int, ...]] = dict.fromkeys(lines, (products,))
    expected |= dict.fromkeys(("own", "cross", "base_scale"), (draws, products))
    for name, shape in expected.items():
        kinds = {"family": _WHOLE, "movable": _FLAGS}.get(name, _NUMBERS)
        _check_array(name, getattr(problem, name), shape, kinds, f"{products} products, {draws} draws")
    further = problem.further
    if further is not None and (further.ndim != 2 or len(further) != products):
        raise ProblemError(f"further has shape {further.shape}, expected ({products}, E) for {products} products")
    if not draws:
        raise ProblemError("own has no draws; give at least one, the point estimate")
    codes = problem.family
    for code in (int(codes.min(initial=0)), int(codes.max(initial=0))):
        if not 0 <= code <= MAX_FAMILY:
            raise ProblemError(f"family has the code {code}; number families from 0, at most {MAX_FAMILY:,}")


def _check_array(name: str, found: Any, shape: tuple[int, ...], kinds: str, of: str) -> None:  # noqa: ANN401 - whatever was given
    """Refuse what is no array of this shape and kind of numbers."""
    if np.shape(found) != shape:
        raise ProblemError(f"{name} has shape {np.shape(found)}, expected {shape} for {of}")
    asked = {_WHOLE: "whole numbers", _FLAGS: "True or False", _NUMBERS: "numbers"}[kinds]
    if not isinstance(found, np.ndarray):
        raise ProblemError(f"{name} is a {type(found).__name__}; give a numpy array of {asked}")
    if found.dtype.kind not in kinds:
        raise ProblemError(f"{name} holds values of type {found.dtype}; give {asked}")


def _check_rules(problem: PriceProblem) -> None:
    if problem.risk not in ("mean", "lower"):
        raise ProblemError(f"risk is {problem.risk!r}; allowed: mean, lower")
    if problem.index_band is not None and not 0 <= problem.index_band < np.inf:
        raise ProblemError(f"index_band is {problem.index_band}; give 0 or more, such as 0.002, or none")
    most = problem.max_changed
    if most is not None and not (most >= 0 and most == math.floor(most)):
        raise ProblemError(f"max_changed is {most}; give a whole number of 0 or more, or none")
    drawn = problem.curvature_draws
    if drawn is not None and not (drawn.shape == problem.own.shape[:1] and np.all(np.abs(drawn) <= MAX_CURVATURE)):
        raise ProblemError(
            f"curvature_draws has shape {drawn.shape}; give one number within ±{MAX_CURVATURE:g} for each of "
            f"{len(problem.own)} draws"
        )
    if not abs(problem.curvature) <= MAX_CURVATURE:
        raise ProblemError(f"curvature is {problem.curvature}; give a number within ±{MAX_CURVATURE:g}")
    weight = problem.index_weight
    if weight is not None:
        refuse(problem, ~(np.isfinite(weight) & (weight >= 0)), "index_weight", weight, "give 0 or more")
    for name in ("price_low", "price_high"):
        seen = getattr(problem, name)
        if seen is not None:
            unknown = np.isnan(seen) & problem.movable
            refuse(problem, unknown, name, seen, "give a price, or 0 and infinity for no limit, or hold the product")


def refuse(problem: PriceProblem, bad: npt.ArrayLike, name: str, value: Floats, remedy: str) -> None:
    """Refuse what is bad, (P,), of the products' values, (P,): the first is named, the others counted.

    Raises:
        ProblemError: any is bad.
    """
    found = np.flatnonzero(bad)
    if len(found):
        first = int(found[0])
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise ProblemError(f"product {problem.product_ids[first]}{more}: {name} is {value[first]}; {remedy}")
