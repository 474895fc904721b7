"""Assigning units: identifiers a second on one core, beside the growthbook package, same identifiers, one run.

    python -m benchmarks.assignment [--ids 1000000] [--reference 200000]

UUID texts from a seeded generator in an Arrow array, halves, hash version 2. Both wall and processor time are taken,
and the best of fifteen runs, as the machine may be shared; the reference is the package's own hash and choice in a
Python loop, which is all it offers. Variants are compared one by one. Writes benchmarks/results/assignment.md.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
from growthbook.core import chooseVariation, gbhash, getBucketRanges

from experiments.assign import Holdout, Slice, Split, assign, enrol

RESULTS = Path(__file__).parent / "results"
WEIGHTS = [0.5, 0.5]
SEED = "price-test"
Result = TypeVar("Result")


def uuids(count: int, seed: int = 1) -> pa.Array:
    """Random UUIDs as text of 36 signs each."""
    digits = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
    text = digits[np.random.default_rng(seed).integers(0, 16, (count, 36), dtype=np.uint8)]
    text[:, [8, 13, 18, 23]] = ord("-")
    offsets = np.arange(count + 1, dtype=np.int64) * 36
    buffers = [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(text.tobytes())]
    return pa.Array.from_buffers(pa.large_string(), count, buffers)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ids", type=int, default=1_000_000)
    parser.add_argument("--reference", type=int, default=200_000)
    options = parser.parse_args(arguments)
    ids = uuids(options.ids)
    texts = ids[: options.reference].to_pylist()
    assign(ids[:10], SEED)
    assign(texts[:10], SEED, version=1)
    split = Split(SEED, layer=Slice("prices", 0.0, 0.5), holdouts=(Holdout("2027", 0.05),))
    ranges = getBucketRanges(2, 1.0, WEIGHTS)
    expected, reference_time = _best(lambda: [chooseVariation(gbhash(SEED, one, 2), ranges) for one in texts], 3)
    found, _ = _best(lambda: assign(texts, SEED), 1)
    if found.tolist() != expected:
        raise SystemExit("the variants differ from those of the growthbook package")
    rows = [
        ("growthbook package, Python loop", len(texts), reference_time),
        ("assign, Arrow array", len(ids), _best(lambda: assign(ids, SEED))[1]),
        ("assign, Arrow array, hash version 1", len(ids), _best(lambda: assign(ids, SEED, version=1))[1]),
        ("assign, list of texts", len(texts), _best(lambda: assign(texts, SEED))[1]),
        ("enrol with a layer and a holdout, Arrow array", len(ids), _best(lambda: enrol(ids, split))[1]),
    ]
    lines = [
        f"# Assignment, {platform.machine()}, one thread, Python {platform.python_version()}",
        "",
        "`python -m benchmarks.assignment`; seeded UUID texts; best of fifteen (the package: of three). The first",
        f"{len(texts):,} variants are those of the growthbook package. Wall time is that of a shared machine;",
        "processor time tells the code's own.",
        "",
        "| what | identifiers | ids/s, wall | ids/s, processor | × reference (processor) |",
        "| --- | --- | --- | --- | --- |",
        *(_row(what, count, spent, len(texts) / reference_time[1]) for what, count, spent in rows),
        "",
        f"One identifier: {_one_by_one(texts)}",
    ]
    print("\n".join(lines))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "assignment.md").write_text("\n".join([*lines, ""]), encoding="utf-8")


def _best(run: Callable[[], Result], times: int = 15) -> tuple[Result, tuple[float, float]]:
    """Result, and the least wall and processor seconds."""
    spent = []
    for _ in range(times):
        wall, processor = time.perf_counter(), time.process_time()
        result = run()
        spent.append((time.perf_counter() - wall, time.process_time() - processor))
    return result, (min(one[0] for one in spent), min(one[1] for one in spent))


def _row(what: str, count: int, spent: tuple[float, float], reference: float) -> str:
    wall, processor = count / spent[0], count / spent[1]
    return f"| {what} | {count:,} | {wall:,.0f} | {processor:,.0f} | {processor / reference:,.1f} |"


def _one_by_one(texts: Sequence[str], calls: int = 20_000) -> str:
    """Say how long a single assignment takes in process."""
    spent = np.empty(calls)
    for place in range(calls):
        begun = time.perf_counter()
        assign(texts[place % len(texts)], SEED)
        spent[place] = time.perf_counter() - begun
    middle, late = np.quantile(spent, [0.5, 0.99]) * 1e6
    return f"median {middle:.0f} µs, 99 % within {late:.0f} µs ({calls:,} calls, wall)."


if __name__ == "__main__":
    main()
