"""The multipliers of one node of the proof: subgradient steps towards the bound that would close it. Compiled.

Steps aim at the value that would prune the node (Polyak, USSR Computational Mathematics and Mathematical Physics,
1969), deflected as in Camerini, Fratta and Maffioli (Mathematical Programming Study 3, 1975).
"""

from __future__ import annotations

import numpy as np

from optimizers.compiled import compiled
from optimizers.prices.kernels import Array, RowArrays, Tables, copy_line
from optimizers.prices.nodes import BEST, Desk, Ledger, Question, offer, target_of
from optimizers.prices.relaxation import lagrangian, larger_ends, row_sides, rung_values, subgradient, unevenness

PATIENCE = 6
"""Steps without a better bound after which the pace is halved."""
SLOWEST = 0.05
FADING, FRESH = 0.9, 0.1
"""What is left, a step later, of the weight of an answer; and that of a new one."""


@compiled()
def look_up(question: Question, desk: Desk, mask: Array, low: Array, high: Array) -> None:
    """Fill the desk with the rungs' values and units at both ends of the intervals."""
    tables, worth, place = question.tables, question.worth, question.place
    copy_line(low, desk.ends[0])
    copy_line(high, desk.ends[1])
    for e in range(2):
        rung_values(tables, worth, place, mask, desk.ends[e], desk.values[e], desk.units[e])


@compiled(inline="always")
def fixed_part(
    tables: Tables, rows: RowArrays, dent: Array, place: Array, mask: Array, low: Array, high: Array, price: Array
) -> float:
    """What the bound holds besides the Lagrangians of the families: the rows' sides and what is not convex."""
    sides = row_sides(rows, place, low.shape[0], price)
    return float(sides + unevenness(tables, rows, dent, place, mask, low, high, price))


@compiled(inline="always")
def _larger(parts: Array, f: int) -> int:
    """At which end the Lagrangian of a family is larger."""
    return 1 if parts[1, f] > parts[0, f] else 0


@compiled(inline="always")
def _read_answer(
    family: Array, parts: Array, answers: Array, units: Array, answer: Array, sold: Array, taken: Array
) -> None:
    """Read each product's answer, and the units sold, off the larger end of its family; note it in `taken`."""
    for n in range(answer.shape[0]):
        end = _larger(parts, family[n])
        answer[n] = answers[end, n]
        for k in range(taken.shape[1]):
            taken[n, k] *= FADING
        taken[n, answer[n]] += FRESH
        if units.shape[1]:
            sold[n] = units[end, n, answer[n]]


@compiled(inline="always")
def _deflect(slope: Array, course: Array) -> float:
    """Bend the course towards the subgradient; return its squared length."""
    norm = 0.0
    for d in range(course.shape[0]):
        course[d] = slope[d] + 0.5 * course[d]
        norm += course[d] * course[d]
    return norm


@compiled(inline="always")
def _step(rows: RowArrays, row_first: int, families: int, here: Array, course: Array, length: float) -> None:
    """Move multipliers along the course, within the signs and fines of the rows; a change of sign stops at 0."""
    for d in range(here.shape[0]):
        moved = here[d] - length * course[d]
        if d >= families:
            r = row_first + d - families
            if rows.high[r] == np.inf:
                moved = min(moved, 0.0)
            if rows.low[r] == -np.inf:
                moved = max(moved, 0.0)
            if (moved > 0) != (here[d] > 0) and here[d] != 0.0:
                moved = 0.0
            moved = min(max(moved, -rows.penalty[r]), rows.penalty[r])
        here[d] = moved


@compiled()
def descend(
    question: Question, desk: Desk, ledger: Ledger, mask: Array, low: Array, high: Array, price: Array, steps: int
) -> float:
    """Bound a node, from multipliers `price`; `desk.best_here` is filled with those of the bound.

    Answers on the way that keep the rules and are better than the best choice are held.
    """
    tables, rows, place, dent = question.tables, question.rows, question.place, question.dent
    ends, values, units, answers, parts = desk.ends, desk.values, desk.units, desk.answers, desk.parts
    here, best_here, course, larger, families = desk.here, desk.best_here, desk.course, desk.larger, low.shape[0]
    copy_line(price, here)
    copy_line(price, best_here)
    desk.taken[:], course[:] = 0.0, 0.0
    bound, stale, pace = np.inf, 0, 1.0
    target = target_of(question.margin, ledger.money[BEST])
    for _ in range(steps):
        for e in range(2):
            lagrangian(tables, rows, place, mask, ends[e], values[e], units[e], here, answers[e], parts[e])
        total = fixed_part(tables, rows, dent, place, mask, low, high, here) + larger_ends(parts)
        _read_answer(desk.family, parts, answers, units, desk.answer, desk.sold, desk.taken)
        for f in range(families):
            larger[f] = ends[_larger(parts, f), f]
        subgradient(tables, rows, place, larger, desk.sold, desk.answer, here, desk.slope)
        stale = 0 if total < bound - 1e-9 * abs(bound) else stale + 1
        if total < bound:
            bound = total
            copy_line(here, best_here)
            offer(question, desk, ledger, desk.answer)
            target = target_of(question.margin, ledger.money[BEST])
        norm = _deflect(desk.slope, course) if bound > target else 0.0
        if norm < 1e-24:
            break
        if stale >= PATIENCE:
            pace *= 0.5
            stale = 0
            copy_line(best_here, here)
            course[:] = 0.0
            if pace < SLOWEST:
                break
            continue
        aim = target if target > -1e299 else bound - 0.05 * abs(bound)
        _step(rows, place[3], families, here, course, pace * (total - aim) / norm)
    return bound
