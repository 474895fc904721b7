"""Business rules in the main job: kept and named, refused early, or explained where they leave no plan."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from engine.settings import load_settings
from engine.simulation import simulate_shop
from engine.store import open_store

OFFERWRIGHT = str(Path(sys.executable).with_name("offerwright"))
QUICK = ("demand.trees=20", "demand.backtest=false", "demand.draws=60", "demand.min_weeks_sold=8", "log.level=error")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rules") / "shop"
    simulate_shop(folder, seed=3, scenario="default", products=20, weeks=40, customers=100, categories=4)
    return folder


def run(shop: Path, home: Path, rules: list[dict[str, Any]], *more: str) -> subprocess.CompletedProcess[str]:
    path = home.parent / f"{home.name}.yaml"
    path.write_text(yaml.safe_dump({"rules": rules}), encoding="utf-8")
    sets = [f"data.home={home}", f"pricing.rules={path}", *QUICK, *more]
    command = ["run", "--only", "prices", "--data", str(shop), "--out", str(home.parent / "out")]
    command += [part for text in sets for part in ("--set", text)]
    return subprocess.run([OFFERWRIGHT, *command], capture_output=True, text=True, timeout=300, check=False)


def test_rules_are_kept_and_named_in_the_lines(shop: Path, tmp_path: Path) -> None:
    rules = [
        {"name": "Slowly", "kind": "max_change", "up": 0.05, "down": 0.05},
        {"name": "Few labels", "kind": "max_changes", "at_most": 6},
    ]
    done = run(shop, tmp_path / "home", rules, "pricing.index_band=none")
    assert done.returncode == 0, done.stderr
    lines = pd.read_csv(tmp_path / "out" / "prices.csv")
    moves = lines["proposed_price"] / lines["current_price"] - 1
    assert 0 < (moves != 0).sum() <= 6
    assert np.abs(moves).max() <= 0.05 + 1e-9
    assert lines["why"].str.contains("“Slowly”|“Few labels”", regex=True).any()
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["price"]["status"] == "optimal"


def test_rules_without_a_plan_are_stored_with_their_explanation(shop: Path, tmp_path: Path) -> None:
    rules = [
        {"name": "Nothing moves", "kind": "frozen", "owner": "Ada"},
        {"name": "Everything gets dearer", "kind": "price_index", "low": 0.03},
        {"name": "Bystander", "kind": "max_change", "up": 0.08},
    ]
    done = run(shop, tmp_path / "home", rules, "pricing.index_band=none")
    assert done.returncode == 3, done.stderr
    said = "“Nothing moves” and “Everything gets dearer” cannot be kept together"
    assert said in re.sub(r"\s+", " ", done.stderr)
    with open_store(load_settings(None, [f"data.home={tmp_path / 'home'}"]).store_url) as store:
        (kept,) = store.proposals().items
        assert kept.state == "infeasible"
        assert said in store.proposal(kept.proposal_id).summary["infeasible"]


def test_a_rule_that_names_the_unknown_is_refused_before_anything_slow(shop: Path, tmp_path: Path) -> None:
    done = run(shop, tmp_path / "home", [{"name": "Typo", "kind": "frozen", "scope": {"product_id": "P0O1"}}])
    assert done.returncode == 2
    assert "rule 'Typo': no product has product_id 'P0O1'; did you mean" in re.sub(r"\s+", " ", done.stderr)
    assert "demand level" not in done.stderr
