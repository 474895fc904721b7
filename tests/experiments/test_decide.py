"""The rule decides what it says it decides, and no reading at any time turns nothing into a gain too often."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ProblemError
from engine.proposal import Reason
from experiments.decide import (
    ACTIONS,
    DecisionRule,
    Guardrail,
    Observed,
    Reading,
    Waiting,
    answer_worth,
    conditional_power,
    decide,
    in_words,
)
from experiments.sequential import AnalysisPlan, drift_for_power, interval_multiplier, power

GROUP = AnalysisPlan("group_sequential", planned_units=1000, looks=5)
RULE = DecisionRule("profit", planned_effect=2.8)


def seen(estimate, error=1.0, metric="profit", width=1.96):
    return Observed(metric, estimate, estimate - width * error, estimate + width * error, error, control=10.0)


def read(*metrics, units=1000, **more):
    return Reading(tuple(metrics), units, **more)


@pytest.mark.parametrize(
    ("reading", "rule", "plan", "action", "says"),
    [
        (read(seen(3.0)), RULE, GROUP, "ship", "gains more"),
        (read(seen(-3.0)), RULE, GROUP, "roll back", "profit is worse"),
        (read(seen(1.0)), RULE, GROUP, "stop", "no gain was shown"),
        (read(seen(1.0, width=2.5), units=400), RULE, GROUP, "go on", "still open at 40%"),
        (read(seen(-1.2, width=2.5), units=700), RULE, GROUP, "stop", "chance of showing it"),
        (read(seen(3.0), units=400), RULE, AnalysisPlan(planned_units=1000), "go on", "at its end only"),
        (read(seen(-4.0, width=3.0), units=400), RULE, AnalysisPlan(planned_units=1000), "roll back", "is worse"),
        (read(seen(3.0)), DecisionRule("profit", smallest_gain=2.0), GROUP, "stop", "no gain was shown"),
        (read(seen(0.4, 0.1)), DecisionRule("profit", smallest_gain=2.0), GROUP, "stop", "not worth a launch"),
        (read(seen(-3.0, metric="returns")), DecisionRule("returns", higher_is_better=False), GROUP, "ship", "gains"),
        (
            read(seen(3.0), trustworthy=False, doubts=(Reason("the split is off"),)),
            RULE,
            GROUP,
            "look into it",
            "the split is off",
        ),
    ],
)
def test_the_rule_decides_what_it_says(reading, rule, plan, action, says):
    verdict = decide(rule, plan, reading)
    assert verdict.action == action
    assert verdict.action in ACTIONS
    assert says in " ".join(in_words(verdict))


def test_a_guardrail_is_stronger_than_a_gain():
    rule = DecisionRule("profit", guardrails=(Guardrail("returns", 0.05, higher_is_better=False),))
    broken = decide(rule, GROUP, read(seen(3.0), seen(1.0, 0.1, "returns")))
    unclear = decide(rule, GROUP, read(seen(3.0), seen(0.4, 0.1, "returns"), units=600))
    at_end = decide(rule, GROUP, read(seen(3.0), seen(0.4, 0.1, "returns")))
    kept = decide(rule, GROUP, read(seen(3.0), seen(0.1, 0.1, "returns")))
    assert [verdict.action for verdict in (broken, unclear, at_end, kept)] == ["roll back", "go on", "stop", "ship"]
    with pytest.raises(ProblemError, match="'returns' was not read"):
        decide(rule, GROUP, read(seen(3.0)))


def test_waiting_is_weighed_only_where_the_rule_says_so():
    early = read(seen(1.0, width=3.0), units=500)

    def action(waiting, weeks_left=4.0):
        return decide(DecisionRule("profit", planned_effect=2.8, waiting=waiting), GROUP, early, weeks_left).action

    assert action(None) == "go on"
    assert action(Waiting(cost_a_week=1e6, units_decided=100.0)) == "ship"
    assert action(Waiting(cost_a_week=1e6, units_decided=100.0), None) == "go on"
    assert action(Waiting(cost_a_week=0.1, units_decided=1e6)) == "go on"
    with pytest.raises(ProblemError, match="positive number of units"):
        Waiting(cost_a_week=1.0, units_decided=0.0)


def test_the_worth_of_an_answer_is_that_of_a_simulation():
    truth = np.random.default_rng(1).normal(0.5, 1.0, 400_000)
    expected = 10 * (np.maximum(truth, 0).mean() - 0.5)
    assert answer_worth(DecisionRule("profit"), seen(0.5), 10) == pytest.approx(expected, rel=0.02)


def test_the_chance_to_show_the_effect_is_the_plans_power_at_the_start():
    drift = drift_for_power(AnalysisPlan(), 0.8)
    plan = AnalysisPlan(planned_units=1000)
    assert conditional_power(plan, 0.0, 1e-4, drift) == pytest.approx(0.8, abs=0.01)
    rng = np.random.default_rng(2)
    end = 1.0 * np.sqrt(0.4) + drift * 0.6 + np.sqrt(0.6) * rng.standard_normal(200_000)
    assert conditional_power(plan, 1.0, 0.4, drift) == pytest.approx(np.mean(end > 1.96), abs=0.005)


@settings(deadline=None, max_examples=80)
@given(st.floats(-9, 9), st.floats(0.1, 5), st.integers(1, 1000), st.booleans())
def test_a_launch_always_rests_on_an_interval_above_the_smallest_gain(estimate, error, units, better):
    rule = DecisionRule("profit", smallest_gain=0.5, planned_effect=2.0, higher_is_better=better)
    verdict = decide(rule, GROUP, read(seen(estimate, error, width=2.2), units=units))
    low = estimate - 2.2 * error if better else -estimate - 2.2 * error
    assert (verdict.action == "ship") == (low > 0.5)
    assert all(reason.english() for reason in verdict.reasons)


def test_looking_five_times_ships_nothing_more_than_one_time_in_forty():
    rng = np.random.default_rng(3)
    fractions = np.arange(1, 6) / 5
    widths = [interval_multiplier(GROUP, [int(1000 * f) for f in fractions[: k + 1]]) for k in range(5)]
    drift = drift_for_power(GROUP, 0.8)

    def shipped(at, repeats):
        count = 0
        for path in np.cumsum(rng.normal(at / 5, np.sqrt(1 / 5), (repeats, 5)), axis=1):
            for look, fraction in enumerate(fractions):
                error = 1 / np.sqrt(fraction)
                one = seen(path[look] / fraction, error, width=widths[look])
                action = decide(
                    DecisionRule("profit", planned_effect=drift), GROUP, read(one, units=int(1000 * fraction))
                )
                if action.action != "go on":
                    count += action.action == "ship"
                    break
        return count / repeats

    assert shipped(0.0, 1500) <= 0.036
    assert shipped(drift, 600) == pytest.approx(power(GROUP, drift), abs=0.06)


def test_figures_that_are_none_are_refused():
    with pytest.raises(ProblemError, match="finite figures"):
        decide(RULE, GROUP, read(Observed("profit", 1.0, float("nan"), 2.0, 1.0)))
    with pytest.raises(ProblemError, match="a share such as"):
        Guardrail("returns", 0.0)
