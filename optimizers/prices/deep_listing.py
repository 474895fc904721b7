"""Groups too large to list whole: list what loses least at the proof's prices, and join it, deeper and deeper.

Where a few large groups stand under a rule that hardly any plan keeps (an index that must not move), relaxation and
best plan lie further apart than an integer master over found columns can tell. The proof lists every choice of a group
that loses less than a depth; joining those (`joining`) finds the best plan that loses less, or proves that none does.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from optimizers.prices.bounding import THREADS
from optimizers.prices.groups import Groups
from optimizers.prices.incumbent import Incumbent
from optimizers.prices.joining import Joined, bound_at, join
from optimizers.prices.listed import ListedFamilies
from optimizers.prices.nodes import WORK
from optimizers.prices.system import priced

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST_GROUPS = 24
"""Groups of a shop that is treated so."""
MOST = 200_000
"""Choices of one group that are listed at most."""
FIRST = 1 / 64
"""The first depth, as a share of what is open between plan and bound."""
DEEPER = 2.0
ROUNDS = 8
"""Depths that are tried: the last reaches twice what was open."""


def deepen(
    groups: Groups,
    plan: Incumbent,
    price: Floats,
    bound: float,
    gap: float,
    tell: Callable[[float], None],
    check: Callable[[], None],
) -> None:
    """List and join until the plan in hand is within the gap of what is proven, or the lists become too long.

    Args:
        groups: the shop.
        plan: takes better plans.
        price: (R,) multipliers of the coupling rows at which `bound` was proven.
        bound: money that no plan is worth more than.
        gap: relative gap at which the work may stop.
        tell: hears of every better bound; what it raises ends the work, as does what `check` raises.
        check: called between groups.
    """
    if groups.system.size > MOST_GROUPS:
        return
    open_money = bound - plan.value if plan.choice is not None else abs(bound)
    depth = max(gap * abs(bound) / 2, open_money * FIRST)
    for _ in range(ROUNDS):
        if plan.choice is not None and bound - plan.value <= gap * abs(bound):
            return
        listed = _listed(groups, price, depth, plan.choice, check)
        if listed is None:
            return
        top, signed, loss = bound_at(listed, price)

        def enough(found: Joined, deep: float = depth, top: float = top, listed: ListedFamilies = listed) -> bool:
            if found.picked is not None:
                plan.accept(listed.choice(found.picked))
            tell(max(top - min(found.depth, found.loss), plan.value))
            return found.depth >= deep

        found = join(listed, signed, loss, least=depth / 4, most=top - plan.value, enough=enough)
        proven = min(found.depth, found.loss, depth)
        bound = min(bound, max(top - proven, plan.value))
        if found.depth < min(depth, found.loss):
            return
        depth *= DEEPER


def _listed(
    groups: Groups, price: Floats, depth: float, start: Ints | None, check: Callable[[], None]
) -> ListedFamilies | None:
    """Every choice of every group that loses no more than the depth at multipliers (R,); None: they are too many."""
    system = groups.system
    worth, dent = priced(system, price)
    begin = np.argmax(system.tables.allowed > 0, axis=1) if start is None else start
    parts = groups.parts(begin, groups.everything)

    def choices(g: int) -> Ints | None:
        check()
        pool, value = groups.pool(g, MOST)
        margin = np.array([-depth, 0.0])
        *_, whole = groups.prove(g, worth, dent, parts[g].copy(), margin, pool, value, WORK, lambda *_: check())
        return np.unique(pool[value > -np.inf], axis=0) if whole else None

    with ThreadPoolExecutor(THREADS) as threads:
        found = list(threads.map(choices, range(system.size)))
    rungs = [one for one in found if one is not None and len(one)]
    if len(rungs) < system.size:
        return None
    sizes = [len(one) for one in rungs]
    which = np.repeat(groups.everything, sizes)
    value, activity, _ = groups.measure(which, [row for one in rungs for row in one])
    place = tuple(np.arange(a, b) for a, b in zip(system.groups[:-1], system.groups[1:], strict=True))
    first = np.append(0, np.cumsum(sizes)).astype(np.int64)
    rows = system.coupling.arrays
    return ListedFamilies(first, place, tuple(rungs), value, activity, rows, np.arange(len(rows.low)))
