"""Rules that nothing can keep, through the real command: exit 3, and a stored proposal that says why."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from engine.settings import load_settings
from engine.simulation import simulate_shop
from engine.store import open_store

OFFERWRIGHT = str(Path(sys.executable).with_name("offerwright"))
QUICK = ("demand.trees=20", "demand.backtest=false", "demand.draws=60", "demand.min_weeks_sold=8", "log.level=error")
RULES = """
rules:
  - {name: Nothing moves before the move, kind: frozen}
  - {name: Three quarters of every price is margin, kind: margin_floor, at_least: 0.75}
"""


def test_rules_that_contradict_each_other_leave_a_proposal_that_names_them(tmp_path):
    shop, rules, out = tmp_path / "shop", tmp_path / "rules.yaml", tmp_path / "out"
    simulate_shop(shop, seed=3, scenario="default", products=20, weeks=60, categories=2, transactions=False)
    rules.write_text(RULES)
    sets = (f"data.home={tmp_path / 'home'}", *QUICK, f"pricing.rules={rules}")
    done = subprocess.run(
        [OFFERWRIGHT, "run", "--data", str(shop), "--out", str(out), "--only", "prices"]
        + [part for text in sets for part in ("--set", text)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert not list(out.glob("*")), "no plan, no files"
    with open_store(load_settings(None, [f"data.home={tmp_path / 'home'}"]).store_url) as store:
        (held,) = store.proposals().items
        told = json.dumps(dict(store.proposal(held.proposal_id).summary), ensure_ascii=False)
    assert held.state == "infeasible"
    for said in (done.stderr, told):
        assert "Nothing moves before the move" in said
        assert "Three quarters of every price is margin" in said
