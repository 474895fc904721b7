"""The search for a price plan: families as columns, a master that joins them, and a proof for the whole.

1. Columns. At the master's shadow prices a compiled local search finds better choices for each group of families
   (`price_kernels`); they become columns of the master (`price_master`), until none pays any more.
2. Rounding. The master's relaxation splits no more groups than there are rules between them; those and their nearly
   tied neighbours are decided by a small integer model. The plan that results is improved product by product.
3. Proof. At the final shadow prices each group is bounded by branch and bound (`price_proof`); their sum is a bound for
   the whole, whatever the columns (Lagrangian duality), and what the proof finds on its way are better columns.

Work is limited by counts, not by the clock, so that the same problem gives the same plan; the clock only cuts off.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from engine.errors import InfeasibleError
from optimizers import solver
from optimizers.balance import Alternatives, cancelling_moves
from optimizers.ladder import Ladder
from optimizers.price_kernels import improve, improve_groups, measure_groups, single_moves
from optimizers.price_master import Columns, Master, Mixture, keeps, row_fines
from optimizers.price_proof import TIGHT, Work, prove
from optimizers.price_rows import PriceRows
from optimizers.price_system import (
    INDEX,
    PriceSystem,
    build_system,
    dense_row,
    gain_of,
    joint_rows,
    narrow_rows,
    priced,
)

if TYPE_CHECKING:
    from optimizers.prices import PriceProblem

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ROUNDS = 40
"""Rounds of columns at most."""
PROOFS = 4
"""How often the whole is bounded at most."""
WORK = Work(nodes=3000, slots=1500, first=150, later=30)
WHOLE_WORK = Work(nodes=60_000, slots=20_000, first=400, later=40)
MASK_BYTES = 40_000_000
"""What the masks of one group's open nodes may take."""
POOL = 12
"""Choices that a proof hands back as columns."""
HARD = 100.0
"""A scaled unit of violation of a hard row costs so many times the largest gain of any one product."""


@dataclass(frozen=True)
class PriceProgress:
    """What is held and what is proven while the search runs."""

    objective: float
    """Gain of the plan in hand, money; -inf: none yet."""
    bound: float
    gap: float
    seconds: float


class Stopped(Exception):  # noqa: N818 - not an error: the search unwinds to what it holds
    """Time is up, or the search was cancelled."""


class PriceSearch:
    """The state of one search: the plan in hand, its value, and the bound."""

    def __init__(
        self,
        problem: PriceProblem,
        ladder: Ladder,
        rules: PriceRows,
        *,
        gap: float,
        deadline: float,
        tell: Callable[[PriceProgress], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        """Start from today's prices where they are permitted; `deadline` is a reading of `time.perf_counter`."""
        self.begun = time.perf_counter()
        self.problem, self.ladder, self.gap, self.deadline = problem, ladder, gap, deadline
        self._tell, self._cancelled = tell, cancelled
        self.system: PriceSystem = build_system(problem, ladder, rules)
        self.joint = joint_rows(problem, ladder, rules, self.system)
        self.choice: Ints | None = None
        """(P,) plan in hand, in the system's order."""
        self.value = -np.inf
        self.bound = self._cheap_bound()
        self.group_bound: Floats | None = None
        """(G,) proven at `price`."""
        self.price = np.zeros(len(self.system.coupling))
        """(R,) multipliers of the coupling rows at which the bound was proven, scaled."""
        self.inner_price = np.zeros(len(self.system.inner))
        """Multipliers of the groups' own rows, scaled."""
        self.rounds = 0
        self.build_seconds = 0.0
        self.stopped = "gap_limit"
        """Status of a search that ended above the gap."""
        self.movable = bool((self.system.tables.allowed.sum(axis=1) > 1).any())
        self.gross = 0.0
        """Value of the plan in hand before the fines of soft rules."""
        self._last_told = 0.0
        self.start = self._nearest_to_today()
        self._hard = self._hard_fines()
        self._accept(self.start)

    @property
    def chosen(self) -> Ints:
        """(P,) rungs of the plan in hand, in the problem's order."""
        rung = np.empty(len(self.system.order), dtype=np.int64)
        rung[self.system.order] = self.start if self.choice is None else self.choice
        return rung

    def run(self) -> None:
        """Improve until the gap is reached, the work is done, or time is up.

        Raises:
            InfeasibleError: no prices satisfy the rules.
        """
        try:
            if self.movable and self.system.size == 1:
                self._solve_whole()
            elif self.movable:
                self._solve_by_groups()
        except Stopped:
            self.stopped = "cancelled" if self._left() > 0 else "time_limit"

    def status(self, gap: float) -> str:
        """Say why the search stopped, in the words of `PricePlan.status`, where the plan's gap is `gap`."""
        if not self.movable:
            return "nothing_to_move"
        return "optimal" if gap <= self.gap else self.stopped

    def fines(self) -> float:
        """Money that the plan in hand pays for soft rules."""
        return self.gross - self.value if self.choice is not None else 0.0

    def shadow_prices(self) -> dict[str, float]:
        """Money per unit by which each binding rule is relaxed, at the prices of the proof; the largest of a name.

        index_up and index_down: per 0.1 % of the index; others per unit of the row.
        """
        found: dict[str, float] = {}
        for rows, price in ((self.system.coupling, self.price), (self.system.inner, self.inner_price)):
            for name, each in zip(rows.name, (price / rows.scale).tolist(), strict=True):
                if name == INDEX:
                    found["index_up"] = max(each * 1e-3, 0.0)
                    found["index_down"] = max(-each * 1e-3, 0.0)
                else:
                    found[name] = max(found.get(name, 0.0), abs(each))
        return found

    def reached_gap(self) -> float:
        """Relative gap of the plan in hand."""
        return np.inf if self.choice is None else solver.relative_gap(self.value, self.bound)

    def _solve_whole(self) -> None:
        """One group: branch and bound decides everything."""
        self._check_time()
        found = self._prove_group(0, self.system.worth, self.system.dent, self._begin(), np.array([0.0, self.gap / 2]))
        best, bound, _ = found
        if best == -np.inf and bound < -1e299:
            raise InfeasibleError("no prices satisfy the rules; " + self._remedy())
        self.bound = min(self.bound, bound)
        self._tell_progress()

    def _solve_by_groups(self) -> None:
        system = self.system
        begin = self._begin()
        master = Master(system.coupling.arrays, self._columns(begin, np.arange(system.size))[0], self._hard_money)
        self.build_seconds += master.build_seconds
        self._choices = [begin[system.groups[g] : system.groups[g + 1]] for g in range(system.size)]
        mixture = self._grow(master)
        self._round(master, mixture)
        for number in range(PROOFS):
            if self._closed():
                break
            new = self._prove_all(master, mixture, 0.25 if number == 0 else 0.1)
            if self._closed() or not new:
                break
            mixture = self._grow(master)
            self._round(master, mixture)
        if self.choice is None:
            raise InfeasibleError("no prices were found that satisfy the rules; " + self._remedy())

    def _begin(self) -> Ints:
        return self.start if self.choice is None else self.choice

    def _grow(self, master: Master) -> Mixture:
        """Add columns until none pays; return the relaxation."""
        system = self.system
        everything = np.arange(system.size)
        score = np.zeros(system.size)
        mixture = self._relax(master)
        for _ in range(ROUNDS):
            self._check_time()
            self.rounds += 1
            worth, _ = priced(system, mixture.price)
            choice = self._heaviest(master, mixture)
            improve_groups(
                *(system.tables, system.inner.arrays, worth, system.groups, system.inner_first, everything),
                *(choice, self._hard, False, score),
            )
            pays = score - mixture.worth
            promising = np.flatnonzero(pays > 1e-9 * (1 + np.abs(mixture.worth)))
            added = self._add(master, choice, promising)
            small = float(np.maximum(pays, 0).sum()) <= 0.1 * self.gap * abs(mixture.objective)
            if not added:
                break
            mixture = self._relax(master)
            if small:
                break
        return mixture

    def _relax(self, master: Master) -> Mixture:
        mixture = master.relax(self._left())
        if mixture is None:
            raise Stopped
        return mixture

    def _heaviest(self, master: Master, mixture: Mixture) -> Ints:
        """(P,) the column of each group that the relaxation takes most of."""
        order = np.lexsort((-mixture.value, master.columns.group))
        first = np.flatnonzero(np.diff(master.columns.group[order], prepend=-1))
        return np.concatenate([self._choices[n] for n in order[first]])

    def _add(self, master: Master, choice: Ints, groups: Ints) -> int:
        """Add the groups' parts of a choice as columns, where they keep the groups' own rules."""
        if not len(groups):
            return 0
        columns, kept = self._columns(choice, groups)
        columns = Columns(columns.group[kept], columns.value[kept], columns.activity[kept])
        count = master.add(columns)
        bounds = self.system.groups
        self._choices += [choice[bounds[g] : bounds[g + 1]].copy() for g in columns.group[master.added]]
        return count

    def _columns(self, choice: Ints, groups: Ints) -> tuple[Columns, npt.NDArray[np.bool_]]:
        """The groups' parts of a choice as columns, and whether they keep the groups' own hard rows."""
        value, activity, kept = self._measure(choice)
        return Columns(groups, value[groups], activity[groups]), kept[groups] > 0

    def _measure(self, choice: Ints) -> tuple[Floats, Floats, Ints]:
        system = self.system
        value, kept = np.zeros(system.size), np.zeros(system.size, dtype=np.int64)
        activity = np.zeros((system.size, len(system.coupling)))
        measure_groups(
            *(system.tables, system.inner.arrays, system.coupling.arrays, system.worth, system.groups),
            *(system.inner_first, choice, TIGHT * 10, value, activity, kept),
        )
        return value, activity, kept

    def _accept(self, choice: Ints) -> bool:
        """Take a choice (P,) if it keeps every rule and is better than the one in hand."""
        value, activity, kept = self._measure(choice)
        rows = self.system.coupling.arrays
        total = activity.sum(axis=0)
        if not kept.all() or not keeps(rows, total):
            return False
        worth = float(value.sum()) - row_fines(rows, total)
        if worth <= self.value:
            return False
        self.choice, self.value = choice.copy(), worth
        self.gross = float(gain_of(self.system, choice))
        self._tell_progress()
        return True

    def _round(self, master: Master, mixture: Mixture) -> None:
        """Round the relaxation to a plan and improve it product by product."""
        target = max(self.gap / 4, 1e-9)
        chosen = master.round(mixture, gap=target, seconds=max(self._left(), 0.01))
        candidates = [] if chosen is None else [np.concatenate([self._choices[n] for n in chosen])]
        for choice in [*candidates, self._heaviest(master, mixture)]:
            self._accept(choice)
            better = choice.copy()
            improve(
                *(self.system.tables, self.joint.arrays, self.system.worth, 0, len(choice), 0, len(self.joint)),
                *(better, self._hard_money, False, 60),
            )
            self._accept(better)
        self._cancel(candidates[0] if candidates else self._heaviest(master, mixture), mixture.price)
        self._check_time()

    def _cancel(self, choice: Ints, price: Floats) -> None:
        """Where a rule between groups is too narrow to be met by columns, move a few products so that it is met."""
        rows, joint = self.system.coupling, self.joint
        narrow = narrow_rows(rows.arrays)
        if not len(narrow):
            return
        place = joint.name.index(rows.name[narrow[0]])
        fine = joint.arrays.penalty.copy()
        fine[place] = 0.0
        worth, _ = priced(self.system, price)
        gain = np.empty(self.system.margin.shape)
        single_moves(self.system.tables, joint.arrays._replace(penalty=fine), worth, choice, self._hard_money, gain)
        part = dense_row(joint.arrays, place, gain)
        everyone = np.arange(len(choice))
        now = part[everyone, choice]
        product, rung = np.nonzero(np.isfinite(gain))
        options = Alternatives(product, part[product, rung] - now[product], -gain[product, rung])
        low, high = joint.arrays.low[place] - now.sum(), joint.arrays.high[place] - now.sum()
        for moves in cancelling_moves(options, low, high):
            better = choice.copy()
            better[product[moves]] = rung[moves]
            self._accept(better)

    def _prove_all(self, master: Master, mixture: Mixture, share: float) -> int:
        """Bound every group at the relaxation's prices; return how many new columns that brought."""
        system, price = self.system, mixture.price
        worth, dent = priced(system, price)
        choice = self._heaviest(master, mixture)
        allowance = share * self.gap * abs(mixture.objective) / system.size
        bounds = np.zeros(system.size)
        found = 0
        for g in range(system.size):
            self._check_time()
            part = choice[system.groups[g] : system.groups[g + 1]].copy()
            pool, pool_value = self._pool(g)
            _, bounds[g], _ = self._prove(g, worth, dent, part, np.array([allowance, 0.0]), pool, pool_value, WORK)
            for n in np.flatnonzero(pool_value > -np.inf):
                whole = choice.copy()
                whole[system.groups[g] : system.groups[g + 1]] = pool[n]
                found += self._add(master, whole, np.array([g]))
        rows = system.coupling.arrays
        sides = np.where(price > 0, rows.high, np.where(price < 0, rows.low, 0.0))
        total = float(bounds.sum() + price[price != 0] @ sides[price != 0])
        if total < self.bound:
            self.bound, self.group_bound, self.price = total, bounds, price
        self._tell_progress()
        return found

    def _pool(self, group: int) -> tuple[Ints, Floats]:
        size = int(self.system.groups[group + 1] - self.system.groups[group])
        return np.zeros((POOL, size), dtype=np.int64), np.full(POOL, -np.inf)

    def _prove_group(
        self, group: int, worth: Floats, dent: Floats, choice: Ints, margin: Floats
    ) -> tuple[float, float, int]:
        """Prove the only group, taking what it finds as the plan."""
        pool, pool_value = self._pool(group)
        found = self._prove(group, worth, dent, choice, margin, pool, pool_value, WHOLE_WORK)
        for n in np.argsort(-pool_value, kind="stable"):
            if pool_value[n] > -np.inf:
                self._accept(pool[n])
        if found[0] > -np.inf:
            self._accept(choice)
        return found

    def _prove(
        self,
        group: int,
        worth: Floats,
        dent: Floats,
        choice: Ints,
        margin: Floats,
        pool: Ints,
        pool_value: Floats,
        work: Work,
    ) -> tuple[float, float, int]:
        system = self.system
        own = slice(system.inner_first[group], system.inner_first[group + 1])
        price = np.concatenate([np.zeros(system.families_of(group)), self.inner_price[own]])
        slots = min(work.slots, max(64, MASK_BYTES // max(len(choice) * system.tables.log_move.shape[1], 1)))
        found = prove(
            *(system.tables, system.inner.arrays, worth, dent, system.place(group), choice, price, margin),
            *(float(self._hard[group]), work._replace(slots=slots), pool, pool_value),
        )
        self.inner_price[own] = price[system.families_of(group) :]
        return float(found[0]), float(found[1]), int(found[2])

    def _nearest_to_today(self) -> Ints:
        """(P,) today's rung, or the permitted one nearest to it."""
        allowed = self.system.tables.allowed > 0
        move = np.where(allowed, np.abs(self.system.tables.log_move), np.inf)
        move[:, self.system.today] = np.where(allowed[:, self.system.today], -1.0, np.inf)
        return np.asarray(np.argmin(move, axis=1), dtype=np.int64)

    def _hard_fines(self) -> Floats:
        """(G,) money per scaled unit of violation in each group."""
        swing = self._largest()
        self._hard_money = HARD * max(float(swing.max(initial=0.0)), 1e-6)
        return np.full(self.system.size, self._hard_money)

    def _largest(self) -> Floats:
        """(P,) most that a product can gain or lose."""
        worth = self.system.worth.sum(axis=2)
        return np.asarray(np.abs(np.where(self.system.tables.allowed > 0, worth, 0.0)).max(axis=1, initial=0.0))

    def _cheap_bound(self) -> float:
        """Every product at its best rung, the rest of its family where that helps it most: no solver is needed."""
        worth, tables = self.system.worth, self.system.tables
        sign = (-1.0) ** np.arange(worth.shape[2])
        ends = np.maximum(worth.sum(axis=2), worth @ sign)
        width = np.divide(2.0, tables.stretch, out=np.zeros_like(tables.stretch), where=tables.stretch > 0)
        ends = ends + np.maximum(self.system.dent, 0.0) * (width[:, None] ** 2) / 8
        return float(np.where(tables.allowed > 0, ends, -np.inf).max(axis=1).sum())

    def _closed(self) -> bool:
        return self.reached_gap() <= self.gap

    def _left(self) -> float:
        return self.deadline - time.perf_counter()

    def _check_time(self) -> None:
        if self._left() <= 0 or (self._cancelled is not None and self._cancelled()):
            raise Stopped

    def _tell_progress(self) -> None:
        if self._tell is not None:
            seconds = time.perf_counter() - self.begun
            self._tell(PriceProgress(self.value, max(self.bound, self.value), self.reached_gap(), seconds))

    def _remedy(self) -> str:
        names = ", ".join(sorted({*self.system.coupling.name, *self.system.inner.name})[:8])
        return f"relax one of: {names}" if names else "the ladder leaves no price"
