"""Learned profiles against hand-set recency, frequency and spend, on weeks that neither has seen.

    python -m benchmarks.profiles [--data complete_journey] [--as-of 48]

Two questions: who will be among the highest quarter of spenders over the next four weeks, and which of the categories
that a customer has bought before will be bought again. Writes benchmarks/results/profiles.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import narwhals as nw
import numpy as np
import pandas as pd

from engine.frames import open_backend, ticks
from engine.panel.read import Reader, Scope
from engine.profiles import Profiles, build_profiles
from engine.profiles.learning import Labels, auc, auc_gain_interval, fit, rfm
from engine.profiles.record import Floats
from engine.settings import Settings, load_settings
from engine.shop import Shop
from engine.sources import open_shop

RESULTS = Path(__file__).parent / "results"
AHEAD = 4
PENALTY = 30.0
BOOTSTRAPS = 50


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="complete_journey")
    parser.add_argument("--as-of", type=int, default=48, help="last week that is known; the four after it are the test")
    parser.add_argument("--home", default=".offerwright")
    options = parser.parse_args(arguments)
    settings = load_settings(None, [f"data.home={options.home}"])
    shop = open_shop(options.data, settings)
    lines = [
        "| question | hand-set RFM | learned P(u) | gain, 90 % interval | test cases |",
        "| --- | --- | --- | --- | --- |",
    ]
    started = time.process_time()
    profiles = build_profiles(shop, settings, as_of=options.as_of)
    seconds = time.process_time() - started
    lines.append(_high_spend(shop, settings, profiles))
    lines.append(_category_again(shop, settings, profiles))
    text = "\n".join(
        [
            f"# Profiles on {options.data}, known up to week {options.as_of}, tested on weeks "
            f"{options.as_of + 1}–{options.as_of + AHEAD}",
            "",
            "Area under the ROC curve.",
            "",
            *lines,
            "",
            f"{len(profiles.customer_ids):,} customers, {profiles.features.shape[1]} features, "
            f"{seconds:.1f} s of processor time to draw the profiles up (0 where they were cached).",
            "",
            _weights(profiles),
        ]
    )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "profiles.md").write_text(text + "\n", encoding="utf-8")
    print(text)


def _row(question: str, score: Floats, hand_set: Floats, label: Labels, interval: tuple[float, float]) -> str:
    low, high = interval
    ours, theirs = auc(score, label), auc(hand_set, label)
    return f"| {question} | {theirs:.3f} | {ours:.3f} | {low:+.3f} … {high:+.3f} | {len(label):,} |"


def _high_spend(shop: Shop, settings: Settings, profiles: Profiles) -> str:
    """Who of the customers known at `as_of` will be in the highest quarter of spend."""
    with open_backend(settings) as backend:
        pairs = _category_table(Reader(shop, backend), profiles.as_of + AHEAD)
    before = pairs[pairs["week"] <= profiles.as_of]
    after = pairs[pairs["week"] > profiles.as_of].groupby("customer_id")["spend"].sum()
    known = before.groupby("customer_id").agg(last=("week", "max"), weeks=("week", "nunique"), spend=("spend", "sum"))
    spent = after.reindex(known.index).fillna(0).to_numpy(dtype=np.float64)
    score = pd.Series(profiles.score, index=list(profiles.customer_ids)).reindex(known.index).to_numpy()
    columns = (profiles.as_of - known["last"], known["weeks"], known["spend"])
    hand_set = rfm(*(column.to_numpy(dtype=np.float64) for column in columns))
    label = spent > np.quantile(spent, 0.75)
    interval = auc_gain_interval(score, hand_set, label, seed=1)
    return _row("high spend, next four weeks", score, hand_set, label, interval)


def _category_again(shop: Shop, settings: Settings, profiles: Profiles) -> str:
    """Which customer-category pairs bought before will be bought again: weights from the four weeks before."""
    with open_backend(settings) as backend:
        pairs = _category_table(Reader(shop, backend), profiles.as_of + AHEAD)
    earlier = build_profiles(shop, settings, as_of=profiles.as_of - AHEAD)
    learned = fit(*_pair_features(pairs, earlier)[:2], penalty=PENALTY)
    features, label, hand_set, who = _pair_features(pairs, profiles)
    score = learned.score(features)
    interval = _clustered_interval(score, hand_set, label, who)
    return _row("category bought again, next four weeks", score, hand_set, label, interval)


def _clustered_interval(score: Floats, hand_set: Floats, label: Labels, who: pd.Index) -> tuple[float, float]:
    """90 % interval of the difference of AUCs over bootstrapped customers, each with all of their pairs."""
    rng = np.random.default_rng(1)
    code = pd.factorize(who)[0]
    order = np.argsort(code, kind="stable")
    starts = np.searchsorted(code[order], np.arange(code.max() + 2))
    gains = []
    for _ in range(BOOTSTRAPS):
        drawn = rng.integers(0, code.max() + 1, code.max() + 1)
        rows = np.concatenate([order[starts[k] : starts[k + 1]] for k in drawn])
        gains.append(auc(score[rows], label[rows]) - auc(hand_set[rows], label[rows]))
    return float(np.quantile(gains, 0.05)), float(np.quantile(gains, 0.95))


def _category_table(reader: Reader, until: int) -> pd.DataFrame:
    """Spend by customer, category and week."""
    lines = reader.transactions(Scope(until_week=until)).filter(~nw.col("customer_id").is_null())
    named = lines.join(reader.table("products").select("product_id", "category"), on="product_id", how="inner")
    keys = ("customer_id", "category", "week")
    named = named.select(*keys, _v=ticks(nw.col("sales_value")))
    found = reader.collect(named.group_by(*keys).agg(spend=nw.col("_v").sum().cast(nw.Int64)))
    return found.astype({"customer_id": str, "category": str}).sort_values(list(keys), ignore_index=True)


def _pair_features(pairs: pd.DataFrame, profiles: Profiles) -> tuple[Floats, Labels, Floats, pd.Index]:
    """Features of each pair known at `as_of`, whether it was bought in the four weeks after, its RFM sum, and whose."""
    as_of = profiles.as_of
    before = pairs[pairs["week"] <= as_of]
    keys = ["customer_id", "category"]
    known = before.groupby(keys).agg(
        first=("week", "min"), last=("week", "max"), weeks=("week", "nunique"), spend=("spend", "sum")
    )
    lately = before[before["week"] > as_of - 13].groupby(keys)["week"].nunique().reindex(known.index).fillna(0)
    window = pairs[(pairs["week"] > as_of) & (pairs["week"] <= as_of + AHEAD)]
    again = pd.MultiIndex.from_frame(window[keys].drop_duplicates())
    waited, weeks, spend = (
        (as_of - known["last"]).to_numpy(float),
        known["weeks"].to_numpy(float),
        known["spend"].to_numpy(float),
    )
    rate = weeks / (as_of + 1 - known["first"].to_numpy(float))
    popular = lately.groupby(level="category").mean().reindex(known.index.get_level_values("category")).to_numpy(float)
    who = known.index.get_level_values("customer_id")
    person = profiles.features.assign(score=profiles.score).reindex(who).fillna(0.0).to_numpy(dtype=np.float64)
    own = [
        np.log1p(waited),
        np.log1p(weeks),
        np.log1p(spend),
        np.log1p(lately.to_numpy(float)),
        np.log(rate),
        waited * rate,
        np.log1p(popular),
    ]
    columns = np.column_stack(own)
    columns = (columns - columns.mean(axis=0)) / np.maximum(columns.std(axis=0), 1e-9)
    return np.hstack([np.clip(columns, -4, 4), person]), known.index.isin(again), rfm(waited, weeks, spend), who


def _weights(profiles: Profiles) -> str:
    top = profiles.weights.loc[lambda d: d["weight"].abs().sort_values(ascending=False).index[:15]]
    rows = [
        f"| {row.feature} | {row.layer} | {row.weight:+.2f} | {row.low:+.2f} … {row.high:+.2f} |"
        for row in top.itertuples()
    ]
    head = [
        "The fifteen largest weights, in log-odds per standard deviation:",
        "",
        "| feature | layer | weight | 90 % interval |",
    ]
    return "\n".join([*head, "| --- | --- | --- | --- |", *rows])


if __name__ == "__main__":
    main()
