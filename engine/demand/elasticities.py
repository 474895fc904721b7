"""Elasticities of many products: the hierarchy of `shrinkage` with what is known about price responses.

Priors: mean elasticity of packaged goods from the literature (Tellis, JMR 1988: -1.8; Bijmolt, van Heerde & Pieters,
JMR 2005: -2.6), made wide.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from engine.demand.channels import EXPERIMENT, PROMOTION, REGULAR
from engine.demand.covariates import covariate_offsets
from engine.demand.neighbours import text_offsets
from engine.demand.shrinkage import Prior, Shrunken, shrink

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

TYPICAL, TYPICAL_SD = -1.8, 1.2
EVERYDAY_RATIO = 0.85
"""Everyday-price over promotion elasticity before the data speak; shops show 0.4 to 1."""
EVERYDAY_SD = 0.45
"""How far the mean everyday elasticity may lie from that ratio: ±0.25 at a promotion elasticity of -1.8."""
EXPERIMENT_SD = 0.8
RELATIVE_POWER = 0.6
"""How the spread of elasticities grows with their size; 1 would be spreads that are wholly relative."""
LARGEST_RELATIVE = 3.0
EVERY_WIDTH = 1.1
"""What the normal hierarchy leaves out of every width: noise that placebos do not show makes the spread of products
look smaller than it is, and the slopes of the covariates are taken as known."""
FIRST_STATES = 10
LEAST_TO_LEARN = 20
"""With fewer products nothing can be learned of what words, margins or price levels are worth."""


@dataclass(frozen=True)
class Elasticities:
    """Posterior of P products' elasticities in K channels."""

    mean: Floats
    """(P, K)."""
    sd: Floats
    """(P, K), uncertainty of all levels included."""
    own_estimate: Floats
    """(P, K) what the product's own data say about each channel, through any channel; NaN where nothing."""
    own_se: Floats
    """(P, K) its standard error; inf where nothing."""
    shop_mean: Floats
    """(K,) mean elasticity of the shop."""
    shop_sd: Floats
    widening: Floats = field(repr=False)
    """(P, K) factor on the width of the shrunken posterior."""
    shrunken: Shrunken = field(repr=False)

    def draws(self, n: int, rng: np.random.Generator) -> Floats:
        """(n, P, K) joint posterior draws."""
        return self.mean + self.widening * (self.shrunken.draws(n, rng) - self.mean)


def default_prior(names: tuple[str, ...]) -> Prior:
    """Prior of the channels that a panel has: each is regressed on those before it."""
    full = (PROMOTION, REGULAR, EXPERIMENT)
    link = np.array([[0.0, 0.0, 0.0], [EVERYDAY_RATIO, 0.0, 0.0], [0.0, 1.0, 0.0]])
    chain = np.linalg.inv(np.eye(3) - link)
    innovation = np.diag([TYPICAL_SD**2, EVERYDAY_SD**2, EXPERIMENT_SD**2])
    slope = np.array([[0.0, 0.0, 0.0], [0.7, 0.0, 0.0], [0.2, 0.5, 0.0]])
    keep = [full.index(name) for name in names]
    return Prior(
        mean=(chain @ np.array([TYPICAL, 0.0, 0.0]))[keep],
        covariance=(chain @ innovation @ chain.T)[np.ix_(keep, keep)],
        log_sd=np.log([0.5, 0.3, 0.3])[keep],
        log_sd_sd=np.full(len(keep), 0.6),
        slope=slope[np.ix_(keep, keep)],
        slope_sd=np.full((len(keep), len(keep)), 0.35),
    )


def shrink_elasticities(
    estimate: Floats,
    precision: Floats,
    category: Ints,
    names: tuple[str, ...],
    *,
    rng: np.random.Generator,
    text: Floats | None = None,
    covariates: Floats | None = None,
) -> Elasticities:
    """Posterior of all products' elasticities.

    Args:
        estimate: (P, K) unshrunken elasticities.
        precision: (P, K, K) inverse noise covariance; zero rows where a channel says nothing.
        category: (P,) 0…C-1.
        names: (K,) channels.
        rng: draws the spreads.
        text: (P, E) embeddings of the products' words; None: no neighbours.
        covariates: (P, Q) standardised descriptors of the products; None: none.
    """
    prior = default_prior(names)
    offset = np.zeros_like(estimate)
    if len(estimate) >= LEAST_TO_LEARN:
        for learn, described in ((covariate_offsets, covariates), (text_offsets, text)):
            if described is not None:
                rest = estimate - offset
                first = shrink(rest, precision, category, prior, rng=rng, states=FIRST_STATES)
                offset = offset + learn(described, first, rest, precision)
    shrunken = shrink(estimate, precision, category, prior, rng=rng, offset=offset)
    widening = _widening(shrunken)
    return Elasticities(
        mean=shrunken.mean,
        sd=widening * np.sqrt(np.maximum(np.diagonal(shrunken.covariance, axis1=1, axis2=2), 1e-12)),
        own_estimate=shrunken.own_estimate,
        own_se=shrunken.own_se,
        shop_mean=shrunken.shop_mean,
        shop_sd=np.sqrt(np.diagonal(shrunken.shop_covariance)),
        widening=widening,
        shrunken=shrunken,
    )


def _widening(shrunken: Shrunken) -> Floats:
    """(P, K) how much wider than the normal hierarchy says the strongest responses are.

    Products with strong responses differ more from each other than products with weak ones, and one common spread is
    too narrow for them. Only widths change: a spread that follows the estimate would shrink the mean less the luckier
    the noise.
    """
    typical = np.maximum(np.abs(shrunken.shop_mean), 0.3)
    relative = np.maximum(-shrunken.mean, 0.0) / typical
    return EVERY_WIDTH * np.clip(relative, 1.0, LARGEST_RELATIVE) ** RELATIVE_POWER
