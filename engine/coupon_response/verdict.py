"""Whether coupons may be sent on the strength of the estimates: the checks put into words."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from engine.coupon_response.history import History
from engine.coupon_response.record import Agreement, Bools, Overlap, Placebo
from engine.proposal import Reason

MIN_ROWS = 100
"""Fewer rows sent, or not sent, than this say nothing."""
MIN_RANDOMISED = 400
"""Randomised rows from which their own comparison counts."""
MAX_OUTSIDE = 0.5
MAX_AUC = 0.9
MAX_PLACEBO_Z = 1.96
MAX_BALANCE_AUC = 0.56
"""The attributes may tell sent from not sent in randomised rows no better than this."""

TOO_FEW = (
    "coupons: not credible: {sent} rows were sent a coupon and {unsent} were not; at least {least} of each are needed"
)
NO_PROFIT = "coupons: not credible: coupon_history holds no profit"
NO_VARIATION = "coupons: not credible: profit is the same in every row of coupon_history"
RANDOMISED = "coupons: {rows} rows were sent or not at random; the effect rests on them, the others add precision"
NOT_RANDOM = (
    "coupons: not credible: in rows that are marked as randomised the attributes tell who was sent a coupon "
    "(AUC {auc:.2f})"
)
OVERLAP_FAILED = (
    "coupons: not credible: {outside:.0%} of the targeted rows have no counterpart on the other side "
    "(AUC of targeting {auc:.2f})"
)
OVERLAP_PASSED = "coupons: targeting leaves counterparts: {outside:.0%} of rows outside [.05, .95], AUC {auc:.2f}"
OVERLAP_UNKNOWN = (
    "coupons: in no wave were some customers chosen and others not, so that there is no targeting to look for "
    "counterparts of"
)
PLACEBO_FAILED = (
    "coupons: not credible: the coupon 'changes' profit before it was sent by {effect:+.2f} ± {se:.2f} ({kind}), "
    "which can only be selection"
)
PLACEBO_PASSED = "coupons: no effect on profit before the coupon ({effect:+.2f} ± {se:.2f}, {kind})"
PLACEBO_NONE = (
    "coupons: not credible: no profit from before the coupons to test for selection, and nothing was randomised"
)
OFFER_PLACEBO_FAILED = "offer {offer}: not credible: it 'changes' profit before it was sent ({z:+.1f} standard errors)"
OFFER_THIN = "offer {offer}: not credible: {sent} rows were sent it; at least {least} are needed"
DISAGREE = (
    "coupons: warning: targeted rows say {targeted:+.2f} ± {targeted_se:.2f} per coupon, randomised rows "
    "{randomised:+.2f} ± {randomised_se:.2f}: something hidden steers the targeting; the randomised rows decide"
)
NO_FACE = "coupons: the face value of offer {offer} is unknown: its cost counts as 0, and a budget does not bind it"
NO_REDEEMED = (
    "coupons: the data do not say who redeemed: whoever was sent a coupon and bought is taken to have redeemed it, the "
    "most that it can cost"
)
DROPPED = "coupons: {rows} rows without a profit were left out"
MESSAGES = (
    *(TOO_FEW, NO_PROFIT, NO_VARIATION, RANDOMISED, NOT_RANDOM, OVERLAP_FAILED, OVERLAP_PASSED, OVERLAP_UNKNOWN),
    *(PLACEBO_FAILED, PLACEBO_PASSED, PLACEBO_NONE, OFFER_PLACEBO_FAILED, OFFER_THIN, DISAGREE, NO_FACE, NO_REDEEMED),
    DROPPED,
)
"""Every sentence that this package can say, for the catalogue of translations."""


@dataclass(frozen=True)
class Verdict:
    """The judgement by offer, with its reasons."""

    offer_credible: Bools
    """(O,) True for offer 0."""
    reasons: tuple[Reason, ...]

    @property
    def credible(self) -> bool:
        """Whether any offer may be sent."""
        return bool(self.offer_credible[1:].any())


def hopeless(history: History) -> Reason | None:
    """Why nothing can be estimated at all; None where something can."""
    sent = int((history.arm > 0).sum())
    unsent = len(history.arm) - sent
    if not history.has_profit:
        return Reason(NO_PROFIT)
    if min(sent, unsent) < MIN_ROWS:
        return Reason(TOO_FEW, {"sent": sent, "unsent": unsent, "least": MIN_ROWS})
    if min(float(history.gross.std()), float(history.profit.std())) == 0:
        return Reason(NO_VARIATION)
    return None


def judge(history: History, overlap: Overlap, placebo: Placebo, agreement: Agreement, balance_auc: float) -> Verdict:
    """Weigh the checks: randomised rows carry a verdict alone, targeted rows need overlap and a clean placebo."""
    randomised = int(history.randomised.sum())
    reasons = _remarks(history)
    if randomised >= MIN_RANDOMISED and _two_sided(history):
        sound, said = _judge_randomised(randomised, agreement, balance_auc)
        reasons += said
    else:
        sound, said = _judge_targeted(overlap, placebo)
        reasons += said
    offers, said = _judge_offers(history, placebo, sound=sound, by_placebo=randomised < MIN_RANDOMISED)
    return Verdict(offers, (*reasons, *said))


def _two_sided(history: History) -> bool:
    sent = int((history.arm[history.randomised] > 0).sum())
    return min(sent, int(history.randomised.sum()) - sent) >= MIN_ROWS


def _remarks(history: History) -> tuple[Reason, ...]:
    unknown = [offer for offer, face in zip(history.offer_ids[1:], history.face_value[1:], strict=True) if face <= 0]
    said = tuple(Reason(NO_FACE, {"offer": offer}) for offer in unknown)
    if not history.redemption_known and (history.face_value > 0).any():
        said = (*said, Reason(NO_REDEEMED))
    return (*said, Reason(DROPPED, {"rows": history.dropped})) if history.dropped else said


def _judge_randomised(rows: int, agreement: Agreement, balance_auc: float) -> tuple[bool, tuple[Reason, ...]]:
    if balance_auc > MAX_BALANCE_AUC:
        return False, (Reason(NOT_RANDOM, {"auc": balance_auc}),)
    said: tuple[Reason, ...] = (Reason(RANDOMISED, {"rows": rows}),)
    if abs(agreement.z) > MAX_PLACEBO_Z:
        names = ("targeted", "targeted_se", "randomised", "randomised_se")
        said += (Reason(DISAGREE, {name: getattr(agreement, name) for name in names}),)
    return True, said


def _judge_targeted(overlap: Overlap, placebo: Placebo) -> tuple[bool, tuple[Reason, ...]]:
    overlapping = overlap.outside <= MAX_OUTSIDE and not overlap.auc > MAX_AUC
    said = (_said_of_overlap(overlap, overlapping),)
    if not placebo.kind:
        return False, (*said, Reason(PLACEBO_NONE))
    clean = abs(placebo.z) <= MAX_PLACEBO_Z
    values = {"effect": placebo.effect, "se": placebo.se, "kind": placebo.kind}
    return overlapping and clean, (*said, Reason(PLACEBO_PASSED if clean else PLACEBO_FAILED, values))


def _said_of_overlap(overlap: Overlap, overlapping: bool) -> Reason:
    if overlapping and math.isnan(overlap.auc):
        return Reason(OVERLAP_UNKNOWN)
    return Reason(OVERLAP_PASSED if overlapping else OVERLAP_FAILED, {"outside": overlap.outside, "auc": overlap.auc})


def _judge_offers(
    history: History, placebo: Placebo, *, sound: bool, by_placebo: bool
) -> tuple[Bools, tuple[Reason, ...]]:
    """Offers that were sent too seldom, or whose own placebo fails, do not share in the verdict."""
    credible = np.full(len(history.offer_ids), sound)
    credible[0] = True
    said: list[Reason] = []
    for offer, name in enumerate(history.offer_ids[1:], start=1):
        sent = int((history.arm == offer).sum())
        if sent < MIN_ROWS:
            said.append(Reason(OFFER_THIN, {"offer": name, "sent": sent, "least": MIN_ROWS}))
            credible[offer] = False
        elif by_placebo and sound and abs(placebo.by_offer[offer]) > MAX_PLACEBO_Z:
            said.append(Reason(OFFER_PLACEBO_FAILED, {"offer": name, "z": float(placebo.by_offer[offer])}))
            credible[offer] = False
    return credible, tuple(said)
