"""The coupon history as arrays: who was sent what in which wave, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.coupon_response.record import Bools, Floats, Ints
from engine.shop import Shop


@dataclass(frozen=True)
class History:
    """R rows, N customers, O offers of which offer 0 is none, sorted by customer and wave."""

    customer_ids: npt.NDArray[np.object_]
    """(N,) sorted; those in the customers table and those in the history."""
    offer_ids: tuple[str, ...]
    """(O,) the first is ''."""
    face_value: Floats
    """(O,) mean face value of what was sent, money; 0 where unknown."""
    customer: Ints
    """(R,) number of the customer."""
    wave: Ints
    """(R,) 0…W-1 in order of time."""
    stratum: Ints
    """(R,) rows that are compared with each other: a wave, or an offer within a wave where unsent rows name it."""
    arm: Ints
    """(R,) offer sent, 0 for none."""
    profit: Floats
    """(R,) money, net of the coupon."""
    redeemed_value: Floats
    """(R,) face value of what was redeemed, money."""
    redeemed: Bools
    """(R,) where nobody logged it: sent rows, those that bought where that is known: the most it can be."""
    redemption_known: bool
    bought: Floats
    """(R,) 1: bought; NaN where unknown."""
    randomised: Bools
    before: Floats | None
    """(R,) profit before the wave, where the history holds it (column profit_before)."""
    has_profit: bool
    dropped: int
    """Rows without a profit."""

    @property
    def gross(self) -> Floats:
        """(R,) profit with the redeemed value added back."""
        return self.profit + self.redeemed_value

    @property
    def n_waves(self) -> int:
        """W."""
        return int(self.wave.max()) + 1 if len(self.wave) else 0


def read_history(shop: Shop, offers: Sequence[str] | None) -> History:
    """Read coupon_history; rows of offers that are not considered are left out.

    Args:
        shop: has the table coupon_history.
        offers: identifiers to consider; None: all.
    """
    table = pd.read_parquet(shop.tables["coupon_history"])
    people = table["customer_id"].astype(str)
    table = table.assign(customer_id=people).sort_values(["customer_id", "wave"], kind="stable")
    has_profit = "profit" in table and bool(table["profit"].notna().any())
    offer = _offers(table)
    keep = _usable(table, offer, offers, has_profit=has_profit)
    ids = _everybody(shop, table)
    table, offer = table[keep], offer[keep]
    sent = table["sent"].to_numpy(dtype=np.float64) > 0
    names = sorted(set(offer[sent]))
    arm = np.where(sent, 1 + np.searchsorted(names, offer) if names else 0, 0)
    face = _column(table, "face_value", 0.0)
    known = "redeemed" in table and bool(table["redeemed"].notna().any())
    redeemed = sent & (_column(table, "redeemed", 0.0) > 0 if known else _column(table, "bought", 1.0) > 0)
    wave = np.unique(table["wave"].to_numpy(), return_inverse=True)[1]
    return History(
        customer_ids=ids,
        offer_ids=("", *names),
        face_value=np.array([0.0, *(float(face[arm == o + 1].mean()) for o in range(len(names)))]),
        customer=np.searchsorted(ids.astype(str), table["customer_id"].to_numpy().astype(str)).astype(np.int64),
        wave=wave.astype(np.int64),
        stratum=_strata(wave, offer, sent),
        arm=arm.astype(np.int64),
        profit=_column(table, "profit", 0.0),
        redeemed_value=np.where(redeemed, face, 0.0),
        redeemed=redeemed,
        redemption_known=known,
        bought=_column(table, "bought", np.nan),
        randomised=_column(table, "randomised", 0.0) > 0,
        before=_column(table, "profit_before", 0.0) if "profit_before" in table else None,
        has_profit=has_profit,
        dropped=int(table["profit"].isna().sum()) if has_profit else 0,
    )


def _offers(table: pd.DataFrame) -> npt.NDArray[np.object_]:
    """Offer that each row names: '' where none, "coupon" for all sent rows of a history without offers.

    What was never sent to anybody is no offer: shops write none, 0 or no_coupon in the rows of those who got nothing.
    """
    if "offer_id" not in table:
        return np.where(table["sent"].to_numpy(dtype=np.float64) > 0, "coupon", "").astype(object)
    named = table["offer_id"]
    sent = table["sent"].to_numpy(dtype=np.float64) > 0
    text = named.astype(object).where(named.notna(), "").astype(str).to_numpy(dtype=object)
    text = np.where(np.isin(text.astype(str), np.unique(text[sent].astype(str))), text, "")
    return np.where(sent & (text == ""), "coupon", text).astype(object)


def _usable(
    table: pd.DataFrame, offer: npt.NDArray[np.object_], offers: Sequence[str] | None, *, has_profit: bool
) -> Bools:
    keep = table["profit"].notna().to_numpy() if has_profit else np.ones(len(table), dtype=np.bool_)
    keep = keep & table["sent"].notna().to_numpy()
    if offers is not None:
        keep = keep & np.isin(offer.astype(str), ["", *offers])
    return np.asarray(keep, dtype=np.bool_)


def _everybody(shop: Shop, table: pd.DataFrame) -> npt.NDArray[np.object_]:
    ids = set(table["customer_id"])
    if shop.has("customers"):
        ids |= set(pd.read_parquet(shop.tables["customers"], columns=["customer_id"])["customer_id"].astype(str))
    return np.array(sorted(ids), dtype=object)


def _column(table: pd.DataFrame, name: str, missing: float) -> Floats:
    if name not in table:
        return np.full(len(table), missing)
    values = pd.to_numeric(table[name]).to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isnan(values), missing, values)


def _strata(wave: Ints, offer: npt.NDArray[np.object_], sent: Bools) -> Ints:
    """Waves; split by offer where the rows of those who were not sent anything say which offer that was."""
    named = offer.astype(str)
    if not (named[~sent] != "").any():
        return np.unique(wave, return_inverse=True)[1].astype(np.int64)
    by_offer = wave * (1 + len(set(named))) + np.unique(named, return_inverse=True)[1]
    strata: Ints = np.unique(by_offer, return_inverse=True)[1].astype(np.int64)
    return strata
