"""Sources of the everyday elasticity: when random moves are read together with the others."""

import numpy as np
import pytest

from engine.demand.channels import EXPERIMENT, PROMOTION, REGULAR
from engine.demand.sources import compare_sources

NAMES = (PROMOTION, REGULAR, EXPERIMENT)
PRODUCTS = 60


def found(shift: float, noise: float, seed: int = 1):
    """What is said of a shop whose random moves show elasticities `shift` from the others, each known to ± `noise`."""
    rng = np.random.default_rng(seed)
    truth = -2.0 + rng.normal(0, 0.3, PRODUCTS)
    errors = np.array([0.3, 0.5, noise])
    estimate = truth[:, None] + np.array([0.0, 0.0, shift]) + errors * rng.standard_normal((PRODUCTS, 3))
    precision = np.broadcast_to(np.diag(errors**-2.0), (PRODUCTS, 3, 3))
    return compare_sources(estimate, precision, np.arange(PRODUCTS) % 4, NAMES, rng)


@pytest.mark.parametrize("noise", [0.5, 20.0])
def test_sources_of_one_elasticity_agree_however_little_one_of_them_knows(noise: float) -> None:
    assert sum(found(0.0, noise, seed).agrees for seed in range(5)) >= 4


def test_sources_far_apart_disagree_and_say_which_way() -> None:
    told = found(1.0, 0.7)
    assert not told.agrees
    assert told.difference == pytest.approx(1.0, abs=3 * told.se)


def test_without_random_moves_there_is_nothing_to_compare() -> None:
    rng = np.random.default_rng(0)
    nothing = np.zeros((3, 2)), np.zeros((3, 2, 2))
    assert compare_sources(*nothing, np.zeros(3, dtype=np.int64), NAMES[:2], rng) is None
