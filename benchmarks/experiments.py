"""How honest, how sharp and how fast the measurement of experiments is.

    python -m benchmarks.experiments [--tests 20000] [--rows 10000000] [--only sequential,revenue,speed]

*Sequential*: simulated A/A tests, and tests with the effect that a fixed horizon finds with 80 % power, each
looked at 50 times: how often a method ever rejects, and how wide its last interval is beside the fixed one. *Revenue*:
A/A tests on zero-inflated, heavy-tailed revenue at a fixed horizon. *Speed*: five metrics with CUPED on DuckDB, beside
tea-tasting (extra `bench`) on the same file, by turns, each in a process of its own with one thread and 300 MB for the
database. 100 million rows take 9 GB of disk (`TMPDIR`) and a quarter of an hour:

    python -m benchmarks.experiments --only speed --rows 100000000

Writes benchmarks/results/experiments_{sequential,revenue,speed}.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import stats

from experiments.sequential import AnalysisPlan, drift_for_power, rejection_boundary
from experiments.statistics.arms import pair
from experiments.statistics.contrast import Value, contrast
from experiments.statistics.moments import moments

Floats = npt.NDArray[np.float64]

RESULTS = Path(__file__).parent / "results"
LOOKS = 50
PER_LOOK = 100
"""Units of each variant that come between two looks."""
METRICS = 5
BATCH = 500
MEMORY_MB = 300


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tests", type=int, default=20_000)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--only", default="sequential,revenue,speed")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        reader, path = options.measure.split(":", 1)
        print(json.dumps(READERS[reader](Path(path))))
        return
    RESULTS.mkdir(exist_ok=True)
    parts: dict[str, Callable[[], list[str]]] = {
        "sequential": lambda: sequential_table(options.tests),
        "revenue": lambda: revenue_table(options.tests),
        "speed": lambda: speed_table(options.rows),
    }
    for name in options.only.split(","):
        lines = parts[name]()
        print("\n".join(lines), flush=True)
        (RESULTS / f"experiments_{name}.md").write_text("\n".join([*lines, ""]), encoding="utf-8")


def plans(units: int) -> dict[str, AnalysisPlan]:
    """The analysis plans that are compared, for a test of so many units."""
    spending = {"method": "group_sequential", "planned_units": units, "looks": LOOKS}
    return {
        "fixed horizon, peeked at (not valid)": AnalysisPlan(),
        "group sequential, alpha·t³ (O'Brien-Fleming-like)": AnalysisPlan(**spending),  # type: ignore[arg-type]
        "group sequential, Pocock-like": AnalysisPlan(**spending, spending="pocock"),  # type: ignore[arg-type]
        "always valid, planned N": AnalysisPlan("always_valid", planned_units=units, looks=LOOKS),
        "always valid, N* = 5,000": AnalysisPlan("always_valid", planned_units=units, looks=LOOKS, tuning_units=5_000),
        "fixed horizon, read once": AnalysisPlan("fixed", planned_units=units, looks=LOOKS),
    }


def looked_at(tests: int, effect: float, rng: np.random.Generator) -> Floats:
    """|z| of simulated tests at every look, (tests, looks): normal outcomes, variances estimated, as in practice."""
    sizes = PER_LOOK * np.arange(1, LOOKS + 1)
    z = np.empty((tests, LOOKS))
    for first in range(0, tests, BATCH):
        size = min(BATCH, tests - first)
        means, variances = [], []
        for shift in (0.0, effect):
            values = rng.normal(shift, 1.0, (size, LOOKS, PER_LOOK))
            total = values.sum(axis=2).cumsum(axis=1)
            squares = np.square(values).sum(axis=2).cumsum(axis=1)
            means.append(total / sizes)
            variances.append((squares - total**2 / sizes) / (sizes - 1) / sizes)
        z[first : first + size] = (means[1] - means[0]) / np.sqrt(variances[0] + variances[1])
    return np.abs(z)


def sequential_rates(tests: int, seed: int = 1) -> dict[str, tuple[float, float, float]]:
    """By plan: share of A/A tests ever rejected, share of true effects ever found, last width over the fixed one."""
    units = 2 * PER_LOOK * LOOKS
    rng = np.random.default_rng(seed)
    effect = drift_for_power(AnalysisPlan(), 0.8) * np.sqrt(2.0 / (PER_LOOK * LOOKS))
    null, true = looked_at(tests, 0.0, rng), looked_at(tests, effect, rng)
    fixed = float(stats.norm.ppf(0.975))
    found = {}
    for name, plan in plans(units).items():
        boundary = _boundary(plan)
        wrong, right = (float((z >= boundary).any(axis=1).mean()) for z in (null, true))
        found[name] = (wrong, right, float(boundary[-1]) / fixed)
    return found


def _boundary(plan: AnalysisPlan) -> Floats:
    fractions = np.arange(1, LOOKS + 1) / LOOKS
    if plan.planned_units is None:
        return np.full(LOOKS, stats.norm.ppf(0.975))
    return rejection_boundary(plan, fractions)


def sequential_table(tests: int) -> list[str]:
    """Error, power and width of each plan under 50 looks."""
    lines = [
        f"# {tests:,} simulated tests, looked at {LOOKS} times",
        "",
        f"`python -m benchmarks.experiments --only sequential --tests {tests}`; seed 1; normal outcomes, "
        f"{PER_LOOK * LOOKS:,} units a variant, variances estimated. Bars: error <= 5.3 % for every sequential method; "
        "group sequential power >= 76 %, width <= ×1.12; always valid with the planned N width <= ×1.55.",
        "",
        "| plan | A/A rejected | effect found | last width ÷ fixed |",
        "| --- | --- | --- | --- |",
    ]
    for name, (wrong, right, width) in sequential_rates(tests).items():
        lines.append(f"| {name} | {wrong:.2%} | {right:.1%} | ×{width:.3f} |")
    return lines


def revenue(units: int, buyers: float, spread: float, rng: np.random.Generator) -> Floats:
    """Revenue of `units` customers: most buy nothing, log-normal among the rest."""
    return np.where(rng.random(units) < buyers, rng.lognormal(3.0, spread, units), 0.0)


def revenue_error(tests: int, units: int, buyers: float, spread: float, seed: int = 2) -> float:
    """Share of A/A tests on revenue that a fixed horizon rejects."""
    rng = np.random.default_rng(seed)
    rejected = 0
    for _ in range(tests):
        arms = pair(*(moments(revenue(units, buyers, spread, rng)) for _ in range(2)))
        rejected += contrast(arms, Value(0)).p_value <= 0.05
    return rejected / tests


def revenue_table(tests: int) -> list[str]:
    """Error at a fixed horizon on revenue as shops have it."""
    lines = [
        f"# A/A tests on zero-inflated, heavy-tailed revenue, {tests:,} each, fixed horizon, 5 %",
        "",
        f"`python -m benchmarks.experiments --only revenue --tests {tests}`; seed 2. Bar: 4-6 % from 10,000 units a "
        "variant. Skewness is that of the distribution.",
        "",
        "| buyers | log standard deviation | skewness | units a variant | rejected |",
        "| --- | --- | --- | --- | --- |",
    ]
    rng = np.random.default_rng(3)
    for buyers, spread, units in [(0.05, 1.0, 10_000), (0.02, 1.5, 10_000), (0.02, 1.5, 40_000)]:
        skewness = float(stats.skew(revenue(2_000_000, buyers, spread, rng)))
        error = revenue_error(tests, units, buyers, spread)
        lines.append(f"| {buyers:.0%} | {spread:g} | {skewness:.0f} | {units:,} | {error:.2%} |")
    return lines


def speed_table(rows: int) -> list[str]:
    """Seconds and memory for five metrics with CUPED, beside tea-tasting."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "units.parquet"
        _write_units(path, rows)
        runs = [{reader: _measured(reader, path) for reader in READERS} for _ in range(3)]
        found = {reader: [run[reader] for run in runs] for reader in READERS}
    best = {reader: min(runs, key=lambda run: run["processor"]) for reader, runs in found.items()}
    lines = [
        f"# {rows:,} units, {METRICS} metrics with CUPED, DuckDB over Parquet, one thread",
        "",
        f"`python -m benchmarks.experiments --only speed --rows {rows}`; best of three processes by processor time; "
        f"database limited to {MEMORY_MB} MB; memory is the process's peak, the libraries included ('at start': before "
        "the reading). Bar: <= .6 × tea-tasting, <= 300 MB.",
        "",
        "| reader | processor s | wall s | peak MB | at start MB | ÷ tea-tasting |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for reader, run in best.items():
        ratio = run["processor"] / best["tea-tasting"]["processor"]
        lines.append(
            f"| {reader} | {run['processor']:.2f} | {run['wall']:.2f} | {run['peak']:.0f} | {run['start']:.0f} | "
            f"{ratio:.2f} |"
        )
    apart = max(abs(a - b) for a, b in zip(best["Offerwright"]["p"], best["tea-tasting"]["p"], strict=True))
    return [*lines, "", f"Largest difference between the p-values of the two: {apart:.1e}."]


def _write_units(path: Path, rows: int) -> None:
    """Units with five skewed outcomes and five covariates, seeded."""
    import duckdb

    columns = ", ".join(
        f"-ln(random()) * {10 + i} * CAST(random() < 0.3 AS DOUBLE) + x{i} * 0.1 AS y{i}, x{i}" for i in range(METRICS)
    )
    covariates = ", ".join(f"-ln(random()) * {10 + i} AS x{i}" for i in range(METRICS))
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("SELECT setseed(0.42)")
    units = f"SELECT CAST(random() < 0.5 AS INTEGER) AS variant, {covariates} FROM range({rows})"  # noqa: S608
    connection.execute(f"COPY (SELECT variant, {columns} FROM ({units})) TO '{path}' (FORMAT parquet)")  # noqa: S608
    connection.close()


def _measured(reader: str, path: Path) -> dict[str, float]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.experiments", "--measure", f"{reader}:{path}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _peak_mb() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _timed(read: Callable[[], list[float]]) -> dict[str, object]:
    start, wall, processor = _peak_mb(), time.perf_counter(), time.process_time()
    p_values = read()
    return {
        "processor": time.process_time() - processor,
        "wall": time.perf_counter() - wall,
        "peak": _peak_mb(),
        "start": start,
        "p": p_values,
    }


def read_with_offerwright(path: Path) -> dict[str, object]:
    """Read the units with this package."""
    import duckdb

    from experiments.measure import Metric, Units, analyse_units, duckdb_warehouse

    connection = duckdb.connect(config={"threads": 1, "memory_limit": f"{MEMORY_MB}MB"})
    units = Units(duckdb_warehouse(connection), f"read_parquet('{path}')")
    metrics = [Metric(f"m{i}", f"y{i}", covariate=f"x{i}") for i in range(METRICS)]
    return _timed(lambda: [effect.p_value for effect in analyse_units(units, metrics).effects])


def read_with_tea_tasting(path: Path) -> dict[str, object]:
    """Read the units with tea-tasting, on the same connection settings."""
    import duckdb
    import narwhals as nw
    import tea_tasting as tt

    connection = duckdb.connect(config={"threads": 1, "memory_limit": f"{MEMORY_MB}MB"})
    table = nw.from_native(connection.sql(f"SELECT * FROM read_parquet('{path}')"))  # noqa: S608
    experiment = tt.Experiment({f"m{i}": tt.Mean(f"y{i}", f"x{i}") for i in range(METRICS)})
    return _timed(lambda: [float(found.pvalue) for found in experiment.analyze(table).values()])


READERS = {"Offerwright": read_with_offerwright, "tea-tasting": read_with_tea_tasting}


if __name__ == "__main__":
    main()
