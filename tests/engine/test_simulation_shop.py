"""A simulated shop keeps the contract, adds up, is the same every time, and never destroys what it did not write."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ConfigurationError, DataError, StorageError
from engine.simulation import SCENARIOS, Scenario, load_truth, make_shop, simulate_shop
from engine.simulation.scenario import BOUNDS, make_scenario

SMALL = {"products": 40, "weeks": 60, "customers": 200, "categories": 4}

REQUIRED = {
    "products": ["product_id", "title", "description", "category", "department", "brand", "private_label", "unit_cost"],
    "prices_weekly": ["product_id", "week", "price", "regular_price", "mailer", "display", "stock_out", "experiment"],
    "sales_weekly": ["product_id", "week", "units", "revenue"],
    "customers": ["customer_id"],
    "transactions": ["transaction_id", "product_id", "timestamp", "quantity", "sales_value", "customer_id", "discount"],
    "coupon_history": [
        "customer_id", "wave", "sent", "offer_id", "face_value", "redeemed", "bought", "profit", "randomised",
    ],
}  # fmt: skip
KEYS = {
    "products": ["product_id"],
    "prices_weekly": ["product_id", "week"],
    "sales_weekly": ["product_id", "week"],
    "customers": ["customer_id"],
    "transactions": ["transaction_id", "product_id"],
    "coupon_history": ["customer_id", "wave"],
}


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "shop"
    simulate_shop(folder, seed=3, **SMALL)
    return folder


def test_every_table_has_the_columns_and_unique_keys_of_the_contract(shop):
    for name, columns in REQUIRED.items():
        table = pd.read_parquet(shop / f"{name}.parquet")
        assert set(columns) <= set(table.columns), name
        assert not table.duplicated(KEYS[name]).any(), name
        assert len(table) > 0, name


def test_purchases_add_up_to_the_weekly_sales(shop):
    sales = pd.read_parquet(shop / "sales_weekly.parquet").set_index(["product_id", "week"])
    bought = pd.read_parquet(shop / "transactions.parquet")
    monday = bought["timestamp"] - pd.to_timedelta(bought["timestamp"].dt.day_of_week, unit="D")
    bought["week"] = monday.dt.date
    total = bought.groupby(["product_id", "week"])[["quantity", "sales_value"]].sum()
    joined = sales.join(total, how="outer").fillna(0.0)
    assert (joined["units"] == joined["quantity"]).all()
    np.testing.assert_allclose(joined["revenue"], joined["sales_value"], atol=1e-6)
    assert (bought["quantity"] >= 1).all()


def test_customers_and_products_that_are_named_are_listed(shop):
    products = set(pd.read_parquet(shop / "products.parquet")["product_id"])
    customers = set(pd.read_parquet(shop / "customers.parquet")["customer_id"])
    for name in ("prices_weekly", "sales_weekly", "transactions"):
        assert set(pd.read_parquet(shop / f"{name}.parquet")["product_id"]) <= products
    for name in ("transactions", "coupon_history"):
        assert set(pd.read_parquet(shop / f"{name}.parquet")["customer_id"]) <= customers


def test_prices_look_like_a_shops_and_costs_leave_a_margin(shop):
    prices = pd.read_parquet(shop / "prices_weekly.parquet")
    cents = np.round(prices["price"] * 100).astype(int)
    assert (cents % 10 == 9).all()
    assert (prices["price"] <= prices["regular_price"] + 1e-9).all()
    truth = load_truth(shop)
    margin = 1 - truth.unit_cost / truth.current_price
    assert (margin > 0.02).all()
    assert (margin < 0.7).all()
    last = prices.sort_values("week").groupby("product_id")["regular_price"].last()
    np.testing.assert_allclose(last[list(truth.product_ids)], truth.current_price)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_shop(shop, tmp_path):
    simulate_shop(tmp_path / "again", seed=3, **SMALL)
    simulate_shop(tmp_path / "other", seed=4, **SMALL)
    assert contents(tmp_path / "again") == contents(shop)
    assert (tmp_path / "other" / "sales_weekly.parquet").read_bytes() != (shop / "sales_weekly.parquet").read_bytes()


def test_changing_one_part_leaves_the_others_alone():
    plain = make_shop(make_scenario("default", SMALL), seed=3)
    other = make_shop(make_scenario("default", {**SMALL, "coupon_faces": (9.0,), "coupon_effect": 0.2}), seed=3)
    for name in ("products", "prices_weekly", "sales_weekly", "transactions"):
        pd.testing.assert_frame_equal(plain.tables[name], other.tables[name])
    assert not plain.tables["coupon_history"].equals(other.tables["coupon_history"])


def test_titles_come_in_both_scripts(shop):
    titles = pd.read_parquet(shop / "products.parquet")["title"]
    chinese = titles.str.contains(r"[一-鿿]", regex=True)
    assert 0 < chinese.mean() < 0.5
    assert titles[~chinese].str.isascii().all()


def test_the_truth_reads_back_as_it_was_made(shop):
    made = make_shop(make_scenario("default", SMALL), seed=3).truth
    read = load_truth(shop)
    assert read.scenario == made.scenario
    assert read.product_ids == made.product_ids
    np.testing.assert_array_equal(read.base_weekly, made.base_weekly)
    np.testing.assert_array_equal(read.elasticity_regular, made.elasticity_regular)
    assert read.coupons is not None
    assert made.coupons is not None
    assert read.coupons.offer_ids == made.coupons.offer_ids
    np.testing.assert_array_equal(read.coupons.profit, made.coupons.profit)


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "diary.txt").write_text("mine")
    with pytest.raises(DataError, match="not a simulated shop"):
        simulate_shop(tmp_path, **SMALL)
    assert contents(tmp_path) == {(tmp_path / "diary.txt").relative_to(tmp_path): b"mine"}


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "shop").write_text("mine")
    with pytest.raises(DataError):
        simulate_shop(tmp_path / "shop", **SMALL)


def test_a_simulated_shop_is_replaced_and_an_empty_folder_filled(tmp_path):
    (tmp_path / "shop").mkdir()
    simulate_shop(tmp_path / "shop", seed=1, **SMALL)
    simulate_shop(tmp_path / "shop", seed=2, scenario="sparse", **SMALL)
    assert load_truth(tmp_path / "shop").seed == 2
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def test_a_disk_that_fills_leaves_the_old_shop_and_no_debris(tmp_path, monkeypatch):
    simulate_shop(tmp_path / "shop", seed=1, **SMALL)
    before = contents(tmp_path / "shop")

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("engine.simulation.shop.save_truth", full)
    with pytest.raises(StorageError, match="No space left"):
        simulate_shop(tmp_path / "shop", seed=2, **SMALL)
    assert contents(tmp_path / "shop") == before
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def test_no_shop_no_truth(tmp_path):
    with pytest.raises(DataError, match="no simulated shop"):
        load_truth(tmp_path)


@pytest.mark.parametrize(
    ("scenario", "overrides", "says"),
    [
        ("defualt", {}, "did you mean 'default'"),
        ("default", {"product": 3}, "did you mean 'products'"),
        ("default", {"products": 0}, "products = 0 is refused; allowed: a whole number, 1 to"),
        ("default", {"products": 2.5}, "a whole number"),
        ("default", {"products": "many"}, "'many' is refused"),
        ("default", {"hidden_sd": float("nan")}, "hidden_sd = nan"),
        ("default", {"margin_low": 0.6, "margin_high": 0.5}, "margin_low = 0.6 is above margin_high"),
        ("default", {"coupon_faces": ()}, "coupon_faces"),
        ("default", {"first_monday": "2024-01-02"}, "give a Monday"),
    ],
)
def test_what_cannot_be_simulated_is_named(tmp_path, scenario, overrides, says):
    with pytest.raises(ConfigurationError, match=says):
        simulate_shop(tmp_path / "shop", scenario=scenario, **overrides)
    assert not (tmp_path / "shop").exists()


def test_every_number_has_bounds_and_its_defaults_keep_them():
    numbers = {
        name for name, value in vars(Scenario()).items() if isinstance(value, int | float) and type(value) is not bool
    }
    assert set(BOUNDS) == numbers
    for scenario in SCENARIOS.values():
        assert all(low <= getattr(scenario, name) <= high for name, (low, high) in BOUNDS.items())


@settings(deadline=None, max_examples=25)
@given(
    products=st.integers(1, 6),
    weeks=st.integers(2, 30),
    customers=st.integers(1, 5),
    categories=st.integers(1, 30),
    scenario=st.sampled_from(sorted(SCENARIOS)),
    seed=st.integers(0, 2**31),
    extreme=st.sampled_from(
        [{}, {"hidden_sd": 0.0}, {"season_sd": 0.0, "category_noise_sd": 0.0}, {"weekly_units": 0.01},
         {"promotions_low": 26, "promotions_high": 26}, {"stock_out_rate": 0.5}, {"new_share": 1.0},
         {"experiment_share": 1.0}, {"coupon_waves": 0}, {"transactions": False}, {"week_dates": False},
         {"logs_regular": False}, {"coupon_randomised": 1.0}, {"experiment_keeps_regular": False}]
    ),
)  # fmt: skip
def test_any_small_shop_is_sound(products, weeks, customers, categories, scenario, seed, extreme):
    size = {"products": products, "weeks": weeks, "customers": customers, "categories": categories}
    shop = make_shop(make_scenario(scenario, {**size, **extreme}), seed=seed)
    prices, sales = shop.tables["prices_weekly"], shop.tables["sales_weekly"]
    assert (prices["price"] > 0).all()
    assert (sales["units"] >= 0).all()
    assert len(prices) == len(sales) <= products * weeks
    assert np.isfinite(shop.truth.base_weekly).all()
    assert shop.truth.profit(shop.truth.current_price) > 0
    if "transactions" in shop.tables:
        assert shop.tables["transactions"]["quantity"].sum() == sales["units"].sum()
    if extreme == {"week_dates": False}:
        assert prices["week"].max() == weeks
