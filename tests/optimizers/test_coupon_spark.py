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
            "contacts": np.repeat(rng.integers(0, 5, CUSTOMERS), 3),
            "held": (rng.random(3 * CUSTOMERS) < 0.1).astype(int),
            "sex": np.repeat(rng.choice(["w", "m", None], CUSTOMERS, p=[0.5, 0.4, 0.1]), 3),
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
    return json.loads(done.stdout.strip().splitlines()[-1]) | {"folder": folder}


@pytest.mark.spark
def test_spark_and_local_agree_to_the_last_digit(figures):
    assert figures["partitions"] == 3
    for name in ("objective", "bound", "sent"):
        assert figures[name] == figures[f"local_{name}"]
    assert figures["gap"] <= 1e-4
    assert figures["spend"] <= 375 * (1 + 1e-9)


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
def test_every_limit_holds_in_what_is_written(figures):
    """Budgets, numbers sent, caps, contacts and exclusions, with a tenth of the customers drawn at random."""
    written, asked = (pd.read_parquet(figures["folder"] / f"{name}.parquet") for name in ("coupons", "values"))
    sent = written[written["offer_id"] != ""].merge(asked, on=["customer_id", "offer_id"], suffixes=("", "_asked"))
    assert 450 <= len(sent) == figures["sent"] <= 800
    assert sent.loc[sent["segment"] == "a", "cost"].sum() <= 150 * (1 + 1e-9)
    assert (sent["offer_id"] == "o1").sum() <= 200
    assert (sent["offer_id"] == "o3").sum() <= 300
    assert (sent["contacts"] < 3).all()
    holders = asked.loc[asked["offer_id"].isin(["o1", "o2"]) & (asked["held"] == 1), "customer_id"]
    assert not (sent["offer_id"].isin(["o1", "o2"]) & sent["customer_id"].isin(holders)).any()
    assert figures["explored"] == written["explored"].sum() == pytest.approx(0.1 * CUSTOMERS, rel=0.25)
    assert (written.loc[~written["explored"], "propensity"] == 1).all()


@pytest.mark.spark
def test_a_fault_is_named_with_its_customer(figures):
    assert "customer 'c1', offer 'o1' has a negative cost" in figures["refused"]


@pytest.mark.spark
def test_parity_on_spark_is_that_of_the_same_plan_here(figures):
    assert figures["parity"] == figures["local_parity"]
    asked = pd.read_parquet(figures["folder"] / "values.parquet").drop_duplicates("customer_id")
    sent = set(pd.read_parquet(figures["folder"] / "coupons.parquet").query("offer_id != ''")["customer_id"])
    expected = asked.assign(sent=asked["customer_id"].isin(sent)).fillna({"sex": ""}).groupby("sex")["sent"]
    found = {group["group"]: (group["customers"], group["sent"]) for group in figures["parity"]["groups"]}
    assert found == {name: (len(values), values.sum()) for name, values in expected}


@pytest.mark.spark
def test_a_customer_in_two_protected_groups_is_named(figures):
    assert "customer 'c1' is in two groups of sex" in figures["torn"]
