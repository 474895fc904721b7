"""What another policy would have earned on the decisions that were logged, and whether it may go live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from engine.errors import InputError
from engine.proposal import Reason

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from engine.store import BanditDecision

Choice = Literal["auto", "ips", "snips", "direct", "doubly_robust", "switch"]
_STRANGE = "arm {arm!r} is not one of {known}"
_NOT_WHOLE = "the chances of the policy add up to {total:.6g}; name every arm that it plays, so that they add up to 1"
_NOTHING = "no decision of the log has a reward yet; there is nothing to value"
_NO_CONTEXT = "estimator {estimator} rests on a model of the context, and the log has none; use ips or snips"


@dataclass(frozen=True)
class DecisionLog:
    """Logged decisions whose reward is known."""

    arms: tuple[str, ...]
    arm: npt.NDArray[np.int64]
    """(n,) place in `arms`"""
    reward: npt.NDArray[np.float64]
    propensity: npt.NDArray[np.float64]
    context: npt.NDArray[np.float64] | None
    """(n, d); None: decisions had none."""
    unrewarded: int
    """Decisions left out, as their reward is not known yet."""


@dataclass(frozen=True)
class PolicyReading:
    """The value of a policy beside what runs, per decision, and the verdict of the gate."""

    estimator: str
    decisions: int
    unrewarded: int
    value: float
    low: float
    high: float
    earned: float
    """Mean reward of what ran."""
    gain: float
    gain_low: float
    """One-sided lower bound."""
    effective_sample_size: float
    largest_weight_share: float
    uncovered: float
    passes: bool
    """Whether it may go live: the lower bound of its gain is above the margin, and nothing stands against it."""
    reasons: tuple[str, ...]
    """Why it may not."""


def log_of_bandit(arms: Sequence[str], decisions: Sequence[BanditDecision]) -> DecisionLog:
    """The log of a stored bandit.

    Raises:
        InputError: no reward is known yet.
    """
    import numpy as np

    known = [one for one in decisions if one.reward is not None]
    if not known:
        raise InputError(Reason(_NOTHING))
    features = len(known[0].context)
    return DecisionLog(
        tuple(arms),
        np.array([one.arm for one in known], dtype=np.int64),
        np.array([one.reward for one in known], dtype=np.float64),
        np.array([one.propensity for one in known], dtype=np.float64),
        np.array([one.context for one in known], dtype=np.float64) if features else None,
        len(decisions) - len(known),
    )


def log_of_table(table: pd.DataFrame, context: Sequence[str]) -> DecisionLog:
    """A log in a table with arm, reward and propensity; rows without a reward are left out.

    Raises:
        InputError: no reward is known.
    """
    import numpy as np

    rows = table[table["reward"].notna()]
    if rows.empty:
        raise InputError(Reason(_NOTHING))
    arms, place = np.unique(rows["arm"].astype(str).to_numpy(dtype=object), return_inverse=True)
    return DecisionLog(
        tuple(str(arm) for arm in arms),
        place.astype(np.int64),
        rows["reward"].to_numpy(dtype=np.float64),
        rows["propensity"].to_numpy(dtype=np.float64),
        rows[list(context)].to_numpy(dtype=np.float64) if context else None,
        len(table) - len(rows),
    )


def value_policy(
    log: DecisionLog,
    target: Mapping[str, float],
    *,
    estimator: Choice = "auto",
    alpha: float = 0.05,
    margin: float = 0.0,
) -> PolicyReading:
    """Value a policy that plays each arm with a fixed chance.

    Args:
        log: what was decided, and what it brought.
        target: chance of each arm by name; arms left out are never played.
        estimator: how; "auto" is doubly robust with a cross-fitted model where there is context, else self-normalised.
        alpha: 1 - confidence.
        margin: gain per decision that a change is worth.

    Raises:
        InputError: an arm is unknown, the chances do not add up to 1, or the estimator needs context.
        ProblemError: what `experiments.off_policy` refuses.
    """
    import numpy as np

    from experiments.off_policy import LoggedFeedback, cross_fitted_rewards, evaluate, gate

    chance = _chances(log, target)
    chosen: Any = ("snips" if log.context is None else "doubly_robust") if estimator == "auto" else estimator
    expected = None
    if chosen not in {"ips", "snips"}:
        if log.context is None:
            raise InputError(Reason(_NO_CONTEXT, {"estimator": chosen}))
        expected = cross_fitted_rewards(log.context, log.arm, log.reward, len(chance))
    feedback = LoggedFeedback(log.arm, log.reward, log.propensity)
    found = evaluate(feedback, np.array(chance), estimator=chosen, expected=expected, alpha=alpha)
    passed = gate(found, feedback, alpha=alpha, margin=margin)
    return PolicyReading(
        estimator=chosen,
        decisions=len(feedback),
        unrewarded=log.unrewarded,
        value=found.value,
        low=found.low,
        high=found.high,
        earned=float(log.reward.mean()),
        gain=passed.gain,
        gain_low=passed.low,
        effective_sample_size=found.effective_sample_size,
        largest_weight_share=found.largest_weight_share,
        uncovered=found.uncovered,
        passes=passed.passes,
        reasons=passed.reasons,
    )


def _chances(log: DecisionLog, target: Mapping[str, float]) -> list[float]:
    for arm in target:
        if arm not in log.arms:
            raise InputError(Reason(_STRANGE, {"arm": arm, "known": ", ".join(log.arms)}))
    chance = [float(target.get(arm, 0.0)) for arm in log.arms]
    if abs(sum(chance) - 1.0) > 1e-6:
        raise InputError(Reason(_NOT_WHOLE, {"total": sum(chance)}))
    return chance
