"""The search for a price plan: families as columns, a master that joins them, and a proof for the whole.

1. Columns. At the master's prices moves, then short branch and bound, find better choices for each group (`groups`).
2. Rounding. Groups that the relaxation splits, and nearly tied ones, are decided by a small integer model (`master`).
3. Proof. At the final prices each group is bounded (`proof`), and lists columns that a better plan could take.

Work is limited by counts, not by the clock, so that the same problem gives the same plan; the clock only cuts off.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from engine.errors import InfeasibleError
from optimizers.gap import relative_gap
from optimizers.prices import model as price_model
from optimizers.prices.bounding import THREADS, Bounds
from optimizers.prices.deep_listing import deepen
from optimizers.prices.groups import Groups
from optimizers.prices.incumbent import Incumbent, PriceProgress
from optimizers.prices.ladder import Ladder
from optimizers.prices.listed import list_families
from optimizers.prices.listed_search import ListedShop
from optimizers.prices.master import Columns, Master, Mixture
from optimizers.prices.nodes import SHORT_WORK, WHOLE_WORK, WORK
from optimizers.prices.problem import PriceProblem
from optimizers.prices.rounding import neighbours, roundings
from optimizers.prices.row_set import narrow_rows
from optimizers.prices.rows import PriceRows
from optimizers.prices.system import PriceSystem, build_system, cheap_bound, joint_rows, nearest_to_today, priced

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Search = Callable[[Ints, Ints, Floats, Floats], tuple[Ints, Floats]]
"""From a choice (P,), groups asked, worth and dent: better choices and their scores."""

ROUNDS = 40
"""Rounds of columns at most."""
PROOFS = 12
"""How often the whole is bounded at most."""
EARLY = 0.995
"""A plan worth less than this share of the relaxation is not waited with until the columns are complete."""
TAIL = 20.0
"""Columns that would bring less than this share of the gap altogether are not waited for."""
LISTED = 0.15
"""Columns are listed where they would have to reach no further below the best than this share of a group's gain."""
ONE_PIECE = 400
"""Products up to which a shop whose groups found no plan together is searched in one piece."""


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
        listing: bool = True,
    ) -> None:
        """Start from today's prices where they are permitted; `deadline` is a reading of `time.perf_counter`.

        `whole` keeps everything in one group of any size; its bound may then stay `allowance` (money) above its best.
        `proofs` limits how often groups are bounded; with 0 the plan has no bound worth the name. Small families are
        listed and joined rather than searched, unless `listing` is False.
        """
        self.begun = time.perf_counter()
        self.problem, self.ladder, self.gap, self.deadline = problem, ladder, gap, deadline
        self._tell, self._cancelled, self._rules = tell, cancelled, rules
        self.system: PriceSystem = build_system(problem, ladder, rules, whole=whole)
        self.joint = joint_rows(problem, ladder, rules, self.system)
        self.groups = Groups(self.system)
        self.plan = Incumbent(self.groups, self.joint, self._tell_progress)
        self.bound = cheap_bound(self.system)
        self.price = np.zeros(len(self.system.coupling))
        """(R,) multipliers of the coupling rows at which the bound was proven, scaled."""
        self.error = self.system.error
        """Money by which the bound may understate the best plan."""
        self.rounds, self.build_seconds, self._complete = 0, 0.0, False
        self._allowance, self._work = allowance, WORK._replace(nodes=1500) if whole else WHOLE_WORK
        self._bounds = Bounds(self.groups, self._check_time)
        self.stopped = "gap_limit"
        """Status of a search that ended above the gap."""
        self.movable = bool((self.system.tables.allowed.sum(axis=1) > 1).any())
        self.start = nearest_to_today(self.system)
        self._proofs, self._listing, self._looked_up = proofs, listing, False
        self.plan.accept(self.start)

    def begin_from(self, rung: Ints) -> None:
        """Start from rungs (P,) in the problem's order, whether or not they keep the rules."""
        self.start = rung[self.system.order]
        self.plan.accept(self.start)

    @property
    def choice(self) -> Ints | None:
        """(P,) plan in hand, in the system's order; None: none yet."""
        return self.plan.choice

    @property
    def value(self) -> float:
        """Money that the plan in hand is worth, fines of soft rules taken off; -inf: there is none yet."""
        return self.plan.value

    @property
    def chosen(self) -> Ints:
        """(P,) rungs of the plan in hand, in the problem's order."""
        rung = np.empty(len(self.system.order), dtype=np.int64)
        rung[self.system.order] = self._in_hand()
        return rung

    def _in_hand(self) -> Ints:
        return self.start if self.choice is None else self.choice

    def run(self) -> None:
        """Improve until the gap is reached, the work is done, or time is up.

        Raises:
            InfeasibleError: no prices satisfy the rules.
        """
        try:
            if self.movable and not (self._listing and self._solve_listed()):
                if self.system.size == 1:
                    self._solve_whole()
                else:
                    self._solve_by_groups()
        except Stopped:
            self.stopped = "cancelled" if self._left() > 0 else "time_limit"

    def status(self, gap: float) -> str:
        """Say why the search stopped, in the words of `PricePlan.status`, where the plan's gap is `gap`."""
        if not self.movable:
            return "nothing_to_move"
        return "optimal" if gap <= self.gap else self.stopped

    def worth_of(self, rung: Ints) -> float:
        """Exact value, fines of soft rules taken off, of rungs (P,) in the problem's order, whether or not they fit."""
        price = self.ladder.price[np.arange(len(rung)), rung]
        value = price_model.exact_value(self.problem, price_model.Families.of(self.problem), price)
        return value - self.plan.fines_of(rung[self.system.order])

    def reached_gap(self) -> float:
        """Relative gap of the plan in hand."""
        return np.inf if self.choice is None else relative_gap(self.value, self.bound)

    def _solve_listed(self) -> bool:
        """Join families that are small enough to list all their choices; True: nothing is left to do."""
        self._check_time()
        listed = list_families(self.problem, self.system, self.joint)
        self._looked_up = listed is not None
        if listed is None:
            return False
        if (np.diff(listed.first) == 0).any():
            raise InfeasibleError("no prices satisfy the rules; " + self._remedy())
        shop, exact = ListedShop(self.problem, self.groups, self.plan, listed), self.problem.risk != "mean"
        if exact:
            self.error, self.bound = listed.error, np.inf
        priced = shop.price(self._left, self._check_time)
        self.rounds, self.build_seconds = self.rounds + priced.rounds, self.build_seconds + priced.build_seconds
        self.price = shop.coupling_price
        shop.join(self.gap, self._proven)
        return self._closed() or (exact and self.choice is not None)

    def _proven(self, bound: float) -> None:
        self.bound = min(self.bound, bound)
        self._tell_progress()
        self._check_time()

    def _solve_whole(self) -> None:
        """One group: branch and bound decides everything."""
        self._check_time()
        choice, (pool, pool_value) = self._in_hand().copy(), self.groups.pool(0)

        def watch(best: float, bound: float) -> None:
            if best > self.value:
                self.plan.accept(choice)
            self.bound = min(self.bound, bound)
            self._tell_progress()
            self._check_time()

        margin, (worth, dent) = np.array([self._allowance, self.gap / 2]), (self.system.worth, self.system.dent)
        best, bound, *_ = self.groups.prove(*(0, worth, dent, choice, margin, pool, pool_value, self._work, watch))
        if best == -np.inf and bound < -1e299:
            raise InfeasibleError("no prices satisfy the rules; " + self._remedy())
        self.bound = min(self.bound, bound)
        for met in (choice, *pool[pool_value > -np.inf]):
            self.plan.accept(met)
        self._tell_progress()

    def _solve_by_groups(self) -> None:
        system = self.system
        begin = self._in_hand()
        value, activity, kept = self.groups.measure(self.groups.everything, [begin])
        # A start that breaks a group's own rules stands in until a column is found that keeps them.
        value = np.where(kept > 0, value, value - self.groups.hard_money)
        master = Master(
            system.coupling.arrays, Columns(self.groups.everything, value, activity), self.groups.hard_money
        )
        self.build_seconds += master.build_seconds
        self._choices = self.groups.parts(begin, self.groups.everything)
        mixture = self._grow(master, self._by_moves, 0.0)
        mixture = self._grow(master, self._by_branching, TAIL)
        self._round(master, mixture)
        # First bounds until the prices have settled; then, where few enough, all columns that could still matter: a
        # third of the way first, as what that finds shortens the rest. Needles are looked up before that.
        part, needles = 1 / 3, bool(len(narrow_rows(system.coupling.arrays)))
        for _ in range(self._proofs):
            settled = self.bound - mixture.objective <= self.gap * abs(mixture.objective)
            if settled and needles:
                needles = self._deepen()
            if self._closed():
                break
            depth = self._listed(mixture) * part if settled else 0.0
            new = self._prove_all(master, mixture, -depth if depth else 0.25)
            done = settled and (not depth or (not new and part == 1.0))
            if self._closed() or self._decide(master, mixture) or done:
                break
            part = 1.0 if settled else part
            mixture = self._grow(master, self._by_moves, 0.0)
            self._round(master, mixture)
        if self._proofs and not self._closed():
            self._deepen()
        if self.choice is None and len(begin) <= ONE_PIECE:
            self._solve_in_one_piece()
        if self.choice is None:
            raise InfeasibleError("no prices were found that satisfy the rules; " + self._remedy())

    def _deepen(self) -> bool:
        """List and join groups at the prices of the bound, if tables are exact; False: nothing is left to look up."""
        if self.problem.risk == "mean" and not self._looked_up:
            deepen(self.groups, self.plan, self.price, self.bound, self.gap, self._proven, self._check_time)
        return False

    def _solve_in_one_piece(self) -> None:
        """Look for prices by branch and bound over the whole shop, where rounding found none."""
        shop, until = (self.problem, self.ladder, self._rules), self.deadline
        cancelled = self._cancelled
        whole = PriceSearch(*shop, gap=self.gap, deadline=until, cancelled=cancelled, whole=True, listing=False)
        whole.run()
        if whole.choice is not None:
            self.plan.accept(whole.chosen[self.system.order])
            self.bound = min(self.bound, whole.bound + whole.error)

    def _grow(self, master: Master, search: Search, tail: float) -> Mixture:
        """The relaxation once no column that a search finds pays, or a round brings less than `tail` gaps.

        Groups that had nothing to offer are asked again when those that had run dry.
        """
        mixture = self._relax(master)
        asked = self.groups.everything
        for _ in range(ROUNDS):
            self._check_time()
            self.rounds += 1
            worth, dent = priced(self.system, mixture.price)
            choice, score = search(self._heaviest(master, mixture), asked, worth, dent)
            pays = np.where(score > -np.inf, score - mixture.worth, 0.0)
            promising = np.flatnonzero(pays > 1e-9 * (1 + np.abs(mixture.worth)))
            added, before = self._add(master, promising, self.groups.parts(choice, promising)), mixture.objective
            if added:
                mixture = self._relax(master)
            few = mixture.objective - before <= tail * self.gap * abs(mixture.objective)
            if few and (tail or len(asked) == self.system.size):
                break
            asked = promising if added and tail else self.groups.everything
            if tail and self.value < EARLY * mixture.objective:
                self._hold(master, mixture)
        return mixture

    def _by_moves(self, choice: Ints, asked: Ints, worth: Floats, _: Floats) -> tuple[Ints, Floats]:
        """Search some groups for columns by moves of one product."""
        return self.groups.by_moves(choice, asked, worth)

    def _by_branching(self, choice: Ints, asked: Ints, worth: Floats, dent: Floats) -> tuple[Ints, Floats]:
        """Search some groups for columns by branch and bound with few nodes."""
        parts = self.groups.parts(choice, self.groups.everything)
        score = np.full(self.system.size, -np.inf)

        def search(g: int) -> float:
            self._check_time()
            return self.groups.prove(g, worth, dent, parts[g], np.zeros(2), *self.groups.pool(g), SHORT_WORK)[0]

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
        value, activity, kept = self.groups.measure(groups, parts)
        good = np.flatnonzero(kept)
        count = master.add(Columns(groups[good], value[good], activity[good]))
        self._choices += [parts[n].copy() for n in good[master.added]]
        return count

    def _round(self, master: Master, mixture: Mixture) -> None:
        """Round the relaxation to a plan and improve it product by product."""
        self._hold(master, mixture)
        self._add(master, *neighbours(self.groups, master, mixture, self._heaviest(master, mixture)))
        chosen = master.round(mixture, least=self.value, gap=max(self.gap / 4, 1e-9), seconds=max(self._left(), 0.01))
        if chosen is not None:
            self.plan.polish(choice := np.concatenate([self._choices[n] for n in chosen]))
            self.plan.balance(choice, mixture.price)
        while self.choice is not None and self.plan.balance(self.choice, mixture.price):
            self._check_time()

    def _hold(self, master: Master, mixture: Mixture) -> None:
        """Make plans of the relaxation by the shortest road: every split group at one of its columns, then moves."""
        self.plan.polish(self._heaviest(master, mixture))
        for choice in roundings(self.groups, master, mixture, self._choices):
            self.plan.balance(choice, mixture.price)

    def _listed(self, mixture: Mixture) -> float:
        """How far below a group's best its columns are listed, in gaps; 0: there would be too many."""
        if self.choice is None:
            return 0.0
        one_gap = max(self.gap * abs(mixture.objective) / self.system.size, 1e-12)
        wanted = (mixture.objective - self.value) * 1.05 + one_gap * self.system.size
        fits = wanted <= LISTED * abs(mixture.objective) / self.system.size
        return wanted / one_gap if fits or self.groups.small() else 0.0

    def _prove_all(self, master: Master, mixture: Mixture, share: float) -> int:
        """Bound every group at the relaxation's prices; return how many new columns that brought the master.

        The bounds may leave a `share` of the gap; below 0, every group's columns are listed so far below its best, in
        shares of the gap that is allowed to one group.
        """
        system, price = self.system, mixture.price
        margin = (share or 0.1) * max(self.gap * abs(mixture.objective) / system.size, 1e-12)
        bounds, found, done = np.zeros(system.size), 0, True
        for proof in self._bounds.at(price, self._heaviest(master, mixture), margin):
            bounds[proof.group], done = proof.bound, done and proof.listed
            found += self._add(master, np.full(len(proof.met), proof.group), proof.met)
        rows = system.coupling.arrays
        sides = np.where(price > 0, rows.high, np.where(price < 0, rows.low, 0.0))
        total = float(bounds.sum() + price[price != 0] @ sides[price != 0])
        if total < self.bound:
            self.bound, self.price = total, price
        self._complete = done and share < 0 and total - self.value <= -margin
        self._tell_progress()
        return found

    def _decide(self, master: Master, mixture: Mixture) -> bool:
        """Where every column that a better plan could take is in the master, decide it; True: nothing is left to do."""
        if not self._complete:
            return False
        chosen, bound = master.decide(mixture, least=self.value, gap=self.gap / 2, seconds=max(self._left(), 0.01))
        if chosen is not None:
            self.plan.accept(np.concatenate([self._choices[n] for n in chosen]))
        self.bound = self.bound if bound is None else min(self.bound, max(bound, self.value))
        self._tell_progress()
        return True

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
