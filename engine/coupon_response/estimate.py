"""From the coupon history to the response of each customer to each offer, with what speaks for and against it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np

from engine.coupon_response.attributes import Attributes, build_attributes
from engine.coupon_response.checks import auc, check_agreement, check_overlap, check_placebo, rows_of
from engine.coupon_response.effect import Effect, fit_effect, make_basis, row_design
from engine.coupon_response.history import History, read_history
from engine.coupon_response.nuisance import Nuisance, fit_nuisance, fit_propensity, folds_of
from engine.coupon_response.policy import cross_fitted_value
from engine.coupon_response.record import (
    Agreement,
    Bools,
    CouponResponse,
    Floats,
    Ints,
    Overlap,
    Placebo,
    PolicyValue,
)
from engine.coupon_response.redemption import expected_cost
from engine.coupon_response.verdict import MIN_RANDOMISED, hopeless, judge
from engine.proposal import Reason
from engine.settings import Settings
from engine.shop import Shop

METHOD = "cross-fitted R-learner, linear with learned group shrinkage"
FOLDS = 5
SCALE_DRAWS = 8101
"""Stream of random numbers for the shrinkage."""
MAX_ROWS = 300_000
"""A longer history is learned from by a sample of its customers; every customer is predicted."""


def estimate_coupon_response(
    shop: Shop,
    settings: Settings,
    *,
    profiles: Any = None,  # noqa: ANN401 - Profiles; typed where it is written
    seed: int,
    excluded_attributes: Collection[str] = (),
) -> CouponResponse | None:
    """Incremental profit and expected cost of each offer for each customer, against sending nothing.

    All recipients count, redeemers or not. Money per wave.

    Args:
        shop: its coupon_history and, where present, customers.
        settings: `coupons.offers` and `demand.folds`.
        profiles: customer profiles; see attributes.py for what is taken from them.
        seed: of folds and trees.
        excluded_attributes: columns of the customers table that must not steer who is sent a coupon.

    Returns:
        The response; None where the shop has no coupon history. Degenerate histories come back as not credible, with
        zeros and the reason.
    """
    if not shop.has("coupon_history"):
        return None
    history = read_history(shop, settings.coupons.offers)
    reason = hopeless(history)
    if reason is not None:
        return _nothing(history, reason)
    attributes = build_attributes(shop, history, profiles, excluded_attributes)
    some = _sampled(history, np.random.default_rng(seed))
    if not some.all():
        history, attributes = rows_of(history, some), replace(attributes, rows=attributes.rows[some])
    return _estimate(history, attributes, folds=min(settings.demand.folds, FOLDS), seed=seed)


def _sampled(history: History, rng: np.random.Generator) -> Bools:
    """(R,) rows to learn from: those of so many customers, drawn at random, that memory and time stay within bounds."""
    if len(history.arm) <= MAX_ROWS:
        return np.ones(len(history.arm), dtype=np.bool_)
    share = MAX_ROWS / len(history.arm)
    return np.asarray((rng.random(len(history.customer_ids)) < share)[history.customer], dtype=np.bool_)


def _estimate(history: History, attributes: Attributes, *, folds: int, seed: int) -> CouponResponse:
    rng = np.random.default_rng(seed)
    fold = folds_of(history, folds, rng)
    nuisance = fit_nuisance(history, attributes.rows, fold, seed=seed)
    everything = np.ones(len(fold), dtype=np.bool_)
    residual, treatment = history.gross - nuisance.outcome, _treatment(history, nuisance)
    agreement = check_agreement(history, residual, treatment)
    unexcluded = agreement.randomised_se if history.randomised.sum() >= MIN_RANDOMISED else 0.0
    effect = _fit(history, attributes, nuisance, everything, unexcluded, seed)
    errors = effect.error(attributes.today)
    cost = expected_cost(history, attributes.rows, attributes.today)
    estimated = effect.predict(attributes.today) - cost
    estimated[:, 0] = 0.0
    overlap = check_overlap(history, nuisance.propensity)
    placebo = check_placebo(history, attributes.rows, attributes.names, fold, seed=seed)
    verdict = judge(history, overlap, placebo, agreement, _balance(history, attributes, fold))

    def learn(train: Bools) -> tuple[Floats, Floats]:
        part = _fit(history, attributes, nuisance, train, unexcluded, seed)
        mine = rows_of(history, train)
        return part.predict(attributes.rows), expected_cost(mine, attributes.rows[train], attributes.rows)

    return CouponResponse(
        customer_ids=history.customer_ids,
        offer_ids=history.offer_ids,
        profit=np.where(verdict.offer_credible | (not verdict.credible), estimated, 0.0),
        profit_se=errors.sd(),
        cost=cost,
        credible=verdict.credible,
        verdict=verdict.reasons,
        overlap=overlap,
        placebo=placebo,
        face_value=history.face_value,
        n_randomised=int(history.randomised.sum()),
        method=METHOD,
        estimated_profit=estimated,
        offer_credible=verdict.offer_credible,
        agreement=agreement,
        policy=cross_fitted_value(history, nuisance, fold, learn),
        n_rows=len(history.arm),
        errors=errors,
    )


def _treatment(history: History, nuisance: Nuisance) -> Floats:
    """(R, O) offer sent less its chance."""
    sent: Floats = (history.arm[:, None] == np.arange(len(history.offer_ids))) - nuisance.propensity
    return sent


def _fit(
    history: History, attributes: Attributes, nuisance: Nuisance, mine: Bools, unexcluded: float, seed: int
) -> Effect:
    """Fit the effect on some of the rows; randomised rows ground it where there are enough (`unexcluded` > 0)."""
    basis = make_basis(history.face_value)
    targeted = ~history.randomised[mine]
    grounded = unexcluded > 0 and bool(targeted.any())
    design, groups = row_design(
        basis,
        attributes.rows[mine],
        _treatment(history, nuisance)[mine],
        1 - nuisance.propensity[mine, 0],
        targeted if grounded else None,
    )
    return fit_effect(
        design,
        groups,
        (history.gross - nuisance.outcome)[mine],
        nuisance.variance[mine],
        history.customer[mine],
        basis,
        rng=np.random.default_rng([seed, SCALE_DRAWS]),
        unexcluded=unexcluded,
    )


def _balance(history: History, attributes: Attributes, fold: Ints) -> float:
    """How well the attributes tell who was sent a coupon in the randomised rows; .5 where there are none."""
    mine = history.randomised
    sent = history.arm[mine] > 0
    if not mine.any() or sent.all() or not sent.any():
        return 0.5
    part = rows_of(history, mine)
    as_targeted = replace(part, randomised=np.zeros(int(mine.sum()), dtype=np.bool_))
    chance = 1 - fit_propensity(as_targeted, attributes.rows[mine], fold[mine])[:, 0]
    return auc(chance, sent)


def _nothing(history: History, reason: Reason) -> CouponResponse:
    """A response that says why nothing can be said."""
    shape = (len(history.customer_ids), len(history.offer_ids))
    unknown = float("nan")
    return CouponResponse(
        customer_ids=history.customer_ids,
        offer_ids=history.offer_ids,
        profit=np.zeros(shape),
        profit_se=np.zeros(shape),
        cost=np.zeros(shape),
        credible=False,
        verdict=(reason,),
        overlap=Overlap(0, unknown, 0.0, 0.0),
        placebo=Placebo("", unknown, unknown, unknown, np.zeros(shape[1])),
        face_value=np.nan_to_num(history.face_value),
        n_randomised=int(history.randomised.sum()),
        method="none",
        estimated_profit=np.zeros(shape),
        offer_credible=np.arange(shape[1]) == 0,
        agreement=Agreement(unknown, unknown, unknown, unknown),
        policy=PolicyValue.of(0.0, 0.0, 0.0),
        n_rows=len(history.arm),
    )
