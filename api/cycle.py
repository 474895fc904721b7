"""One whole cycle, from the shop's data to a stored proposal: the only place where all parts meet.

load → features → demand → optimise → propose. Every stage is timed and shown; nothing is stored or written before
every plan has been re-checked, so that a cycle killed at any stage leaves the store and the folder as they were.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.ahead import Ahead, compiling_ahead
from api.beside import Beside, working_beside
from api.fingerprints import code_fingerprint, configuration_fingerprint
from engine.blas import one_blas_thread
from engine.errors import ConfigurationError, InfeasibleError
from engine.files import plain
from engine.progress import Progress, Silent, Stopwatch
from engine.proposal import Proposal, State
from engine.settings import Settings
from engine.shop import Shop

if TYPE_CHECKING:
    from api.coupon_stage import CouponResult
    from api.price_evidence import AskedEvidence
    from api.price_stage import PosedPrices, PriceResult

PARTS = ("prices", "coupons")


def run_cycle(
    settings: Settings,
    *,
    now: datetime,
    created_by: str,
    only: Iterable[str] = PARTS,
    out: Path | None = None,
    progress: Progress | None = None,
) -> Proposal:
    """Run one cycle and store its proposal as a draft.

    Args:
        settings: `settings.data.source` names the data.
        now: time of the proposal, UTC.
        created_by: who asked, for the audit.
        only: "prices", "coupons" or both.
        out: folder for the files; made if missing, replaced file by file, each atomically.
        progress: listens to the stages.

    Raises:
        InputError: data or configuration are refused; nothing is stored.
        InfeasibleError: no plan satisfies the rules; the proposal is stored with the explanation first.
    """
    from engine.sources import open_shop
    from engine.store import open_store

    parts = _parts(only)
    watch = Stopwatch(progress or Silent())
    compiling = compiling_ahead() if "prices" in parts else nullcontext(Ahead())
    with one_blas_thread(), compiling as ahead, working_beside(settings) as beside:
        with watch.stage("load"):
            shop = open_shop(settings.data.source, settings, watch.listener)
            store = open_store(settings.store_url, upgrade=True)
        try:
            prices, coupons = _plans(shop, settings, watch, parts, ahead, beside)
        except InfeasibleError as error:
            store.save_proposal(_infeasible(shop, settings, error, now=now, created_by=created_by))
            raise
    return keep_proposal(shop, settings, prices, coupons, watch, now=now, created_by=created_by, out=out)


def keep_proposal(
    shop: Shop,
    settings: Settings,
    prices: PriceResult | None,
    coupons: CouponResult | None,
    watch: Stopwatch,
    *,
    now: datetime,
    created_by: str,
    out: Path | None,
) -> Proposal:
    """Store what the stages found as a draft, and write its files.

    Raises:
        StorageError: disk or database did not take it; nothing half is kept.
    """
    from api.outputs import render_outputs
    from engine.files import atomic_texts
    from engine.store import open_store

    proposal = assemble(shop, settings, prices, coupons, watch.seconds, now=now, created_by=created_by)
    with watch.stage("store"):
        # Rendered before anything is kept: a report that cannot be drawn must not leave a proposal without one.
        store = open_store(settings.store_url, upgrade=True)
        if out is None:
            store.save_proposal(proposal)
            return proposal
        with atomic_texts(out, render_outputs(proposal, language=settings.server.language)):
            store.save_proposal(proposal)  # after every file fits on the disk, and before any of them counts
    return proposal


def _parts(only: Iterable[str]) -> tuple[str, ...]:
    parts = tuple(only)
    unknown = [part for part in parts if part not in PARTS]
    if unknown or not parts:
        raise ConfigurationError(f"--only {','.join(parts)!r}: name prices, coupons or both, separated by a comma")
    return parts


def _plans(
    shop: Shop, settings: Settings, watch: Stopwatch, parts: tuple[str, ...], ahead: Ahead, beside: Beside
) -> tuple[PriceResult | None, CouponResult | None]:
    """Propose what was asked for.

    Coupons, which no price depends on, are decided while the price kernels compile and the evidence that no plan is
    needed for is gathered.
    """
    posed, asked = _posed_prices(shop, settings, watch, beside) if "prices" in parts else (None, None)
    coupons = _coupon_part(shop, beside.share(settings), watch) if "coupons" in parts else None
    if ahead.busy:
        with watch.stage("compile"):
            ahead.wait()
    return (_price_part(shop, settings, watch, posed, asked) if posed else None), coupons


def _posed_prices(
    shop: Shop, settings: Settings, watch: Stopwatch, beside: Beside
) -> tuple[PosedPrices, AskedEvidence]:
    from api.price_evidence import ask_evidence
    from api.price_stage import pose_prices

    posed = pose_prices(shop, settings, watch, beside)
    with watch.stage("halves"):
        return posed, ask_evidence(shop, settings, posed.demand, beside)


def _price_part(
    shop: Shop, settings: Settings, watch: Stopwatch, posed: PosedPrices, asked: AskedEvidence | None
) -> PriceResult:
    from api.price_choice import price_choice
    from api.price_stage import choose_posed

    return choose_posed(shop, settings, watch, posed, price_choice(posed.rules, settings), asked)


def _coupon_part(shop: Shop, settings: Settings, watch: Stopwatch) -> CouponResult:
    from api.coupon_stage import propose_coupons

    return propose_coupons(shop, settings, watch)


def assemble(
    shop: Shop,
    settings: Settings,
    prices: PriceResult | None,
    coupons: CouponResult | None,
    seconds: Mapping[str, float],
    *,
    now: datetime,
    created_by: str,
) -> Proposal:
    """Join the results of the stages into a draft with its fingerprints."""
    from api.summary import summarise

    fingerprints = _fingerprints(shop, settings) | {"plan": _plan_fingerprint(prices, coupons)}
    summary = {
        "proposal_id": _identifier(fingerprints, now),
        **summarise(shop, settings, prices, coupons),
        "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
        "fingerprints": fingerprints,
    }
    return _proposal(shop, settings, State.DRAFT, summary, prices, coupons, now=now, created_by=created_by)


def _infeasible(shop: Shop, settings: Settings, error: InfeasibleError, *, now: datetime, created_by: str) -> Proposal:
    """A proposal without a plan that keeps the explanation, so that somebody can change the rules."""
    fingerprints = _fingerprints(shop, settings)
    summary = {
        "proposal_id": _identifier(fingerprints, now),
        "data": shop.name,
        "seed": settings.seed,
        "infeasible": str(error),
        "explanation": error.sentence,
        "conflict": plain(getattr(error, "explanation", None)),
        "fingerprints": fingerprints,
    }
    return _proposal(shop, settings, State.INFEASIBLE, summary, None, None, now=now, created_by=created_by)


def _proposal(
    shop: Shop,
    settings: Settings,
    state: State,
    summary: Mapping[str, Any],
    prices: PriceResult | None,
    coupons: CouponResult | None,
    *,
    now: datetime,
    created_by: str,
) -> Proposal:
    return Proposal(
        proposal_id=str(summary["proposal_id"]),
        data=shop.name,
        state=state,
        created_at=now,
        created_by=created_by,
        horizon_weeks=settings.demand.horizon_weeks,
        currency=settings.data.currency,
        summary=summary,
        evidence=_evidence(shop, settings, prices, coupons),
        prices=prices.lines if prices else (),
        coupons=coupons.lines if coupons else (),
        frontier=prices.frontier if prices else (),
    )


def _evidence(
    shop: Shop, settings: Settings, prices: PriceResult | None, coupons: CouponResult | None
) -> dict[str, Any]:
    return {
        "notes": list(shop.notes),
        "faults": [fault.reason() for fault in shop.faults],
        "prices": dict(prices.evidence) if prices else None,
        "coupons": dict(coupons.evidence) if coupons else None,
        "settings": settings.model_dump(mode="json", exclude={"store", "server", "log"}),
    }


def _fingerprints(shop: Shop, settings: Settings) -> dict[str, str]:
    return {
        "data": shop.fingerprint,
        "configuration": configuration_fingerprint(settings),
        "code": code_fingerprint(),
        "seed": str(settings.seed),
    }


def _identifier(fingerprints: Mapping[str, str], now: datetime) -> str:
    digest = hashlib.sha256("|".join([*fingerprints.values(), now.isoformat()]).encode()).hexdigest()
    return f"P{now:%Y%m%d}-{digest[:10]}"


def _plan_fingerprint(prices: PriceResult | None, coupons: CouponResult | None) -> str:
    digest = hashlib.sha256()
    for line in prices.lines if prices else ():
        digest.update(f"{line.product_id}\x1f{line.proposed_price:.4f}\n".encode())
    for sent in coupons.lines if coupons else ():
        digest.update(f"{sent.customer_id}\x1f{sent.offer_id}\n".encode())
    return digest.hexdigest()
