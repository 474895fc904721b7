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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from engine.errors import InfeasibleError
from optimizers import solver
from optimizers.prices.balance import Alternatives, cancelling_moves
from optimizers.prices.kernels import measure_columns
from optimizers.prices.ladder import Ladder
from optimizers.prices.master import Columns, Master, Mixture, keeps, row_fines
from optimizers.prices.moves import improve, improve_groups, single_moves
from optimizers.prices.proof import Work, prove
from optimizers.prices.relaxation import TIGHT
from optimizers.prices.row_set import dense_row, narrow_rows
from optimizers.prices.rows import PriceRows
from optimizers.prices.system import INDEX, PriceSystem, build_system, gain_of, joint_rows, priced

if TYPE_CHECKING:
    from optimizers.prices.solve import PriceProblem

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Search = Callable[[Ints, Ints, Floats, Floats], tuple[Ints, Floats]]
"""From a choice (P,), groups asked, worth and dent: better choices and their scores."""

ROUNDS = 40
"""Rounds of columns at most."""
PROOFS = 12
"""How often the whole is bounded at most."""
EARLY = 0.99
"""A plan worth less than this share of the relaxation is not waited with until the columns are complete."""
TAIL = 20.0
"""Columns that would bring less than this share of the gap altogether are not waited for."""
SHORT_WORK = Work(nodes=25, first=60, later=12)
WORK = Work(nodes=25_000, first=150, later=12)
WHOLE_WORK = Work(nodes=60_000, first=400, later=40)
MASK_BYTES = 40_000_000
"""What the masks of one group's open nodes may take."""
NEIGHBOURS = 1500
"""Columns one move away that are added when rounding."""
ROUNDINGS = 6
"""Ways to round the relaxation that are tried."""
LISTED = 0.15
"""Columns are listed where they would have to reach no further below the best than this share of a group's gain."""
LIST = 4000
"""Columns that are listed of one group at most."""
ONE_PIECE = 400
"""Products up to which a shop whose groups found no plan together is searched in one piece."""
THREADS = 2
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
        whole: bool = False,
        allowance: float = 0.0,
        proofs: int = PROOFS,
    ) -> None:
        """Start from today's prices where they are permitted; `deadline` is a reading of `time.perf_counter`.

        `whole` keeps everything in one group, whatever its size; its bound may then stay `allowance` (money) above its
        best, and no more is spent on it than on any group. `proofs` limits how often groups are bounded; with 0 the
        plan has no bound worth the name.
        """
        self.begun = time.perf_counter()
        self.problem, self.ladder, self.gap, self.deadline = problem, ladder, gap, deadline
        self._tell, self._cancelled, self._rules = tell, cancelled, rules
        self.system: PriceSystem = build_system(problem, ladder, rules, whole=whole)
        self.joint = joint_rows(problem, ladder, rules, self.system)
        self.choice: Ints | None = None
        """(P,) plan in hand, in the system's order."""
        self.value = -np.inf
        self.bound = self._cheap_bound()
        self.price = np.zeros(len(self.system.coupling))
        """(R,) multipliers of the coupling rows at which the bound was proven, scaled."""
        self.inner_price = np.zeros(len(self.system.inner))
        """Multipliers of the groups' own rows, scaled."""
        self.family_price = np.zeros(len(self.system.tables.first) - 1)
        """Multipliers of the families' log moves."""
        self.rounds = 0
        self.build_seconds = 0.0
        self._allowance, self._work = allowance, WORK._replace(nodes=1500) if whole else WHOLE_WORK
        self._everything = np.arange(self.system.size)
        self._complete = False
        self._listed_at = np.full(len(self.system.coupling), np.nan)
        self._listings: dict[int, tuple[float, float, bool]] = {}
        """Group -> depth, bound, and whether all of its columns so far below its best are in the master."""
        self.stopped = "gap_limit"
        """Status of a search that ended above the gap."""
        self.movable = bool((self.system.tables.allowed.sum(axis=1) > 1).any())
        self.gross = 0.0
        """Value of the plan in hand before the fines of soft rules."""
        self.start = self._nearest_to_today()
        self._hard = self._hard_fines()
        self._proofs = proofs
        self._accept(self.start)

    def begin_from(self, rung: Ints) -> None:
        """Start from rungs (P,) in the problem's order, whether or not they keep the rules."""
        self.start = rung[self.system.order]
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

    def worth_of(self, rung: Ints) -> float:
        """Value, fines of soft rules taken off, of rungs (P,) in the problem's order, whether or not they are kept."""
        value, activity, _ = self._measure(self._everything, [rung[self.system.order]])
        return float(value.sum()) - row_fines(self.system.coupling.arrays, activity.sum(axis=0))

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
        found = self._prove_group(
            0, self.system.worth, self.system.dent, self._begin(), np.array([self._allowance, self.gap / 2])
        )
        best, bound, *_ = found
        if best == -np.inf and bound < -1e299:
            raise InfeasibleError("no prices satisfy the rules; " + self._remedy())
        self.bound = min(self.bound, bound)
        self._tell_progress()

    def _solve_by_groups(self) -> None:
        system = self.system
        begin = self._begin()
        value, activity, kept = self._measure(self._everything, [begin])
        # A start that breaks a group's own rules stands in until a column is found that keeps them.
        value = np.where(kept > 0, value, value - self._hard_money)
        master = Master(system.coupling.arrays, Columns(self._everything, value, activity), self._hard_money)
        self.build_seconds += master.build_seconds
        self._choices = self._parts(begin, self._everything)
        mixture = self._grow(master, self._by_moves, 0.0)
        mixture = self._grow(master, self._by_branching, TAIL)
        self._round(master, mixture)
        # First bounds until the prices have settled; then, where few enough, all columns that could still matter: a
        # third of the way first, as what that finds shortens the rest.
        part = 1 / 3
        for _ in range(self._proofs):
            if self._closed():
                break
            settled = self.bound - mixture.objective <= self.gap * abs(mixture.objective)
            depth = self._listed(mixture) * part if settled else 0.0
            new = self._prove_all(master, mixture, -depth if depth else 0.25)
            if self._closed() or self._decide(master, mixture) or (settled and not depth):
                break
            if settled and not new and part == 1.0:
                break
            part = 1.0 if settled else part
            mixture = self._grow(master, self._by_moves, 0.0)
            self._round(master, mixture)
        if self.choice is None and len(begin) <= ONE_PIECE:
            self._solve_in_one_piece()
        if self.choice is None:
            raise InfeasibleError("no prices were found that satisfy the rules; " + self._remedy())

    def _solve_in_one_piece(self) -> None:
        """Look for prices by branch and bound over the whole shop, where rounding found none."""
        whole = PriceSearch(
            self.problem,
            self.ladder,
            self._rules,
            gap=self.gap,
            deadline=self.deadline,
            cancelled=self._cancelled,
            whole=True,
        )
        whole.run()
        if whole.choice is not None:
            self._accept(whole.chosen[self.system.order])
            self.bound = min(self.bound, whole.bound + whole.system.error)

    def _begin(self) -> Ints:
        return self.start if self.choice is None else self.choice

    def _grow(self, master: Master, search: Search, tail: float) -> Mixture:
        """Add columns that a search finds until none pays, or a round brings less than `tail` gaps.

        Groups that had nothing to offer are asked again when those that had run dry. Returns the relaxation.
        """
        mixture = self._relax(master)
        asked = self._everything
        for _ in range(ROUNDS):
            self._check_time()
            self.rounds += 1
            worth, dent = priced(self.system, mixture.price)
            choice, score = search(self._heaviest(master, mixture), asked, worth, dent)
            pays = np.where(score > -np.inf, score - mixture.worth, 0.0)
            promising = np.flatnonzero(pays > 1e-9 * (1 + np.abs(mixture.worth)))
            added, before = self._add(master, promising, self._parts(choice, promising)), mixture.objective
            if added:
                mixture = self._relax(master)
            few = mixture.objective - before <= tail * self.gap * abs(mixture.objective)
            if few and (tail or len(asked) == self.system.size):
                break
            asked = promising if added and tail else self._everything
            if tail and self.value < EARLY * mixture.objective:
                self._hold(master, mixture)
        return mixture

    def _by_moves(self, choice: Ints, asked: Ints, worth: Floats, _: Floats) -> tuple[Ints, Floats]:
        """Search some groups for columns by moves of one product."""
        system = self.system
        score = np.full(system.size, -np.inf)
        improve_groups(
            *(system.tables, system.inner.arrays, worth, system.groups, system.inner_first, asked),
            *(choice, self._hard, False, score),
        )
        return choice, score

    def _by_branching(self, choice: Ints, asked: Ints, worth: Floats, dent: Floats) -> tuple[Ints, Floats]:
        """Search some groups for columns by branch and bound with few nodes."""
        parts = self._parts(choice, self._everything)
        score = np.full(self.system.size, -np.inf)

        def search(g: int) -> float:
            self._check_time()
            return self._prove(g, worth, dent, parts[g], np.zeros(2), *self._pool(g), SHORT_WORK)[0]

        with ThreadPoolExecutor(THREADS) as threads:
            score[asked] = list(threads.map(search, asked.tolist()))
        return choice, score

    def _relax(self, master: Master) -> Mixture:
        mixture = master.relax(self._left())
        if mixture is None:
            raise Stopped
        return mixture

    def _heaviest(self, master: Master, mixture: Mixture) -> Ints:
        """(P,) the column of each group that the relaxation takes most of."""
        return np.concatenate([self._choices[n] for n in master.heaviest(mixture)])

    def _add(self, master: Master, groups: Ints, parts: list[Ints]) -> int:
        """Add columns (N,) of groups, where they keep the groups' own rules; return how many are new."""
        if not len(groups):
            return 0
        value, activity, kept = self._measure(groups, parts)
        good = np.flatnonzero(kept)
        count = master.add(Columns(groups[good], value[good], activity[good]))
        self._choices += [parts[n].copy() for n in good[master.added]]
        return count

    def _parts(self, choice: Ints, groups: Ints) -> list[Ints]:
        """Cut groups' rungs out of a choice (P,)."""
        bounds = self.system.groups
        return [choice[bounds[g] : bounds[g + 1]] for g in groups]

    def _measure(self, groups: Ints, parts: list[Ints]) -> tuple[Floats, Floats, Ints]:
        """Value, activities and whether the own hard rows are kept, of columns (N,)."""
        system = self.system
        count = len(groups)
        value, kept = np.zeros(count), np.zeros(count, dtype=np.int64)
        activity = np.zeros((count, len(system.coupling)))
        sizes = np.diff(system.groups)[groups]
        measure_columns(
            *(system.tables, system.inner.arrays, system.coupling.arrays, system.worth, system.groups),
            *(system.inner_first, groups, np.cumsum(sizes) - sizes, np.concatenate(parts), TIGHT * 10),
            *(value, activity, kept),
        )
        return value, activity, kept

    def _accept(self, choice: Ints) -> bool:
        """Take a choice (P,) if it keeps every rule and is better than the one in hand."""
        value, activity, kept = self._measure(self._everything, [choice])
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
        self._hold(master, mixture)
        self._add_neighbours(master, mixture)
        target = max(self.gap / 4, 1e-9)
        chosen = master.round(mixture, least=self.value, gap=target, seconds=max(self._left(), 0.01))
        if chosen is not None:
            choice = np.concatenate([self._choices[n] for n in chosen])
            self._polish(choice)
            self._balance(choice, mixture.price)
        while self.choice is not None and self._balance(self.choice, mixture.price):
            self._check_time()

    def _hold(self, master: Master, mixture: Mixture) -> None:
        """Make plans of the relaxation by the shortest road: every split group at one of its columns, then moves."""
        self._polish(self._heaviest(master, mixture))
        for choice in self._roundings(master, mixture):
            self._balance(choice, mixture.price)

    def _polish(self, choice: Ints) -> None:
        """Take a choice as it is, and improved product by product under all rows."""
        self._accept(choice)
        better = choice.copy()
        improve(
            *(self.system.tables, self.joint.arrays, self.system.worth, 0, len(choice), 0, len(self.joint)),
            *(better, self._hard_money, False, 60),
        )
        self._accept(better)

    def _roundings(self, master: Master, mixture: Mixture) -> list[Ints]:
        """The relaxation with every split group at its heaviest column, and with one of them at another."""
        heaviest = self._heaviest(master, mixture)
        found = [heaviest]
        best = master.heaviest(mixture)
        weight = master.weight(mixture)
        for n in np.flatnonzero(weight > 1e-7).tolist():
            group = int(master.columns.group[n])
            if n != best[group] and len(found) < ROUNDINGS:
                other = heaviest.copy()
                other[self.system.groups[group] : self.system.groups[group + 1]] = self._choices[n]
                found.append(other)
        return found

    def _balance(self, choice: Ints, price: Floats) -> bool:
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
        place = self._joint_place(number)
        part = dense_row(joint.arrays, place, self.system.margin)
        fine = joint.arrays.penalty.copy()
        fine[place] = 0.0
        worth, _ = priced(self.system, price)
        gain = np.empty_like(self.system.margin)
        single_moves(self.system.tables, joint.arrays._replace(penalty=fine), worth, choice, self._hard_money, gain)
        now = part[np.arange(len(choice)), choice]
        product, rung = np.nonzero(gain > -0.5 * self._hard_money / HARD)
        options = Alternatives(product, part[product, rung] - now[product], -gain[product, rung])
        better = False
        low, high = (float(side - now.sum()) for side in (joint.arrays.low[place], joint.arrays.high[place]))
        for moves in cancelling_moves(options, low, high):
            changed = choice.copy()
            changed[product[moves]] = rung[moves]
            better = self._accept(changed) or better
        return better

    def _joint_place(self, number: int) -> int:
        """Number among all rows of a coupling row."""
        name = self.system.coupling.name
        before = name[:number].count(name[number])
        places = [n for n, other in enumerate(self.joint.name) if other == name[number]]
        return places[before]

    def _add_neighbours(self, master: Master, mixture: Mixture) -> None:
        """Add columns one move away from the relaxation's that lose little: whoever rounds needs small change."""
        system = self.system
        choice = self._heaviest(master, mixture)
        worth, _ = priced(system, mixture.price)
        gain = np.empty_like(system.margin)
        single_moves(system.tables, system.inner.arrays, worth, choice, self._hard_money, gain)
        gain = np.where(np.isfinite(gain), gain, -np.inf)
        open_groups = master.nearly_tied(mixture)
        each = max(8, NEIGHBOURS // max(len(open_groups), 1))
        groups, parts = [], []
        for g in open_groups.tolist():
            first, last = system.groups[g], system.groups[g + 1]
            flat = gain[first:last].ravel()
            for place in np.argsort(-flat, kind="stable")[:each]:
                if flat[place] > -np.inf:
                    groups.append(g)
                    parts.append(choice[first:last].copy())
                    parts[-1][place // gain.shape[1]] = place % gain.shape[1]
        self._add(master, np.array(groups, dtype=np.int64), parts)

    def _listed(self, mixture: Mixture) -> float:
        """How far below a group's best its columns are listed, in gaps; 0: there would be too many."""
        if self.choice is None:
            return 0.0
        one_gap = max(self.gap * abs(mixture.objective) / self.system.size, 1e-12)
        wanted = (mixture.objective - self.value) * 1.05 + one_gap * self.system.size
        fits = wanted <= LISTED * abs(mixture.objective) / self.system.size
        return wanted / one_gap if fits or self._small() else 0.0

    def _small(self) -> bool:
        """Whether every group has so few choices that all of them can be listed."""
        choices = np.log(self.system.tables.allowed.sum(axis=1))
        return bool((np.add.reduceat(choices, self.system.groups[:-1]) <= np.log(LIST)).all())

    def _prove_all(self, master: Master, mixture: Mixture, share: float) -> int:
        """Bound every group at the relaxation's prices; return how many new columns that brought.

        Args:
            master: takes the columns.
            mixture: its relaxation.
            share: how much of the gap the bounds may leave; below 0, every group's columns are listed so far below
                its best, in shares of the gap that is allowed to one group.
        """
        system, price = self.system, mixture.price
        worth, dent = priced(system, price)
        choice = self._heaviest(master, mixture)
        margin = np.array([(share or 0.1) * max(self.gap * abs(mixture.objective) / system.size, 1e-12), 0.0])
        bounds = np.zeros(system.size)
        found, done = 0, True
        pools = [self._pool(g, POOL if share >= 0 else LIST) for g in range(system.size)]

        known = self._listings if np.array_equal(price, self._listed_at) else {}
        self._listed_at, self._listings = price, known

        def bounded(g: int) -> tuple[float, float, int, bool]:
            self._check_time()
            depth, bound, all_listed = known.get(g, (-np.inf, 0.0, False))
            if share < 0 and (depth <= margin[0] if all_listed else depth >= margin[0]):
                return bound, bound, 0, all_listed
            part = choice[system.groups[g] : system.groups[g + 1]].copy()
            return self._prove(g, worth, dent, part, margin, *pools[g], WORK)

        with ThreadPoolExecutor(THREADS) as threads:
            # The groups know nothing of each other, so that the number of threads changes nothing.
            for g, (_, bounds[g], _, all_listed) in enumerate(threads.map(bounded, range(system.size))):
                done = done and all_listed
                if share < 0:
                    known[g] = (float(margin[0]), float(bounds[g]), all_listed)
                met = list(pools[g][0][pools[g][1] > -np.inf])
                found += self._add(master, np.full(len(met), g), met)
        rows = system.coupling.arrays
        sides = np.where(price > 0, rows.high, np.where(price < 0, rows.low, 0.0))
        total = float(bounds.sum() + price[price != 0] @ sides[price != 0])
        if total < self.bound:
            self.bound, self.price = total, price
        self._complete = done and share < 0 and total - self.value <= -margin[0]
        self._tell_progress()
        return found

    def _decide(self, master: Master, mixture: Mixture) -> bool:
        """Where every column that a better plan could take is in the master, decide it; True: nothing is left to do."""
        if not self._complete:
            return False
        chosen, bound = master.decide(mixture, least=self.value, gap=self.gap / 2, seconds=max(self._left(), 0.01))
        if chosen is not None:
            self._accept(np.concatenate([self._choices[n] for n in chosen]))
        if bound is not None:
            self.bound = min(self.bound, max(bound, self.value))
        self._tell_progress()
        return True

    def _pool(self, group: int, most: int = POOL) -> tuple[Ints, Floats]:
        size = int(self.system.groups[group + 1] - self.system.groups[group])
        return np.zeros((most, size), dtype=np.int64), np.full(most, -np.inf)

    def _prove_group(
        self, group: int, worth: Floats, dent: Floats, choice: Ints, margin: Floats
    ) -> tuple[float, float, int, bool]:
        """Prove the only group, taking what it finds as the plan."""
        pool, pool_value = self._pool(group)
        found = self._prove(group, worth, dent, choice, margin, pool, pool_value, self._work)
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
    ) -> tuple[float, float, int, bool]:
        system = self.system
        own = slice(system.inner_first[group], system.inner_first[group + 1])
        families = slice(system.place(group)[2], system.place(group)[2] + system.families_of(group))
        price = np.concatenate([self.family_price[families], self.inner_price[own]])
        slots = min(work.nodes + 1, max(64, MASK_BYTES // max(len(choice) * system.tables.log_move.shape[1], 1)))
        found = prove(
            *(system.tables, system.inner.arrays, worth, dent, system.place(group), choice, price, margin),
            *(float(self._hard[group]), work, slots, pool, pool_value),
        )
        self.family_price[families] = price[: system.families_of(group)]
        self.inner_price[own] = price[system.families_of(group) :]
        return float(found[0]), float(found[1]), int(found[2]), bool(found[3])

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
