"""The one place where a solver is called: a Pyomo model goes in, and what HiGHS found comes out.

Why the solver stopped (`Stop`) and what we hold (`solution`, `objective`, `bound`) are kept apart: a run that was cut
off may hold a good incumbent, none, or only a bound, and where nothing is held there are no numbers.

The rules are declared in Pyomo, compiled once to matrices by its `LinearStandardFormCompiler`, and handed to HiGHS as
arrays: that is a tenth of the cost of a persistent interface, and a compiled model is solved again under other costs
(`cost=`) for the price of the solve alone. One thread and a fixed seed: the same model gives the same answer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import InfeasibleError, ProblemError
from optimizers.gap import relative_gap

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]

# Pyomo and HiGHS ship no type information that mypy could use.
PyomoModel = Any
PyomoVar = Any
PyomoConstraint = Any
HighsModel = Any
SparseMatrix = Any

SEED = 1


class Stop(StrEnum):
    """Why the solver stopped; says nothing about what is held."""

    OPTIMAL = "optimal"
    """Proven within the asked-for gap."""
    TIME_LIMIT = "time_limit"
    WORK_LIMIT = "work_limit"
    """The nodes that were allowed have been looked at."""
    INFEASIBLE = "infeasible"
    UNBOUNDED = "unbounded"
    FAILED = "failed"
    """The solver gave up for a reason of its own (memory, numerics)."""


@dataclass(frozen=True)
class CompiledModel:
    """A Pyomo model as matrices: minimise sense · (cost · x + offset) subject to the rows and the columns' bounds.

    C columns, R rows. A Pyomo constraint with two different sides makes two rows.
    """

    columns: tuple[PyomoVar, ...]
    """(C,) Pyomo variables."""
    rows: tuple[PyomoConstraint, ...]
    """(R,) Pyomo constraints."""
    sense: int
    """1: minimise, -1: maximise."""
    cost: Floats
    """(C,) in the model's own sense."""
    offset: float
    matrix: SparseMatrix
    """(R, C) sparse, column-wise."""
    row_low: Floats
    row_high: Floats
    column_low: Floats
    column_high: Floats
    integer: npt.NDArray[np.bool_]
    build_seconds: float = 0.0
    source: PyomoModel = field(default=None, repr=False)
    """The Pyomo model; held because its parts know it by weak reference only."""

    def positions(self, variables: Iterable[PyomoVar]) -> npt.NDArray[np.int64]:
        """Column of each Pyomo variable; -1 where the variable is in no rule and not in the objective."""
        place = {id(column): number for number, column in enumerate(self.columns)}
        return np.array([place.get(id(variable), -1) for variable in variables], dtype=np.int64)


@dataclass(frozen=True)
class Solution:
    """What a run left behind. All three of `values`, `objective` and `gap` are None where no incumbent is held."""

    stop: Stop
    values: Floats | None
    """(C,) value of every column of the compiled model; integer columns are whole numbers to the last bit."""
    objective: float | None
    """Objective of `values`, in the model's own sense."""
    bound: float | None
    """No feasible point does better than this; None where nothing was proven."""
    gap: float | None
    """|bound - objective| / |bound|; 0 where both are 0, infinite where nothing was proven."""
    model: CompiledModel | None = field(repr=False)
    seconds: float = 0.0
    build_seconds: float = 0.0
    """Of these, spent in Pyomo to compile the model (0 where a compiled model was handed in)."""

    @property
    def holds(self) -> bool:
        """True when a feasible point is held."""
        return self.values is not None

    def of(self, variables: PyomoVar) -> Floats:
        """Values of a Pyomo variable (indexed: in the order of its index set), (n,).

        A variable in no rule and not in the objective is given its fixed value or the feasible value nearest to 0.

        Raises:
            ProblemError: no incumbent is held.
        """
        if self.values is None or self.model is None:
            raise ProblemError(f"no solution is held (the solver stopped: {self.stop}); test `holds` before `of`")
        members = list(variables.values()) if hasattr(variables, "values") else [variables]
        place = self.model.positions(members)
        found = np.append(self.values, 0.0)[place]
        for number in np.flatnonzero(place < 0):
            found[number] = _idle_value(members[number])
        return found


@dataclass(frozen=True)
class Relaxation:
    """The linear relaxation: its optimum, and what one unit of each rule is worth."""

    stop: Stop
    objective: float | None
    values: Floats | None
    """(C,)"""
    row_duals: Floats | None
    """(R,) change of the optimal objective, in the model's own sense, for one unit more on the right-hand side."""
    model: CompiledModel | None = field(repr=False)
    seconds: float = 0.0

    def dual(self, constraint: PyomoConstraint) -> float:
        """Shadow price of one Pyomo constraint; 0 for a rule that vanished because it always holds.

        Raises:
            ProblemError: the relaxation was not solved to optimality.
        """
        if self.row_duals is None or self.model is None:
            raise ProblemError(f"no shadow prices: the relaxation stopped as {self.stop}")
        mine = [number for number, row in enumerate(self.model.rows) if row is constraint]
        return float(self.row_duals[mine].sum())


def compile_model(model: PyomoModel) -> CompiledModel:
    """Turn a linear Pyomo model with one objective into matrices.

    Raises:
        InfeasibleError: a rule without variables does not hold; the message names it.
    """
    from pyomo.common.errors import InfeasibleConstraintException
    from pyomo.repn.plugins.standard_form import LinearStandardFormCompiler

    started = time.perf_counter()
    try:
        form = LinearStandardFormCompiler().write(model, mixed_form=True, set_sense=None)
    except InfeasibleConstraintException as error:
        raise InfeasibleError(f"a rule of the model can never hold: {error}") from error
    _refuse_impossible(form)
    kind = np.array([row.bound_type for row in form.rows], dtype=np.int64)
    rhs = np.asarray(form.rhs, dtype=np.float64)
    return CompiledModel(
        columns=tuple(form.columns),
        rows=tuple(row.constraint for row in form.rows),
        sense=int(form.objectives[0].sense),
        cost=np.asarray(form.c.todense(), dtype=np.float64).reshape(len(form.objectives), -1)[0],
        offset=float(form.c_offset[0]),
        matrix=form.A.tocsc(),
        row_low=np.where(kind <= 0, rhs, -np.inf),
        row_high=np.where(kind >= 0, rhs, np.inf),
        column_low=np.array([-np.inf if v.lb is None else v.lb for v in form.columns], dtype=np.float64),
        column_high=np.array([np.inf if v.ub is None else v.ub for v in form.columns], dtype=np.float64),
        integer=np.array([not v.is_continuous() for v in form.columns], dtype=np.bool_),
        build_seconds=time.perf_counter() - started,
        source=model,
    )


def _refuse_impossible(form: PyomoModel) -> None:
    """Name a rule whose variables are all fixed and which does not hold; HiGHS would only say "infeasible"."""
    empty = np.flatnonzero(np.bincount(form.A.tocsc().indices, minlength=len(form.rows)) == 0)
    for number in empty.tolist():
        row, rhs = form.rows[number], form.rhs[number]
        if (row.bound_type >= 0 and rhs < 0) or (row.bound_type <= 0 and rhs > 0):
            raise InfeasibleError(f"a rule of the model can never hold: '{row.constraint.name}'")


def solve(
    model: PyomoModel | CompiledModel,
    *,
    gap: float = 1e-4,
    seconds: float = 60.0,
    cost: Floats | None = None,
    start: Floats | None = None,
    nodes: int | None = None,
) -> Solution:
    """Solve a mixed-integer linear model.

    Args:
        model: a Pyomo model, or a `CompiledModel`.
        gap: relative gap at which the solver may stop.
        seconds: time limit of the solver, building excluded.
        cost: (C,) objective coefficients to put in place of the compiled ones, in the model's own sense.
        start: (C,) a point to begin from; an infeasible one is dropped by the solver.
        nodes: branch-and-bound nodes at most: a limit that, unlike seconds, gives the same answer every time.

    Returns:
        What is held and why the solver stopped; never raises for an infeasible model or an exhausted time limit.
    """
    begun = time.perf_counter()
    try:
        compiled = model if isinstance(model, CompiledModel) else compile_model(model)
    except InfeasibleError:
        return Solution(Stop.INFEASIBLE, None, None, None, None, None, time.perf_counter() - begun)
    build = time.perf_counter() - begun
    if cost is not None:
        compiled = replace(compiled, cost=np.asarray(cost, dtype=np.float64))
    if not compiled.columns:
        held = compiled.offset
        return Solution(Stop.OPTIMAL, np.empty(0), held, held, 0.0, compiled, time.perf_counter() - begun, build)
    highs = _hand_over(compiled, gap=gap, seconds=seconds)
    if nodes is not None:
        highs.setOptionValue("mip_max_nodes", nodes)
    if start is not None:
        highs.setSolution(len(start), np.arange(len(start), dtype=np.int32), np.asarray(start, dtype=np.float64))
    highs.run()
    return _read_solution(highs, compiled, time.perf_counter() - begun, build)


def relax(
    model: PyomoModel | CompiledModel,
    *,
    seconds: float = 60.0,
    cost: Floats | None = None,
    method: str = "choose",
    crossover: bool = True,
) -> Relaxation:
    """Solve the linear relaxation (integrality dropped) and return its shadow prices.

    Args:
        model: a Pyomo model, or a `CompiledModel`.
        seconds: time limit.
        cost: (C,) objective coefficients to put in place of the compiled ones.
        method: "choose", "simplex", "ipm" or "pdlp", as HiGHS names them.
        crossover: whether an interior-point answer is moved to a vertex (exact duals) or taken as it is.
    """
    begun = time.perf_counter()
    try:
        compiled = model if isinstance(model, CompiledModel) else compile_model(model)
    except InfeasibleError:
        return Relaxation(Stop.INFEASIBLE, None, None, None, None, time.perf_counter() - begun)
    if cost is not None:
        compiled = replace(compiled, cost=np.asarray(cost, dtype=np.float64))
    if not compiled.columns:
        nothing = np.empty(0)
        return Relaxation(Stop.OPTIMAL, compiled.offset, nothing, nothing, compiled, time.perf_counter() - begun)
    linear = replace(compiled, integer=np.zeros_like(compiled.integer))
    highs = _hand_over(linear, gap=0.0, seconds=seconds)
    highs.setOptionValue("solver", method)
    highs.setOptionValue("run_crossover", "on" if crossover else "off")
    highs.run()
    return _read_relaxation(highs, linear, time.perf_counter() - begun)


class GrowingModel:
    """A linear model that is solved again and again while columns are added to it: the master of column generation."""

    def __init__(self, model: CompiledModel) -> None:
        """Take a compiled model's rows and columns; integrality is dropped."""
        self.compiled = replace(model, integer=np.zeros_like(model.integer))
        self._highs = _hand_over(self.compiled, gap=0.0, seconds=math.inf)

    def add(self, cost: Floats, matrix: SparseMatrix) -> None:
        """Add columns between 0 and 1: cost (N,) in the model's own sense, matrix (R, N) sparse, column-wise."""
        count = len(cost)
        self._highs.addCols(
            *(count, self.compiled.sense * cost, np.zeros(count), np.ones(count), matrix.nnz),
            *(matrix.indptr[:-1].astype(np.int32), matrix.indices.astype(np.int32), matrix.data),
        )
        self.compiled = _extended(self.compiled, cost, matrix)

    def relax(self, seconds: float) -> Relaxation:
        """Solve; from scratch, as the last basis under many new columns can make the simplex method go in circles."""
        self._highs.clearSolver()
        begun = time.perf_counter()
        self._highs.setOptionValue("time_limit", self._highs.getRunTime() + max(seconds, 0.0))
        self._highs.run()
        return _read_relaxation(self._highs, self.compiled, time.perf_counter() - begun)


def _extended(model: CompiledModel, cost: Floats, matrix: SparseMatrix) -> CompiledModel:
    """Append columns between 0 and 1; they have no Pyomo variable."""
    from scipy.sparse import hstack

    count = len(cost)
    return replace(
        model,
        columns=(*model.columns, *((None,) * count)),
        cost=np.concatenate([model.cost, cost]),
        matrix=hstack([model.matrix, matrix], format="csc"),
        column_low=np.concatenate([model.column_low, np.zeros(count)]),
        column_high=np.concatenate([model.column_high, np.ones(count)]),
        integer=np.concatenate([model.integer, np.zeros(count, dtype=np.bool_)]),
    )


def _idle_value(variable: PyomoVar) -> float:
    """Value of a variable that nothing depends on: fixed value, or the feasible one nearest to 0."""
    if variable.fixed:
        return float(variable.value)
    low = -math.inf if variable.lb is None else variable.lb
    high = math.inf if variable.ub is None else variable.ub
    return float(min(max(0.0, low), high))


def _hand_over(model: CompiledModel, *, gap: float, seconds: float) -> HighsModel:
    """Make a HiGHS instance that holds the model in minimising form."""
    import highspy

    highs = highspy.Highs()
    for name, value in (
        ("output_flag", False),
        ("threads", 1),
        ("parallel", "off"),
        ("random_seed", SEED),
        ("time_limit", float(seconds)),
        ("mip_rel_gap", float(gap)),
        ("mip_abs_gap", 1e-9),
    ):
        highs.setOptionValue(name, value)
    matrix = model.matrix
    highs.passModel(
        *(len(model.columns), len(model.rows), matrix.nnz, 1, 1, model.sense * model.offset),
        *(model.sense * model.cost, model.column_low, model.column_high, model.row_low, model.row_high),
        *(matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32), matrix.data.astype(np.float64)),
        model.integer.astype(np.int32),
    )
    return highs


def _why(highs: HighsModel) -> Stop:
    import highspy

    status = highspy.HighsModelStatus
    return {
        status.kOptimal: Stop.OPTIMAL,
        status.kModelEmpty: Stop.OPTIMAL,
        status.kTimeLimit: Stop.TIME_LIMIT,
        status.kSolutionLimit: Stop.WORK_LIMIT,
        status.kInfeasible: Stop.INFEASIBLE,
        status.kUnbounded: Stop.UNBOUNDED,
        status.kUnboundedOrInfeasible: Stop.INFEASIBLE,
    }.get(highs.getModelStatus(), Stop.FAILED)


def _read_solution(highs: HighsModel, model: CompiledModel, seconds: float, build: float) -> Solution:
    info, stop = highs.getInfo(), _why(highs)
    values = _incumbent(highs, model) if info.primal_solution_status == 2 else None
    bound = _finite(model.sense * info.mip_dual_bound) if model.integer.any() else None
    if values is None:
        return Solution(stop, None, None, bound, None, model, seconds, build)
    objective = float(model.cost @ values + model.offset)
    if not model.integer.any():
        bound = objective if stop == Stop.OPTIMAL else None
    return Solution(stop, values, objective, bound, relative_gap(objective, bound), model, seconds, build)


def _incumbent(highs: HighsModel, model: CompiledModel) -> Floats:
    """Read the point that is held; integer columns are rounded, as HiGHS keeps them within 1e-6 only."""
    values = np.array(highs.getSolution().col_value, dtype=np.float64)
    return np.where(model.integer, np.round(values), values)


def _read_relaxation(highs: HighsModel, model: CompiledModel, seconds: float) -> Relaxation:
    stop = _why(highs)
    if stop != Stop.OPTIMAL:
        return Relaxation(stop, None, None, None, model, seconds)
    solution = highs.getSolution()
    values = np.array(solution.col_value, dtype=np.float64)
    objective = float(model.cost @ values + model.offset)
    duals = model.sense * np.array(solution.row_dual, dtype=np.float64)
    return Relaxation(stop, objective, values, duals, model, seconds)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) and abs(value) < 1e300 else None
