"""Coupons on a real local Spark: the same plan as here, and still the same when a worker is killed in the middle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

SCRIPT = Path(__file__).parent / "spark_allocation.py"
CUSTOMERS = 1_500


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    """What one run on Spark came to; in a process of its own, so that its session meets no other."""
    pytest.importorskip("pyspark", reason="the extra `spark` is not installed")
    folder = tmp_path_factory.mktemp("spark")
    rng = np.random.default_rng(3)
    table = pd.DataFrame(
        {
            "customer_id": np.repeat([f"c{i}" for i in range(CUSTOMERS)], 3),
            "offer_id": np.tile(["o1", "o2", "o3"], CUSTOMERS),
            "profit": rng.gamma(2, 1, 3 * CUSTOMERS) - 1,
            "cost": rng.gamma(2, 0.5, 3 * CUSTOMERS),
            "segment": np.repeat(rng.choice(["a", "b"], CUSTOMERS), 3),
        }
    )
    table.to_parquet(folder / "values.parquet")
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder / "values.parquet"), "3", str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": root, "PYSPARK_PYTHON": sys.executable},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.spark
def test_spark_and_local_agree_to_the_last_digit(figures):
    assert figures["partitions"] == 3
    for name in ("objective", "bound", "sent"):
        assert figures[name] == figures[f"local_{name}"]
    assert figures["gap"] <= 1e-4
    assert figures["spend"] <= 0.375 * CUSTOMERS * (1 + 1e-9)


@pytest.mark.spark
def test_a_killed_worker_changes_nothing(figures):
    assert figures["killed"]
    assert figures["survived_objective"] == figures["objective"]
    assert figures["survived_bound"] == figures["bound"]


@pytest.mark.spark
def test_the_coupons_are_written_on_the_executors(figures):
    assert figures["written"] == figures["sent"]
    assert figures["customers_twice"] == 0
    assert figures["written_profit"] == pytest.approx(figures["objective"], rel=1e-12)
    assert figures["written_cost"] == pytest.approx(figures["spend"], rel=1e-12)


@pytest.mark.spark
def test_a_fault_is_named_with_its_customer(figures):
    assert "customer 'c1', offer 'o1' has a negative cost" in figures["refused"]
