"""Bad input to a stored design: named, and excluded or refused by a stated rule; no silent zero, no NaN in a result."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from engine.errors import ProblemError
from experiments.decide import Guardrail
from experiments.design import design_arriving
from experiments.design_reading import read_by_design, variants_of
from experiments.history import mean_outcome, with_covariates

UNITS = 2_000
PAST = np.random.default_rng(1).gamma(2, 5, UNITS)
PLACE = np.arange(UNITS)


def made():
    profit = PAST + np.random.default_rng(2).normal(0, 4, UNITS)
    return design_arriving(
        "spring",
        with_covariates(mean_outcome("profit", profit), profit, PAST),
        [UNITS],
        0.5,
        treatment="coupon",
        metrics=[{"name": "profit", "column": "profit", "covariate": "before"}, {"name": "visits", "column": "visits"}],
        guardrails=[Guardrail("visits", 0.2)],
    )


DESIGN = made()


@pytest.fixture
def table():
    rng = np.random.default_rng(3)
    ids = np.array([f"{i:05d}" for i in range(UNITS)], dtype=object)
    units = pd.DataFrame({"unit": ids, "variant": variants_of(DESIGN, ids), "before": PAST})
    units["visits"] = rng.poisson(3.0, UNITS)
    units["profit"] = PAST + rng.normal(0, 4, UNITS) + 1.5 * units["variant"]
    return units


def numbers(value):
    """Every number of a reading."""
    if isinstance(value, float):
        yield value
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from numbers(getattr(value, name))
    elif isinstance(value, dict):
        for one in value.values():
            yield from numbers(one)
    elif isinstance(value, tuple | list):
        for one in value:
            yield from numbers(one)


REFUSED = [
    (lambda t: t.assign(profit=1.0), "'profit', which the rule decides by, cannot be read: no unit differs"),
    (lambda t: t.assign(visits=2), "'visits', which the rule decides by, cannot be read: no unit differs"),
    (lambda t: t.drop(columns="visits"), "the table lacks the columns visits"),
    (lambda t: t[t["variant"] == 0], "every one needs units"),
    (lambda t: t.head(1), "every one needs units"),
    (lambda t: t.head(0), "no row of the table"),
    (
        lambda t: t.assign(profit=t["profit"].where(PLACE != 7)),
        "1 value(s) are missing, NaN or infinite in column profit",
    ),
    (lambda t: t.assign(profit=np.where(PLACE == 7, np.inf, t["profit"])), "1 value(s) are missing, NaN or infinite"),
    (lambda t: t.assign(profit=np.where(PLACE == 7, 1e200, t["profit"])), "1 value(s) are missing, NaN or infinite"),
    (lambda t: t.assign(profit=t["profit"].astype(object).where(PLACE != 7, "much")), "1 value(s) are missing"),
    (lambda t: t.assign(before=t["before"].where(PLACE > 5)), "6 value(s) are missing, NaN or infinite"),
    (lambda t: t.assign(before=1.0), "the covariate has no variance"),
    (lambda t: pd.concat([t, t.head(3)]), "3 unit(s) in column 'unit' are on more than one row, for example '00000'"),
    (lambda t: pd.concat([t, t.head(1).assign(variant=1 - t["variant"].iloc[0])]), "units were moved"),
    (lambda t: t.assign(variant=1 - t["variant"]), "2,000 such units"),
    (lambda t: t.assign(variant=t["variant"].map({0: "control", 1: "new"})), "column 'variant' holds 'control'"),
]


def test_what_cannot_be_read_is_refused_by_name(table):
    for spoil, says in REFUSED:
        with pytest.raises(ProblemError) as refused:
            read_by_design(DESIGN, spoil(table), unit="unit")
        assert says in str(refused.value)


def test_what_can_be_read_is_marked_and_holds_no_nan(table):
    sound = read_by_design(DESIGN, table, unit="unit")
    huge = read_by_design(DESIGN, table.assign(profit=np.where(PLACE == 7, 1e9, table["profit"])), unit="unit")
    lost = read_by_design(DESIGN, table[(table["variant"] == 0) | (PLACE % 3 > 0)], unit="unit")
    unknown = read_by_design(DESIGN, table.assign(variant=table["variant"].where(PLACE > 5)), unit="unit")
    bare = read_by_design(DESIGN, table.drop(columns="before"), unit="unit")
    said = {check.name: check.verdict for check in huge.checks}
    assert (sound.verdicts[0].action, sound.trustworthy) == ("ship", True)
    assert (said["outlier:profit"], huge.effects[0].decision) == ("notice", "undecided")
    assert (lost.trustworthy, lost.verdicts[0].action) == (False, "look into it")
    assert unknown.effects == sound.effects, "the design knows who is where"
    assert "lacks before" in bare.notes[0].english()
    for reading in (sound, huge, lost, unknown, bare):
        assert all(np.isfinite(value) for value in numbers(reading))
