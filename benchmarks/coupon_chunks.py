"""Coupons for more customers than memory holds: time, peak memory, and the time that reading the data takes alone.

    python -m benchmarks.coupon_chunks [--customers 1000000,10000000,100000000] [--folder DIR]

Ten offers, a total and five segment budgets and a floor, dense chunks of a million customers on disk (88 bytes a
customer). Measured from the multipliers' first question to the re-checked plan, each size in a process of its own. The
limit beside it is one pass over the same files by a compiled sum, once as the disk gives them and once from memory.
Writes benchmarks/results/coupon_chunks.md.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from optimizers.coupons.check_partitions import Limits, Prices, check_partitions, tally
from optimizers.coupons.partitions import allocate_partitions
from optimizers.coupons.questions import Chunks, offers_of
from optimizers.coupons.staging import Chunk
from optimizers.coupons.sums import Rules

RESULTS = Path(__file__).parent / "results"
OFFERS, SEGMENTS, CHUNK = 10, 5, 1_000_000
GAP = 1e-5


def make_chunk(chunk: Chunk, customers: int) -> None:
    """Write a million made-up customers, the same for the same number."""
    rng = np.random.default_rng([7, chunk.number])
    cost = rng.random((customers, OFFERS + 1), dtype=np.float32) * 2
    profit = rng.random((customers, OFFERS + 1), dtype=np.float32)
    profit *= rng.random((customers, 1), dtype=np.float32) * 6
    profit -= 0.5
    profit[:, 0] = cost[:, 0] = 0
    chunk.save(profit, cost, segment=rng.integers(0, SEGMENTS, customers))


def measure(folder: Path, customers: int) -> dict[str, float]:
    """Allocate, re-check and read alone; seconds of wall and processor time."""
    sizes = [CHUNK] * (customers // CHUNK) + ([customers % CHUNK] if customers % CHUNK else [])
    chunks = [Chunk(folder, number) for number in range(len(sizes))]
    allocate_partitions(Chunks(chunks[:1]), _rules(sizes[0]), gap=GAP)  # compiles what is to be measured
    begun, used = time.perf_counter(), time.process_time()
    plan = allocate_partitions(Chunks(chunks), _rules(customers), gap=GAP)
    decided, decided_used = time.perf_counter() - begun, time.process_time() - used
    m, rules = plan.multipliers, _rules(customers)
    prices = Prices(m.total, m.segment, m.floor, m.ceiling, m.offer)
    tallies = []
    for number, chunk in enumerate(chunks):
        part = chunk()
        tallies.append(tally(part.profit, part.cost, part.segment, offers_of(number, part, plan.placement), prices))
    limits = Limits(rules.budget, rules.segment_budget, rules.floor, rules.ceiling, rules.cap)
    check_partitions(tallies, limits, prices, objective=plan.objective, bound=plan.bound)
    whole, whole_used = time.perf_counter() - begun, time.process_time() - used
    read = _read_alone(chunks)
    return {
        "customers": customers,
        "decide seconds": decided,
        "decide processor seconds": decided_used,
        "with offers and re-check": whole,
        "with offers and re-check, processor": whole_used,
        "one pass of reading": read,
        "gigabytes": sum(f.stat().st_size for f in folder.glob("*.npy")) / 1e9,
        "peak gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "gap": plan.gap,
        "passes over the kept": plan.passes,
        "kept": plan.kept,
        "sent": plan.sent,
    }


def _rules(customers: int) -> Rules:
    return Rules(
        budget=0.25 * customers,
        segment_budget=np.full(SEGMENTS, 0.055 * customers),
        floor=0.55 * customers,
        ceiling=np.inf,
        cap=np.full(OFFERS + 1, np.inf),
    )


def _read_alone(chunks: Sequence[Chunk]) -> float:
    begun = time.perf_counter()
    for chunk in chunks:
        for name in ("profit", "cost", "segment"):
            chunk.part(name).sum(dtype=np.float32)
    return time.perf_counter() - begun


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every size in a process of its own and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--customers", default="1000000,10000000,100000000", help="sizes, with commas between")
    parser.add_argument("--folder", type=Path, help="folder for the chunks (88 bytes a customer)")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.one:
        print(json.dumps(measure(asked.one, int(asked.customers))))
        return
    rows = []
    for size in (int(text) for text in asked.customers.split(",")):
        folder = Path(tempfile.mkdtemp(prefix="chunks-", dir=asked.folder))
        try:
            for number in range(-(-size // CHUNK)):
                make_chunk(Chunk(folder, number), min(CHUNK, size - number * CHUNK))
            command = [sys.executable, "-m", "benchmarks.coupon_chunks", "--one", str(folder), "--customers", str(size)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows.append(json.loads(done.stdout.strip().splitlines()[-1]))
            print(rows[-1], flush=True)
        finally:
            shutil.rmtree(folder)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "coupon_chunks.md").write_text(as_markdown(rows, asked.customers), encoding="utf-8")


def as_markdown(rows: Sequence[dict[str, float]], asked: str) -> str:
    """Figures as rows, sizes as columns."""
    head = (
        f"# Coupons in chunks\n\n`python -m benchmarks.coupon_chunks --customers {asked}`, two cores, one thread.\n\n"
    )
    lines = ["| figure | " + " | ".join(f"{row['customers']:,.0f}" for row in rows) + " |"]
    lines.append("| --- |" + " --- |" * len(rows))
    for name in rows[0]:
        if name != "customers":
            lines.append(f"| {name} | " + " | ".join(f"{row[name]:,.3g}" for row in rows) + " |")
    return head + "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
