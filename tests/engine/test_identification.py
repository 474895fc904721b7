"""Which products may be moved: those whose own history shows that, and how far, demand falls with their price."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from engine.demand.identification import (
    FEW_WEEKS,
    IDENTIFIED,
    NO_MOVES,
    NOT_IDENTIFIED,
    NOT_NEGATIVE,
    judge_products,
    price_levels,
)
from engine.settings import load_settings

WEEKS = 40


def history(*paths: list[float], sold: int = WEEKS):
    """A panel with one series for each price path, repeated to `WEEKS`, and its channels; all weeks usable."""
    price = np.array([np.resize(np.repeat(path, WEEKS // len(path)), WEEKS) for path in paths])
    units = np.where(np.arange(WEEKS) < sold, 5.0, 0.0) * np.ones_like(price)
    series = np.arange(len(paths))
    panel = SimpleNamespace(price=price, units=units, n_products=len(paths), series_product=series)
    return panel, SimpleNamespace(usable=np.ones(price.shape, dtype=bool))


@pytest.mark.parametrize(
    ("weeks", "levels"),
    [
        ([2.0] * 39 + [2.5], 1),
        ([2.0] * 38 + [2.5] * 2, 2),
        ([2.0] * 20 + [2.003] * 20, 1),
        ([2.0] * 37 + [2.5, 3.0, 3.5], 2),
        ([2.0] * 38 + [2.5, 3.0], 1),
        ([2.0] * 10 + [2.2] * 10 + [2.4] * 10 + [2.6] * 10, 4),
    ],
    ids=["one week", "two weeks", "a cent that rounds away", "many once", "two once", "four levels"],
)
def test_a_price_level_counts_when_it_lasted_or_when_there_were_many(weeks: list[float], levels: int) -> None:
    panel, channels = history(weeks)
    assert price_levels(panel, channels).tolist() == [levels]


def verdict(mean: float, sd: float, raw_se: float, *, path: list[float] | None = None, sold: int = WEEKS) -> str:
    panel, channels = history(path or [2.0, 2.5], sold=sold)
    settings = load_settings(None, ["demand.max_elasticity_se=0.6", "demand.min_weeks_sold=20"])
    given = (np.array([value]) for value in (mean, sd, raw_se))
    identified, (reason,) = judge_products(panel, settings, channels, *given)
    assert identified.tolist() == [reason.code == IDENTIFIED]
    return reason.code


def test_a_product_is_held_for_the_first_reason_that_holds() -> None:
    assert verdict(-2.0, 0.3, 0.5) == IDENTIFIED
    assert verdict(-2.0, 0.3, 0.5, sold=19) == FEW_WEEKS
    assert verdict(-2.0, 0.3, 0.5, path=[2.0]) == NO_MOVES
    assert verdict(-2.0, 0.3, 0.61) == NOT_IDENTIFIED
    assert verdict(-2.0, 0.3, 0.6) == IDENTIFIED


def test_an_elasticity_must_lie_a_standard_deviation_below_zero() -> None:
    assert verdict(-0.5, 0.49, 0.5) == IDENTIFIED
    assert verdict(-0.5, 0.51, 0.5) == NOT_NEGATIVE
    assert verdict(0.3, 0.1, 0.5) == NOT_NEGATIVE
