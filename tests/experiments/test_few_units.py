"""Several looks at few units: what is simulated keeps to what the boundaries promise."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from engine.errors import ProblemError
from experiments.few_units import FewLooks, interval_looks, rate, require_enough
from experiments.sequential import AnalysisPlan, always_valid_multiplier, rejection_boundary
from experiments.sequential import power as power_of_many

PLANS = (
    AnalysisPlan("group_sequential", planned_units=1),
    AnalysisPlan("group_sequential", spending="pocock", planned_units=1),
    AnalysisPlan("always_valid"),
)
REPEATS = 20_000


def looks(plan, cells, number=8):
    fractions = np.arange(1, number + 1) / number
    return FewLooks(replace(plan, looks=number), tuple(fractions.tolist()), (cells - 2.0,) * number)


def watched(cells, number=8, drift=0.0, lasting=0.0, seed=1):
    """(repeats, looks) t of two arms of cells that are watched on, week after week."""
    rng = np.random.default_rng(seed)
    half, total = cells // 2, np.zeros((REPEATS, cells))
    always = lasting * rng.standard_normal(total.shape)
    always[:, half:] += drift * np.sqrt(4.0 / cells / number)
    found = []
    for _ in range(number):
        total += always + rng.standard_normal(total.shape)
        off, on = total[:, :half], total[:, half:]
        error = np.sqrt(off.var(axis=1, ddof=1) / half + on.var(axis=1, ddof=1) / half)
        found.append((on.mean(axis=1) - off.mean(axis=1)) / error)
    return np.array(found).T


def added(regions, number=6, seed=2):
    """(repeats, looks) t of pairs of periods, of which every look has some more; and its degrees of freedom."""
    values = np.random.default_rng(seed).standard_normal((REPEATS, number * regions))
    found = [values[:, : look * regions] for look in range(1, number + 1)]
    t = [part.mean(axis=1) / part.std(axis=1, ddof=1) * np.sqrt(part.shape[1]) for part in found]
    return np.array(t).T, tuple(float(part.shape[1] - 1) for part in found)


@pytest.mark.parametrize("cells", [6, 12])
def test_looking_again_and_again_at_nothing_rejects_no_more_than_planned(cells):
    t = np.abs(watched(cells))
    for plan in PLANS:
        rejected = (t > looks(plan, cells).critical).any(axis=1).mean()
        assert rejected <= 0.05 + 3 * 0.0016, "5 %, and three standard errors of 20,000 repeats"
        if plan.method == "group_sequential":
            assert rejected >= 0.042, "what may be spent is spent"
            assert (np.abs(watched(cells, lasting=1.0)) > looks(plan, cells).critical).any(axis=1).mean() <= 0.05


def test_the_significance_level_alone_would_reject_too_often():
    plan, of_cells = PLANS[1], looks(PLANS[1], 6)
    alone = stats.t.isf(stats.norm.sf(rejection_boundary(plan, of_cells.fractions)), 4.0)
    assert (np.abs(watched(6)) > alone).any(axis=1).mean() > 0.06


def test_units_that_come_one_by_one_keep_the_error_too():
    t, freedom = added(regions=3)
    for plan in PLANS:
        fractions = tuple((np.arange(1, 7) / 6).tolist())
        assert (np.abs(t) > FewLooks(plan, fractions, freedom).critical).any(axis=1).mean() <= 0.05 + 3 * 0.0016


def test_the_planned_power_is_what_comes():
    for plan, drift in zip(PLANS, (3.2, 3.6, 5.0), strict=True):
        planned = looks(plan, 12)
        t = np.abs(watched(12, drift=drift))
        crossed = t > planned.critical
        assert planned.power(drift) == pytest.approx(crossed.any(axis=1).mean(), abs=0.035)
        assert planned.power(planned.drift_for(0.8)) == pytest.approx(0.8, abs=1e-6)
        ended = np.where(crossed.any(axis=1), crossed.argmax(axis=1) + 1, 8) / 8
        assert planned.duration(drift) == pytest.approx(ended.mean(), abs=0.035)
        assert planned.power(0.0) <= 0.0501
    with pytest.raises(ProblemError, match=r"power 0\.01 is outside"):
        looks(PLANS[0], 12).drift_for(0.01)


def test_with_many_units_all_is_as_with_the_normal_distribution():
    for plan in PLANS:
        of_many = looks(plan, 1_000_002)
        normal = (
            always_valid_multiplier(of_many.fractions, 0.05, 1.0)
            if plan.method == "always_valid"
            else rejection_boundary(plan, of_many.fractions)
        )
        assert of_many.critical == pytest.approx(normal, rel=1e-3)
        assert of_many.power(3.0) == pytest.approx(power_of_many(of_many.plan, 3.0), abs=1e-3)
    assert rate(1.96, 1e6) == pytest.approx(1.0, abs=1e-4)


@settings(deadline=None, max_examples=20)
@given(st.floats(0.1, 4.0), st.floats(2.0, 300.0))
def test_fewer_units_forget_faster(z, freedom):
    assert 1.0 <= rate(z, freedom) <= rate(z, freedom * 0.8) + 1e-9


@settings(deadline=None, max_examples=10)
@given(st.integers(4, 40), st.floats(0.1, 0.9), st.sampled_from(PLANS), st.floats(0.8, 1.25))
def test_a_p_value_below_alpha_is_an_interval_without_nought(freedom, first, plan, share):
    read = interval_looks(plan, [first, 1.0], [float(freedom)] * 2)
    t = share * float(read.critical[-1])
    if abs(share - 1.0) > 0.01:
        assert (read.p_value(t) < plan.alpha) == (share > 1.0)


def test_a_plan_that_is_read_once_is_a_t_test_at_its_end_and_a_confidence_sequence_before():
    plan = AnalysisPlan()
    assert interval_looks(plan, [0.3, 1.0], [9.0, 9.0]).critical == pytest.approx([stats.t.ppf(0.975, 9)])
    early = interval_looks(plan, [0.5], [9.0]).critical
    assert early == interval_looks(AnalysisPlan("always_valid"), [0.5], [9.0]).critical
    assert early > 1.5 * stats.t.ppf(0.975, 9)
    late = interval_looks(AnalysisPlan("always_valid"), [1.5], [9.0]).critical
    assert late > stats.t.ppf(0.975, 9), "a sequence may be read after the planned end"


def test_the_error_is_spent_once():
    plan = PLANS[0]
    with pytest.raises(ProblemError, match="was read there already"):
        interval_looks(plan, [0.5, 1.0, 1.2], [9.0] * 3)
    assert interval_looks(plan, [0.5, 0.500001], [9.0] * 2).fractions == (0.500001,)


def test_too_few_units_are_refused_with_the_number_needed():
    require_enough(AnalysisPlan(), 2.0, units=4, what="cells")
    require_enough(PLANS[0], 4.0, units=6, what="cells")
    with pytest.raises(ProblemError, match=r"4 cells leave 2 degrees .* take 6 or more"):
        require_enough(PLANS[2], 2.0, units=4, what="cells")
