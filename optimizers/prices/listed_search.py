"""Solve a shop of listed families: multipliers by column generation over the table, then the join.

The master sees few columns at a time, but pricing looks at every choice there is, so that the multipliers it ends with
are those of the whole relaxation (Gilmore and Gomory, Operations Research, 1961).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimizers.prices.groups import Groups
from optimizers.prices.incumbent import Incumbent
from optimizers.prices.joining import Joined, bound_at, join
from optimizers.prices.listed import ListedFamilies, OwnRows
from optimizers.prices.master import Columns, Master
from optimizers.prices.model import Families, exact_value
from optimizers.prices.problem import PriceProblem

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ROUNDS = 200
"""Rounds of columns at most: a bound follows from any multipliers."""
TOUCH = 1e-9
"""A column pays where it brings more than this share of its family's worth."""
SHALLOW = 0.25
"""The first depth, in gaps."""


@dataclass(frozen=True)
class PricedFamilies:
    """Multipliers of the rows and what follows from them."""

    price: Floats
    """(R,) money per scaled unit."""
    bound: float
    """Money: no plan is worth more."""
    loss: Floats
    """(N,) money that each choice loses against the best of its family."""
    rounds: int
    build_seconds: float


def price_families(
    listed: ListedFamilies, hard: float, left: Callable[[], float], check: Callable[[], None]
) -> PricedFamilies:
    """Find the multipliers of the tightest bound.

    Args:
        listed: the families, each with a choice.
        hard: money per scaled unit at which broken hard rows are counted.
        left: seconds that are left; with none the bound is that of the multipliers so far.
        check: raises where the work is to end.
    """
    best = bound_at(listed, np.zeros(len(listed.numbers)))
    if not len(listed.numbers):
        return PricedFamilies(best[1], best[0], best[2], 0, 0.0)
    owner = np.repeat(np.arange(len(listed.first) - 1), np.diff(listed.first))
    master = Master(listed.rows, _columns(listed, owner, _best(listed, listed.value)), hard)
    rounds = 0
    while rounds < ROUNDS:
        rounds += 1
        check()
        mixture = master.relax(left())
        if mixture is None:
            break
        here = bound_at(listed, mixture.price)
        best = here if here[0] < best[0] else best
        worth = listed.value - listed.activity @ mixture.price
        better = _best(listed, worth)
        pays = better[worth[better] > mixture.worth + TOUCH * (1 + np.abs(mixture.worth))]
        if not master.add(_columns(listed, owner, pays)):
            break
    return PricedFamilies(best[1], best[0], best[2], rounds, master.build_seconds)


def _best(listed: ListedFamilies, worth: Floats) -> Ints:
    """(F,) the choice of each family that is worth most."""
    pairs = zip(listed.first[:-1].tolist(), listed.first[1:].tolist(), strict=True)
    return np.array([a + int(np.argmax(worth[a:b])) for a, b in pairs], dtype=np.int64)


def _columns(listed: ListedFamilies, owner: Ints, numbers: Ints) -> Columns:
    return Columns(owner[numbers], listed.value[numbers], listed.activity[numbers])


class ListedShop:
    """A shop whose families are listed, the plan in hand, and what is proven of it."""

    def __init__(self, problem: PriceProblem, groups: Groups, plan: Incumbent, listed: ListedFamilies) -> None:
        """Value the plan in hand as the list values its choices."""
        self.problem, self.system, self.groups, self.plan, self.listed = problem, groups.system, groups, plan, listed
        self._families = Families.of(problem)
        if plan.choice is not None:
            plan.revalue(self._value(plan.choice))

    def price(self, left: Callable[[], float], check: Callable[[], None]) -> PricedFamilies:
        """Price the rows; `coupling_price`, and the multipliers of the groups' own rows, are filled in."""
        self.priced = price_families(self.listed, self.groups.hard_money, left, check)
        every = np.zeros(len(self.plan.joint))
        every[self.listed.numbers] = self.priced.price
        for own in self.listed.own:
            every[own.numbers] = self._own_price(own, left, check)
        self.coupling_price, self.groups.inner_price = (
            every[rows.number] for rows in (self.system.coupling, self.system.inner)
        )
        return self.priced

    def _own_price(self, own: OwnRows, left: Callable[[], float], check: Callable[[], None]) -> Floats:
        """Multipliers of the rows that one family keeps by itself, at those of the rows between families."""
        worth = own.value - own.activity[:, self.listed.numbers] @ self.priced.price
        first, activity = np.array([0, len(worth)]), own.activity[:, own.numbers]
        family = ListedFamilies(first, (), (), worth, activity, own.rows, own.numbers)
        best = activity[int(np.argmax(worth))]
        if np.maximum(best - own.rows.high, own.rows.low - best).max() <= 0:
            return np.zeros(len(own.numbers))
        return price_families(family, self.groups.hard_money, left, check).price

    def join(self, gap: float, tell: Callable[[float], None]) -> None:
        """Join the families until the plan in hand is within the gap; `tell` hears every bound and may raise."""
        bound = self.priced.bound
        tell(bound)

        def enough(found: Joined) -> bool:
            if found.picked is not None:
                choice = self.listed.choice(found.picked)
                self.plan.take(choice, self._value(choice))
            proven = bound - min(found.depth, found.loss)
            tell(max(proven, self.plan.value))
            return found.loss - min(found.depth, found.loss) <= gap * abs(proven)

        join(
            self.listed,
            self.priced.price,
            self.priced.loss,
            least=SHALLOW * gap * max(abs(bound), 1e-9),
            most=bound - self.plan.value,
            enough=enough,
        )

    def _value(self, choice: Ints) -> float:
        """Value of a choice (P,) of the system by exact demand, fines apart, money."""
        price = np.empty(len(choice))
        there = self.system.margin[np.arange(len(choice)), choice]
        price[self.system.order] = there + self.problem.unit_cost[self.system.order]
        return exact_value(self.problem, self._families, price)
