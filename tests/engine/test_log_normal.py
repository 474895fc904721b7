"""The hierarchy on the log scale: it finds what it was drawn from, and its widths are honest."""

from __future__ import annotations

import numpy as np
import pytest

from engine.demand.channels import PROMOTION, REGULAR
from engine.demand.elasticities import log_prior, shrink_elasticities
from engine.demand.log_normal import sample_hierarchy

NAMES = (PROMOTION, REGULAR)
N, CATEGORIES = 240, 8


def draw_shop(seed: int, *, spread: float = 0.35, noise: float = 0.6):
    """(truth, estimate, precision, category, covariate) of products whose log elasticities are normal."""
    rng = np.random.default_rng(seed)
    category = np.arange(N) % CATEGORIES
    described = rng.standard_normal(N)
    promotion = np.log(2.0) + rng.normal(0, 0.2, CATEGORIES)[category] + rng.normal(0, 0.3, N)
    regular = promotion + np.log(0.5) - 0.15 * described + rng.normal(0, spread, N)
    truth = -np.exp(np.column_stack([promotion, regular]))
    variance = np.array([0.2**2, noise**2]) * rng.uniform(0.5, 2.0, (N, 1))
    estimate = truth + np.sqrt(variance) * rng.standard_normal((N, 2))
    return truth, estimate, np.eye(2)[None] / variance[:, None, :], category, described[:, None]


def test_widths_hold_and_a_plan_that_picks_the_weakest_is_not_promised_too_much():
    """Across shops: 90 % intervals cover, and the truth of the products that look weakest is what was expected."""
    inside, picked_gap, error = [], [], []
    for seed in range(3):
        truth, estimate, precision, category, described = draw_shop(seed)
        rng = np.random.default_rng(seed)
        found = shrink_elasticities(estimate, precision, category, NAMES, rng=rng, draws=250, covariates=described)
        gap = truth[:, 1] - found.mean[:, 1]
        inside.append(np.mean(np.abs(gap) <= 1.645 * found.sd[:, 1]))
        picked_gap.append(gap[np.argsort(-found.mean[:, 1])[: N // 8]].mean())
        error.append((np.abs(gap).mean(), np.abs(truth[:, 1] - estimate[:, 1]).mean()))
    assert 0.86 <= np.mean(inside) <= 0.97
    assert abs(np.mean(picked_gap)) <= 0.04
    assert all(ours < 0.65 * raw for ours, raw in error)


def test_noise_said_a_quarter_too_large_does_not_make_products_look_alike():
    """Everyday noise outweighs what products differ by; its scale is learned, and intervals keep what they promise."""
    inside = []
    for seed in range(3):
        truth, estimate, precision, category, described = draw_shop(seed + 20, spread=0.3, noise=0.5)
        rng = np.random.default_rng(seed)
        found = shrink_elasticities(
            estimate, precision / 1.25, category, NAMES, rng=rng, draws=250, covariates=described
        )
        inside.append(np.mean(np.abs(truth[:, 1] - found.mean[:, 1]) <= 1.645 * found.sd[:, 1]))
    assert np.mean(inside) >= 0.87


def test_every_draw_is_negative_and_draws_share_what_is_uncertain_about_the_shop():
    _, estimate, precision, category, _ = draw_shop(5)
    found = shrink_elasticities(estimate, precision * 0.02, category, NAMES, rng=np.random.default_rng(0), draws=200)
    drawn = found.draws(300, np.random.default_rng(1))
    assert drawn.shape == (300, N, 2)
    assert (drawn < 0).all()
    alone = np.sqrt((drawn[:, :, 1].std(axis=0) ** 2).sum())
    assert drawn[:, :, 1].sum(axis=1).std() > 2 * alone
    np.testing.assert_allclose(found.mean, found.sampled.mean(axis=0))


@pytest.mark.parametrize("products", [1, 3])
def test_few_products_and_none_that_moved_give_the_prior(products: int):
    """Nothing known: the mean is the prior's, wide; the target channel follows the discounts within its own width."""
    estimate, precision = np.full((products, 2), np.nan), np.zeros((products, 2, 2))
    found = sample_hierarchy(
        np.nan_to_num(estimate),
        precision,
        np.zeros(products, dtype=np.int64),
        log_prior(NAMES),
        rng=np.random.default_rng(2),
        draws=400,
    )
    log_size = found.log_size.mean(axis=(0, 1))
    np.testing.assert_allclose(log_size, np.log([1.8, 1.8 * 0.85]), atol=0.3)
    assert 0.4 <= found.log_size[:, 0, 1].std() <= 1.2


def test_the_same_seed_gives_the_same_posterior():
    _, estimate, precision, category, words = draw_shop(1)
    first, second = (
        sample_hierarchy(
            estimate, precision, category, log_prior(NAMES), rng=np.random.default_rng(3), draws=20, covariates=words
        ).log_size
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
