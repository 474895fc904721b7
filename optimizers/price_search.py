"""The search for a price plan: linearise, relax, round, solve, evaluate exactly, and move only where that is better.

Every round solves the multiple-choice model around the prices in hand. Its linear relaxation comes first: it has as
many split products as there are coupling rules, so for a large assortment the relaxation, rounded with the help of a
small integer model over the products that are nearly tied (the "core" of Balas and Zemel, Operations Research, 1980),
is within the gap, and the relaxation itself proves it. Where it is not, the whole integer model is solved.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from engine.errors import InfeasibleError
from optimizers import solver
from optimizers.balance import Alternatives, cancelling_moves
from optimizers.ladder import Ladder
from optimizers.price_model import (
    INDEX_SLACK,
    INDEX_UNIT,
    ChoiceModel,
    Families,
    RungModel,
    choice_model,
    index_parts,
    line_gain,
    rest_effect,
    rung_model,
)

if TYPE_CHECKING:
    from optimizers.prices import PriceProblem

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MAX_ROUNDS = 12
CORE = 40
"""Products left free when the relaxation is rounded."""
HAIR = 0.01
"""A band narrower than this share of a typical move's part in the index is met by cancelling, not by branching."""
SMALL = 80
"""Columns up to which the integer model is solved all the same."""
COUPLING = ("index_up", "index_down", "max_changed")


@dataclass
class _Round:
    """One linearisation in the solver's units: money divided by a power of two, so that nothing is lost."""

    compiled: solver.CompiledModel
    scale: float
    offset: float
    relaxed: solver.Relaxation

    def money(self, value: float) -> float:
        return value * self.scale + self.offset


class PriceSearch:
    """The state of one search: prices in hand, their exact value, the last model and its bound."""

    def __init__(self, problem: PriceProblem, ladder: Ladder, *, gap: float, deadline: float) -> None:
        """Start from today's prices; `deadline` is a reading of `time.perf_counter`."""
        self.problem, self.ladder, self.gap, self.deadline = problem, ladder, gap, deadline
        self.families = Families.of(problem)
        self.rows = np.arange(len(problem.product_ids))
        self.choice: Ints = np.full(len(self.rows), ladder.today, dtype=np.int64)
        self.parts = index_parts(problem, ladder.price)
        self.model: RungModel = rung_model(problem, self.families, ladder, self.price)
        self.choices: ChoiceModel | None = choice_model(problem, ladder, self.model.gain)
        self.value = 0.0
        self.bound = self._cheap_bound()
        self.rounds = 0
        self.cut_off = False
        self._last: _Round | None = None

    @property
    def price(self) -> Floats:
        """(P,) prices in hand."""
        return np.asarray(self.ladder.price[self.rows, self.choice])

    @property
    def build_seconds(self) -> float:
        """Seconds spent in Pyomo."""
        return self.choices.build_seconds if self.choices else 0.0

    def run(self) -> None:
        """Improve until nothing better is found, the gap is reached, or time is up.

        Raises:
            InfeasibleError: the rules contradict each other (today's prices satisfy every set of rules we know of).
        """
        if self.choices is None:
            return
        while self.rounds < MAX_ROUNDS and self._left() > 0 and self._improve(self.choices):
            self.model = rung_model(self.problem, self.families, self.ladder, self.price)
            self.bound = self._cheap_bound()
            self._last = None
        if self.rounds and self._last is None:
            self._linearise(self.choices)
        self.cut_off = self.cut_off or self._left() <= 0

    def status(self) -> str:
        """Say why the search stopped, in the words of `PricePlan.status`."""
        if self.choices is None:
            return "nothing_to_move"
        if self.reached_gap() <= self.gap:
            return "optimal"
        return "time_limit" if self.cut_off else "gap_limit"

    def reached_gap(self) -> float:
        """Return the relative gap of the prices in hand under the last model."""
        return solver.relative_gap(self.value, self.bound)

    def shadow_prices(self) -> dict[str, float]:
        """Money per unit of each coupling rule, from the relaxation at the last linearisation.

        index_up and index_down: per 0.1 % of the index; max_changed: per change. {} where no relaxation was solved.
        """
        if self.choices is None or self._last is None or self._last.relaxed.row_duals is None:
            return {}
        unit = {"index_up": 1e-3 * INDEX_UNIT, "index_down": -1e-3 * INDEX_UNIT, "max_changed": 1.0}
        rows = {name: getattr(self.choices, name) for name in COUPLING}
        relaxed, scale = self._last.relaxed, self._last.scale
        return {n: max(0.0, relaxed.dual(row) * scale * unit[n]) for n, row in rows.items() if row is not None}

    def _improve(self, choices: ChoiceModel) -> bool:
        """Work on the model around the prices in hand; True when they moved and the model must be made anew."""
        self.rounds += 1
        here = self._linearise(choices)
        if self._closed():
            return False
        if self._hair_wide(choices):
            moved = any(self._accept(choice) for choice in self._cancel(choices, here))
            if moved or len(choices.product) > SMALL:
                return moved and self._coupled()
        rounded = self._round_relaxation(choices, here)
        if rounded is not None and self._accept(rounded) and self._coupled():
            return True
        if self._closed():
            return False
        if rounded is None or not self._is_best(choices, here, rounded):
            found = self._solve(choices, here.compiled, gap=self.gap / 2, proves=here)
            if found is not None and self._accept(found):
                return self._coupled()
        return not self._closed() and any(self._accept_within(choices, here, reach) for reach in (2, 1))

    def _is_best(self, choices: ChoiceModel, here: _Round, choice: Ints) -> bool:
        """Return whether the relaxation proves a choice to be within the gap: the whole integer model has no better."""
        worth = here.money(float(here.compiled.cost @ choices.start(choice)))
        return self._keeps_rules(choice) and solver.relative_gap(worth, self.bound) <= self.gap

    def _closed(self) -> bool:
        return self.reached_gap() <= self.gap

    def _linearise(self, choices: ChoiceModel) -> _Round:
        cost = choices.cost(self.model, self.ladder.today)
        scale = _power_of_two(float(np.abs(cost).max()) / 100)
        compiled = replace(choices.compiled, cost=cost / scale)
        relaxed = solver.relax(compiled, seconds=max(self._left(), 0.1))
        if relaxed.stop == solver.Stop.INFEASIBLE:
            raise InfeasibleError(
                "the price rules contradict each other: not even today's prices satisfy them; "
                "widen pricing.index_band or raise pricing.max_changed"
            )
        here = self._last = _Round(compiled, scale, float(self.model.gain[:, self.ladder.today].sum()), relaxed)
        if relaxed.objective is not None:
            self._tighten(here.money(relaxed.objective))
        return here

    def _tighten(self, bound: float) -> None:
        self.bound = max(min(self.bound, bound), self.value)

    def _round_relaxation(self, choices: ChoiceModel, here: _Round) -> Ints | None:
        """Fix every product that the relaxation decides clearly, and solve over the nearly tied ones."""
        relaxed = here.relaxed
        if relaxed.values is None or relaxed.row_duals is None:
            return None
        split = np.abs(relaxed.values - np.round(relaxed.values)) > 1e-7
        core = _core(self._net(choices, here, relaxed.row_duals), self.parts)
        core[choices.product[split]] = True
        free, clear = core[choices.product], np.round(relaxed.values)
        compiled = replace(here.compiled, column_low=np.where(free, 0.0, clear), column_high=np.where(free, 1.0, clear))
        return self._solve(choices, compiled, gap=self.gap / 2)

    def _hair_wide(self, choices: ChoiceModel) -> bool:
        """Return whether the index band is too narrow for branch and bound."""
        if self.problem.index_band is None:
            return False
        typical = float(np.median(np.abs(self.parts[choices.product, choices.rung])))
        return self.problem.index_band < HAIR * typical

    def _cancel(self, choices: ChoiceModel, here: _Round) -> list[Ints]:
        """Round the relaxation to the nearest rungs and cancel what that does to the index, cheapest first."""
        if here.relaxed.values is None or here.relaxed.row_duals is None:
            return []
        net = self._net(choices, here, here.relaxed.row_duals)
        weight = np.full(net.shape, -np.inf)
        weight[choices.product, choices.rung] = here.relaxed.values
        weight[:, self.ladder.today] = 1 - np.bincount(choices.product, here.relaxed.values, len(self.rows))
        nearest = np.argmax(weight, axis=1)
        elsewhere = np.isfinite(net) & (np.arange(net.shape[1]) != nearest[:, None])
        product, rung = np.nonzero(elsewhere)
        options = Alternatives(
            product,
            self.parts[product, rung] - self.parts[product, nearest[product]],
            net[product, nearest[product]] - net[product, rung],
        )
        residual = float(self.parts[self.rows, nearest].sum())
        width = (self.problem.index_band or 0.0) + INDEX_SLACK
        found = []
        for moves in cancelling_moves(options, -residual - width, -residual + width):
            choice = nearest.copy()
            choice[product[moves]] = rung[moves]
            found.append(choice)
        return found

    def _net(self, choices: ChoiceModel, here: _Round, duals: Floats) -> Floats:
        """Value of each rung over today's price, less what it pays for the coupling rules at their duals, (P, K)."""
        rules = choices.coupling
        price = np.asarray(here.compiled.matrix[rules].T @ duals[rules])
        net: Floats = np.full(self.ladder.price.shape, -np.inf)
        net[:, self.ladder.today] = 0.0
        net[choices.product, choices.rung] = here.compiled.cost - price
        return net

    def _solve(
        self, choices: ChoiceModel, compiled: solver.CompiledModel, *, gap: float, proves: _Round | None = None
    ) -> Ints | None:
        """Solve an integer model; `proves` is given with the whole one, whose bound counts. None: nothing is held."""
        begin = choices.start(self.choice)
        solution = solver.solve(compiled, gap=gap, seconds=max(self._left(), 0.01), start=begin)
        if proves is not None:
            self.cut_off = solution.stop == solver.Stop.TIME_LIMIT
            if solution.bound is not None:
                self._tighten(proves.money(solution.bound))
        if solution.values is None:
            return None
        return choices.choice(solution.values, len(self.rows), self.ladder.today)

    def _accept(self, choice: Ints) -> bool:
        """Take the choice if it keeps every rule and its exact value is better."""
        if np.array_equal(choice, self.choice) or not self._keeps_rules(choice):
            return False
        value = exact_value(self.problem, self.families, self.ladder.price[self.rows, choice])
        if value <= self.value + 1e-12 * abs(self.value):
            return False
        self.choice, self.value = choice, value
        self.bound = max(self.bound, value)
        return True

    def _accept_within(self, choices: ChoiceModel, here: _Round, reach: int) -> bool:
        """Try the best choice at most `reach` rungs from the one in hand: near it the linear model is truer."""
        if not self._coupled() or self._left() <= 0:
            return False
        near = np.abs(choices.rung - self.choice[choices.product]) <= reach
        compiled = replace(here.compiled, column_high=near.astype(np.float64))
        found = self._solve(choices, compiled, gap=self.gap / 2)
        return found is not None and self._accept(found)

    def _keeps_rules(self, choice: Ints) -> bool:
        index = float(self.parts[self.rows, choice].sum())
        band, most = self.problem.index_band, self.problem.max_changed
        changed = int((choice != self.ladder.today).sum())
        return (band is None or abs(index) <= band + INDEX_SLACK) and (most is None or changed <= most)

    def _cheap_bound(self) -> float:
        """Every product at its own best rung: a bound that needs no solver."""
        return max(self.value, float(self.model.gain.max(axis=1).sum())) if len(self.rows) else 0.0

    def _coupled(self) -> bool:
        """Return whether the products' gains depend on each other at all."""
        return bool(np.any(self.problem.cross[:, np.isfinite(self.families.rest)] != 0))

    def _left(self) -> float:
        return self.deadline - time.perf_counter()


def exact_value(problem: PriceProblem, families: Families, price: Floats) -> float:
    """Return the exact value of prices (P,) as the risk setting counts it, money."""
    effect = rest_effect(problem, families, price)
    return float(line_gain(problem, price[:, None], effect).sum())


def _core(net: Floats, parts: Floats) -> npt.NDArray[np.bool_]:
    """Find the products that are nearly tied at the shadow prices, (P,).

    Half of them give up least when they leave their best rung; half give up least for each unit that this shifts the
    index, which the small products of the first half cannot do.

    Args:
        net: (P, K) value of each rung less what it pays for the coupling rules; -inf where there is none.
        parts: (P, K) part in the index.
    """
    rows = np.arange(len(net))
    best = np.argmax(net, axis=1)
    loss = net[rows, best][:, None] - net
    loss[rows, best] = np.inf
    shift = np.abs(parts - parts[rows, best][:, None])
    rate = np.divide(loss, shift, out=np.full_like(loss, np.inf), where=(shift > 0) & np.isfinite(loss))
    core = np.zeros(len(net), dtype=np.bool_)
    for measure in (loss, rate):
        core[np.argsort(measure.min(axis=1), kind="stable")[: CORE // 2]] = True
    return core


def _power_of_two(value: float) -> float:
    """Round to a power of two; 1 for 0."""
    return float(2.0 ** np.round(np.log2(value))) if value > 0 else 1.0
