"""Seconds of each stage and peak memory of `offerwright run`, with a cold and a warm feature cache.

    python -m benchmarks.stages [--data complete_journey]

Each run is started as anybody would start it; memory is the greatest sum, sampled, over its process and those that it
starts, what they share counted once (Linux: Pss).
Writes benchmarks/results/stages.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
TABLES = ("prices.csv", "coupons.csv")


def measure(data: str, home: Path, out: Path) -> dict[str, float]:
    """Run once; seconds by stage, and the whole run's wall and processor seconds and peak memory in GB."""
    command = [str(Path(sys.executable).parent / "offerwright"), "run", "--data", data, "--out", str(out)]
    begun = time.perf_counter()
    process = subprocess.Popen([*command, "--set", f"data.home={home}"], stdout=subprocess.DEVNULL)
    peak, ended = 0.0, 0
    while not ended:
        time.sleep(0.1)
        peak = max(peak, sum(_memory(pid) for pid in _family(process.pid)))
        ended, status, used = os.wait4(process.pid, os.WNOHANG)
    wall = time.perf_counter() - begun
    if status != 0:
        raise SystemExit(f"{' '.join(command)} ended with status {status}")
    stages = json.loads((out / "summary.json").read_text(encoding="utf-8"))["seconds"]
    return {
        **stages,
        "whole run, wall": wall,
        "whole run, processor": used.ru_utime + used.ru_stime,
        "peak memory, GB": peak,
    }


def _family(pid: int) -> list[int]:
    """A process and all that it started, and they."""
    found = [pid]
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text(encoding="ascii").split():
                found += _family(int(child))
    return found


def _memory(pid: int) -> float:
    """GB of a process, its part of what is shared."""
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) * 1024 / 1e9
    return 0.0


def main() -> None:
    """Measure a cold and a warm run side by side."""
    parser = argparse.ArgumentParser(description="Time the stages of `offerwright run`.")
    parser.add_argument("--data", default="complete_journey")
    data = parser.parse_args().data
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        cold = measure(data, place / "home", place / "cold")
        warm = measure(data, place / "home", place / "warm")
        same = all((place / "cold" / f).read_bytes() == (place / "warm" / f).read_bytes() for f in TABLES)
    rows = [f"| {name} | {cold[name]:.2f} | {warm[name]:.2f} |" for name in cold]
    text = "\n".join(
        [
            f"# Stages of `offerwright run --data {data}`, seconds",
            "",
            "| stage | cold | warm |",
            "| --- | --- | --- |",
            *rows,
            "",
            f"prices.csv and coupons.csv of both runs are {'the same' if same else 'DIFFERENT'}, byte for byte.",
            f"Two threads or two processes, {os.cpu_count()} processors; `python -m benchmarks.stages --data {data}`.",
            "",
        ]
    )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "stages.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
