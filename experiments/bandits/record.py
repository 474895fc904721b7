"""Design and state of a bandit as plain JSON values: what the store keeps between restarts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from engine.errors import ProblemError
from experiments.bandits import policies
from experiments.bandits.bandit import BanditDesign, BanditState
from experiments.bandits.drift import Cusum, CusumState
from experiments.bandits.knapsack import Budget, Purse

POLICIES = {
    name: getattr(policies, name)
    for name in (
        "BetaThompson",
        "GaussianThompson",
        "NormalInverseGammaThompson",
        "Ucb",
        "LinearThompson",
        "LinearUcb",
        "LogisticThompson",
    )
}
LEARNED = {kind.__name__: kind for kind in (policies.Tally, policies.LinearSums, policies.LogisticPosterior)}


def design_record(design: BanditDesign[Any]) -> dict[str, Any]:
    """The design as JSON values."""
    policy = {"kind": type(design.policy).__name__, **_plain(design.policy)}
    rest = {f.name: getattr(design, f.name) for f in fields(design) if f.name not in ("policy", "change", "budget")}
    return {
        "policy": policy,
        **rest,
        "change": None if design.change is None else asdict(design.change),
        "budget": None if design.budget is None else asdict(design.budget),
    }


def read_design(record: Mapping[str, Any]) -> BanditDesign[Any]:
    """The design out of JSON values.

    Raises:
        ProblemError: an unknown policy or parameter.
    """
    policy = dict(record.get("policy", {}))
    kind = policy.pop("kind", None)
    if kind not in POLICIES:
        raise ProblemError(f"policy kind {kind!r} is unknown; choose one of {', '.join(POLICIES)}")
    change, budget = record.get("change"), record.get("budget")
    rest = {name: value for name, value in record.items() if name not in ("policy", "change", "budget")}
    try:
        return BanditDesign(
            POLICIES[kind](**policy),
            change=None if change is None else Cusum(**change),
            budget=None if budget is None else Budget(**{**budget, "cost": tuple(budget["cost"])}),
            **rest,
        )
    except (TypeError, KeyError) as error:
        raise ProblemError(f"the design of a {kind} bandit cannot be read: {error}") from error


def state_record(state: BanditState[Any]) -> dict[str, Any]:
    """The state as JSON values; floats keep every digit."""
    return {
        "learned": {"kind": type(state.learned).__name__, **_plain(state.learned)},
        "as_of": state.as_of,
        "removed": list(state.removed),
        "purse": None if state.purse is None else asdict(state.purse),
        "watch": None if state.watch is None else _plain(state.watch),
        "changes": [list(change) for change in state.changes],
    }


def read_state(record: Mapping[str, Any]) -> BanditState[Any]:
    """The state out of JSON values.

    Raises:
        ProblemError: the record is not one of `state_record`.
    """
    try:
        learned = dict(record["learned"])
        kind = LEARNED[learned.pop("kind")]
        return BanditState(
            kind(**_arrays(learned)),
            as_of=float(record["as_of"]),
            removed=tuple(record["removed"]),
            purse=None if record["purse"] is None else Purse(**record["purse"]),
            watch=None if record["watch"] is None else CusumState(**_arrays(record["watch"])),
            changes=tuple((int(arm), float(at)) for arm, at in record["changes"]),
        )
    except (TypeError, KeyError, ValueError) as error:
        raise ProblemError(f"the stored state of the bandit cannot be read: {error}; start it anew") from error


def _plain(record: Any) -> dict[str, Any]:  # noqa: ANN401 - any frozen record of numbers and arrays
    values = ((f.name, getattr(record, f.name)) for f in fields(record))
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in values}


def _arrays(record: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value, dtype=np.float64) for name, value in record.items()}
