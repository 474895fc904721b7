"""What may be asked of a design, what counts where nothing is asked for, and what a kind of design cannot do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.errors import InputError

DEFAULTS: Mapping[str, Any] = {
    "part": None,
    "treatment": "other",
    "randomise": "customer",
    "unit": "unit_id",
    "metric": None,
    "kind": "mean",
    "denominator": None,
    "cost": None,
    "declare": None,
    "also": (),
    "stratum": None,
    "lower_is_better": False,
    "covariates": (),
    "cluster": None,
    "first_week": None,
    "effect": None,
    "relative_effect": None,
    "guardrails": {},
    "method": "fixed",
    "looks": 5,
    "spending": "obrien_fleming",
    "weights": [0.5, 0.5],
    "coverage": 1.0,
    "layers": {},
    "holdouts": {},
    "target": None,
    "held_back": 0.2,
    "budget": None,
    "cells": 50,
    "weeks": None,
    "steps": None,
    "periods": (),
    "carry_over": 1,
    "alpha": 0.05,
    "power": 0.8,
    "smallest_gain": 0.0,
    "futility": 0.1,
    "cost_a_week": None,
    "decides_for": None,
    "correction": "none",
    "convention": "delta",
    "replay": 320,
}
"""What counts where nothing is asked for."""
_SWITCHBACK_ONLY = ("steps", "periods", "carry_over")
_ANALYSIS = ("method", "looks", "spending")
_HASH_ONLY = ("coverage", "layers", "holdouts", "target")
_RULE = ("smallest_gain", "futility", "cost_a_week", "decides_for")
_OF_UNITS = ("declare", "stratum")
_OF_METRIC = (
    *("kind", "denominator", "cost", "also", "covariates", "cluster", "first_week", "effect", "relative_effect"),
    *_OF_UNITS,
)
_OF_PRICES = (
    *_HASH_ONLY,
    *_RULE,
    *_OF_METRIC,
    *("treatment", "metric", "lower_is_better", "weights", "held_back", "budget", "cells", "correction", "convention"),
)
IDLE: Mapping[str, tuple[str, ...]] = {
    "units that turn up one by one": (*_SWITCHBACK_ONLY, "part", "held_back", "cells", "weeks"),
    "products or stores that are drawn as a whole": (
        *_SWITCHBACK_ONLY,
        *_HASH_ONLY,
        *("part", "held_back", "budget", "cells", "first_week", "denominator", "also"),
        *_OF_UNITS,
    ),
    "a switchback": (
        *_HASH_ONLY,
        *_RULE,
        *("part", "held_back", "budget", "cells", "weights", "kind", "denominator", "covariates", "cluster", "cost"),
        "weeks",
        *_OF_UNITS,
        *("first_week", "relative_effect", "also", "correction", "convention"),
    ),
    "a budget split": (
        *_SWITCHBACK_ONLY,
        *_HASH_ONLY,
        *("part", "held_back", "weights", "kind", "denominator", "cluster", "first_week", "lower_is_better"),
        *("cost", "also", "correction", "convention"),
        *_OF_UNITS,
    ),
    "a proposal's prices": (*_SWITCHBACK_ONLY, *_OF_PRICES),
    "a proposal's prices over stores": (*_SWITCHBACK_ONLY, *_OF_PRICES),
    "a proposal's prices over time": ("steps", *_OF_PRICES),
    "a proposal's coupons": (
        *_SWITCHBACK_ONLY,
        *_ANALYSIS,
        *_HASH_ONLY,
        *_RULE,
        *_OF_UNITS,
        *("treatment", "randomise", "effect", "relative_effect", "lower_is_better", "weights", "budget"),
        *("cells", "first_week", "cluster", "cost", "also", "correction", "weeks"),
    ),
}
"""What each kind of design cannot do: asked for, it is refused rather than passed over."""
OPTIONS: Mapping[str, str] = {
    "covariates": "covariate",
    "guardrails": "guardrail",
    "layers": "layer",
    "holdouts": "holdout",
    "periods": "period",
}
"""Names of options that are not those of their values."""
READ_ONCE = (
    "it is read once, at its end, and a reading before that shows the confidence sequence which is valid whenever "
    "somebody looks"
)


def refuse_idle(kind: str, asked: Mapping[str, Any]) -> None:
    """Refuse what has no meaning for a kind of design.

    Args:
        kind: one of `IDLE`.
        asked: `DEFAULTS` with what was asked for.

    Raises:
        InputError: something was asked for that this kind would pass over.
    """
    idle = [name for name in IDLE[kind] if _plainly(asked[name]) != _plainly(DEFAULTS[name])]
    if "method" in idle:
        raise InputError(f"{kind}: --method {asked['method']} has no place, {READ_ONCE}")
    if idle:
        options = ", ".join("--" + OPTIONS.get(name, name).replace("_", "-") for name in idle)
        raise InputError(f"{kind}: {options} has no meaning there; leave it out")


def _plainly(value: Any) -> Any:  # noqa: ANN401 - an option's value
    """A value without the kind of sequence that it came in."""
    return list(value) if isinstance(value, tuple) else value
