"""The pricing model: demand under all draws, and the multiple-choice model that the solver sees.

Exact demand (the record `PriceProblem` states it) couples the products of a family. The solver sees it linearised
around the prices in hand: every rung of product i counts its own gain with the rest of its family where it is, plus
what its move does, to first order, to the profit of that rest. At the prices in hand the model is exact.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from optimizers import solver
from optimizers.prices.ladder import Ladder
from optimizers.prices.problem import PriceProblem

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

LOWER_QUANTILE = 0.10
"""What `risk="lower"` maximises, line by line."""
TINY_BEND = 1e-6
"""Curvatures closer to 0 are taken for this one."""
INDEX_UNIT = 1e6
"""The index row is counted in millionths, so that the solver's absolute tolerance of 1e-6 means 1e-12 of the index."""
INDEX_SLACK = 5e-10
"""What counts as zero for the index, as prices come in whole cents: a twentieth of a millionth of a per cent."""


@dataclass(frozen=True)
class Families:
    """Weights of the price indices inside the families, fixed at today's prices."""

    code: Ints
    """(P,) family."""
    weight: Floats
    """(P,) today's revenue, money, or the weights given."""
    rest: Floats
    """(P,) weight of the other products of the family; infinite where there are none."""

    @staticmethod
    def of(problem: PriceProblem) -> Families:
        """Read them off a problem."""
        weight = problem.current_price * problem.base_units if problem.index_weight is None else problem.index_weight
        rest = np.bincount(problem.family, weights=weight)[problem.family] - weight
        alone = rest <= 1e-12 * np.maximum(weight, 1e-300)
        return Families(problem.family, weight, np.where(alone, np.inf, rest))

    def rest_index(self, log_move: Floats) -> Floats:
        """Log price index of the rest of each product's family, (P,), for log moves (P,)."""
        weighted = self.weight * log_move
        return np.asarray((np.bincount(self.code, weights=weighted)[self.code] - weighted) / self.rest)

    def outward(self, profit_slope: Floats) -> Floats:
        """Turn slopes in each product's rest index, (P,) money, into slopes in each product's own log price, (P,)."""
        each = profit_slope / self.rest
        return np.asarray(self.weight * (np.bincount(self.code, weights=each)[self.code] - each))


@dataclass(frozen=True)
class RungModel:
    """What the solver sees: money by product and rung, linearised around `around`."""

    gain: Floats
    """(P, K) gain over today's prices; -inf where there is no rung."""
    slope: Floats
    """(P,) money that the rest of the family gains per unit of the product's log price."""
    around: Floats
    """(P,) prices of the linearisation."""
    rest_effect: Floats
    """(D, P) factor on demand from the rest of the family at those prices."""

    def at(self, problem: PriceProblem, price: Floats) -> Floats:
        """Gain of other prices (P, K) under the same linearisation, NaN where the price is NaN."""
        own = line_gain(problem, price, self.rest_effect)
        return np.asarray(own + self.slope[:, None] * np.log(price / self.around[:, None]))


def own_move(problem: PriceProblem, log_move: Floats) -> Floats:
    """What the own elasticity multiplies: the log move, bent by the curvature (Box and Cox 1964); any shape."""
    bend = problem.curvature
    return np.asarray(np.expm1(bend * log_move) / bend) if bend else log_move


def bent_as_drawn(problem: PriceProblem, price: Floats) -> PriceProblem:
    """The problem that gives the demand of each draw's own curvature at these prices (P,), and at no others."""
    if problem.curvature_draws is None:
        return problem
    move = np.log(price / problem.current_price)
    bend = np.where(np.abs(problem.curvature_draws) < TINY_BEND, TINY_BEND, problem.curvature_draws)[:, None]
    moved = move != 0.0
    ratio = np.divide(np.expm1(bend * move) / bend, own_move(problem, move), out=np.ones_like(problem.own), where=moved)
    return replace(problem, own=problem.own * ratio)


def rest_effect(problem: PriceProblem, families: Families, price: Floats) -> Floats:
    """Factor on each product's demand from the prices of the rest of its family, (D, P)."""
    index = families.rest_index(np.log(price / problem.current_price))
    return np.asarray(np.exp(problem.cross * index))


def draw_units(problem: PriceProblem, price: Floats, effect: Floats) -> Floats:
    """Units under every draw, (D, P), at prices (P,) and given the family's effect (D, P)."""
    move = own_move(problem, np.log(price / problem.current_price))
    return np.asarray(problem.base_units * problem.base_scale * np.exp(problem.own * move) * effect)


def draw_profit_today(problem: PriceProblem) -> Floats:
    """Profit at today's prices under every draw, (D, P)."""
    return np.asarray(problem.base_units * problem.base_scale * (problem.current_price - problem.unit_cost))


def line_gain(problem: PriceProblem, price: Floats, effect: Floats) -> Floats:
    """Value of each price as the risk setting counts it, (P, K), for prices (P, K); NaN where the price is."""
    today = draw_profit_today(problem)
    result = np.full(price.shape, np.nan)
    for column in np.flatnonzero(np.isfinite(price).any(axis=0)):
        there = np.isfinite(price[:, column])
        asked = np.where(there, price[:, column], problem.current_price)
        gain = draw_units(problem, asked, effect) * (asked - problem.unit_cost) - today
        result[there, column] = risk_value(gain, problem.risk)[there]
    return result


def risk_value(gain: Floats, risk: str) -> Floats:
    """Mean, or lower quantile, over draws: (D, P) → (P,)."""
    return np.asarray(gain.mean(axis=0) if risk == "mean" else np.quantile(gain, LOWER_QUANTILE, axis=0))


def exact_value(problem: PriceProblem, families: Families, price: Floats) -> float:
    """Return the exact value of prices (P,) as the risk setting counts it, money."""
    effect = rest_effect(problem, families, price)
    return float(line_gain(problem, price[:, None], effect).sum())


def rung_model(problem: PriceProblem, families: Families, ladder: Ladder, around: Floats) -> RungModel:
    """Linearise around prices (P,)."""
    effect = rest_effect(problem, families, around)
    units = draw_units(problem, around, effect)
    profit = (around - problem.unit_cost) * units
    slope = families.outward(_risk_slope(problem, profit))
    own = line_gain(problem, ladder.price, effect)
    gain = own + slope[:, None] * np.log(ladder.price / around[:, None])
    return RungModel(np.where(ladder.rungs, gain, -np.inf), slope, around, effect)


def _risk_slope(problem: PriceProblem, profit: Floats) -> Floats:
    """Slope of each line's value in the log index of its rest, (P,) money, for profits (D, P).

    The slope of a quantile is the mean slope over the draws at that quantile (here: nearest to it in rank).
    """
    slope = profit * problem.cross
    if problem.risk == "mean":
        return np.asarray(slope.mean(axis=0))
    gain = profit - draw_profit_today(problem)
    draws = len(gain)
    near = max(1, round(draws * LOWER_QUANTILE / 2))
    middle = LOWER_QUANTILE * (draws - 1)
    first = max(0, round(middle) - near)
    order = np.argsort(gain, axis=0, kind="stable")[first : first + 2 * near + 1]
    tied = np.ptp(gain, axis=0) == 0
    return np.asarray(np.where(tied, slope.mean(axis=0), np.take_along_axis(slope, order, axis=0).mean(axis=0)))


def index_parts(problem: PriceProblem, price: Floats) -> Floats:
    """Each price's part in the change of the revenue-weighted price index, shape of `price` (P,) or (P, K).

    index = Σ w_i (p_i / p0_i - 1) with w_i = p0_i u_i / Σ p0 u (today's revenue shares), which is
    Σ u_i (p_i - p0_i) / Σ u_i p0_i: the Laspeyres price index at the forecast quantities u, less one.
    """
    total = float(problem.current_price @ problem.base_units)
    weight = problem.base_units / total if total > 0 else np.zeros_like(problem.base_units)
    shape = (-1,) + (1,) * (price.ndim - 1)
    return np.asarray(weight.reshape(shape) * (price - problem.current_price.reshape(shape)))


@dataclass(frozen=True)
class ChoiceModel:
    """The compiled multiple-choice model: one binary for every rung other than today's price."""

    compiled: solver.CompiledModel
    build_seconds: float
    product: Ints
    """(C,) product of each column."""
    rung: Ints
    """(C,) column of the ladder."""
    index_up: object
    """The Pyomo constraints of the coupling rules; None where a rule is not asked for."""
    index_down: object
    max_changed: object

    @property
    def coupling(self) -> Bools:
        """(R,) True for the rows that couple products."""
        rules = [rule for rule in (self.index_up, self.index_down, self.max_changed) if rule is not None]
        return np.array([any(row is rule for rule in rules) for row in self.compiled.rows], dtype=np.bool_)

    def cost(self, model: RungModel, today: int) -> Floats:
        """(C,) objective: gain of each rung over staying at today's price, under a linearisation."""
        return np.asarray(model.gain[self.product, self.rung] - model.gain[self.product, today])

    def start(self, choice: Ints) -> Floats:
        """(C,) the point that stands for a choice of rungs (P,)."""
        return np.asarray(choice[self.product] == self.rung, dtype=np.float64)

    def choice(self, values: Floats, products: int, today: int) -> Ints:
        """(P,) rung of each product for a solution's values (C,)."""
        chosen = np.full(products, today, dtype=np.int64)
        on = values > 0.5
        chosen[self.product[on]] = self.rung[on]
        return chosen


def choice_model(problem: PriceProblem, ladder: Ladder, gain: Floats) -> ChoiceModel | None:
    """Declare the rules in Pyomo and compile them; None where no product has a second rung.

    Today's price is the choice of no binary, so that "hold everything" is the point 0 and always satisfies every rule.
    """
    import pyomo.environ as pyo

    product, rung = np.nonzero(ladder.rungs & (np.arange(ladder.price.shape[1]) != ladder.today))
    if not len(product):
        return None
    model = pyo.ConcreteModel()
    columns = range(len(product))
    begun = time.perf_counter()
    model.take = pyo.Var(columns, domain=pyo.Binary)
    take = list(model.take.values())
    worth = (gain[product, rung] - gain[product, ladder.today]).tolist()
    model.gain = pyo.Objective(expr=pyo.quicksum(w * x for w, x in zip(worth, take, strict=True)), sense=pyo.maximize)
    groups = np.split(np.arange(len(product)), np.flatnonzero(np.diff(product)) + 1)
    model.one = pyo.Constraint(
        range(len(groups)), rule=lambda _, g: pyo.quicksum(take[c] for c in groups[g].tolist()) <= 1
    )
    _add_coupling(model, problem, index_parts(problem, ladder.price)[product, rung], take)
    compiled = solver.compile_model(model)
    order = compiled.positions(take)
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    rows = {name: getattr(model, name, None) for name in ("index_up", "index_down", "max_changed")}
    return ChoiceModel(compiled, time.perf_counter() - begun, product[back], rung[back], **rows)


def _add_coupling(model: solver.PyomoModel, problem: PriceProblem, part: Floats, take: list[solver.PyomoVar]) -> None:
    import pyomo.environ as pyo

    if problem.index_band is not None:
        model.index_change = pyo.Expression(
            expr=pyo.quicksum(a * x for a, x in zip((part * INDEX_UNIT).tolist(), take, strict=True))
        )
        band = (problem.index_band + INDEX_SLACK) * INDEX_UNIT
        model.index_up = pyo.Constraint(expr=model.index_change <= band)
        model.index_down = pyo.Constraint(expr=model.index_change >= -band)
    if problem.max_changed is not None:
        model.max_changed = pyo.Constraint(expr=pyo.quicksum(take) <= problem.max_changed)
