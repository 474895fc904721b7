"""Seconds and peak memory of the heaviest transformation: 20.9 M promotion rows to shares by product and week.

    python -m benchmarks.promotions [--threads 2] [--memory-gb 1.5] [--json]

Reads the promotions of the Complete Journey data straight from the installed package, all products, and runs the same
`promotion_shares` that landing runs. The bar: 15 s and 2 GB on two threads.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from engine.frames import open_backend, quoted
from engine.settings import Settings, load_settings
from engine.sources.complete_journey import folder
from engine.sources.rebuild import promotion_shares, store_weights

MAX_SECONDS = 15.0
MAX_GB = 2.0
FLAGS = """product_id, store_id, week, (mailer_location <> '0')::TINYINT AS mailer,
(display_location <> '0')::TINYINT AS display"""


@dataclass(frozen=True)
class Measured:
    """One run."""

    rows_in: int
    rows_out: int
    threads: int
    seconds: float
    cpu_seconds: float
    peak_gb: float
    """Peak resident memory of the process, GB (10⁹ bytes)."""


def measure(settings: Settings) -> Measured:
    """Run it once; the peak is that of the whole process, so measure in a fresh one."""
    files = {name: quoted(str(folder() / f"{name}.parquet")) for name in ("promotions", "transactions")}
    with open_backend(settings) as backend:
        (count,) = backend.connection.execute(f"SELECT count(*) FROM {files['promotions']}").fetchall()  # noqa: S608
        started, cpu = time.perf_counter(), time.process_time()
        promotions = backend.query(f"SELECT {FLAGS} FROM {files['promotions']}")  # noqa: S608
        sold = backend.query(f"SELECT store_id, week, sales_value FROM {files['transactions']}")  # noqa: S608
        shares = backend.collect(promotion_shares(promotions, store_weights(sold)), ["product_id", "week"])
        return Measured(
            rows_in=int(count[0]),
            rows_out=shares.num_rows,
            threads=settings.data.threads,
            seconds=time.perf_counter() - started,
            cpu_seconds=time.process_time() - cpu,
            peak_gb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory-gb", type=float, default=1.5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    limits = [f"data.threads={options.threads}", f"data.memory_limit_gb={options.memory_gb}"]
    with tempfile.TemporaryDirectory() as home:
        found = measure(load_settings(overrides=[f"data.home={home}", *limits]))
    if options.json:
        print(json.dumps(asdict(found)))
    else:
        print(
            f"{found.rows_in:,} rows to {found.rows_out:,} in {found.seconds:.1f} s "
            f"({found.cpu_seconds:.1f} s of CPU, {found.threads} threads), peak {found.peak_gb:.2f} GB; "
            f"bar {MAX_SECONDS:.0f} s, {MAX_GB:.0f} GB"
        )
    return 0 if found.seconds <= MAX_SECONDS and found.peak_gb <= MAX_GB else 1


if __name__ == "__main__":
    raise SystemExit(main())
