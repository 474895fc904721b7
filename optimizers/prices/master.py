"""The master: which column (a choice of rungs for one whole group) each group takes, under the rules between groups.

Declared once in Pyomo with the rules, the groups and one column each; columns that are found later are appended to the
compiled model, and HiGHS goes on afresh. Rules between groups are elastic in the relaxation, at a fine that no real
gain outweighs where they are hard, so that the master always has an answer to price the next columns with. Whole
choices keep hard rules as they stand: a millionth of an index would cost less than the next choice gives up.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.sparse import csc_matrix

from optimizers import solver
from optimizers.prices.kernels import TIGHT, RowArrays

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ROW_UNIT = 1e3
"""Rows count in thousandths, so that the solver's absolute tolerance of 1e-6 means 1e-9."""
CORE = 60
"""Groups left open when the relaxation is rounded."""
CHOICES = 24
"""Columns of a group that are looked at when rounding, nearest to paying first."""
OPEN_COLUMNS = 1500
"""… and so many of all groups together, where those are few."""
ROUNDING_NODES = 1000
DECIDING_NODES = 20_000


@dataclass(frozen=True)
class Columns:
    """N columns."""

    group: Ints
    """(N,)"""
    value: Floats
    """(N,) money, less fines of the group's own soft rows."""
    activity: Floats
    """(N, R) of the coupling rows, scaled units."""


@dataclass(frozen=True)
class Mixture:
    """The optimum of the master's relaxation."""

    value: Floats
    """(N,) how much of each column is taken."""
    objective: float
    """Money."""
    price: Floats
    """(R,) money per scaled unit of each coupling row: positive where its upper side binds."""
    worth: Floats
    """(G,) what each group brings at these prices."""


class Master:
    """The restricted master over the columns found so far."""

    def __init__(self, rows: RowArrays, start: Columns, hard: float) -> None:
        """Declare the rules.

        Args:
            rows: the coupling rows, scaled.
            start: one column for each group, in order.
            hard: money per scaled unit of violation of a hard row.
        """
        self.rows, self.hard = rows, hard
        self.columns = start
        self.unit = max(float(np.abs(start.value).max(initial=0.0)), hard / 1e4, 1e-9)
        begun = time.perf_counter()
        compiled, self._coupling, self._groups, self._take, self._slack = self._declare()
        self.build_seconds = time.perf_counter() - begun
        self._model = solver.GrowingModel(compiled)
        self._first_added = len(compiled.columns)
        self._seen = {self._key(start, n) for n in range(len(start.group))}

    def add(self, found: Columns) -> int:
        """Add the columns that are not there yet; return their number."""
        keys = [self._key(found, n) for n in range(len(found.group))]
        new = []
        for n, key in enumerate(keys):
            if key not in self._seen:
                self._seen.add(key)
                new.append(n)
        if new:
            added = Columns(found.group[new], found.value[new], found.activity[new])
            self._model.add(added.value / self.unit, self._matrix(added))
            have = self.columns
            self.columns = Columns(
                np.concatenate([have.group, added.group]),
                np.concatenate([have.value, added.value]),
                np.concatenate([have.activity, added.activity]),
            )
        self.added = np.array(new, dtype=np.int64)
        return len(new)

    def relax(self, seconds: float) -> Mixture | None:
        """Solve the relaxation; None where time ran out."""
        relaxed = self._model.relax(seconds)
        if relaxed.values is None or relaxed.row_duals is None or relaxed.objective is None:
            return None
        price = np.zeros(len(self.rows.low))
        for r, places in enumerate(self._coupling):
            price[r] = relaxed.row_duals[places].sum() * self.unit * ROW_UNIT
        worth = relaxed.row_duals[self._groups] * self.unit
        return Mixture(self._taken(relaxed.values), relaxed.objective * self.unit, price, worth)

    def round(self, mixture: Mixture, *, least: float, gap: float, seconds: float) -> Ints | None:
        """Choose one column for each group, (G,) numbers of columns, near the relaxation; None where none was found.

        Every group that the relaxation decides clearly keeps its column; the nearly tied ones (the core of Balas and
        Zemel, Operations Research, 1980) are decided by an integer model, in which only columns are left that a choice
        worth more than `least` could take.
        """
        open_columns, clear = self._core(mixture)
        open_columns = np.intersect1d(open_columns, self._useful(mixture, least))
        return self._integer(open_columns, clear, gap=gap, seconds=seconds, nodes=ROUNDING_NODES)[0]

    def decide(self, mixture: Mixture, *, least: float, gap: float, seconds: float) -> tuple[Ints | None, float | None]:
        """Choose one column for each group, (G,); and a bound on every choice that is worth more than `least`, money.

        None and None: there is no such choice.
        """
        useful = self._useful(mixture, least)
        chosen, bound = self._integer(useful, useful[:0], gap=gap, seconds=seconds, nodes=DECIDING_NODES)
        return chosen, bound

    def _useful(self, mixture: Mixture, least: float) -> Ints:
        """Columns that a choice worth more than `least` could take: what they give up is no more than there is."""
        reduced, _ = self._reduced(mixture)
        room = mixture.objective - least
        return np.flatnonzero(reduced >= -room - 1e-9 * (1 + abs(mixture.objective)))

    def _integer(
        self, open_columns: Ints, clear: Ints, *, gap: float, seconds: float, nodes: int
    ) -> tuple[Ints | None, float | None]:
        """Solve the integer model in which the columns `clear` are taken and only `open_columns` may be besides.

        Where they hold no choice that keeps the hard rules, one that nearly does: moves of single products may mend it.
        """
        chosen, bound = self._whole(open_columns, clear, self._slack, gap=gap, seconds=seconds, nodes=nodes)
        if chosen is None and bound is None and len(self._slack):
            chosen, _ = self._whole(open_columns, clear, self._slack[:0], gap=gap, seconds=seconds, nodes=nodes)
        return chosen, bound

    def _whole(
        self, open_columns: Ints, clear: Ints, closed: Ints, *, gap: float, seconds: float, nodes: int
    ) -> tuple[Ints | None, float | None]:
        """`_integer` with the model's columns `closed` at zero."""
        base = self._model.compiled
        integer = np.zeros(len(base.columns), dtype=np.bool_)
        high, low = base.column_high.copy(), base.column_low.copy()
        place = self._places()
        integer[place] = True
        high[place], low[place] = 0.0, 0.0
        high[place[open_columns]] = 1.0
        low[place[clear]], high[place[clear]] = 1.0, 1.0
        high[closed] = 0.0
        compiled = replace(base, integer=integer, column_low=low, column_high=high)
        solution = solver.solve(compiled, gap=gap, seconds=seconds, nodes=nodes)
        bound = None if solution.bound is None else solution.bound * self.unit
        if solution.values is None:
            return None, bound
        taken = np.flatnonzero(self._taken(solution.values) > 0.5)
        chosen = np.full(int(self.columns.group.max()) + 1, -1, dtype=np.int64)
        chosen[self.columns.group[taken]] = taken
        return (chosen if (chosen >= 0).all() else None), bound

    def weight(self, mixture: Mixture) -> Floats:
        """(N,) how much of each column a relaxation takes: nothing of those that came after it."""
        return np.append(mixture.value, np.zeros(len(self.columns.group) - len(mixture.value)))

    def heaviest(self, mixture: Mixture) -> Ints:
        """(G,) the column that each group takes most of."""
        return self._reduced(mixture)[1]

    def nearly_tied(self, mixture: Mixture) -> Ints:
        """Groups that the relaxation splits, or that give up least when they take another column."""
        reduced, best = self._reduced(mixture)
        group = self.columns.group
        loss = np.maximum(-reduced, 0.0)
        loss[best] = np.inf
        tight = np.flatnonzero(mixture.price != 0)
        wanted = np.bincount(group, self.weight(mixture) > 1e-7, len(best)) > 1
        for measure in self._losses(loss, best, tight):
            least = np.full(len(best), np.inf)
            np.minimum.at(least, group, measure)
            wanted[np.argsort(least, kind="stable")[: CORE // (1 + len(tight))]] = True
        return np.flatnonzero(wanted)

    def _reduced(self, mixture: Mixture) -> tuple[Floats, Ints]:
        """(N,) what each column brings beyond its group's worth, and (G,) the column that each group takes most of."""
        group = self.columns.group
        reduced = self.columns.value - self.columns.activity @ mixture.price - mixture.worth[group]
        order = np.lexsort((-reduced, -self.weight(mixture), group))
        return reduced, order[np.flatnonzero(np.diff(group[order], prepend=-1))]

    def _core(self, mixture: Mixture) -> tuple[Ints, Ints]:
        """Columns of the open groups, and the columns of the others that are kept."""
        reduced, best = self._reduced(mixture)
        group = self.columns.group
        wanted = np.zeros(len(best), dtype=np.bool_)
        wanted[self.nearly_tied(mixture)] = True
        by_loss = np.lexsort((-reduced, self.weight(mixture) <= 1e-7, group))
        first = np.flatnonzero(np.diff(group[by_loss], prepend=-1))
        rank = np.empty(len(by_loss), dtype=np.int64)
        rank[by_loss] = np.arange(len(by_loss)) - np.repeat(first, np.diff(np.append(first, len(by_loss))))
        most = max(CHOICES, OPEN_COLUMNS // max(int(wanted.sum()), 1))
        return np.flatnonzero(wanted[group] & (rank < most)), best[~wanted]

    def _losses(self, loss: Floats, best: Ints, tight: Ints) -> list[Floats]:
        """What a column gives up, as it is and for each unit by which it moves a binding row, (N,) each."""
        found = [loss]
        for r in tight:
            part = self.columns.activity[:, r]
            moved = np.abs(part - part[best][self.columns.group])
            found.append(np.divide(loss, moved, out=np.full_like(loss, np.inf), where=(moved > 0) & np.isfinite(loss)))
        return found

    def _places(self) -> Ints:
        """Model column of each column, (N,)."""
        start, added = len(self._take), len(self.columns.group) - len(self._take)
        return np.concatenate([self._take, self._first_added + np.arange(added)]) if added else self._take[:start]

    def _taken(self, values: Floats) -> Floats:
        return np.asarray(values[self._places()])

    def _key(self, columns: Columns, n: int) -> tuple[int, bytes]:
        return int(columns.group[n]), np.round(np.append(columns.activity[n], columns.value[n]), 12).tobytes()

    def _matrix(self, columns: Columns) -> csc_matrix:
        """Rows of the model at each column."""
        count = len(columns.group)
        row, column, data = [self._groups[columns.group]], [np.arange(count)], [np.ones(count)]
        for r, places in enumerate(self._coupling):
            for place in places:
                row.append(np.full(count, place))
                column.append(np.arange(count))
                data.append(columns.activity[:, r] * ROW_UNIT)
        size = (len(self._model.compiled.rows), count)
        found = csc_matrix((np.concatenate(data), (np.concatenate(row), np.concatenate(column))), shape=size)
        found.eliminate_zeros()
        return found

    def _declare(self) -> tuple[solver.CompiledModel, list[Ints], Ints, Ints, Ints]:
        """Compiled model, and in it rows of each coupling row, row of each group, columns of first columns and slack.

        Slack is that of hard rows.
        """
        import pyomo.environ as pyo

        rows, start = self.rows, self.columns
        model = pyo.ConcreteModel()
        model.take = pyo.Var(range(len(start.group)), bounds=(0, 1))
        model.over = pyo.Var(range(len(rows.low)), bounds=(0, None))
        model.under = pyo.Var(range(len(rows.low)), bounds=(0, None))
        fine = np.minimum(rows.penalty, self.hard) / ROW_UNIT / self.unit
        model.gain = pyo.Objective(
            expr=pyo.quicksum(v * model.take[n] for n, v in enumerate((start.value / self.unit).tolist()))
            - pyo.quicksum(f * (model.over[r] + model.under[r]) for r, f in enumerate(fine.tolist())),
            sense=pyo.maximize,
        )
        model.one = pyo.Constraint(range(len(start.group)), rule=lambda m, n: m.take[n] == 1)

        def coupled(m: solver.PyomoModel, r: int) -> solver.PyomoConstraint:
            use = pyo.quicksum(a * m.take[n] for n, a in enumerate((start.activity[:, r] * ROW_UNIT).tolist()))
            low, high = (None if np.isinf(side) else float(side) * ROW_UNIT for side in (rows.low[r], rows.high[r]))
            return (low, use + m.under[r] - m.over[r], high)

        model.coupled = pyo.Constraint(range(len(rows.low)), rule=coupled)
        compiled = solver.compile_model(model)
        place: dict[int, list[int]] = {}
        for number, row in enumerate(compiled.rows):
            place.setdefault(id(row), []).append(number)
        coupling = [np.array(place[id(model.coupled[r])], dtype=np.int64) for r in range(len(rows.low))]
        groups = np.array([place[id(model.one[n])][0] for n in range(len(start.group))], dtype=np.int64)
        hard = np.flatnonzero(np.isinf(rows.penalty)).tolist()
        slack = compiled.positions([part[r] for part in (model.over, model.under) for r in hard])
        return compiled, coupling, groups, compiled.positions(model.take.values()), slack[slack >= 0]


def keeps(rows: RowArrays, activity: Floats) -> bool:
    """Return whether activities (R,) keep the hard rows."""
    off = np.maximum(activity - rows.high, rows.low - activity)
    return bool((off[np.isinf(rows.penalty)] <= TIGHT * 10).all())


def row_fines(rows: RowArrays, activity: Floats) -> float:
    """Money that activities (R,) cost in the soft rows."""
    off = np.maximum(np.maximum(activity - rows.high, rows.low - activity), 0.0)
    soft = np.isfinite(rows.penalty)
    return float(off[soft] @ rows.penalty[soft])
