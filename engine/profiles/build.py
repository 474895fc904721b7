"""Drawing up the profiles of a shop's customers as of a week."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import narwhals as nw
import numpy as np
import pandas as pd

from engine.frames import open_backend, ticks
from engine.panel.read import Reader, Scope
from engine.profiles import cache
from engine.profiles.attributes import attribute_features
from engine.profiles.behaviour import behaviour_counts, behaviour_features
from engine.profiles.learning import NORMAL_95, Labels, Weights, auc, auc_gain_interval, learn, rfm
from engine.profiles.neighbours import neighbour_features
from engine.profiles.record import Floats, Profiles
from engine.profiles.shelf import read_listing, read_shelf
from engine.settings import Settings
from engine.shop import Shop

AHEAD = 4
"""Weeks ahead that the weights are learned to predict."""
MIN_HISTORY = 4
MIN_CUSTOMERS = 100
MIN_OF_EACH = 20
HIGH_SPEND = 0.75
LIMIT = 4.0
TARGET = "spend over the next four weeks is among the highest quarter"
NO_CUSTOMERS = "profiles: neither a customers table nor a purchase that names its customer; there are none"
NO_PURCHASES = "profiles: no purchase names its customer; only attributes are known, and no weight can be learned"
NOT_LEARNED = (
    "profiles: weights are hand-set (recency, frequency, spend): too few customers or weeks to learn from "
    f"(needed: {MIN_CUSTOMERS} customers, {MIN_OF_EACH} of each outcome, {AHEAD + MIN_HISTORY} weeks)"
)
CROSS_CHECKED = "profiles: too few weeks to judge on later ones; the AUC is that of the weeks learned from"
RECENCY, FREQUENCY, MONETARY = "behaviour.recency", "behaviour.baskets_13", "behaviour.spend_13"


def build_profiles(shop: Shop, settings: Settings, *, as_of: int | None = None) -> Profiles:
    """Draw up profiles of everybody known at the end of a week.

    The features of week w - 4 and what was spent in the four weeks after it give the weights; applied to the features
    of week w they give P(u). The AUC is that of weights learned four weeks earlier still, on the last four weeks.

    Args:
        shop: customers and transactions are read where it has them.
        settings: the limits of the dataframe layer, the home of the text cache, the seed of folds and bootstrap.
        as_of: nothing recorded after this week is looked at; None: the last week with a purchase.

    Returns:
        profiles; without customers an empty record, with a note that says so.
    """
    return cache.kept(shop, settings, as_of, lambda: _build(shop, settings, as_of))


def _build(shop: Shop, settings: Settings, as_of: int | None) -> Profiles:
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(1), open_backend(settings) as backend:  # so that no digit depends on the number of threads
        history = _History(Reader(shop, backend), settings.home / "cache")
        return history.profiles(as_of, settings.seed)


@dataclass(frozen=True)
class _Snapshot:
    """Scaled features of the customers known at the end of a week."""

    features: pd.DataFrame
    raw: pd.DataFrame

    def values(self, names: Sequence[str]) -> Floats:
        """(N, F) with zeros for a feature that this week did not have."""
        return self.features.reindex(columns=list(names), fill_value=0.0).to_numpy(dtype=np.float64)

    def rfm(self) -> Floats:
        return rfm(*(self.raw[name].to_numpy(dtype=np.float64) for name in (RECENCY, FREQUENCY, MONETARY)))


class _History:
    """Snapshots of one shop."""

    def __init__(self, reader: Reader, folder: Path) -> None:
        self._reader = reader
        self._cache = folder
        self._attributes = attribute_features(reader)
        self._listing = read_listing(reader)

    def profiles(self, as_of: int | None, seed: int) -> Profiles:
        if "customer_id" not in self._reader.columns("transactions"):
            return self._without_purchases(as_of)
        first, last = self._weeks(as_of)
        if last < first:
            return self._without_purchases(as_of)
        as_of = last if as_of is None else as_of
        now = self._snapshot(as_of, first, everybody=True)
        if as_of - AHEAD - first + 1 >= MIN_HISTORY:
            before, label = self._training(as_of - AHEAD, first)
            if _enough(label):
                names = list(before.features.columns)
                weights = learn(before.values(names), label, seed)
                return self._learned(now, names, weights, before, label, as_of, first, seed)
        return _hand_set(now, as_of)

    def _weeks(self, as_of: int | None) -> tuple[int, int]:
        lines = self._reader.transactions(Scope(until_week=as_of)).filter(~nw.col("customer_id").is_null())
        found = self._reader.collect(lines.select(first=nw.col("week").min(), last=nw.col("week").max()))
        if found.isna().to_numpy().any():
            return 0, -1
        return int(found["first"].iloc[0]), int(found["last"].iloc[0])

    def _snapshot(self, week: int, first: int, *, everybody: bool) -> _Snapshot:
        shelf = read_shelf(self._reader, self._listing, week, self._cache)
        counts = behaviour_counts(self._reader, shelf, week, shelf.departments)
        if everybody:
            names = sorted(set(counts.index) | set(self._attributes.index))
            counts = counts.reindex(names)
            counts = counts.fillna({str(name): 0 for name in counts.columns if name not in ("first", "last")})
        raw = behaviour_features(counts, week, first, shelf.departments)
        attributes = self._attributes.reindex(raw.index)
        raw = pd.concat([raw, attributes.fillna(attributes.median()).fillna(0.0)], axis=1)
        scaled = _scaled(raw)
        scaled = pd.concat([scaled, _scaled(neighbour_features(scaled))], axis=1)
        scaled.index = pd.Index(list(scaled.index))
        return _Snapshot(scaled[sorted(scaled.columns)], raw)

    def _training(self, week: int, first: int) -> tuple[_Snapshot, Labels]:
        """Features of the customers known at the end of `week`, and whether they were among the high spenders after."""
        snapshot = self._snapshot(week, first, everybody=False)
        spent = self._spent(week).reindex(snapshot.features.index).fillna(0).to_numpy(dtype=np.int64)
        return snapshot, spent > max(int(np.quantile(spent, HIGH_SPEND, method="lower")), 0)

    def _spent(self, week: int) -> pd.Series[int]:
        lines = self._reader.transactions(Scope(until_week=week + AHEAD)).filter(nw.col("week") > week)
        lines = lines.select("customer_id", _v=ticks(nw.col("sales_value")))
        found = self._reader.collect(lines.group_by("customer_id").agg(nw.col("_v").sum().cast(nw.Int64)))
        return pd.Series(found["_v"].to_numpy(), index=pd.Index(found["customer_id"].astype(str), dtype=object))

    def _learned(
        self,
        now: _Snapshot,
        names: list[str],
        weights: Weights,
        before: _Snapshot,
        label: Labels,
        as_of: int,
        first: int,
        seed: int,
    ) -> Profiles:
        judge = weights
        notes: tuple[str, ...] = (CROSS_CHECKED,)
        if as_of - 2 * AHEAD - first + 1 >= MIN_HISTORY:
            earlier, earlier_label = self._training(as_of - 2 * AHEAD, first)
            if _enough(earlier_label):
                judge, notes = learn(earlier.values(names), earlier_label, seed), ()
        score, other = judge.score(before.values(names)), before.rfm()
        low, high = auc_gain_interval(score, other, label, seed)
        margin = NORMAL_95 * weights.standard_error
        table = _table(names, weights.weight, weights.weight - margin, weights.weight + margin)
        features = now.features.reindex(columns=names, fill_value=0.0)
        return Profiles(
            customer_ids=tuple(features.index),
            features=features,
            score=weights.score(features.to_numpy(dtype=np.float64)),
            weights=table,
            intercept=weights.intercept,
            auc=auc(score, label),
            auc_rfm=auc(other, label),
            auc_gain_low=low,
            auc_gain_high=high,
            as_of=as_of,
            learned=True,
            target=TARGET,
            notes=notes,
        )

    def _without_purchases(self, as_of: int | None) -> Profiles:
        features = _scaled(self._attributes)
        note = NO_PURCHASES if len(features) else NO_CUSTOMERS
        return _unjudged(features, np.zeros(features.shape[1]), 0 if as_of is None else as_of, note)


def _enough(label: Labels) -> bool:
    return len(label) >= MIN_CUSTOMERS and min(int(label.sum()), int((~label).sum())) >= MIN_OF_EACH


def _scaled(raw: pd.DataFrame) -> pd.DataFrame:
    """Centre and scale each column over the customers, within ±4; a column that does not vary is left out."""
    values = raw.to_numpy(dtype=np.float64)
    if not len(values):
        return raw
    spread = values.std(axis=0)
    varies = spread > 1e-9
    scaled = (values[:, varies] - values[:, varies].mean(axis=0)) / spread[varies]
    return pd.DataFrame(np.clip(scaled, -LIMIT, LIMIT), index=raw.index, columns=raw.columns[varies])


def _table(names: Sequence[str], weight: Floats, low: Floats, high: Floats) -> pd.DataFrame:
    layers = [name.split(".", 1)[0] for name in names]
    return pd.DataFrame({"feature": list(names), "layer": layers, "weight": weight, "low": low, "high": high})


def _hand_set(now: _Snapshot, as_of: int) -> Profiles:
    thirds = {RECENCY: -1 / 3, FREQUENCY: 1 / 3, MONETARY: 1 / 3}
    weight = np.array([thirds.get(name, 0.0) for name in now.features.columns])
    return _unjudged(now.features, weight, as_of, NOT_LEARNED)


def _unjudged(features: pd.DataFrame, weight: Floats, as_of: int, note: str) -> Profiles:
    nothing = np.full(len(weight), np.nan)
    return Profiles(
        customer_ids=tuple(features.index),
        features=features,
        score=features.to_numpy(dtype=np.float64) @ weight,
        weights=_table(list(features.columns), weight, nothing, nothing),
        intercept=0.0,
        auc=float("nan"),
        auc_rfm=float("nan"),
        auc_gain_low=float("nan"),
        auc_gain_high=float("nan"),
        as_of=as_of,
        learned=False,
        target=TARGET,
        notes=(note,),
    )
