"""Off-policy evaluation: what another policy would have earned, from the decisions that the present one logged.

All estimators are means of one contribution per row, so their standard errors are those of a mean (SNIPS by the delta
method). Sources: Horvitz and Thompson 1952 (IPS); Swaminathan and Joachims 2015 (self-normalised); Dudík, Langford and
Li 2011 (doubly robust); Wang, Agarwal and Dudík 2017 (SWITCH); Kish 1965 (effective sample size).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from engine.errors import ProblemError, shown

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Estimator = Literal["ips", "snips", "direct", "doubly_robust", "switch"]
ESTIMATORS: tuple[Estimator, ...] = ("ips", "snips", "direct", "doubly_robust", "switch")

MIN_EFFECTIVE = 100.0
"""Below this effective sample size the normal interval is not to be trusted."""
MIN_EFFECTIVE_SHARE = 0.01
MAX_WEIGHT_SHARE = 0.05
MIN_POSITIVE = 20
"""Fewer rewarded rows than this carry no interval that deserves the name (a mean of rare events is skewed)."""


@dataclass(frozen=True)
class LoggedFeedback:
    """n logged decisions among A arms.

    Raises:
        ProblemError: shapes that do not fit, a reward that is not finite, a propensity outside (0, 1].
    """

    arm: Ints
    """(n,) arm that was played."""
    reward: Floats
    """(n,) what it brought."""
    propensity: Floats
    """(n,) chance with which it was played."""

    def __post_init__(self) -> None:
        arm, reward = np.asarray(self.arm), np.asarray(self.reward, dtype=np.float64)
        propensity = np.asarray(self.propensity, dtype=np.float64)
        if arm.ndim != 1 or not arm.size or reward.shape != arm.shape or propensity.shape != arm.shape:
            raise ProblemError(
                f"arm {arm.shape}, reward {reward.shape} and propensity {propensity.shape} must be equally long and "
                "not empty"
            )
        if not np.issubdtype(arm.dtype, np.integer) or arm.min() < 0:
            raise ProblemError("arm must hold whole numbers from 0")
        _refuse("reward", reward, ~np.isfinite(reward), "leave the row out or fill it")
        _refuse("propensity", propensity, ~((propensity > 0) & (propensity <= 1)), "log the chance of the arm played")
        object.__setattr__(self, "arm", arm.astype(np.int64))
        object.__setattr__(self, "reward", reward)
        object.__setattr__(self, "propensity", propensity)

    def __len__(self) -> int:
        """Number of decisions."""
        return len(self.arm)


@dataclass(frozen=True)
class PolicyValue:
    """What a policy is worth per decision."""

    estimator: Estimator
    value: float
    """Expected reward of one decision."""
    standard_error: float
    low: float
    high: float
    """Interval of confidence 1 - alpha."""
    effective_sample_size: float
    """(Σw)² / Σw²: rows that an unweighted sample would need for the same precision (Kish 1965)."""
    largest_weight_share: float
    """Share of all weight that lies on the heaviest row."""
    uncovered: float
    """Share of the evaluated policy's probability on arms that the log never plays where it would be needed; 0 where
    every arm the policy wants was played."""
    warnings: tuple[str, ...]
    contribution: Floats
    """(n,) each row's contribution; their mean is the value."""

    @property
    def trustworthy(self) -> bool:
        """Whether no warning stands against it."""
        return not self.warnings


@dataclass(frozen=True)
class Gate:
    """Whether a new policy may go live in place of the one that runs."""

    passes: bool
    gain: float
    """Value of the new policy less that of the one that runs, per decision."""
    low: float
    """Lower bound of the gain: one-sided, confidence 1 - alpha."""
    reasons: tuple[str, ...]


def evaluate(
    feedback: LoggedFeedback,
    target: npt.ArrayLike,
    *,
    estimator: Estimator = "doubly_robust",
    expected: npt.ArrayLike | None = None,
    alpha: float = 0.05,
    switch_at: float | None = None,
) -> PolicyValue:
    """Estimate the value of a policy from logged decisions.

    Args:
        feedback: the log.
        target: (n, A) or (A,) chance of each arm under the policy to be valued; rows add up to 1.
        estimator: "ips", "snips", "direct", "doubly_robust" or "switch".
        expected: (n, A) expected reward of each arm in each row, from a model fitted on other rows
            (`cross_fitted_rewards`); needed by direct, doubly_robust and switch.
        alpha: 1 - confidence.
        switch_at: importance weight above which "switch" trusts the model instead of the log; None: the one with the
            smallest bound on the mean squared error (Wang, Agarwal and Dudík 2017, section 4.1).

    Raises:
        ProblemError: shapes that do not fit, chances that do not add up, a model that is missing.
    """
    if estimator not in ESTIMATORS:
        raise ProblemError(f"estimator {estimator!r} is unknown; choose one of {', '.join(ESTIMATORS)}")
    if not 0 < alpha < 1:
        raise ProblemError(f"alpha = {alpha!r} is refused; give a number between 0 and 1, such as 0.05")
    chance = _target(target, feedback)
    rows = np.arange(len(feedback))
    weight = chance[rows, feedback.arm] / feedback.propensity
    model = _model(expected, chance.shape, estimator)
    if estimator == "switch" and switch_at is None:
        switch_at = _best_switch(feedback, chance, weight, model)
    value, contribution = _contribution(estimator, feedback, chance, weight, model, switch_at)
    error = float(contribution.std(ddof=1) / np.sqrt(len(rows))) if len(rows) > 1 else float("inf")
    width = float(stats.norm.ppf(1 - alpha / 2)) * error
    effective = float(weight.sum() ** 2 / np.square(weight).sum()) if weight.any() else 0.0
    heaviest = float(weight.max() / weight.sum()) if weight.any() else 0.0
    uncovered = _uncovered(feedback, chance)
    warnings = _warnings(feedback, weight, effective, uncovered, estimator)
    return PolicyValue(
        estimator, value, error, value - width, value + width, effective, heaviest, uncovered, warnings, contribution
    )


def gate(candidate: PolicyValue, feedback: LoggedFeedback, *, alpha: float = 0.05, margin: float = 0.0) -> Gate:
    """Let a policy pass only if the lower bound of its gain over what the log earned is above `margin`.

    The gain is measured row by row on the same log, so that what both policies share cancels.
    """
    difference = candidate.contribution - feedback.reward
    n = len(difference)
    gain = float(difference.mean())
    error = float(difference.std(ddof=1) / np.sqrt(n)) if n > 1 else float("inf")
    low = gain - float(stats.norm.ppf(1 - alpha)) * error
    reasons = list(candidate.warnings)
    if not low > margin:
        reasons.append(f"the gain is {gain:.4g} per decision, and its lower bound {low:.4g} is not above {margin:.4g}")
    return Gate(not reasons, gain, low, tuple(reasons))


def cross_fitted_rewards(
    context: npt.ArrayLike,
    arm: Ints,
    reward: Floats,
    arms: int,
    *,
    arm_features: npt.ArrayLike | None = None,
    model: Callable[[], Any] | None = None,
    folds: int = 3,
    seed: int = 1,
) -> Floats:
    """(n, A) expected reward of every arm in every row, each from a model that has not seen the row.

    Args:
        context: (n, d) features of the decisions.
        arm: (n,) arms played.
        reward: (n,) rewards; 0 and 1 only are fitted by a classifier.
        arms: A.
        arm_features: (A, k) features of the arms; None: one column for each arm.
        model: makes a scikit-learn estimator; None: logistic regression for 0/1 rewards, ridge otherwise.
        folds: number of folds.
        seed: of the folds.
    """
    from sklearn.model_selection import KFold

    rows = np.asarray(context, dtype=np.float64)
    described = np.eye(arms) if arm_features is None else np.asarray(arm_features, dtype=np.float64)
    make = model or _usual_model(reward)
    expected = np.empty((len(rows), arms))
    for train, test in KFold(folds, shuffle=True, random_state=seed).split(rows):
        expected[test] = _fit_one(make(), rows, arm, reward, described, train, test)
    return expected


def _fit_one(
    model: Any,  # noqa: ANN401 - a scikit-learn estimator
    rows: Floats,
    arm: Ints,
    reward: Floats,
    described: Floats,
    train: Ints,
    test: Ints,
) -> Floats:
    classes = np.unique(reward[train])
    if len(classes) == 1:
        return np.full((len(test), len(described)), classes[0])
    model.fit(np.hstack([rows[train], described[arm[train]]]), reward[train])
    out = np.empty((len(test), len(described)))
    for a, features in enumerate(described):
        table = np.hstack([rows[test], np.tile(features, (len(test), 1))])
        out[:, a] = model.predict_proba(table)[:, 1] if hasattr(model, "predict_proba") else model.predict(table)
    return out


def _usual_model(reward: Floats) -> Callable[[], Any]:
    from sklearn.linear_model import LogisticRegression, Ridge

    if np.isin(reward, (0.0, 1.0)).all():
        return lambda: LogisticRegression(max_iter=1000)
    return lambda: Ridge(alpha=1.0)


def _contribution(
    estimator: Estimator,
    feedback: LoggedFeedback,
    chance: Floats,
    weight: Floats,
    model: Floats,
    switch_at: float | None,
) -> tuple[float, Floats]:
    rows = np.arange(len(feedback))
    if estimator == "ips":
        each = weight * feedback.reward
    elif estimator == "snips":
        return _self_normalised(feedback, weight)
    elif estimator == "direct":
        each = (chance * model).sum(axis=1)
    else:
        used = weight if estimator == "doubly_robust" or switch_at is None else np.where(weight <= switch_at, weight, 0)
        each = (chance * model).sum(axis=1) + used * (feedback.reward - model[rows, feedback.arm])
    return float(each.mean()), each


def _self_normalised(feedback: LoggedFeedback, weight: Floats) -> tuple[float, Floats]:
    """Ratio of two means; each row's contribution is its linearisation (delta method)."""
    total = weight.mean()
    if total == 0:
        raise ProblemError("the log never plays an arm that this policy wants; it says nothing about its value")
    value = float((weight * feedback.reward).mean() / total)
    return value, value + weight * (feedback.reward - value) / total


def _best_switch(feedback: LoggedFeedback, chance: Floats, weight: Floats, model: Floats) -> float:
    """Threshold with the smallest variance plus squared bias bound, which is reward range × weight given up."""
    span = float(feedback.reward.max() - feedback.reward.min())
    best, smallest = float("inf"), float("inf")
    for level in np.unique(np.quantile(weight, np.linspace(0.5, 1.0, 21))):
        _, each = _contribution("switch", feedback, chance, weight, model, float(level))
        bias = span * float(np.where(weight > level, weight, 0.0).mean())
        error = float(each.var(ddof=1)) / len(each) + bias**2
        if error < smallest:
            best, smallest = float(level), error
    return best


def _uncovered(feedback: LoggedFeedback, chance: Floats) -> float:
    played = np.bincount(feedback.arm, minlength=chance.shape[1]) > 0
    return float(chance[:, ~played].sum(axis=1).mean())


def _warnings(
    feedback: LoggedFeedback, weight: Floats, effective: float, uncovered: float, estimator: Estimator
) -> tuple[str, ...]:
    said = []
    if uncovered > 0:
        said.append(f"the policy puts {uncovered:.1%} of its decisions on arms that were never played")
    if estimator != "direct" and effective < max(MIN_EFFECTIVE, MIN_EFFECTIVE_SHARE * len(feedback)):
        said.append(f"effective sample size {effective:,.0f} of {len(feedback):,}: the policies hardly overlap")
    if estimator != "direct" and effective and weight.max() > MAX_WEIGHT_SHARE * weight.sum():
        said.append(f"one row carries {weight.max() / weight.sum():.1%} of all weight: the estimate hangs on it")
    rewarded = int(np.count_nonzero((feedback.reward != np.median(feedback.reward)) & (weight > 0)))
    if rewarded < MIN_POSITIVE:
        said.append(f"only {rewarded} rows carry a reward unlike the usual one: the interval is too narrow")
    if estimator == "direct":
        said.append("the direct method rests on its model alone: its interval leaves out the model's error")
    mean = float(weight.mean())
    error = float(weight.std() / np.sqrt(len(weight)))
    if abs(mean - 1) > 5 * error + 1e-9 and uncovered == 0:
        said.append(f"the weights average {mean:.3f} instead of 1: the logged propensities look wrong")
    return tuple(said)


def _target(target: npt.ArrayLike, feedback: LoggedFeedback) -> Floats:
    chance = np.asarray(target, dtype=np.float64)
    if chance.ndim == 1:
        chance = np.broadcast_to(chance, (len(feedback), len(chance)))
    if chance.ndim != 2 or len(chance) != len(feedback) or chance.shape[1] <= feedback.arm.max():
        raise ProblemError(
            f"target has shape {chance.shape}; give (rows, arms) or (arms,) and {feedback.arm.max() + 1} arms at least"
        )
    bad = ~(np.isfinite(chance).all(axis=1) & (chance.min(axis=1) >= 0) & (np.abs(chance.sum(axis=1) - 1) < 1e-6))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ProblemError(f"target[{row}] adds up to {chance[row].sum():.6g}; chances are 0 … 1 and add up to 1")
    return chance


def _model(expected: npt.ArrayLike | None, shape: tuple[int, ...], estimator: Estimator) -> Floats:
    if estimator in ("ips", "snips"):
        return np.zeros(shape)
    if expected is None:
        raise ProblemError(f"estimator {estimator!r} needs `expected`, rewards from a model; see cross_fitted_rewards")
    model = np.asarray(expected, dtype=np.float64)
    if model.shape != shape or not np.isfinite(model).all():
        raise ProblemError(f"expected has shape {model.shape}; give finite values of shape {shape}")
    return model


def _refuse(name: str, values: Floats, bad: npt.NDArray[np.bool_], remedy: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ProblemError(f"{name}[{row}] = {shown(values[row])} is refused; {remedy}")
