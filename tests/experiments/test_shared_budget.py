"""Two policies on one budget: the split finds the truth that one pot hides."""

import numpy as np
import pytest

from benchmarks.experiment_truth import BUDGET_EACH, policy_truth, repeated, run_policy
from engine.errors import ProblemError
from experiments.shared_budget import BudgetSplit, read_budget_split, read_one_pot, split_budget


def test_the_split_covers_the_truth_and_one_pot_does_not():
    runs = repeated("two policies on one budget, split into cells", 160, seed=3)
    truth, estimate, low, high, naive, naive_low, naive_high = runs.T
    assert 0.91 <= np.mean((low <= truth) & (truth <= high)) <= 0.985
    assert estimate.mean() == pytest.approx(policy_truth(), rel=0.02)
    assert naive.mean() < 0.75 * policy_truth()
    assert np.mean((naive_low <= truth) & (truth <= naive_high)) < 0.05


def test_cells_share_out_the_whole_budget_and_nobody_moves():
    ids = [f"c{i}" for i in range(5000)]
    split = split_budget(ids, 1234.5, cells=40, seed="s", rng=np.random.default_rng(1))
    again = split_budget(ids[:100], 10.0, cells=4, seed="s", rng=np.random.default_rng(2))
    assert split.budget.sum() == pytest.approx(1234.5)
    assert np.bincount(split.variant).tolist() == [20, 20]
    assert np.array_equal(split.customer_variant, split.variant[split.cell])
    assert np.array_equal(again.cell, split.cell[:100] // 10), "cells come from the hash alone"


def test_spending_charged_at_its_shadow_price_takes_off_much_of_the_bias():
    rng = np.random.default_rng(5)
    customers = 200_000
    taste, noise = rng.random((customers, 2)), np.zeros(customers)
    coin = rng.integers(0, 2, customers)
    profit, cost = run_policy(coin, np.zeros(customers, int), np.array([BUDGET_EACH * customers]), taste, noise)
    shadow = (5.0 / 3 - 1) * 0.4 / 0.6 + (5.0 * (1 - 0.8**3) / 3 - 0.2) / 0.2 * 0.2 / 0.6
    naive = read_one_pot(profit, cost, coin, shadow_price=0.0)
    charged = read_one_pot(profit, cost, coin, shadow_price=shadow)
    assert naive.estimate == pytest.approx(naive.naive)
    assert abs(charged.estimate - policy_truth()) < 0.6 * abs(naive.estimate - policy_truth())
    assert charged.spend[0] > charged.spend[1]


def test_what_happened_before_makes_the_interval_narrower():
    rng = np.random.default_rng(6)
    split = split_budget(np.arange(8000), 100.0, cells=40, seed="s", rng=rng)
    town = rng.normal(0, 2, 40)[split.cell]
    before, profit = town + rng.normal(0, 1, 8000), town + rng.normal(0, 1, 8000) + 0.5 * split.customer_variant
    plain = read_budget_split(profit, np.zeros(8000), split)
    adjusted = read_budget_split(profit, np.zeros(8000), split, before=before)
    assert adjusted.standard_error < 0.2 * plain.standard_error
    assert adjusted.low < 0.5 < adjusted.high
    assert plain.naive_high - plain.naive_low < 0.2 * (plain.high - plain.low), "customers are not the units"


def test_few_cells_have_the_freedom_of_a_t_test_and_less_beside_a_covariate():
    rng = np.random.default_rng(7)
    split = BudgetSplit(np.repeat(np.arange(8), 10), np.arange(8) % 2, np.ones(8))
    profit, before = rng.normal(0, 1, 80), rng.normal(0, 1, 80)
    assert read_budget_split(profit, np.zeros(80), split).freedom == pytest.approx(6.0)
    beside = [read_budget_split(profit, np.zeros(80), split, before=before * sign).freedom for sign in (1, -2)]
    assert 1.0 < beside[0] < 5.0, "8 cells less three coefficients are 5"
    assert beside[1] == pytest.approx(beside[0])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda rng: split_budget(np.arange(9), 1.0, cells=2, seed="s", rng=rng), "2 cells"),
        (lambda rng: split_budget(np.arange(9), 0.0, cells=4, seed="s", rng=rng), "positive amount"),
        (lambda rng: split_budget(np.arange(9), 1.0, cells=90, seed="s", rng=rng), "use fewer cells"),
        (lambda rng: read_one_pot([1.0, 2.0], [0.0, 0.0], [0, 1], shadow_price=0.0), "two or more customers"),
        (lambda rng: read_one_pot(np.arange(4.0), np.zeros(4), [0, 1, 0, 1], shadow_price=-1.0), "shadow price"),
        (lambda rng: read_one_pot([1.0, np.nan], [0.0, 0.0], [0, 1], shadow_price=0.0), "profit has"),
        (lambda rng: read_one_pot(np.ones(4), np.zeros(4), [0, 1, 0, 1], shadow_price=0.0), "no variance"),
    ],
)
def test_what_cannot_be_split_or_read_is_refused(make, says):
    with pytest.raises(ProblemError, match=says):
        make(np.random.default_rng(1))
