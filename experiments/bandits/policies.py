"""Policies as parameters: what is believed before the first reward, and how a reward changes it.

A policy is a frozen record; what it has learned is a separate frozen state of sums, so that rewards may come late, in
batches and in any order. `belief` says what is believed of each arm's mean reward for each row, which is all that
choosing needs. Contexts are (n, d) arrays; policies without features ignore them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from engine.errors import ProblemError, shown
from experiments.bandits.marginals import Beta, Floats, Ints, Marginals, Normal, Point, StudentT

S = TypeVar("S")


@dataclass(frozen=True)
class Tally:
    """Sums of each arm's rewards."""

    weight: Floats
    """(A,) number of rewards, each counted by its discount."""
    mean: Floats
    """(A,) weighted mean reward; 0 without rewards."""
    squares: Floats
    """(A,) weighted squared deviations from that mean."""


@dataclass(frozen=True)
class LinearSums:
    """Sums of each arm's regression."""

    gram: Floats
    """(A, d, d) Σ w x xᵀ."""
    moment: Floats
    """(A, d) Σ w x y."""
    weight: Floats
    """(A,) Σ w."""


@dataclass(frozen=True)
class LogisticPosterior:
    """Laplace approximation of each arm's logistic regression."""

    mean: Floats
    """(A, d)."""
    precision: Floats
    """(A, d, d)."""
    weight: Floats
    """(A,) number of rewards, each counted by its discount."""


class Policy(Protocol[S]):
    """What every policy offers."""

    @property
    def arms(self) -> int:
        """A, number of arms."""

    @property
    def features(self) -> int:
        """d, number of context features; 0: the context is not looked at."""

    def start(self) -> S:
        """State before the first reward."""

    def learn(self, state: S, arm: Ints, reward: Floats, context: Floats, weight: Floats) -> S:
        """State after (n,) rewards of (n,) arms with (n, d) contexts, each counted by its (n,) weight."""

    def fade(self, state: S, factor: float) -> S:
        """State whose past counts `factor` of what it did."""

    def forget(self, state: S, arm: int) -> S:
        """State that knows nothing of one arm."""

    def belief(self, state: S, context: Floats) -> Marginals:
        """Beliefs about the arms' mean rewards for the rows of an (n, d) context."""


@dataclass(frozen=True)
class _TallyPolicy:
    arms: int

    def __post_init__(self) -> None:
        if self.arms < 2:
            raise ProblemError(f"arms = {self.arms}: a bandit chooses between at least two arms")

    @property
    def features(self) -> int:
        """No features."""
        return 0

    def start(self) -> Tally:
        """Nothing seen."""
        return Tally(np.zeros(self.arms), np.zeros(self.arms), np.zeros(self.arms))

    def learn(self, state: Tally, arm: Ints, reward: Floats, context: Floats, weight: Floats) -> Tally:
        """Merge the batch's centred sums into the state's (Chan, Golub and LeVeque 1983)."""
        count = np.bincount(arm, weight, self.arms)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(count > 0, np.bincount(arm, weight * reward, self.arms) / count, 0.0)
        squares = np.bincount(arm, weight * (reward - mean[arm]) ** 2, self.arms)
        total = state.weight + count
        share = np.divide(count, total, out=np.zeros(self.arms), where=total > 0)
        delta = mean - state.mean
        return Tally(total, state.mean + delta * share, state.squares + squares + delta**2 * state.weight * share)

    def fade(self, state: Tally, factor: float) -> Tally:
        """Count the past less; its mean stays."""
        return Tally(state.weight * factor, state.mean, state.squares * factor)

    def forget(self, state: Tally, arm: int) -> Tally:
        """Empty one arm."""
        keep = np.arange(self.arms) != arm
        return Tally(state.weight * keep, state.mean * keep, state.squares * keep)


def _for_rows(values: Floats, context: Floats) -> Floats:
    return np.broadcast_to(values, (len(context), len(values)))


@dataclass(frozen=True)
class BetaThompson(_TallyPolicy):
    """Rewards 0 or 1 (or between), Beta prior on the chance (Thompson 1933; Chapelle and Li 2011)."""

    prior_successes: float = 1.0
    prior_failures: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive(prior_successes=self.prior_successes, prior_failures=self.prior_failures)

    def learn(self, state: Tally, arm: Ints, reward: Floats, context: Floats, weight: Floats) -> Tally:
        """Count successes and failures.

        Raises:
            ProblemError: a reward outside 0…1.
        """
        outside = np.flatnonzero((reward < 0) | (reward > 1))
        if outside.size:
            raise ProblemError(
                f"reward {shown(reward[outside[0]])} at row {int(outside[0])} lies outside 0…1; a Beta policy learns "
                "from chances: take GaussianThompson or NormalInverseGammaThompson for money"
            )
        return super().learn(state, arm, reward, context, weight)

    def belief(self, state: Tally, context: Floats) -> Beta:
        """Beta(prior + successes, prior + failures)."""
        successes = self.prior_successes + state.weight * state.mean
        failures = self.prior_failures + state.weight * (1 - state.mean)
        return Beta(_for_rows(successes, context), _for_rows(np.maximum(failures, 1e-12), context))


@dataclass(frozen=True)
class GaussianThompson(_TallyPolicy):
    """Rewards of known noise, normal prior on the mean."""

    noise_sd: float = 1.0
    """Standard deviation of one reward around its arm's mean, in the reward's unit."""
    prior_mean: float = 0.0
    prior_sd: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive(noise_sd=self.noise_sd, prior_sd=self.prior_sd)

    def belief(self, state: Tally, context: Floats) -> Normal:
        """Precision-weighted mean of prior and rewards."""
        prior, data = self.prior_sd**-2, state.weight / self.noise_sd**2
        mean = (prior * self.prior_mean + data * state.mean) / (prior + data)
        return Normal(_for_rows(mean, context), _for_rows((prior + data) ** -0.5, context))


@dataclass(frozen=True)
class NormalInverseGammaThompson(_TallyPolicy):
    """Rewards whose mean and variance are both unknown (Murphy 2007, "Conjugate Bayesian analysis of the Gaussian")."""

    prior_mean: float = 0.0
    prior_weight: float = 1.0
    """Rewards that the prior mean is worth."""
    prior_shape: float = 1.0
    prior_rate: float = 1.0
    """Shape and rate of the inverse gamma prior on the variance."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive(prior_weight=self.prior_weight, prior_shape=self.prior_shape, prior_rate=self.prior_rate)

    def belief(self, state: Tally, context: Floats) -> StudentT:
        """Student's t with 2·shape degrees of freedom."""
        total = self.prior_weight + state.weight
        mean = (self.prior_weight * self.prior_mean + state.weight * state.mean) / total
        shape = self.prior_shape + state.weight / 2
        pull = self.prior_weight * state.weight * (state.mean - self.prior_mean) ** 2 / total
        rate = self.prior_rate + (state.squares + pull) / 2
        scale = np.sqrt(rate / (shape * total))
        return StudentT(_for_rows(mean, context), _for_rows(scale, context), _for_rows(2 * shape, context))


@dataclass(frozen=True)
class Ucb(_TallyPolicy):
    """Upper confidence bounds: mean + width · √(2 ln t / n) (UCB1; Auer, Cesa-Bianchi and Fischer 2002)."""

    width: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.width >= 0:
            raise ProblemError(f"width = {self.width!r} is refused; give a number of at least 0")

    def belief(self, state: Tally, context: Floats) -> Point:
        """Point beliefs at the bounds; an arm without rewards stands above all others."""
        rounds = np.log(max(state.weight.sum(), 1.0))
        bonus = self.width * np.sqrt(2 * rounds / np.maximum(state.weight, 1e-12))
        bound = np.where(state.weight > 0, state.mean + bonus, np.inf)
        return Point(_for_rows(bound, context))


@dataclass(frozen=True)
class _LinearPolicy:
    arms: int
    features: int
    width: float = 1.0
    """Multiplies the standard error: α of LinUCB, v of linear Thompson sampling."""
    ridge: float = 1.0
    """Prior precision of each coefficient, in units of one reward's."""

    def __post_init__(self) -> None:
        if self.arms < 2 or self.features < 1:
            raise ProblemError(f"arms = {self.arms}, features = {self.features}: at least 2 arms and 1 feature")
        _positive(width=self.width, ridge=self.ridge)

    def start(self) -> LinearSums:
        """Nothing seen."""
        a, d = self.arms, self.features
        return LinearSums(np.zeros((a, d, d)), np.zeros((a, d)), np.zeros(a))

    def learn(self, state: LinearSums, arm: Ints, reward: Floats, context: Floats, weight: Floats) -> LinearSums:
        """Add the batch's cross-products."""
        gram, moment = state.gram.copy(), state.moment.copy()
        for a in np.unique(arm):
            mine = arm == a
            weighted = context[mine] * weight[mine, None]
            gram[a] += weighted.T @ context[mine]
            moment[a] += weighted.T @ reward[mine]
        return LinearSums(gram, moment, state.weight + np.bincount(arm, weight, self.arms))

    def fade(self, state: LinearSums, factor: float) -> LinearSums:
        """Count the past less."""
        return LinearSums(state.gram * factor, state.moment * factor, state.weight * factor)

    def forget(self, state: LinearSums, arm: int) -> LinearSums:
        """Empty one arm."""
        keep = (np.arange(self.arms) != arm).astype(float)
        return LinearSums(state.gram * keep[:, None, None], state.moment * keep[:, None], state.weight * keep)

    def _fitted(self, state: LinearSums, context: Floats) -> Normal:
        precision = state.gram + self.ridge * np.eye(self.features)
        mean: Floats = np.linalg.solve(precision, state.moment[:, :, None])[:, :, 0].astype(np.float64)
        return _normal_scores(mean, precision, context, self.width)


@dataclass(frozen=True)
class LinearThompson(_LinearPolicy):
    """Disjoint linear rewards, a draw from each arm's posterior for every row (Agrawal and Goyal 2013)."""

    def belief(self, state: LinearSums, context: Floats) -> Normal:
        """Normal with mean xᵀμ and standard deviation v·√(xᵀ A⁻¹ x)."""
        return self._fitted(state, context)


@dataclass(frozen=True)
class LinearUcb(_LinearPolicy):
    """Disjoint LinUCB (Li, Chu, Langford and Schapire 2010)."""

    def belief(self, state: LinearSums, context: Floats) -> Point:
        """Point beliefs at xᵀμ + α·√(xᵀ A⁻¹ x)."""
        fitted = self._fitted(state, context)
        return Point(fitted.mean + fitted.sd)


@dataclass(frozen=True)
class LogisticThompson:
    """Rewards 0 or 1 with a logistic regression by arm, Laplace posterior (Chapelle and Li 2011, full covariance).

    Beliefs are about xᵀθ, the log odds: the arm that is best there is best in the chance too.
    """

    arms: int
    features: int
    ridge: float = 1.0
    """Prior precision of each coefficient."""
    width: float = 1.0

    def __post_init__(self) -> None:
        if self.arms < 2 or self.features < 1:
            raise ProblemError(f"arms = {self.arms}, features = {self.features}: at least 2 arms and 1 feature")
        _positive(ridge=self.ridge, width=self.width)

    def start(self) -> LogisticPosterior:
        """The prior."""
        a, d = self.arms, self.features
        return LogisticPosterior(np.zeros((a, d)), np.tile(self.ridge * np.eye(d), (a, 1, 1)), np.zeros(a))

    def learn(
        self, state: LogisticPosterior, arm: Ints, reward: Floats, context: Floats, weight: Floats
    ) -> LogisticPosterior:
        """Take the present posterior as the prior of the batch: its mode by Newton's method, its curvature there.

        Raises:
            ProblemError: a reward outside 0…1.
        """
        if np.any((reward < 0) | (reward > 1)):
            raise ProblemError("a logistic policy learns from rewards between 0 and 1; take LinearThompson for money")
        mean, precision = state.mean.copy(), state.precision.copy()
        for a in np.unique(arm):
            mine = arm == a
            mean[a], precision[a] = _laplace(mean[a], precision[a], context[mine], reward[mine], weight[mine])
        return LogisticPosterior(mean, precision, state.weight + np.bincount(arm, weight, self.arms))

    def fade(self, state: LogisticPosterior, factor: float) -> LogisticPosterior:
        """Count the past less: the precision beyond the prior's shrinks."""
        prior = self.ridge * np.eye(self.features)
        return LogisticPosterior(state.mean, prior + factor * (state.precision - prior), state.weight * factor)

    def forget(self, state: LogisticPosterior, arm: int) -> LogisticPosterior:
        """Put one arm back to the prior."""
        mean, precision, weight = state.mean.copy(), state.precision.copy(), state.weight.copy()
        mean[arm], precision[arm], weight[arm] = 0.0, self.ridge * np.eye(self.features), 0.0
        return LogisticPosterior(mean, precision, weight)

    def belief(self, state: LogisticPosterior, context: Floats) -> Normal:
        """Normal beliefs about the log odds."""
        return _normal_scores(state.mean, state.precision, context, self.width)


NEWTON_STEPS = 25


def _laplace(mean: Floats, precision: Floats, x: Floats, y: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Mode and curvature of a logistic likelihood times a normal prior."""
    mode = mean.copy()
    for _ in range(NEWTON_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(x @ mode, -500, 500)))
        curvature = precision + (x * (weight * chance * (1 - chance))[:, None]).T @ x
        step = np.linalg.solve(curvature, x.T @ (weight * (y - chance)) - precision @ (mode - mean))
        # A full Newton step may jump over the mode where the curve is flat; a bounded one cannot diverge.
        mode = mode + step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-10:
            break
    chance = 1 / (1 + np.exp(-np.clip(x @ mode, -500, 500)))
    return mode, precision + (x * (weight * chance * (1 - chance))[:, None]).T @ x


SCORE_ROWS = 4096
"""Rows scored at a time: the scratch array stays in the processor's cache."""


def _normal_scores(mean: Floats, precision: Floats, context: Floats, width: float) -> Normal:
    """Scores xᵀμ_a with standard deviations width · √(xᵀ P_a⁻¹ x), from the Cholesky factors of the precisions."""
    arms, d = mean.shape
    whitener = np.linalg.inv(np.linalg.cholesky(precision))
    stacked = np.ascontiguousarray(whitener.reshape(arms * d, d).T)
    score = context @ mean.T
    sd = np.empty_like(score)
    for first in range(0, len(context), SCORE_ROWS):
        white = (context[first : first + SCORE_ROWS] @ stacked).reshape(-1, arms, d)
        sd[first : first + SCORE_ROWS] = np.sqrt(np.einsum("nad,nad->na", white, white))
    return Normal(score, np.maximum(width * sd, 1e-300))


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not (np.isfinite(value) and value > 0):
            raise ProblemError(f"{name} = {value!r} is refused; give a number above 0")
