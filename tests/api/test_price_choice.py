"""What judges a plan plans as the plan was planned: the same risk, the same rules, and no silence where that fails."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from api.heldout import judge_halves
from api.price_choice import PriceChoice, price_choice, risk_of_lines
from api.price_evidence import frontier_figures, index_frontier
from api.rule_stage import PriceRules
from engine.errors import InfeasibleError, ProblemError
from engine.settings import load_settings
from optimizers.prices import PriceProblem, evaluate_prices
from optimizers.rules import Facts, read_rules

PRODUCTS = 6


def problem() -> PriceProblem:
    rng = np.random.default_rng(4)
    price = np.round(rng.uniform(2, 6, PRODUCTS), 2)
    return PriceProblem(
        product_ids=tuple(f"P{i}" for i in range(PRODUCTS)),
        current_price=price,
        unit_cost=price * 0.6,
        base_units=rng.uniform(50, 200, PRODUCTS),
        own=rng.normal(np.linspace(-3.6, -1.2, PRODUCTS), 0.8, (80, PRODUCTS)),
        cross=np.zeros((80, PRODUCTS)),
        base_scale=np.ones((80, PRODUCTS)),
        family=np.zeros(PRODUCTS, dtype=np.int64),
        movable=np.ones(PRODUCTS, dtype=np.bool_),
        max_change=0.1,
        step=0.025,
        index_band=None,
        min_margin=None,
        max_changed=None,
        endings=None,
    )


def ruled(*rules: dict[str, object]) -> PriceRules:
    ids = tuple(f"P{i}" for i in range(PRODUCTS))
    unknown = np.full(PRODUCTS, np.nan)
    facts = Facts({"product_id": ids}, unknown, np.full(PRODUCTS, np.inf), unknown, unknown, np.full(PRODUCTS, np.inf))
    return PriceRules(read_rules(list(rules)).rules, facts)


def settings(*sets: str):
    return load_settings(None, ["log.level=error", *sets])


@pytest.mark.parametrize("bend", [None, 0.4])
@pytest.mark.parametrize("risk", ["tail", "worst"])
def test_a_risk_of_the_whole_plan_gives_up_mean_for_what_it_counts(risk: str, bend: float | None) -> None:
    """Also where each draw has a curvature of its own: what is solved and what is checked count it at its mean."""
    given = settings(f"pricing.risk={risk}")
    assert risk_of_lines(given) == "mean"
    posed = problem()
    drawn = None if bend is None else np.linspace(-bend, bend, 80)
    by_mean = PriceChoice("mean", PriceRules()).choose(posed, gap=1e-4, seconds=20)
    by_risk = price_choice(PriceRules(), given).choose(replace(posed, curvature_draws=drawn), gap=1e-4, seconds=20)
    robust = by_risk.robust
    assert robust is not None
    assert by_mean.robust is None
    assert np.array_equal(robust.price, by_risk.plan.price)
    assert by_risk.plan.objective == pytest.approx(evaluate_prices(posed, robust.price).gain.sum())
    assert by_risk.plan.objective <= by_mean.plan.objective + 1e-9
    draws = np.sort(evaluate_prices(posed, by_mean.plan.price).gain_draws)
    if risk == "tail":
        assert robust.objective >= draws[:8].mean() - 1e-9, "the worst tenth of 80 draws"


def test_the_frontier_keeps_the_rules_and_says_where_they_leave_no_plan() -> None:
    """A rule that wants the index up by .6 % leaves nothing below that width, and less than all above it."""
    rules = ruled({"name": "Dearer", "kind": "price_index", "low": 0.006}, {"name": "P0 stays", "kind": "frozen"})
    only_index = ruled({"name": "Dearer", "kind": "price_index", "low": 0.006})
    given, posed = settings(), problem()
    free = frontier_figures(posed, index_frontier(posed, given, price_choice(PriceRules(), given)))
    bound = frontier_figures(posed, index_frontier(posed, given, price_choice(only_index, given)))
    assert [point["gain"] is None for point in bound] == [True, True, True, False, False, False]
    for point, without in zip(bound[3:], free[3:], strict=True):
        assert point["index_change"] is not None
        assert point["index_change"] >= 0.006 - 1e-6
        assert point["gain"] <= without["gain"] + 1e-2
    with pytest.raises(InfeasibleError, match="P0 stays"):
        price_choice(rules, given).choose(posed, gap=1e-3, seconds=20)
    none = index_frontier(posed, given, price_choice(rules, given))
    assert all(point["gain"] is None for point in frontier_figures(posed, none))


def test_a_risk_of_the_whole_plan_refuses_a_rule_that_moves_with_the_draws_by_name() -> None:
    soft = ruled({"name": "Gently", "kind": "max_change", "up": 0.02, "down": 0.02, "soft": 5})
    with pytest.raises(ProblemError, match=r"'Gently'.*risk take hard, linear rules only"):
        PriceChoice("tail", soft).choose(problem(), gap=1e-3, seconds=20)


def test_halves_without_a_plan_under_the_rules_are_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    posed = problem()

    class Panel:
        pass

    def no_plan(*_: object) -> None:
        raise InfeasibleError("rules")

    monkeypatch.setattr("api.heldout.pose_half", lambda *_: posed)
    half = Panel()
    heldout = judge_halves(half, (half, half), "stores", posed, settings(), responses=(half, half), solve=no_plan)  # type: ignore[arg-type]
    assert heldout is None
