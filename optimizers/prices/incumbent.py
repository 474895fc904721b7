"""The plan in hand: what it is worth, and how a choice that nearly keeps the rules is made into a better one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimizers.prices.balance import Alternatives, cancelling_moves
from optimizers.prices.groups import HARD, Groups
from optimizers.prices.kernels import evaluate
from optimizers.prices.master import keeps, row_fines
from optimizers.prices.moves import improve, single_moves
from optimizers.prices.row_set import RowSet, dense_row, narrow_rows
from optimizers.prices.system import gain_of, priced

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PriceProgress:
    """What is held and what is proven while the search runs."""

    objective: float
    """Gain of the plan in hand, money; -inf: none yet."""
    bound: float
    gap: float
    seconds: float


class Incumbent:
    """The best choice that keeps every rule, so far."""

    def __init__(self, groups: Groups, joint: RowSet, tell: Callable[[], None]) -> None:
        """Hold nothing yet; `tell` is called whenever something better is held."""
        self.groups, self.system, self.joint, self._tell = groups, groups.system, joint, tell
        self.choice: Ints | None = None
        """(P,) rungs, in the system's order."""
        self.value = -np.inf
        """Money, fines of soft rules taken off."""
        self.gross = 0.0
        """Money before the fines."""

    def fines(self) -> float:
        """Money that the plan in hand pays for soft rules."""
        return self.gross - self.value if self.choice is not None else 0.0

    def accept(self, choice: Ints) -> bool:
        """Take a choice (P,) if it keeps every rule and is better than the one in hand."""
        value, activity, kept = self.groups.measure(self.groups.everything, [choice])
        rows = self.system.coupling.arrays
        total = activity.sum(axis=0)
        if not kept.all() or not keeps(rows, total):
            return False
        worth = float(value.sum()) - row_fines(rows, total)
        if worth <= self.value:
            return False
        self.choice, self.value = choice.copy(), worth
        self.gross = float(gain_of(self.system, choice))
        self._tell()
        return True

    def take(self, choice: Ints, value: float) -> None:
        """Hold a choice (P,) worth `value` by another measure than the tables', fines apart, if it keeps every rule.

        The plan that was held before is to be valued by the same measure (`revalue`).
        """
        _, activity, kept = self.groups.measure(self.groups.everything, [choice])
        total = activity.sum(axis=0)
        if kept.all() and keeps(self.system.coupling.arrays, total):
            worth = value - self.fines_of(choice)
            if worth > self.value:
                self.choice, self.value, self.gross = choice.copy(), worth, value
                self._tell()

    def revalue(self, value: float) -> None:
        """Let the plan in hand be worth `value`, fines apart, by another measure than the tables'."""
        if self.choice is not None:
            self.gross, self.value = value, value - self.fines_of(self.choice)

    def fines_of(self, choice: Ints) -> float:
        """Money that a choice (P,) pays for soft rules."""
        moved, activity = np.zeros(len(self.system.tables.first)), np.zeros(len(self.joint))
        evaluate(self.system.tables, self.joint.arrays, self.system.worth, 0, len(choice), choice, (moved, activity))
        single = self.system.fine[np.arange(len(choice)), choice].sum()
        return float(single) + row_fines(self.joint.arrays, activity)

    def polish(self, choice: Ints) -> None:
        """Take a choice as it is, and improved product by product under all rows."""
        self.accept(choice)
        better = choice.copy()
        improve(
            *(self.system.tables, self.joint.arrays, self.system.worth, 0, len(choice), 0, len(self.joint)),
            *(better, self.groups.hard_money, False, 60),
        )
        self.accept(better)

    def balance(self, choice: Ints, price: Floats) -> bool:
        """Meet the rules between groups that are narrower than what one product moves; True: that made a better plan.

        Columns are whole families, too coarse a change for that.
        """
        better = False
        for number in narrow_rows(self.system.coupling.arrays).tolist():
            better = self._balance_row(choice, price, number) or better
        return better

    def _balance_row(self, choice: Ints, price: Floats, number: int) -> bool:
        """Bring one coupling row into its sides; True where that made a better plan."""
        joint = self.joint
        place = int(self.system.coupling.number[number])
        part = dense_row(joint.arrays, place, self.system.margin)
        fine = joint.arrays.penalty.copy()
        fine[place] = 0.0
        worth, _ = priced(self.system, price)
        gain = np.empty_like(self.system.margin)
        single_moves(
            self.system.tables, joint.arrays._replace(penalty=fine), worth, choice, self.groups.hard_money, gain
        )
        now = part[np.arange(len(choice)), choice]
        product, rung = np.nonzero(gain > -0.5 * self.groups.hard_money / HARD)
        options = Alternatives(product, part[product, rung] - now[product], -gain[product, rung])
        better = False
        low, high = (float(side - now.sum()) for side in (joint.arrays.low[place], joint.arrays.high[place]))
        for moves in cancelling_moves(options, low, high):
            changed = choice.copy()
            changed[product[moves]] = rung[moves]
            better = self.accept(changed) or better
        return better
