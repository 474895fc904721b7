"""Elasticities of many products: the hierarchies of `shrinkage` and `log_normal`, with what is known beforehand.

The normal one tells what each product's own data say and what its words foretell; the one on the log scale, which keeps
every elasticity negative, is the posterior that is acted on.

Priors: mean elasticity of packaged goods from the literature (Tellis, JMR 1988: -1.8; Bijmolt, van Heerde & Pieters,
JMR 2005: -2.6), made wide.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from engine.demand.channels import EXPERIMENT, PROMOTION, REGULAR
from engine.demand.log_normal import sample_hierarchy
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
LOG_TYPICAL_SD, LOG_EVERYDAY_SD, LOG_EXPERIMENT_SD = 0.6, 0.35, 0.45
"""The same three on the log scale."""
LOG_SPREADS = (0.35, 0.25, 0.2)
"""Spread of a category's products: of promotion elasticities, everyday ones given those, random ones given both."""
EVERY_WIDTH = 1.2
"""What the hierarchy leaves out of every width: the noise and the words' worth are taken as known. Chosen on seeds 1-6
of two scenarios, where 90 % intervals then hold .91 and more."""
LARGEST_SIZE = 8.0
"""Nobody minds a price more than that; without a bound, products of which nothing is known have no mean."""
FIRST_STATES = 10
LEAST_TO_LEARN = 20
"""With fewer products nothing can be learned of what words, margins or price levels are worth."""
LEAST_CENTRE = 0.2
LARGEST_WORDS = 0.9
"""Log points by which words may move an elasticity."""


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
    sampled: Floats = field(repr=False)
    """(D, P, K) joint posterior draws."""

    def draws(self, n: int, rng: np.random.Generator) -> Floats:
        """(n, P, K) of the joint posterior draws, each as often as any other while there are enough."""
        available = len(self.sampled)
        order = np.concatenate([rng.permutation(available) for _ in range(-(-n // available))])
        return np.asarray(self.sampled[order[:n]])


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


def log_prior(names: tuple[str, ...]) -> Prior:
    """`default_prior` for the log of minus the elasticities."""
    full = (PROMOTION, REGULAR, EXPERIMENT)
    link = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    chain = np.linalg.inv(np.eye(3) - link)
    innovation = np.diag([LOG_TYPICAL_SD**2, LOG_EVERYDAY_SD**2, LOG_EXPERIMENT_SD**2])
    slope = np.array([[0.0, 0.0, 0.0], [0.8, 0.0, 0.0], [0.2, 0.6, 0.0]])
    keep = [full.index(name) for name in names]
    return Prior(
        mean=(chain @ np.array([np.log(-TYPICAL), np.log(EVERYDAY_RATIO), 0.0]))[keep],
        covariance=(chain @ innovation @ chain.T)[np.ix_(keep, keep)],
        log_sd=np.log(LOG_SPREADS)[keep],
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
    draws: int,
    text: Floats | None = None,
    covariates: Floats | None = None,
) -> Elasticities:
    """Posterior of all products' elasticities.

    Args:
        estimate: (P, K) unshrunken elasticities.
        precision: (P, K, K) inverse noise covariance; zero rows where a channel says nothing.
        category: (P,) 0…C-1.
        names: (K,) channels.
        rng: draws the spreads and the posterior.
        draws: number of posterior draws.
        text: (P, E) embeddings of the products' words; None: no neighbours.
        covariates: (P, Q) standardised descriptors of the products; None: none.
    """
    normal = shrink(estimate, precision, category, default_prior(names), rng=rng, states=FIRST_STATES)
    learn = len(estimate) >= LEAST_TO_LEARN
    words = _words_worth(text, normal, estimate, precision) if learn and text is not None else None
    sampled = sample_hierarchy(
        estimate,
        normal.trusted,
        category,
        log_prior(names),
        rng=rng,
        draws=draws,
        offset=words,
        covariates=covariates[:, covariates.any(axis=0)] if learn and covariates is not None else None,
    )
    elasticity = _widened(sampled.log_size)
    return Elasticities(
        mean=elasticity.mean(axis=0),
        sd=elasticity.std(axis=0),
        own_estimate=normal.own_estimate,
        own_se=normal.own_se,
        shop_mean=sampled.shop.mean(axis=0),
        shop_sd=sampled.shop.std(axis=0),
        sampled=elasticity,
    )


def _words_worth(text: Floats, normal: Shrunken, estimate: Floats, precision: Floats) -> Floats:
    """(P, K) what text neighbours foretell about the log of a product's elasticity, beside its category's."""
    centre = np.minimum(normal.category_mean[normal.category], -LEAST_CENTRE)
    shifted = np.minimum(centre + text_offsets(text, normal, estimate, precision), -1e-3)
    return np.asarray(np.clip(np.log(shifted / centre), -LARGEST_WORDS, LARGEST_WORDS))


def _widened(log_size: Floats) -> Floats:
    """(D, P, K) elasticities `EVERY_WIDTH` times as far apart in logs, with the same mean."""
    log_size = np.minimum(log_size, np.log(LARGEST_SIZE))
    middle = log_size.mean(axis=0)
    wide = np.exp(np.minimum(middle + EVERY_WIDTH * (log_size - middle), np.log(LARGEST_SIZE)))
    return np.asarray(-wide * (np.exp(log_size).mean(axis=0) / wide.mean(axis=0)))
