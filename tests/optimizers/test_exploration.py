"""What the value of a price test promises: it is what simulated learning brings, and tests are chosen by it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ProblemError
from optimizers.prices import PriceProblem, problem_ladder
from optimizers.prices.exploration import PriceTestDesign, PriceTestValues, choose_tests, value_tests, word_test


def beliefs(seed: int, products: int = 4, sd: float = 0.8, **changes: Any) -> PriceProblem:
    """Products whose draws have exactly the stated mean and standard deviation."""
    rng = np.random.default_rng(seed)
    draws = rng.standard_normal((400, products))
    draws = (draws - draws.mean(axis=0)) / draws.std(axis=0)
    price = np.round(rng.uniform(2.0, 9.0, products), 2)
    given_: dict[str, Any] = {
        "product_ids": tuple(f"p{i}" for i in range(products)),
        "current_price": price,
        "unit_cost": price * rng.uniform(0.5, 0.7, products),
        "base_units": rng.uniform(200.0, 3000.0, products),
        "own": rng.uniform(-3.0, -1.5, products) + sd * draws,
        "cross": np.zeros((400, products)),
        "base_scale": np.ones((400, products)),
        "family": np.arange(products),
        "movable": np.ones(products, dtype=bool),
        "max_change": 0.10,
        "step": 0.025,
        "index_band": None,
        "min_margin": None,
        "max_changed": None,
        "endings": None,
    }
    return PriceProblem(**(given_ | changes))


DESIGN = PriceTestDesign(weeks=4, horizon_weeks=8, change=0.08, dispersion=2.0)


def test_information_is_worth_what_simulated_learning_brings() -> None:
    """Truth drawn from the belief, an estimate drawn around it, Bayes' rule, the best rung: averaged over many."""
    problem = beliefs(1)
    values = value_tests(problem, DESIGN)
    ladder = problem_ladder(problem).price
    rng = np.random.default_rng(0)
    for i in range(4):
        rungs = ladder[i][np.isfinite(ladder[i])]
        move = np.log(rungs / problem.current_price[i])
        mean, sd = problem.own[:, i].mean(), problem.own[:, i].std()
        units = problem.base_units[i] * DESIGN.weeks / DESIGN.horizon_weeks
        noise = np.sqrt(4 * DESIGN.dispersion / units) / np.log1p(DESIGN.change)
        truth = mean + sd * rng.standard_normal(40_000)
        estimate = truth + noise * rng.standard_normal(40_000)
        keep = sd**2 / (sd**2 + noise**2)
        after = keep * noise**2
        believed = mean + keep * (estimate - mean)
        profit = np.exp(believed[:, None] * move + 0.5 * after * move**2) * (rungs - problem.unit_cost[i])
        chosen = profit.argmax(axis=1)
        real = np.exp(truth * move[chosen]) * (rungs[chosen] - problem.unit_cost[i])
        blind = np.exp(truth[:, None] * move) * (rungs - problem.unit_cost[i])
        gain = problem.base_units[i] * (real - blind[:, blind.mean(axis=0).argmax()])
        assert values.information[i] == pytest.approx(gain.mean(), abs=4 * gain.std() / 200 + 1e-6)
        assert values.posterior_sd[i] == pytest.approx(np.sqrt(after))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_more_weeks_teach_more_and_a_sharp_belief_has_nothing_to_learn(seed: int) -> None:
    problem = beliefs(seed)
    short, long = (value_tests(problem, replace(DESIGN, weeks=weeks)) for weeks in (1.0, 16.0))
    assert (long.information >= short.information - 1e-6 * (1 + long.information)).all()
    assert (long.posterior_sd <= short.posterior_sd + 1e-12).all()
    sharp = value_tests(beliefs(seed, sd=1e-9), DESIGN)
    assert sharp.information == pytest.approx(np.zeros(4), abs=1e-4)


def test_a_held_product_is_freed_only_by_a_test_that_narrows_its_belief_enough() -> None:
    problem = beliefs(3, movable=np.zeros(4, dtype=bool))
    wide, narrow = (value_tests(problem, replace(DESIGN, max_se=se)) for se in (np.inf, 1e-3))
    assert (wide.information > 0).all()
    assert (narrow.information == 0).all()
    assert (wide.information > value_tests(beliefs(3), DESIGN).information).all()


def test_a_price_that_is_better_anyway_is_no_reason_to_test_it() -> None:
    """Products that should plainly be dearer, all but known: raising them is the plan's, there is nothing to learn."""
    problem = beliefs(5, sd=1e-6)
    dearer = replace(problem, own=problem.own / 4)
    values = value_tests(dearer, DESIGN)
    assert (values.cost >= 0).all()
    assert (values.net <= 1e-6).all()
    assert len(choose_tests(values, max_tests=4)[0]) == 0
    held = value_tests(replace(dearer, movable=np.zeros(4, dtype=bool)), DESIGN)
    assert (held.cost < 0).all(), "a held product would stay at today's price, so a better one is worth charging"


def test_a_product_that_does_not_sell_teaches_nothing() -> None:
    problem = beliefs(4, base_units=np.zeros(4))
    values = value_tests(problem, DESIGN)
    assert (values.information == 0).all()
    assert (values.cost == 0).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(0, 6), st.sampled_from([0.0, 10.0, 60.0, np.inf]))
def test_the_tests_chosen_are_the_best_of_all(seed: int, most: int, budget: float) -> None:
    rng = np.random.default_rng(seed)
    cost, information = np.round(rng.uniform(-5, 40, 6), 2), np.round(rng.uniform(0, 80, 6), 2)
    values = PriceTestValues(information, cost, information - cost, np.ones(6))
    rows, bound = choose_tests(values, max_tests=most, budget=budget, gap=1e-7)
    best = max(
        sum(float(values.net[i]) for i in some)
        for size in range(most + 1)
        for some in itertools.combinations(range(6), size)
        if sum(max(float(cost[i]), 0.0) for i in some) <= budget
    )
    assert len(rows) <= most
    assert np.maximum(cost[rows], 0).sum() <= budget
    assert values.net[rows].sum() == pytest.approx(best, abs=1e-6)
    assert bound >= best - 1e-6


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"change": 0.0}, "change is 0"), ({"weeks": np.nan}, "weeks is nan"), ({"max_se": 0.0}, "max_se is 0")],
)
def test_a_design_that_measures_nothing_is_refused(changes: dict[str, float], words: str) -> None:
    with pytest.raises(ProblemError, match=words):
        value_tests(beliefs(1), replace(DESIGN, **changes))
    with pytest.raises(ProblemError, match="max_tests is -1"):
        choose_tests(value_tests(beliefs(1), DESIGN), max_tests=-1)


def test_the_sentence_names_cost_and_worth() -> None:
    values = PriceTestValues(np.array([1234.0]), np.array([56.0]), np.array([1178.0]), np.ones(1))
    assert word_test(values, DESIGN, 0).english() == (
        "testing this price for 4 weeks costs 56 and is expected to bring 1,234 by what it teaches"
    )
