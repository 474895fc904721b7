"""Profiles know nothing of the future, say how sure they are, and beat hand-set weights where there is more to know."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from feature_shops import FIRST_MONDAY, land, listing, small_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import InputError
from engine.panel import build_panel
from engine.profiles import MIX_FEATURES, Profiles, build_profiles, profile_mix
from engine.profiles.build import NO_CUSTOMERS, NO_PURCHASES, NOT_LEARNED
from engine.profiles.record import LAYERS

WEEKS = 20


def shoppers(seed: int = 1, customers: int = 300) -> pd.DataFrame:
    """Steady spenders and fading ones: spend a week ago says little, the size of a basket a lot."""
    rng = np.random.default_rng(seed)
    rate, size = rng.gamma(2, 0.3, customers), rng.gamma(2, 3, customers)
    visits = rng.poisson(rate[:, None], (customers, WEEKS))
    who, week = (
        grid.repeat(visits.ravel())
        for grid in (np.arange(customers).repeat(WEEKS), np.tile(np.arange(WEEKS), customers))
    )
    n = len(who)
    product = rng.integers(0, 8, n)
    minutes = week * 7 * 24 * 60 + rng.integers(0, 7 * 24 * 60, n)
    value = (size[who] * rng.gamma(8, 1 / 8, n) + 1).round(2)
    return pd.DataFrame(
        {
            "transaction_id": [f"T{i}" for i in range(n)],
            "product_id": [f"P{i}" for i in product],
            "timestamp": pd.Timestamp(FIRST_MONDAY) + pd.to_timedelta(minutes, unit="m"),
            "week": week.astype(np.int64),
            "quantity": rng.integers(1, 4, n).astype(float),
            "sales_value": value,
            "discount": (value * rng.choice([0, 0.1], n)).round(2),
            "customer_id": [f"C{i:04}" for i in who],
        }
    )


def people(customers: int = 300, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "customer_id": [f"C{i:04}" for i in range(customers)],
            "age": rng.choice(["young", "middle", "old"], customers),
            "household_size": rng.integers(1, 6, customers),
            "joined": pd.Timestamp("2020-01-01"),
            "email": [f"{i}@example.org" for i in range(customers)],
        }
    )


def tables(seed: int = 1) -> dict[str, pd.DataFrame]:
    return {"transactions": shoppers(seed), "customers": people(seed=seed), "products": listing()}


@pytest.fixture(scope="module")
def profiles(tmp_path_factory: pytest.TempPathFactory) -> Profiles:
    folder = tmp_path_factory.mktemp("profiles")
    return build_profiles(land(folder / "shop", tables()), small_settings(folder))


def test_the_score_is_the_weighted_sum_of_the_features(profiles: Profiles) -> None:
    weight = profiles.weights.set_index("feature")["weight"]
    assert list(weight.index) == list(profiles.features.columns)
    assert profiles.score == pytest.approx(profiles.features.to_numpy() @ weight.to_numpy())
    assert set(profiles.weights["layer"]) == set(LAYERS)
    assert all(name.split(".")[0] in LAYERS for name in profiles.features)
    assert profiles.features.abs().to_numpy().max() <= 4
    assert list(profiles.customer_ids) == sorted(profiles.customer_ids)
    assert "basic.email=0@example.org" not in profiles.features


def test_learned_weights_beat_hand_set_ones_and_say_how_sure_they_are(profiles: Profiles) -> None:
    assert profiles.learned
    assert profiles.notes == ()
    assert profiles.auc > 0.7
    assert profiles.auc_gain_low <= profiles.auc - profiles.auc_rfm <= profiles.auc_gain_high
    table = profiles.weights
    assert ((table["low"] < table["weight"]) & (table["weight"] < table["high"])).all()
    noise = table[table["feature"].str.startswith("basic.age=")]
    size = table.set_index("feature").loc["behaviour.basket_value"]
    assert size["low"] > noise["high"].max()


def test_probabilities_are_calibrated_in_the_large(profiles: Profiles) -> None:
    assert 0.15 < profiles.probability.mean() < 0.35


@settings(deadline=None, max_examples=2)
@given(cut=st.integers(9, 17), seed=st.integers(0, 99))
def test_shuffling_the_future_changes_no_byte(tmp_path_factory, cut: int, seed: int) -> None:
    home = tmp_path_factory.mktemp("future")
    rng = np.random.default_rng(seed)
    known = tables(seed)
    lines = known["transactions"]
    late = lines.index[lines["week"] > cut]
    shuffled = lines.copy()
    for name in lines.columns.difference(["week", "transaction_id", "timestamp"]):
        shuffled.loc[late, name] = lines.loc[rng.permutation(late), name].to_numpy()
    shuffled = shuffled.drop(index=late[::3])
    results = []
    for name, transactions in (("a", lines), ("b", shuffled)):
        shop, config = land(home / name, known | {"transactions": transactions}), small_settings(home / f"home {name}")
        profiles = build_profiles(shop, config, as_of=cut)
        panel = build_panel(shop, config, until_week=cut)
        results.append((profiles, profile_mix(shop, profiles, panel, cut)))
    (before, mix_before), (after, mix_after) = results
    assert same(before, after)
    assert mix_before.tobytes() == mix_after.tobytes()
    assert before.as_of == cut


def same(first: Profiles, second: Profiles) -> bool:
    pd.testing.assert_frame_equal(first.features, second.features, check_exact=True)
    pd.testing.assert_frame_equal(first.weights, second.weights, check_exact=True)
    numbers = [np.array([p.auc, p.auc_rfm, p.auc_gain_low, p.intercept]).tobytes() for p in (first, second)]
    return (
        first.customer_ids == second.customer_ids
        and first.score.tobytes() == second.score.tobytes()
        and (numbers[0] == numbers[1])
    )


def test_threads_and_the_cache_change_no_byte(tmp_path: Path) -> None:
    shop = land(tmp_path / "shop", tables())
    one = build_profiles(shop, small_settings(tmp_path / "one"))
    assert same(one, build_profiles(shop, small_settings(tmp_path / "two", "data.threads=3")))
    gone = replace(shop, tables={})
    assert same(one, build_profiles(gone, small_settings(tmp_path / "one")))  # nothing was read but the cache


def test_customers_who_never_bought_have_a_profile_too(tmp_path: Path) -> None:
    known = tables() | {"customers": people(customers=320)}
    profiles = build_profiles(land(tmp_path / "shop", known), small_settings(tmp_path))
    bought = set(known["transactions"]["customer_id"])
    newcomers = [i for i, name in enumerate(profiles.customer_ids) if name not in bought]
    assert len(newcomers) >= 20
    assert profiles.probability[newcomers].max() < np.median(profiles.probability)


@pytest.mark.parametrize("missing", ["customers", "products"])
def test_missing_tables_leave_their_features_out(tmp_path: Path, missing: str) -> None:
    known = {name: table for name, table in tables().items() if name != missing}
    profiles = build_profiles(land(tmp_path / "shop", known), small_settings(tmp_path))
    assert profiles.learned
    assert not any("household_size" in name for name in profiles.features) or missing == "products"


def test_one_customer_has_a_profile_with_hand_set_weights(tmp_path: Path) -> None:
    lines = shoppers()
    lines = lines[lines["customer_id"] == lines["customer_id"].iloc[0]]
    profiles = build_profiles(land(tmp_path / "shop", {"transactions": lines}), small_settings(tmp_path))
    assert len(profiles.customer_ids) == 1
    assert not profiles.learned
    assert profiles.notes == (NOT_LEARNED,)
    assert np.isnan(profiles.auc)
    assert np.isfinite(profiles.score).all()


def test_few_weeks_give_hand_set_weights_in_the_right_direction(tmp_path: Path) -> None:
    lines = shoppers()
    shop = land(tmp_path / "shop", {"transactions": lines[lines["week"] < 6]})
    profiles = build_profiles(shop, small_settings(tmp_path))
    assert not profiles.learned
    weight = profiles.weights.set_index("feature")["weight"]
    assert weight["behaviour.recency"] < 0 < weight["behaviour.spend_13"]


def test_shops_without_customers_say_so(tmp_path: Path) -> None:
    lines = shoppers().drop(columns="customer_id")
    nobody = build_profiles(land(tmp_path / "a", {"transactions": lines}), small_settings(tmp_path))
    assert nobody.customer_ids == ()
    assert nobody.notes == (NO_CUSTOMERS,)
    silent = build_profiles(
        land(tmp_path / "b", {"transactions": lines, "customers": people(9)}), small_settings(tmp_path)
    )
    assert len(silent.customer_ids) == 9
    assert silent.notes == (NO_PURCHASES,)
    shop = land(tmp_path / "a", {"transactions": lines})
    panel = build_panel(shop, small_settings(tmp_path))
    assert not profile_mix(shop, nobody, panel, WEEKS).any()


def test_a_mix_is_the_shrunken_mean_over_buyers(tmp_path: Path) -> None:
    lines = shoppers()
    big = {f"C{i:04}" for i in range(0, 300, 2)}
    lines.loc[lines["customer_id"].isin(big), "sales_value"] *= 4
    lines = lines[(lines["product_id"] != "P3") | lines["customer_id"].isin(big)]  # the big spenders' own product
    shop, config = land(tmp_path / "shop", {"transactions": lines, "products": listing()}), small_settings(tmp_path)
    profiles, panel = build_profiles(shop, config), build_panel(shop, config)
    mix = profile_mix(shop, profiles, panel, WEEKS)
    assert mix.shape == (8, len(MIX_FEATURES))
    column = MIX_FEATURES.index("behaviour.basket_value")
    buyers = lines.loc[lines["product_id"] == "P3", "customer_id"].unique()
    value = profiles.features["behaviour.basket_value"].round(4).loc[buyers]
    row = panel.product_ids.index("P3")
    assert mix[row, column] == pytest.approx(value.sum() / (len(buyers) + 10), abs=1e-4)
    assert mix[:, column].argmax() == row


def test_a_mix_of_profiles_from_the_future_is_refused(tmp_path: Path) -> None:
    shop, config = land(tmp_path / "shop", tables()), small_settings(tmp_path)
    profiles = build_profiles(shop, config)
    with pytest.raises(InputError, match="as_of=12"):
        profile_mix(shop, profiles, build_panel(shop, config), 12)
