"""The price paths of one product: all of them where they can be listed, those with most potential where not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimizers.markdown.kernels import potential, value_paths
from optimizers.markdown.problem import MarkdownProblem
from optimizers.prices.column_selection import Answer, Column

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Paths = npt.NDArray[np.int16]

MAX_PATHS = 600_000
"""Paths of one product that are listed; beyond, a beam."""
SURE_PATHS = 20_000
"""Of these, what is listed however many products there are."""
WORK = 4_000_000_000
"""Sales (path, draw, week) of all products that are worth working out: some seconds."""
BEAM = 2_000
CELLS = 200
"""Steps of the grid of stock on which the potential of a path's rest is tabulated."""
OFFERED = 4
"""Columns that a product answers with at a time."""


@dataclass(frozen=True)
class _Prefixes:
    """N beginnings of paths."""

    path: Paths
    """(N, w) rungs so far."""
    rung: Ints
    """(N,) in force."""
    held: Ints
    """(N,) weeks it has been."""
    left: Ints
    """(N,) changes left."""

    def grow(self, problem: MarkdownProblem, rungs: int) -> tuple[_Prefixes, Ints]:
        """Every way of going on by one week, and the prefix that each came from."""
        free = (self.held >= problem.min_weeks_between) & (self.left > 0)
        parts = []
        for j in range(rungs):
            step = free & (self.rung > j if problem.non_increasing else self.rung != j)
            parts.append(np.flatnonzero(step | (self.rung == j)))
        source = np.concatenate(parts)
        rung = np.repeat(np.arange(rungs), [len(part) for part in parts])
        moved = rung != self.rung[source]
        return _Prefixes(
            np.column_stack([self.path[source], rung.astype(np.int16)]),
            rung,
            np.where(moved, 1, self.held[source] + 1),
            self.left[source] - moved,
        ), source

    def only(self, rows: Ints) -> _Prefixes:
        return _Prefixes(self.path[rows], self.rung[rows], self.held[rows], self.left[rows])


def rungs_of(problem: MarkdownProblem, product: int) -> Ints:
    """(k,) columns of the ladder where the product has a price."""
    return np.flatnonzero(np.isfinite(problem.ladder[product]))


def _start(problem: MarkdownProblem, product: int) -> _Prefixes:
    rung = int(np.searchsorted(rungs_of(problem, product), problem.current_rung[product]))
    held = problem.min_weeks_between if problem.weeks_held is None else int(problem.weeks_held[product])
    left = problem.weeks if problem.max_steps is None else int(problem.max_steps[product])
    one = np.ones(1, dtype=np.int64)
    return _Prefixes(np.empty((1, 0), dtype=np.int16), rung * one, held * one, min(left, problem.weeks) * one)


def listable(problem: MarkdownProblem) -> int:
    """Paths that are listed for each product, at most."""
    each = WORK // max(len(problem.product_ids) * len(problem.own) * problem.weeks, 1)
    return int(min(max(each, SURE_PATHS), MAX_PATHS))


def list_paths(problem: MarkdownProblem, product: int, known: dict[tuple[int, ...], Paths | None]) -> Paths | None:
    """All paths (N, W) that the rules permit, as positions among the product's rungs; None where they are too many.

    `known` remembers what was listed for products in the same state.
    """
    prefixes, rungs = _start(problem, product), len(rungs_of(problem, product))
    capped = min(int(prefixes.held[0]), problem.min_weeks_between)
    state = (rungs, int(prefixes.rung[0]), capped, int(prefixes.left[0]))
    if state not in known:
        most = listable(problem)
        for _ in range(problem.weeks):
            prefixes, _ = prefixes.grow(problem, rungs)
            if len(prefixes.rung) > most:
                break
        known[state] = prefixes.path if len(prefixes.rung) <= most else None
    return known[state]


@dataclass(frozen=True)
class PathOwner:
    """One product with its paths, valued."""

    rungs: Ints
    """(k,) columns of the ladder."""
    paths: Paths
    """(N, W) positions in `rungs`; the first is today's price kept."""
    value: Floats
    """(N,) expected money, salvage included."""
    changed: npt.NDArray[np.bool_]
    """(N, W) whether the price changes in the week."""
    dropped: float
    """No path that is not listed is worth more; -inf where all are."""
    clairvoyant: float
    """Expected money of the best path for someone who knows the draw, or more."""

    @staticmethod
    def of(problem: MarkdownProblem, product: int, paths: Paths | None) -> PathOwner:
        """Value the paths of a product; `paths` None: find good ones by a beam."""
        rungs = rungs_of(problem, product)
        units = np.ascontiguousarray(problem.demand(product)[:, :, rungs])
        salvage = float(problem.salvage[product])
        margin = problem.ladder[product, rungs] - problem.unit_cost[product] - salvage
        weight = np.ascontiguousarray(problem.probability()[:, product])
        stock = float(problem.stock[product])
        dropped = -np.inf
        table = None
        if paths is None:
            table = potential(units, margin, stock, CELLS, problem.non_increasing)
            paths, dropped = _beam(problem, product, units, margin, weight, table)
        start = int(np.searchsorted(rungs, problem.current_rung[product]))
        kept = np.full((1, problem.weeks), start, dtype=np.int16)
        paths = np.concatenate([kept, paths[(paths != start).any(axis=1)]])
        value = np.empty(len(paths))
        best = value_paths(units, margin, stock, weight, paths, value)
        knowing = best if table is None else table[0, start, CELLS]
        before = np.column_stack([np.full(len(paths), start, dtype=np.int16), paths[:, :-1]])
        return PathOwner(
            rungs,
            paths,
            value + salvage * stock,
            paths != before,
            dropped + salvage * stock,
            float(weight @ knowing) + salvage * stock,
        )

    def rest(self) -> Column:
        """Keep today's price."""
        return self._column(0)

    def answer(self, prices: Floats) -> Answer:
        """Return the best paths where a change in week w costs prices[w]."""
        worth = self.value - self.changed @ prices
        some = np.argpartition(-worth, OFFERED - 1)[:OFFERED] if len(worth) > OFFERED else np.arange(len(worth))
        some = some[np.argsort(-worth[some], kind="stable")]
        columns = tuple(self._column(n) for n in some.tolist())
        return Answer(columns, max(float(worth[some[0]]), self.dropped))

    def near(self, prices: Floats, least: float) -> tuple[Column, ...] | None:
        """All paths worth at least `least`; None where one that was dropped could be."""
        if self.dropped >= least:
            return None
        return tuple(self._column(n) for n in np.flatnonzero(self.value - self.changed @ prices >= least).tolist())

    def _column(self, n: int) -> Column:
        label = tuple(int(k) for k in self.rungs[self.paths[n]])
        return Column(label, float(self.value[n]), self.changed[n].astype(np.float64))


def _beam(
    problem: MarkdownProblem, product: int, units: Floats, margin: Floats, weight: Floats, table: Floats
) -> tuple[Paths, float]:
    """Grow paths week by week, keep those with most potential; return them and the most that a dropped one is worth."""
    prefixes, stock = _start(problem, product), float(problem.stock[product])
    left = np.full((1, len(weight)), stock)
    worth = np.zeros((1, len(weight)))
    dropped = -np.inf
    draw = np.arange(len(weight))
    for w in range(problem.weeks):
        prefixes, source = prefixes.grow(problem, len(margin))
        sold = np.minimum(units[:, w, :].T[prefixes.rung], left[source])
        left, worth = left[source] - sold, worth[source] + margin[prefixes.rung][:, None] * sold
        cell = np.clip(np.ceil(left / stock * CELLS - 1e-9), 0, CELLS).astype(np.int64) if stock > 0 else 0
        most = (worth + table[w + 1, prefixes.rung[:, None], cell, draw[None, :]]) @ weight
        if len(most) > BEAM:
            order = np.argsort(-most, kind="stable")
            dropped = max(dropped, float(most[order[BEAM]]))
            kept = np.sort(order[:BEAM])
            prefixes, left, worth = prefixes.only(kept), left[kept], worth[kept]
    return prefixes.path, dropped
