"""Choose one column of each owner under shared limits: what markdown plans and promotion calendars have in common.

A column is everything that one product may do over all weeks, valued exactly; the limits (slots, changes a week, a
budget) are rows over columns. The linear master prices the limits, the owners answer with their best columns at those
prices (Dantzig and Wolfe, "Decomposition Principle for Linear Programs", Operations Research, 1960), and at any
non-negative prices the answers add up to a bound on every plan (Geoffrion, "Lagrangean relaxation for integer
programming", 1974). Where the owners can list every column that a better plan could still use, the integer master over
that list is exact.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError
from optimizers.gap import relative_gap
from optimizers.solver import CompiledModel, Relaxation, relax, solve

Floats = npt.NDArray[np.float64]

MAX_ROUNDS = 200
MAX_LISTED = 60_000
"""Columns in the last integer master, at most; beyond, its optimum is held with the Lagrangian bound."""
FEASIBILITY = 1e-6
"""HiGHS keeps a row within this; a plan that uses more than a limit is asked for again under a limit lowered by it."""
SHARE_OF_TIME = 0.6
"""Of the time limit, for pricing; the rest is for the integer masters."""


@dataclass(frozen=True)
class Column:
    """One thing that an owner may do."""

    label: tuple[int, ...]
    """Names it among the owner's columns."""
    value: float
    """Money."""
    usage: Floats
    """(R,) what it takes of each limit, 0 or more."""


@dataclass(frozen=True)
class Answer:
    """What an owner does at given prices of the limits."""

    columns: tuple[Column, ...]
    """The best found, best first; never empty."""
    most: float
    """No column of the owner is worth more than this after paying for what it uses; money."""


class Owner(Protocol):
    """Whoever must take exactly one column."""

    def rest(self) -> Column:
        """Return the column that uses nothing of any limit."""

    def answer(self, prices: Floats) -> Answer:
        """Return the best columns at prices (R,) of the limits."""

    def near(self, prices: Floats, least: float) -> tuple[Column, ...] | None:
        """Every column worth at least `least` after paying; None where they cannot all be listed."""


@dataclass(frozen=True)
class Selection:
    """One column of each owner."""

    columns: tuple[Column, ...]
    objective: float
    bound: float
    """No choice within the limits is worth more, money."""
    prices: Floats
    """(R,) what one unit more of each limit would bring: the multipliers of the best bound; money per unit."""
    priced_bound: float
    """The bound at those prices alone: `priced_bound` + prices · (other - limit) holds for any other limits."""
    out_of_time: bool
    rounds: int


class _Pool:
    """The columns met so far."""

    def __init__(self, owners: Sequence[Owner], limit: Floats) -> None:
        self.limit = limit
        self.columns: list[Column] = []
        self.owner: list[int] = []
        self.known: set[tuple[int, tuple[int, ...]]] = set()
        for number, owner in enumerate(owners):
            self.add(number, (owner.rest(),))

    def add(self, owner: int, columns: Sequence[Column]) -> int:
        fresh = [c for c in columns if (owner, c.label) not in self.known]
        for column in fresh:
            self.known.add((owner, column.label))
            self.columns.append(column)
            self.owner.append(owner)
        return len(fresh)

    def model(self, owners: int, limit: Floats) -> CompiledModel:
        """The master: maximise value, one column an owner, limits kept."""
        from scipy import sparse

        usage = np.array([c.usage for c in self.columns]).reshape(len(self.columns), len(limit))
        scale = _scale(limit)
        count = len(self.columns)
        pick = sparse.csc_matrix((np.ones(count), (np.array(self.owner), np.arange(count))), shape=(owners, count))
        matrix = sparse.vstack([pick, sparse.csc_matrix((usage / scale).T)]).tocsc()
        return CompiledModel(
            columns=tuple(range(count)),
            rows=tuple(range(owners + len(limit))),
            sense=-1,
            cost=np.array([c.value for c in self.columns]),
            offset=0.0,
            matrix=matrix,
            row_low=np.concatenate([np.ones(owners), np.full(len(limit), -np.inf)]),
            row_high=np.concatenate([np.ones(owners), limit / scale]),
            column_low=np.zeros(count),
            column_high=np.ones(count),
            integer=np.ones(count, dtype=np.bool_),
        )


def _scale(limit: Floats) -> Floats:
    """(R,) what a row is divided by, so that the solver's tolerance is a share of the limit."""
    return np.where(np.isfinite(limit) & (limit > 0), limit, 1.0)


def select_columns(owners: Sequence[Owner], limit: Floats, *, gap: float = 1e-4, seconds: float = 60.0) -> Selection:
    """Choose one column of each owner so that the sum of values is largest within the limits.

    Args:
        owners: P of them.
        limit: (R,) most that all columns together may use of each; 0 or more, may be infinite.
        gap: relative gap at which the search may stop.
        seconds: time limit; at 0 everybody rests, with a bound.

    Raises:
        ProblemError: a limit is negative or no number.
    """
    if np.isnan(limit).any() or (limit < 0).any():
        raise ProblemError(f"limits are {limit.tolist()}; give 0 or more for each")
    return _Search(owners, limit, gap, time.perf_counter() + seconds, seconds).run()


class _Search:
    """Column generation, then the integer master, then the integer master over all that could still matter."""

    def __init__(self, owners: Sequence[Owner], limit: Floats, gap: float, deadline: float, seconds: float) -> None:
        self.owners, self.gap, self.deadline = owners, gap, deadline
        self.pricing_deadline = deadline - (1 - SHARE_OF_TIME) * seconds
        self.binding = np.flatnonzero(np.isfinite(limit))
        self.limit = limit
        self.pool = _Pool(owners, limit)
        self.prices = np.zeros(len(limit))
        self.best_prices = self.prices
        self.bound = self.priced_bound = np.inf
        self.rounds = 0
        self.held = [owner.rest() for owner in owners]
        self.objective = sum(c.value for c in self.held)

    def run(self) -> Selection:
        answers = self._ask(self.prices)
        self._try([answer.columns[0] for answer in answers])
        if not self._done():
            self._generate()
            self._integer(self.pool)
        if not self._done():
            self._list_what_matters()
        late = time.perf_counter() >= self.deadline and not self._done()
        bound = max(self.bound, self.objective)
        return Selection(
            *(tuple(self.held), self.objective, bound, self.best_prices),
            *(max(self.priced_bound, bound), late, self.rounds),
        )

    def _done(self) -> bool:
        return relative_gap(self.objective, max(self.bound, self.objective)) <= self.gap

    def _left(self) -> float:
        return max(self.deadline - time.perf_counter(), 0.0)

    def _ask(self, prices: Floats) -> list[Answer]:
        """Ask every owner; whatever they answer proves a bound."""
        self.rounds += 1
        answers = [owner.answer(prices) for owner in self.owners]
        paid = float((prices[self.binding] * self.limit[self.binding]).sum())
        bound = sum(answer.most for answer in answers) + paid
        if bound < self.priced_bound:
            self.priced_bound, self.best_prices = bound, prices
            self.bound = min(self.bound, bound)
        return answers

    def _generate(self) -> None:
        for number, answer in enumerate(self._ask(self.prices)):
            self.pool.add(number, answer.columns)
        while self.rounds < MAX_ROUNDS and time.perf_counter() < self.pricing_deadline:
            master = self._master()
            if master is None:
                return
            found = self._ask(self._read_prices(master))
            fresh = sum(self.pool.add(number, answer.columns) for number, answer in enumerate(found))
            ceiling = float(master.objective or 0.0)
            if not fresh or self.bound <= ceiling + 0.1 * self.gap * abs(ceiling):
                return

    def _master(self) -> Relaxation | None:
        found = relax(self.pool.model(len(self.owners), self.limit), seconds=self._left())
        return found if found.row_duals is not None else None

    def _read_prices(self, master: Relaxation) -> Floats:
        duals = np.asarray(master.row_duals)[len(self.owners) :]
        return np.asarray(np.maximum(duals, 0.0) / _scale(self.limit))

    def _integer(self, pool: _Pool) -> float:
        """Solve the integer master over a pool; return the bound that holds among its columns."""
        bound, limit = np.inf, self.limit
        for _ in range(3):
            found = solve(pool.model(len(self.owners), limit), gap=0.1 * self.gap, seconds=self._left())
            if limit is self.limit and found.bound is not None:
                bound = found.bound
            if found.values is None:
                return bound
            taken = {pool.owner[j]: pool.columns[j] for j in np.flatnonzero(found.values > 0.5).tolist()}
            if self._try([taken[number] for number in range(len(self.owners))]):
                return bound
            limit = np.maximum(limit - 2 * FEASIBILITY * np.maximum(limit, 1.0), 0.0)
        return bound

    def _try(self, columns: list[Column]) -> bool:
        """Hold the columns if they keep the limits and are worth more; tell whether they keep them."""
        used = np.sum([c.usage for c in columns], axis=0) if columns else np.zeros(len(self.limit))
        if (used > self.limit * (1 + 1e-12)).any():
            return False
        value = sum(c.value for c in columns)
        if value > self.objective:
            self.held, self.objective = columns, value
        return True

    def _list_what_matters(self) -> None:
        """A plan better than the one held uses only columns within (bound - objective) of their owner's best."""
        slack = self.bound - self.objective
        pool = _Pool(self.owners, self.limit)
        whole = True
        for number, (owner, answer) in enumerate(zip(self.owners, self._ask(self.best_prices), strict=True)):
            listed = owner.near(self.best_prices, answer.most - slack * (1 + 1e-9) - 1e-12)
            whole = whole and listed is not None
            pool.add(number, listed or ())
            if len(pool.columns) > MAX_LISTED or not whole:
                return
        bound = self._integer(pool)
        self.bound = min(self.bound, max(bound, self.objective))
