"""What is believed of each arm's mean reward, row by row: draws, distribution functions, and the chance of being best.

The arms are independent of each other in every belief here, so the draw of a row is one draw from each arm's marginal,
and the chance that an arm is best is a single integral: with F the distribution functions,
    P(a is best) = ∫₀¹ Π_{b≠a} F_b(F_a⁻¹(u)) du.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BREAK_LEVELS = np.array([1e-4, 0.01, 0.1, 0.5, 0.9, 0.99, 1 - 1e-4])
"""Quantiles of the other arms at which the integral is cut: between them the integrand is smooth."""
NODES, WEIGHTS = np.polynomial.legendre.leggauss(8)
BLOCK_ROWS = 128
"""Rows integrated at a time, so that memory stays small."""


class Marginals(Protocol):
    """Independent beliefs about A arms for n rows."""

    @property
    def shape(self) -> tuple[int, int]:
        """(n, A)."""

    def draw(self, rng: np.random.Generator) -> Floats:
        """(n, A) one draw of each arm's mean reward for each row."""

    def cdf(self, arm: int, x: Floats) -> Floats:
        """(n, K) distribution function of one arm at (n, K) points."""

    def ppf(self, arm: int, u: Floats) -> Floats:
        """(n, K) quantiles of one arm at (n, K) probabilities."""

    def rows(self, chosen: slice | Ints) -> Marginals:
        """The same beliefs for some of the rows."""

    @property
    def certain(self) -> bool:
        """Whether the beliefs are points: the best arm is then no matter of chance."""


@dataclass(frozen=True)
class Point:
    """Scores without uncertainty, such as upper confidence bounds."""

    value: Floats
    """(n, A); infinite for an arm that must be tried."""

    certain = True

    @property
    def shape(self) -> tuple[int, int]:
        """(n, A)."""
        return self.value.shape[0], self.value.shape[1]

    def draw(self, rng: np.random.Generator) -> Floats:
        """(n, A) the scores."""
        return self.value

    def cdf(self, arm: int, x: Floats) -> Floats:
        """Step at the score."""
        return (x >= self.value[:, arm, None]).astype(np.float64)

    def ppf(self, arm: int, u: Floats) -> Floats:
        """The score."""
        return np.broadcast_to(self.value[:, arm, None], u.shape)

    def rows(self, chosen: slice | Ints) -> Point:
        """Some of the rows."""
        return Point(self.value[chosen])


@dataclass(frozen=True)
class Normal:
    """Normal beliefs."""

    mean: Floats
    """(n, A)."""
    sd: Floats
    """(n, A), above 0."""

    certain = False

    @property
    def shape(self) -> tuple[int, int]:
        """(n, A)."""
        return self.mean.shape[0], self.mean.shape[1]

    def draw(self, rng: np.random.Generator) -> Floats:
        """(n, A) one draw for each row and arm."""
        drawn: Floats = rng.standard_normal(self.mean.shape)
        drawn *= self.sd
        drawn += self.mean
        return drawn

    def cdf(self, arm: int, x: Floats) -> Floats:
        """Normal distribution function."""
        value: Floats = special.ndtr((x - self.mean[:, arm, None]) / self.sd[:, arm, None])
        return value

    def ppf(self, arm: int, u: Floats) -> Floats:
        """Normal quantiles."""
        value: Floats = self.mean[:, arm, None] + self.sd[:, arm, None] * special.ndtri(u)
        return value

    def rows(self, chosen: slice | Ints) -> Normal:
        """Some of the rows."""
        return Normal(self.mean[chosen], self.sd[chosen])


@dataclass(frozen=True)
class StudentT:
    """Student's t beliefs: a normal mean whose variance is unknown too."""

    mean: Floats
    scale: Floats
    freedom: Floats
    """(n, A) degrees of freedom."""

    certain = False

    @property
    def shape(self) -> tuple[int, int]:
        """(n, A)."""
        return self.mean.shape[0], self.mean.shape[1]

    def draw(self, rng: np.random.Generator) -> Floats:
        """(n, A) one draw for each row and arm."""
        drawn: Floats = self.mean + self.scale * rng.standard_t(self.freedom)
        return drawn

    def cdf(self, arm: int, x: Floats) -> Floats:
        """Distribution function of the t distribution."""
        standard = (x - self.mean[:, arm, None]) / self.scale[:, arm, None]
        value: Floats = special.stdtr(self.freedom[:, arm, None], standard)
        return value

    def ppf(self, arm: int, u: Floats) -> Floats:
        """Quantiles of the t distribution."""
        standard = special.stdtrit(self.freedom[:, arm, None], u)
        value: Floats = self.mean[:, arm, None] + self.scale[:, arm, None] * standard
        return value

    def rows(self, chosen: slice | Ints) -> StudentT:
        """Some of the rows."""
        return StudentT(self.mean[chosen], self.scale[chosen], self.freedom[chosen])


@dataclass(frozen=True)
class Beta:
    """Beta beliefs about a chance."""

    successes: Floats
    """(n, A) first parameter, above 0."""
    failures: Floats
    """(n, A) second parameter, above 0."""

    certain = False

    @property
    def shape(self) -> tuple[int, int]:
        """(n, A)."""
        return self.successes.shape[0], self.successes.shape[1]

    def draw(self, rng: np.random.Generator) -> Floats:
        """(n, A) one draw for each row and arm."""
        return rng.beta(self.successes, self.failures)

    def cdf(self, arm: int, x: Floats) -> Floats:
        """Regularised incomplete beta function."""
        inside = np.clip(x, 0.0, 1.0)
        value: Floats = special.betainc(self.successes[:, arm, None], self.failures[:, arm, None], inside)
        return value

    def ppf(self, arm: int, u: Floats) -> Floats:
        """Inverse of the regularised incomplete beta function."""
        value: Floats = special.betaincinv(self.successes[:, arm, None], self.failures[:, arm, None], u)
        return value

    def rows(self, chosen: slice | Ints) -> Beta:
        """Some of the rows."""
        return Beta(self.successes[chosen], self.failures[chosen])


@dataclass(frozen=True)
class Less:
    """Beliefs less a known amount by arm: the price of the budget that the arm takes."""

    belief: Marginals
    amount: Floats
    """(A,) what is taken off each arm's reward."""

    @property
    def certain(self) -> bool:
        """As the beliefs themselves."""
        return self.belief.certain

    @property
    def shape(self) -> tuple[int, int]:
        """(n, A)."""
        return self.belief.shape

    def draw(self, rng: np.random.Generator) -> Floats:
        """(n, A) one draw for each row and arm, less the amount."""
        net: Floats = self.belief.draw(rng) - self.amount
        return net

    def cdf(self, arm: int, x: Floats) -> Floats:
        """Distribution function of the reward less the amount."""
        return self.belief.cdf(arm, x + self.amount[arm])

    def ppf(self, arm: int, u: Floats) -> Floats:
        """Quantiles of the reward less the amount."""
        net: Floats = self.belief.ppf(arm, u) - self.amount[arm]
        return net

    def rows(self, chosen: slice | Ints) -> Less:
        """Some of the rows."""
        return Less(self.belief.rows(chosen), self.amount)


def best_probability(belief: Marginals, allowed: Ints) -> Floats:
    """(n, A) chance that each arm is the best of the allowed ones; 0 for the others; rows add up to 1.

    Gauss-Legendre quadrature on the arm's own quantiles, cut where the other arms' mass lies, so that arms of very
    different certainty are integrated as exactly as equal ones.

    Args:
        belief: n rows of A independent arms.
        allowed: indices of the arms that may be chosen, at least one.
    """
    rows, arms = belief.shape
    chance = np.zeros((rows, arms))
    if belief.certain or len(allowed) == 1:
        chance[np.arange(rows), best_arm(belief.draw(np.random.default_rng(0)), allowed)] = 1.0
        return chance
    for first in range(0, rows, BLOCK_ROWS):
        block = slice(first, min(first + BLOCK_ROWS, rows))
        part = belief.rows(block)
        for arm in allowed:
            chance[block, arm] = _one_best(part, int(arm), [int(b) for b in allowed if b != arm])
    total: Floats = chance / chance.sum(axis=1, keepdims=True)
    return total


def best_arm(score: Floats, allowed: Ints) -> Ints:
    """(n,) allowed arm with the highest (n, A) score; the first of equals."""
    best: Ints = allowed[score[:, allowed].argmax(axis=1)] if len(allowed) < score.shape[1] else score.argmax(axis=1)
    return best


def _one_best(belief: Marginals, arm: int, others: list[int]) -> Floats:
    rows = belief.shape[0]
    levels = np.tile(BREAK_LEVELS, (rows, 1))
    cuts = [belief.cdf(arm, belief.ppf(other, levels)) for other in others]
    edges = np.sort(np.concatenate([np.zeros((rows, 1)), *cuts, np.ones((rows, 1))], axis=1), axis=1)
    half, middle = np.diff(edges) / 2, (edges[:, 1:] + edges[:, :-1]) / 2
    u = (middle[:, :, None] + half[:, :, None] * NODES).reshape(rows, -1)
    weight = (half[:, :, None] * WEIGHTS).reshape(rows, -1)
    x = belief.ppf(arm, np.clip(u, 1e-300, 1 - 1e-16))
    below = np.ones_like(x)
    for other in others:
        below *= belief.cdf(other, x)
    total: Floats = (weight * below).sum(axis=1)
    return total
