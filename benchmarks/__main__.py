"""Every benchmark, one after the other: ``make bench`` or ``python -m benchmarks [NAME …]``."""

from __future__ import annotations

import subprocess
import sys
import time

BENCHMARKS = (
    "stages",
    "promotions",
    "profiles",
    "demand_accuracy",
    "elasticity",
    "orange_juice",
    "prices",
    "coupons",
    "coupon_response",
    "coupon_risk",
    "heldout",
    "judge",
    "known_truth",
    "coupon_chunks",
    "coupon_agreement",
    "joint_budget",
    "markdown",
    "promotion_calendar",
    "optimisers_curse",
    "rules",
    "assignment",
    "experiments",
    "experiment_truth",
    "experiment_looks",
    "bandits",
)


def main(wanted: list[str]) -> int:
    """Run the named benchmarks, or all; the exit status counts those that failed."""
    unknown = [name for name in wanted if name not in BENCHMARKS]
    if unknown:
        print(f"unknown benchmarks {unknown}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    failed = 0
    for name in wanted or BENCHMARKS:
        print(f"== {name}", flush=True)
        begun = time.perf_counter()
        failed += subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode != 0
        print(f"== {name}: {time.perf_counter() - begun:.0f} s", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
