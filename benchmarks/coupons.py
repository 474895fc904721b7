"""Coupon allocation: seconds, certified gap and memory, beside other solvers given the same problem in the same run.

    python -m benchmarks.coupons [--sizes 10000,100000,1000000] [--references 10000] [--limit 120] [--repeats 7]

All that the table shows, in one run of about half an hour and 7 GB:

    python -m benchmarks.coupons --sizes 10000,100000,1000000,10000000 --references 10000,100000,1000000 --limit 600

The problem is that of a shop: nine offers and none, one budget, five segment budgets, a floor on the number sent. Every
line is a process of its own, so that peaks of memory are its own; the least of the repeats counts, with kernels
compiled before the clock starts. `seconds` is beyond reading: the problem's check and the allocation; a reference's is
its building and solving from the same arrays. Processor seconds stand beside, as the machine may be shared. HiGHS,
PDLP, GLOP and linopy solve the linear relaxation, whose value is a bound and no plan; `highs mip` and `pyomo` decide. A
reference that does not finish within the limit is written down as such, with what it has cost until then. HiGHS'
fourth way to a linear program, HiPO, is not part of its wheel. Writes benchmarks/results/coupons.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from optimizers.coupons import CouponProblem, allocate_coupons
from optimizers.coupons.check import check_coupons

RESULTS = Path(__file__).parent / "results"
Floats = npt.NDArray[np.float64]
Line = dict[str, Any]
OFFERS = 9
SEGMENTS = 5
BLOCK = 1_000_000
TRIED = (
    (20_000, ".*"),
    (200_000, "highs lp.*|or-tools.*|linopy.*"),
    (math.inf, "highs lp, ipx|or-tools pdlp"),
)
"""Up to so many customers these references are tried; beyond, the others need more memory or hours."""
BARS = {10_000: ("highs mip.*", 600), 100_000: ("highs lp.*", 150), 1_000_000: ("highs lp.*", 700)}
"""Times that the fastest of these references is to be slower than the dual."""
OURS = {"dual": (0.15, None), "dual, floor binds": (0.6, None), "dual, 200 kinds": (0.15, 200)}
"""Name: floor as a share of the customers, and kinds of customer."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000,100000,1000000", help="numbers of customers")
    parser.add_argument("--references", default="10000", help="sizes that the references are given too")
    parser.add_argument("--limit", type=float, default=120, help="seconds that a reference has")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--gap", type=float, default=1e-5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.one:
        print(json.dumps(_one(asked.one, int(asked.sizes), asked)))
        return
    sizes, referred = _sizes(asked.sizes), _sizes(asked.references)
    lines = []
    for customers in sorted(sizes | referred):
        for name in [*OURS, *(_tried(customers) if customers in referred else [])]:
            lines.append(_apart(name, customers, asked))
            print(json.dumps(lines[-1]), flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "coupons.md").write_text(_table(lines, asked), encoding="utf-8")


def _sizes(text: str) -> set[int]:
    return {int(float(size)) for size in text.split(",") if size}


def _tried(customers: int) -> list[str]:
    """References that are tried with so many customers."""
    pattern = next(pattern for most, pattern in TRIED if customers <= most)
    return [name for name in REFERENCES if re.fullmatch(pattern, name)]


def _apart(name: str, customers: int, asked: argparse.Namespace) -> Line:
    """Run one line in a process of its own."""
    options = ("one", name), ("sizes", customers), ("gap", asked.gap), ("seed", asked.seed)
    command = [sys.executable, "-m", "benchmarks.coupons", "--repeats", str(asked.repeats), "--limit", str(asked.limit)]
    for option, value in options:
        command += [f"--{option}", str(value)]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=2 * asked.limit + 60)
        found: Line = _read(ran.stdout) if ran.returncode == 0 else {"note": ran.stderr[-200:]}
    except subprocess.TimeoutExpired:
        found = {"note": f"nothing within {2 * asked.limit + 60:.0f} s"}
    return {"customers": customers, "method": name} | found


def _read(text: str) -> Line:
    """The line among what solvers print of their own."""
    found: Line = json.loads([line for line in text.splitlines() if line.startswith("{")][-1])
    return found


def _one(name: str, customers: int, asked: argparse.Namespace) -> Line:
    floor, kinds = OURS.get(name, (0.15, None))
    problem = shop_problem(customers, seed=asked.seed, floor=floor, kinds=kinds)
    if name in OURS:
        return _ours(problem, asked.gap if customers > 10_000 else min(asked.gap, 1.2e-6), asked.repeats)
    wall, cpu = time.perf_counter(), time.process_time()
    found = REFERENCES[name](problem, asked.limit)
    return _spent(wall, cpu) | found


def _spent(wall: float, cpu: float) -> Line:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "peak_gb": peak}


def _ours(problem: CouponProblem, gap: float, repeats: int) -> Line:
    """The least of some runs; the plan is re-checked."""
    allocate_coupons(shop_problem(500, seed=0), "dual")
    best: Line = {"cpu": math.inf}
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        again = CouponProblem(
            problem.profit, problem.cost, problem.budget, problem.segment, problem.segment_budget, problem.min_sent
        )
        plan = allocate_coupons(again, "dual", gap)
        line = _spent(wall, cpu) | {"bound": plan.bound, "objective": plan.objective, "gap": plan.gap}
        best = min(best, line, key=lambda entry: float(entry["cpu"]))
    check_coupons(problem, plan)
    return best


def shop_problem(customers: int, *, seed: int, kinds: int | None = None, floor: float = 0.15) -> CouponProblem:
    """Customers whose redemption and profit hang together over the offers; `kinds` distinct ones, or all different."""
    rng = np.random.default_rng(seed)
    drawn = kinds or customers
    profits, costs = np.zeros((drawn, OFFERS + 1), np.float32), np.zeros((drawn, OFFERS + 1), np.float32)
    for start in range(0, drawn, BLOCK):
        block = slice(start, start + BLOCK)
        profits[block, 1:], costs[block, 1:] = _values(rng, len(profits[block]))
    if kinds:
        pick = rng.integers(0, kinds, customers)
        profits, costs = profits[pick], costs[pick]
    free = costs[np.arange(customers), profits.argmax(axis=1)].sum(dtype=np.float64)
    return CouponProblem(
        profit=profits,
        cost=costs,
        budget=0.2 * float(free),
        segment=rng.integers(0, SEGMENTS, customers),
        segment_budget=0.2 * float(free) / SEGMENTS * np.array([0.5, 0.8, 1.2, 1.5, 2.0]),
        min_sent=int(floor * customers),
    )


def _values(rng: np.random.Generator, customers: int) -> tuple[Floats, Floats]:
    """Profit and cost of each offer, (customers, OFFERS)."""
    face = np.linspace(1, 5, OFFERS)
    redeems = rng.beta(2, 6, (customers, 1)) * np.exp(0.2 * rng.normal(size=(customers, OFFERS)))
    cost = np.clip(redeems, 0, 1) * face
    worth = rng.gamma(2, 1, (customers, 1)) * np.sqrt(face) * 0.6 * np.exp(0.4 * rng.normal(size=cost.shape))
    return worth - cost - 0.3, cost


# --- the references: the same arrays in, bound (and plan's profit, where it decides) out


def _matrix(problem: CouponProblem) -> tuple[Floats, Any, Floats, Floats]:
    """Objective, rows and their limits: one offer each, the total, the segments, the floor."""
    from scipy import sparse

    n, cost = problem.n_customers, problem.cost[:, 1:].astype(np.float64).ravel()
    cells, customer = np.arange(n * OFFERS), np.repeat(np.arange(n), OFFERS)
    one = sparse.csr_matrix((np.ones(len(cells)), (customer, cells)))
    own = sparse.csr_matrix((cost, (problem.segment[customer], cells)))
    rows = sparse.vstack([one, sparse.csr_matrix(cost), own, sparse.csr_matrix(np.ones(len(cells)))], format="csc")
    high = np.concatenate([np.ones(n), [problem.budget], problem.segment_budget, [np.inf]])
    low = np.full(len(high), -np.inf)
    low[-1] = problem.min_sent or 0
    return problem.profit[:, 1:].astype(np.float64).ravel(), rows, low, high


def _highs(problem: CouponProblem, limit: float, *, solver: str, whole: bool) -> Line:
    import highspy

    profit, rows, low, high = _matrix(problem)
    highs = highspy.Highs()
    options = ("output_flag", False), ("solver", solver), ("time_limit", limit), ("mip_rel_gap", 1.2e-6)
    for option, value in (*options, ("run_crossover", "off")):
        highs.setOptionValue(option, value)
    n, m = len(profit), rows.shape[0]
    kind = np.full(n, int(whole), dtype=np.int32)
    columns = (-profit, np.zeros(n), np.ones(n))
    indices = (rows.indptr.astype(np.int32), rows.indices.astype(np.int32), rows.data)
    highs.passModel(n, m, rows.nnz, 1, 1, 0.0, *columns, low, high, *indices, kind)
    highs.run()
    info, status = highs.getInfo(), highs.modelStatusToString(highs.getModelStatus())
    if not whole:
        return {"bound": -info.objective_function_value, "note": status}
    bound = -info.mip_dual_bound
    held = -info.objective_function_value if info.primal_solution_status == 2 else math.nan
    return {"bound": bound, "objective": held, "gap": (bound - held) / abs(bound), "note": status}


def _ortools(problem: CouponProblem, limit: float, *, solver: str) -> Line:
    from ortools.linear_solver.python import model_builder_helper

    profit, rows, low, high = _matrix(problem)
    model = model_builder_helper.ModelBuilderHelper()
    model.fill_model_from_sparse_data(np.zeros(len(profit)), np.ones(len(profit)), profit, low, high, rows.tocsr())
    model.set_maximize(True)
    run = model_builder_helper.ModelSolverHelper(solver)
    run.set_time_limit_in_seconds(limit)
    run.solve(model)
    held = run.has_solution()
    return {"bound": run.objective_value() if held else math.nan, "note": str(run.status()).split(".")[-1]}


def _linopy(problem: CouponProblem, limit: float) -> Line:
    import linopy
    import xarray

    profit, cost = (
        xarray.DataArray(values[:, 1:].astype(np.float64), dims=("customer", "offer"))
        for values in (problem.profit, problem.cost)
    )
    model = linopy.Model()
    send = model.add_variables(lower=0, upper=1, coords=[range(problem.n_customers), range(OFFERS)], dims=profit.dims)
    model.add_constraints(send.sum("offer") <= 1)
    model.add_constraints((send * cost).sum() <= problem.budget)
    for s, budget in enumerate(problem.segment_budget):
        mine = xarray.DataArray((problem.segment == s).astype(np.float64), dims="customer")
        model.add_constraints((send * (cost * mine)).sum() <= float(budget))
    model.add_constraints(send.sum() >= (problem.min_sent or 0))
    model.add_objective((send * profit).sum(), sense="max")
    status, why = model.solve("highs", io_api="direct", solver="ipm", run_crossover="off", time_limit=limit)
    return {"bound": float(model.objective.value or math.nan), "note": f"{status}, {why}"}


def _pyomo(problem: CouponProblem, limit: float) -> Line:
    from optimizers.coupons.exact import declare
    from optimizers.solver import compile_model, solve

    began = time.perf_counter()
    compiled = compile_model(declare(problem)[0])
    pyomo = time.perf_counter() - began
    found = solve(compiled, gap=1e-4, seconds=limit)
    return {
        "bound": math.nan if found.bound is None else found.bound,
        "objective": math.nan if found.objective is None else found.objective,
        "gap": math.nan if found.gap is None else found.gap,
        "note": f"{found.stop}; Pyomo {pyomo:.1f} s, {pyomo / (time.perf_counter() - began):.0%} of the time",
    }


REFERENCES: dict[str, Callable[[CouponProblem, float], Line]] = {
    "highs lp, ipx": lambda problem, limit: _highs(problem, limit, solver="ipm", whole=False),
    "highs lp, simplex": lambda problem, limit: _highs(problem, limit, solver="simplex", whole=False),
    "highs lp, pdlp": lambda problem, limit: _highs(problem, limit, solver="pdlp", whole=False),
    "highs mip, 1.2e-6": lambda problem, limit: _highs(problem, limit, solver="choose", whole=True),
    "pyomo to highs, 1e-4": _pyomo,
    "or-tools pdlp": lambda problem, limit: _ortools(problem, limit, solver="pdlp"),
    "or-tools glop": lambda problem, limit: _ortools(problem, limit, solver="glop"),
    "linopy to highs, ipm": _linopy,
}


def _table(lines: Sequence[Line], asked: argparse.Namespace) -> str:
    load = os.getloadavg()[0]
    text = [
        "# Coupon allocation beside other solvers",
        "",
        f"`python -m benchmarks.coupons --sizes {asked.sizes} --references {asked.references} --limit {asked.limit:g} "
        f"--repeats {asked.repeats}`; seed {asked.seed}; {os.cpu_count()} cores ({platform.machine()}), load "
        f"{load:.1f} at the end. × is processor time against the dual's on the same problem; > where the limit came "
        "first.",
        "",
        *_met(lines),
        "",
        "| customers | method | seconds | processor s | × | bound | plan | gap | peak GB | note |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for line in lines:
        times = _times(line, lines)
        shown = "" if times is None else f"{'> ' if _unfinished(line) else ''}{times:,.0f}"
        cells = [_figure(line.get(key), form) for key, form in FORMS.items()]
        text.append(f"| {line['customers']:,} | {line['method']} | {' | '.join([*cells[:2], shown, *cells[2:]])} |")
    return "\n".join([*text, ""])


def _met(lines: Sequence[Line]) -> list[str]:
    """What was asked for beside what was found."""
    text = []
    for customers, (pattern, asked) in BARS.items():
        tried = [line for line in lines if line["customers"] == customers and re.fullmatch(pattern, line["method"])]
        found = [(times, line) for line in tried if (times := _times(line, lines)) is not None]
        if found:
            times, line = min(found, key=lambda pair: pair[0])
            more = "more than " if _unfinished(line) else ""
            verdict = "met" if times >= asked else "not shown" if _unfinished(line) else "missed"
            text.append(f"- {customers:,} customers: {line['method']} takes {more}{times:,.0f} ×; {asked} × {verdict}.")
    return text


def _times(line: Line, lines: Sequence[Line]) -> float | None:
    """Processor time of a reference as a multiple of the dual's; None: not known, or no reference."""
    ours = [other.get("cpu") for other in lines if (other["customers"], other["method"]) == (line["customers"], "dual")]
    if line["method"] not in REFERENCES or not ours or not ours[0] or not line.get("cpu"):
        return None
    return float(line["cpu"] / ours[0])


def _unfinished(line: Line) -> bool:
    """Whether the limit came first: what stands as a bound is none then."""
    note = str(line.get("note", ""))
    return "limit" in note.lower() or note in {"FEASIBLE", "NOT_SOLVED", "UNKNOWN_STATUS"}


FORMS = {
    "seconds": ".3f",
    "cpu": ".3f",
    "bound": ",.3f",
    "objective": ",.3f",
    "gap": ".1e",
    "peak_gb": ".2f",
    "note": "",
}


def _figure(value: object, form: str) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else format(value, form)
    return "" if value is None else str(value).replace("\n", " ")


if __name__ == "__main__":
    main()
