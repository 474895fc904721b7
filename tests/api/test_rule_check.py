"""A rules file is held against the shop: each rule's cost is what brute force says, contradictions are named."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from click.testing import CliRunner
from test_price_choice import problem, ruled, settings

from api import price_stage
from api.cli import cli
from api.price_stage import PosedPrices
from api.rule_check import check_rules_of
from engine.progress import Silent
from engine.simulation import simulate_shop
from optimizers.prices import evaluate_prices, problem_ladder

SLOWLY = {"name": "Slowly", "kind": "max_change", "up": 0.05, "down": 0.05, "owner": "Ada"}
FEW = {"name": "Few labels", "kind": "max_changes", "at_most": 2}


def best(posed, keeps) -> float:
    """The largest gain over all rungs that keep some rules, product by product and by number of changes."""
    row = problem_ladder(posed).price
    gains = []
    for i in range(len(row)):
        options = []
        for price in row[i][np.isfinite(row[i])]:
            vector = posed.current_price.copy()
            vector[i] = price
            options.append((float(evaluate_prices(posed, vector).gain.sum()), abs(price / posed.current_price[i] - 1)))
        gains.append([(gain, move) for gain, move in options if keeps["Slowly"] is False or move <= 0.05 + 1e-9])
    each = sorted((max(gain for gain, _ in options) for options in gains), reverse=True)
    return sum(each[:2] if keeps["Few labels"] else each)


def test_each_rule_costs_what_brute_force_says() -> None:
    posed = problem()
    rules = ruled(SLOWLY, FEW)
    found = check_rules_of(PosedPrices(None, posed, rules), settings("pricing.gap=0.000001"), Silent())  # type: ignore[arg-type]
    names = ("Slowly", "Few labels")
    value = {
        kept: best(posed, dict(zip(names, kept, strict=True))) for kept in itertools.product((True, False), repeat=2)
    }
    assert found.gain == pytest.approx(value[True, True], rel=1e-4)
    assert found.gain_without == pytest.approx(value[False, False], rel=1e-4)
    cost = {one.name: one.cost for one in found.rules}
    assert cost["Slowly"] == pytest.approx(value[False, True] - value[True, True], rel=1e-3)
    assert cost["Few labels"] == pytest.approx(value[True, False] - value[True, True], rel=1e-3)
    for one in found.rules:
        assert one.cost is not None
        assert one.cost_at_most is not None
        assert 0 <= one.cost <= one.cost_at_most + 1e-9
    assert found.rules[0].owner == "Ada"
    assert sum(one.bound for one in found.rules) > 0


def test_a_contradiction_is_named_with_its_owners_and_the_cheapest_way_out(tmp_path, monkeypatch) -> None:
    """Through the command, on a shop whose demand is not estimated: exit 3, JSON on standard output alone."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "rules:\n  - {name: Dearer, kind: price_index, low: 0.2}\n  - {name: Slowly, kind: max_change, up: 0.05}"
    )
    simulate_shop(tmp_path / "shop", seed=2, products=6, weeks=12, categories=2, transactions=False)
    posed = problem()

    def pose(_shop, given, _watch):
        assert given.pricing.rules == str(rules)
        listed = ruled({"name": "Dearer", "kind": "price_index", "low": 0.2}, SLOWLY, FEW)
        return PosedPrices(None, posed, listed)  # type: ignore[arg-type]

    monkeypatch.setattr(price_stage, "pose_prices", pose)
    arguments = ["rules", "check", "--rules", str(rules), "--data", str(tmp_path / "shop"), "--json"]
    done = CliRunner().invoke(cli, [*arguments, "--set", f"data.home={tmp_path / 'home'}", "--set", "log.level=error"])
    assert done.exit_code == 3, done.output
    told = json.loads(done.stdout)["conflict"]
    assert told["smallest"]
    assert "Dearer" in told["rules"]
    assert set(told["owners"]) <= {"", "Ada"}
    assert told["relaxations"]
