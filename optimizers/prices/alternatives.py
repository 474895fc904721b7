"""For every line the best other price that the rules permit, its cost, and which elasticity would make it right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimizers.prices.ladder import Ladder
from optimizers.prices.lone_moves import weigh_by_draws, weigh_moves
from optimizers.prices.model import Families, own_move, rest_effect
from optimizers.prices.problem import PricePlan, PriceProblem, problem_ladder
from optimizers.prices.rows import PriceRows
from optimizers.prices.system import all_rows, build_system

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

REACH = 3.0
"""How far from the estimate elasticities are tried."""
TRIED = 121


@dataclass(frozen=True)
class Alternative:
    """The best other price of one product that keeps every hard rule, all other products as planned."""

    price: float
    """Money per unit."""
    cost: float
    """Money by which the plan would be worse over the horizon, fines of soft rules counted; below 0 where the plan
    itself stands so far from its bound."""
    elasticity: float | None
    """The own-price elasticity (mean over draws) nearest to the estimate at which some other permitted price is as good
    as the planned one; None: none within 3 of the estimate."""


@dataclass(frozen=True)
class Barred:
    """No other price of one product keeps the hard rules, all other products as planned."""

    price: float
    """The other price that would be best, money per unit."""
    row: str
    """Name of the row that it would break most; empty where it is ruled out by itself."""


@dataclass(frozen=True)
class _Moves:
    """What it brings, and breaks, to move one product to a rung, the others as planned; in the problem's order."""

    choice: Ints
    """(P,) planned rungs."""
    gain: Floats
    """(P, K) money."""
    row: Ints
    """(P, K) number of the hard row that is broken most; -1: none is."""
    names: tuple[str, ...]
    """Of the rows."""
    effect: Floats
    """(D, P) factor on demand from the rest of the family."""


def best_alternatives(
    problem: PriceProblem, plan: PricePlan, rows: PriceRows | None = None
) -> tuple[Alternative | Barred | None, ...]:
    """Find the best other rung of every product, (P,); None where its ladder has no other.

    Args:
        problem: what was asked.
        plan: the answer.
        rows: the further rules that the plan was made under.

    Gains are by exact demand, what the move does to the product's family included, as the risk setting counts them.
    """
    ladder = problem_ladder(problem)
    rules = all_rows(problem, ladder, rows)
    moves = _weighed(problem, plan, ladder, rules)
    several = ladder.rungs.sum(axis=1) > 1
    return tuple(
        _best(problem, ladder, moves, rules.allowed[i], i) if several[i] else None
        for i in range(len(problem.product_ids))
    )


def _weighed(problem: PriceProblem, plan: PricePlan, ladder: Ladder, rules: PriceRows) -> _Moves:
    system = build_system(problem, ladder, PriceRows(ladder.rungs, rules.rows), whole=True)
    off = np.abs(np.where(ladder.rungs, ladder.price, np.inf) - plan.price[:, None])
    choice = np.argmin(off, axis=1).astype(np.int64)
    gain, fine = np.empty_like(system.margin), np.empty_like(system.margin)
    row, inner = np.empty(gain.shape, dtype=np.int64), choice[system.order]
    weigh_moves(system.tables, system.inner.arrays, system.worth, inner, gain, fine, row)
    if problem.risk != "mean":
        gain = weigh_by_draws(problem, system, inner) - (
            system.fine - system.fine[np.arange(len(inner)), inner][:, None]
        )
    gain -= fine
    back = np.argsort(system.order)
    return _Moves(
        choice, gain[back], row[back], system.inner.name, rest_effect(problem, Families.of(problem), plan.price)
    )


def _best(problem: PriceProblem, ladder: Ladder, moves: _Moves, allowed: Bools, i: int) -> Alternative | Barred:
    there = ladder.rungs[i] & (np.arange(len(allowed)) != moves.choice[i])
    gain = np.where(there, moves.gain[i], -np.inf)
    fits = there & allowed & (moves.row[i] < 0)
    if not fits.any():
        best = int(np.argmax(gain))
        row = int(moves.row[i, best])
        return Barred(float(ladder.price[i, best]), moves.names[row] if row >= 0 else "")
    best = int(np.argmax(np.where(fits, gain, -np.inf)))
    return Alternative(float(ladder.price[i, best]), float(-gain[best]), _turning(problem, ladder, moves, fits, i))


def _turning(problem: PriceProblem, ladder: Ladder, moves: _Moves, fits: Bools, i: int) -> float | None:
    """Elasticity nearest to the estimate at which the planned price is not the best of the permitted ones any more.

    What a move does to the rest of the family does not depend on it.
    """
    rungs = np.append(moves.choice[i], np.flatnonzero(fits))
    price = ladder.price[i, rungs]
    move = own_move(problem, np.log(price / problem.current_price[i]))
    level = problem.base_units[i] * problem.base_scale[:, i] * moves.effect[:, i]
    sold = (level[:, None] * np.exp(problem.own[:, i][:, None] * move)).mean(axis=0)
    own = sold * (price - problem.unit_cost[i])
    rest = np.append(0.0, moves.gain[i, rungs[1:]]) - (own - own[0])
    shifts = np.linspace(-REACH, REACH, TRIED)
    net = own * np.exp(shifts[:, None] * move) + rest
    left = np.flatnonzero(net.max(axis=1) > net[:, 0])
    if not len(left):
        return None
    return float(problem.own[:, i].mean() + shifts[left[np.argmin(np.abs(shifts[left]))]])
