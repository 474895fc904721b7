"""How demand answers to the everyday price: one elasticity for each product, with its width and a verdict.

The road: prices are split into channels (`channels`), the counts are explained net of everything else that moved them
(`controls`, `counts`), the noise of each product's estimate is measured (`noise`), and all products are shrunk together
(`shrinkage`), text neighbours helping the thin ones (`neighbours`). docs/response.md has the formulae.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.demand.channels import CLOSING_WEEKS, Channels, split_prices, with_random_moves
from engine.demand.checks import Check, ResponseDiagnostics
from engine.demand.counts import CountFit
from engine.demand.covariates import product_covariates
from engine.demand.curvature import Curvature, estimate_curvature
from engine.demand.diagnostics import agreement, coverage_checks, move_checks
from engine.demand.elasticities import LARGEST_SIZE, Elasticities, shrink_elasticities
from engine.demand.fitting import fit_panel
from engine.demand.identification import judge_products, price_range
from engine.demand.noise import noise_precision, unshrunken
from engine.demand.placebo import calibration, draw_scores
from engine.demand.remarks import remarks
from engine.demand.rivals import RivalAnswers, rival_answers, with_rivals
from engine.demand.sources import Disagreement, compare_sources
from engine.demand.substitution import Substitution, estimate_substitution, kept_positive
from engine.panel import Panel
from engine.proposal import Reason
from engine.settings import Settings

__all__ = ["Check", "Response", "ResponseDiagnostics", "ResponseDraws", "diagnose_response", "estimate_response"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

EFFECT_NOISE = 1.12
"""Noise variance of an estimate over what placebos show: a placebo has no effect, a real one also differs from week to
week. On ten shops of our simulator it was 1.2, on three of another 1.0; how much it is in a shop is learned with its
elasticities (`log_normal`)."""
OWN_RANGE = (-LARGEST_SIZE, 0.0)
"""Draws of the own elasticity are kept in this range: no plan may count on demand that rises with price."""


@dataclass(frozen=True)
class ResponseDraws:
    """N joint posterior draws of the response of P products."""

    own: Floats
    """(N, P) own elasticity at today's price, in OWN_RANGE."""
    cross: Floats
    """(N, P) elasticity to the price index of the rest of the category, not negative."""
    curvature: Floats
    """(N,) of the shop: log demand moves by own · (r^curvature - 1) / curvature at r times today's price."""


@dataclass(frozen=True)
class Reading:
    """What the sales of a panel say before anything is shrunk: the part of a response that needs no words."""

    channels: Channels
    fit: CountFit
    estimate: Floats
    """(P, K) unshrunken elasticities."""
    precision: Floats
    """(P, K, K) inverse noise covariance, calibrated by placebos."""
    rng: np.random.Generator
    """As the placebos left it."""
    disagreement: Disagreement | None
    """Of random moves with the others; None where there are none."""


@dataclass(frozen=True)
class Response:
    """Own and cross response of P products to the everyday price; units: elasticities."""

    elasticity: Floats
    """(P,) posterior mean of the own elasticity at today's everyday price."""
    elasticity_se: Floats
    """(P,) posterior standard deviation: own noise, spread of products, and uncertainty of category and shop."""
    raw: Floats
    """(P,) what the product's own data say, unshrunken; NaN where they say nothing."""
    raw_se: Floats
    """(P,) standard error of `raw`; inf where the product's own data say nothing."""
    identified: Bools
    """(P,) False: the price is held."""
    verdict: tuple[Reason, ...]
    """(P,) why identified or not."""
    price_low: Floats
    """(P,) lowest price at which the response is taken to hold, money per unit."""
    price_high: Floats
    cross: Floats
    """(P,) posterior mean of the elasticity to the price index of the rest of the category, >= 0."""
    cross_se: Floats
    index_weight: Floats
    """(P,) how much a product's price counts in that index; sums to 1 in each category."""
    channels: tuple[str, ...]
    """(K,) names of the price channels; the last is the one acted on."""
    channel_mean: Floats
    """(P, K) posterior mean by channel."""
    channel_sd: Floats
    shop_mean: Floats
    """(K,) the shop's mean elasticity by channel."""
    shop_sd: Floats
    notes: tuple[Reason, ...] = ()
    """Sentences that every proposal made with this response must print."""
    diagnostics: ResponseDiagnostics = field(default_factory=ResponseDiagnostics)
    reading: Reading | None = field(default=None, repr=False)
    posterior: Elasticities | None = field(default=None, repr=False)
    substitution: Substitution | None = field(default=None, repr=False)
    rivals: RivalAnswers | None = field(default=None, repr=False)
    curvature: Curvature | None = field(default=None, repr=False)

    def draws(self, n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Joint posterior draws of own (n, P) and cross elasticities (n, P); see `joint_draws`."""
        drawn = self.joint_draws(n, rng)
        return drawn.own, drawn.cross

    def joint_draws(self, n: int, rng: np.random.Generator) -> ResponseDraws:
        """Joint posterior draws: products share what is uncertain about category and shop."""
        if self.posterior is None or self.substitution is None or self.rivals is None or self.curvature is None:
            raise ValueError("this response was read back without its posterior; estimate it again to draw from it")
        category = self.substitution.draws(n, rng)
        channels = self.posterior.draws(n, rng)
        rho = self.rivals.draws(channels, rng)
        shared = self.rivals.shared(rho)
        own = channels[:, :, -1] + (category - shared) * self.substitution.own_share
        cross = np.where(self.rivals.taken, np.maximum(category + rho - shared, 0.0), category)
        curvature = self.curvature.draws(n, rng)
        own = own * np.exp(curvature[:, None] * self.curvature.shift)
        return ResponseDraws(np.clip(own, *OWN_RANGE), cross, curvature)


def estimate_response(
    panel: Panel,
    settings: Settings,
    *,
    text: npt.NDArray[np.floating[Any]] | None = None,
    seed: int,
    reading: Reading | None = None,
) -> Response:
    """Estimate the response of every product of the panel.

    Args:
        panel: weekly sales and prices.
        settings: `demand.max_elasticity_se`, `demand.min_weeks_sold`, `pricing.max_change`.
        text: (P, E) embedding of each product's words; None: neighbours are the category alone.
        seed: of the placebos that calibrate the noise, and of the posterior's sampling.
        reading: of this panel with this seed, where it is known already.

    Returns:
        a response for every product; where nothing can be learned, the prior's, with `identified` False.
    """
    reading = reading or read_sales(panel, seed)
    channels, fit, estimate, precision = reading.channels, reading.fit, reading.estimate, reading.precision
    rng = deepcopy(reading.rng)
    words = None if text is None else np.asarray(text, dtype=np.float64)
    category = panel.category_code
    posterior = shrink_elasticities(
        estimate,
        precision,
        category,
        channels.names,
        rng=rng,
        draws=settings.demand.draws,
        text=words,
        covariates=product_covariates(panel),
    )
    elasticity = posterior.mean[:, channels.target]
    substitution = estimate_substitution(panel, channels, with_rivals(fit), elasticity, rng)
    rivals = rival_answers(panel, fit, _widening(fit, precision))
    curvature = estimate_curvature(panel, channels, fit, posterior.mean)
    notes = remarks(
        channels,
        precision,
        posterior,
        reading.disagreement,
        regular_logged=panel.regular_logged,
        closing_weeks=CLOSING_WEEKS,
    )
    return _assemble(panel, settings, channels, _Parts(reading, posterior, substitution, rivals, curvature), notes)


def read_sales(panel: Panel, seed: int) -> Reading:
    """Read the sales of a panel; what is told with and without words shares it."""
    channels = split_prices(panel)
    reading = _read(panel, channels, seed)
    found = compare_sources(reading.estimate, reading.precision, panel.category_code, channels.names, reading.rng)
    if found is not None and found.agrees:
        reading = _read(panel, with_random_moves(channels), seed)
    return replace(reading, disagreement=found)


def _read(panel: Panel, channels: Channels, seed: int) -> Reading:
    fit = fit_panel(panel, channels)
    rng = np.random.default_rng([seed, 7001])
    return Reading(channels, fit, *estimates(panel, channels, fit, rng), rng, None)


def estimates(panel: Panel, channels: Channels, fit: CountFit, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Unshrunken elasticities (P, K) and their noise precision (P, K, K), calibrated by placebos."""
    scale = 1.0 / np.sqrt(EFFECT_NOISE * calibration(draw_scores(panel, channels, fit, rng)))
    return unshrunken(fit), noise_precision(fit) * scale[:, None] * scale[None, :]


def diagnose_response(
    panel: Panel, half_a: Panel, half_b: Panel, response: Response, settings: Settings, *, seed: int
) -> ResponseDiagnostics:
    """Put a response through placebos, a split half and the moves of held-out customers.

    Args:
        panel: the data that the response was estimated on.
        half_a: one of two independent halves of it with the same products.
        half_b: the other; it judges the response of the first.
        response: what is judged; products of which it knows something take part in the split half.
        settings: as for `estimate_response`.
        seed: of the placebos and of the halves' responses.
    """
    first, second = (estimate_response(half, settings, seed=seed) for half in (half_a, half_b))
    return diagnose_by_halves(panel, half_b, response, (first, second), seed=seed)


def diagnose_by_halves(
    panel: Panel, judging: Panel, response: Response, halves: tuple[Response, Response], *, seed: int
) -> ResponseDiagnostics:
    """`diagnose_response` where the responses of both halves are known already.

    Args:
        panel: the data that the response was estimated on.
        judging: the second half; it judges the response of the first.
        response: what is judged.
        halves: the responses of both halves, estimated without words, which both would share.
        seed: of the placebos.
    """
    reading = response.reading or read_sales(panel, seed)
    first, second = halves
    known = np.isfinite(response.raw_se) & np.isfinite(first.raw_se) & np.isfinite(second.raw_se)
    checks = (
        *coverage_checks(panel, reading.channels, reading.fit, np.random.default_rng([seed, 7003])),
        agreement(first.channel_mean[:, -1], second.channel_mean[:, -1], known),
        *move_checks(judging, first.channels, first.channel_mean),
    )
    return ResponseDiagnostics(checks)


@dataclass(frozen=True)
class _Parts:
    """What a response is put together from."""

    reading: Reading
    posterior: Elasticities
    substitution: Substitution
    rivals: RivalAnswers
    curvature: Curvature


def _assemble(
    panel: Panel,
    settings: Settings,
    channels: Channels,
    parts: _Parts,
    notes: tuple[Reason, ...],
) -> Response:
    target = channels.target
    posterior, substitution, rivals, curvature = parts.posterior, parts.substitution, parts.rivals, parts.curvature
    rho = rivals.at(posterior.mean)
    shared = rivals.shared(rho)
    hidden = (substitution.mean - shared) * substitution.own_share
    hidden_sd = substitution.sd * substitution.own_share
    cross, cross_sd = _cross(substitution, rivals, posterior, rho - shared)
    today = np.exp(curvature.mean * curvature.shift)
    mean = (posterior.mean[:, target] + hidden) * today
    sd = np.sqrt(
        (posterior.sd[:, target] ** 2 + hidden_sd**2) * today**2 + (mean * curvature.shift * curvature.sd) ** 2
    )
    raw, raw_se = (posterior.own_estimate[:, target] + hidden) * today, posterior.own_se[:, target] * today
    identified, verdict = judge_products(panel, settings, channels, mean, sd, raw_se)
    low, high = price_range(panel, channels, settings.pricing.max_change)
    return Response(
        elasticity=mean,
        elasticity_se=sd,
        raw=raw,
        raw_se=raw_se,
        identified=identified,
        verdict=verdict,
        price_low=low,
        price_high=high,
        cross=cross,
        cross_se=cross_sd,
        index_weight=substitution.index_weight,
        channels=channels.names,
        channel_mean=posterior.mean + hidden[:, None],
        channel_sd=posterior.sd,
        shop_mean=posterior.shop_mean,
        shop_sd=posterior.shop_sd,
        notes=notes,
        reading=parts.reading,
        posterior=posterior,
        substitution=substitution,
        rivals=rivals,
        curvature=curvature,
    )


def _cross(
    substitution: Substitution, rivals: RivalAnswers, posterior: Elasticities, apart: Floats
) -> tuple[Floats, Floats]:
    """Mean and sd (P,) of the cross elasticity, kept at zero or above: the category's, and how a product differs."""
    spread = ((rivals.gain * posterior.sd) ** 2).sum(axis=1) + rivals.sd**2
    mean, sd = kept_positive(substitution.mean + apart, np.sqrt(substitution.sd**2 + spread))
    return np.where(rivals.taken, mean, substitution.mean), np.where(rivals.taken, sd, substitution.sd)


def _widening(fit: CountFit, precision: Floats) -> Floats:
    """(P,) noise variance of the product estimates over the model's, the mean over informed channels; 1 without any."""
    model = np.diagonal(fit.information, axis1=1, axis2=2)
    noise = np.diagonal(precision, axis1=1, axis2=2)
    has = noise > 0
    ratio = np.divide(model, noise, out=np.zeros_like(model), where=has)
    return np.asarray(np.maximum(ratio.sum(axis=1) / np.maximum(has.sum(axis=1), 1), 1.0), dtype=np.float64)
