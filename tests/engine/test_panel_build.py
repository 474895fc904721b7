"""The panel says what the tables say, and nothing that was recorded later."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from feature_shops import land, listing, purchases, small_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import DataError
from engine.panel import Panel, build_panel, current_prices, recent_units, split_panel


def weekly(lines: pd.DataFrame) -> pd.DataFrame:
    groups = lines.groupby(["product_id", "week"], as_index=False)
    return groups.agg(units=("quantity", "sum"), revenue=("sales_value", "sum"))


def price_table(products: int = 8, weeks: int = 20) -> pd.DataFrame:
    """A row for every product and week, whether sold or not; the deals of `purchases`."""
    product, week = (grid.ravel() for grid in np.meshgrid(np.arange(products), np.arange(weeks), indexing="ij"))
    regular = 2.0 + product
    deal = (week + product) % 5 == 0
    return pd.DataFrame(
        {
            "product_id": [f"P{i}" for i in product],
            "week": week,
            "price": np.where(deal, regular * 0.9, regular).round(4),
            "regular_price": regular,
            "mailer": deal.astype(float),
        }
    )


def same(first: Panel, second: Panel) -> bool:
    """Equal in every byte."""
    for field in fields(Panel):
        a, b = getattr(first, field.name), getattr(second, field.name)
        if isinstance(a, np.ndarray):
            if a.dtype != b.dtype or a.shape != b.shape or a.tobytes() != b.tobytes():
                return False
        elif isinstance(a, pd.DataFrame):
            pd.testing.assert_frame_equal(a, b, check_exact=True)
        elif a != b:
            return False
    return True


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    lines = purchases()
    return {
        "transactions": lines,
        "products": listing(),
        "sales_weekly": weekly(lines),
        "prices_weekly": price_table(),
    }


def test_units_and_prices_are_those_of_the_weekly_tables(tmp_path: Path, tables: dict[str, pd.DataFrame]) -> None:
    panel = build_panel(land(tmp_path / "shop", tables), small_settings(tmp_path))
    assert panel.units.shape == (8, 20)
    for i, product in enumerate(panel.product_ids):
        sold = tables["sales_weekly"].loc[lambda d, p=product: d["product_id"] == p].set_index("week")["units"]
        assert panel.units[i] == pytest.approx(sold.reindex(range(20), fill_value=0).to_numpy())
        shelf = tables["prices_weekly"].loc[lambda d, p=product: d["product_id"] == p]
        assert panel.price[i] == pytest.approx(shelf["price"].to_numpy())
        assert panel.regular_price[i] == pytest.approx(shelf["regular_price"].to_numpy())
        assert panel.mailer[i] == pytest.approx(shelf["mailer"].to_numpy())
    assert panel.observed.all()
    assert panel.regular_logged
    assert not panel.prices_reconstructed
    assert panel.week_start[0] == np.datetime64("2024-01-01")
    assert panel.week_start[19] == np.datetime64("2024-05-13")


def test_products_come_by_revenue_and_the_smallest_are_left_out(
    tmp_path: Path, tables: dict[str, pd.DataFrame]
) -> None:
    panel = build_panel(land(tmp_path / "shop", tables), small_settings(tmp_path, "demand.top_products=3"))
    revenue = tables["sales_weekly"].groupby("product_id")["revenue"].sum().sort_values(ascending=False)
    assert panel.product_ids == tuple(revenue.index[:3])


def test_purchases_alone_give_the_same_units_and_the_prices_that_were_paid(
    tmp_path: Path, tables: dict[str, pd.DataFrame]
) -> None:
    bare = {name: tables[name] for name in ("transactions", "products")}
    panel = build_panel(land(tmp_path / "bare", bare), small_settings(tmp_path))
    full = build_panel(land(tmp_path / "full", tables), small_settings(tmp_path))
    assert panel.prices_reconstructed
    assert panel.regular_logged  # the discounts of the purchases say what the everyday price was
    assert panel.units.tobytes() == full.units.tobytes()
    sold = panel.units > 0
    assert panel.price[sold] == pytest.approx(full.price[sold], abs=0.01)
    assert panel.regular_price[sold] == pytest.approx(full.regular_price[sold], abs=0.01)
    assert any("rebuilt" in caveat for caveat in panel.price_caveats)


def test_purchases_without_discounts_do_not_count_as_logged_everyday_prices(
    tmp_path: Path, tables: dict[str, pd.DataFrame]
) -> None:
    lines = tables["transactions"].drop(columns=["discount", "coupon_discount", "store_id"])
    shop = land(tmp_path / "shop", {"transactions": lines, "products": tables["products"]})
    panel = build_panel(shop, small_settings(tmp_path))
    assert not panel.regular_logged
    expected = np.array([[2.0 + int(product[1:])] for product in panel.product_ids])
    # A deal in the last week or two of the data cannot be told from a cut yet, one in the first weeks neither.
    inner = slice(5, 15)
    assert np.abs(panel.regular_price / expected - 1)[:, inner].max() < 0.01


def test_timestamps_alone_are_put_into_weeks(tmp_path: Path, tables: dict[str, pd.DataFrame]) -> None:
    lines = tables["transactions"]
    dated = {"transactions": lines.drop(columns="week"), "products": tables["products"]}
    with_weeks = {"transactions": lines, "products": tables["products"]}
    first = build_panel(land(tmp_path / "dated", dated), small_settings(tmp_path))
    second = build_panel(land(tmp_path / "weeks", with_weeks), small_settings(tmp_path))
    assert same(first, second)


@settings(deadline=None, max_examples=8)
@given(cut=st.integers(6, 18), seed=st.integers(0, 99), bare=st.booleans())
def test_shuffling_the_future_changes_no_byte(tmp_path_factory, cut: int, seed: int, bare: bool) -> None:
    home = tmp_path_factory.mktemp("future")
    rng = np.random.default_rng(seed)
    lines = purchases(seed)
    known = {"transactions": lines, "products": listing()}
    if not bare:
        known |= {"sales_weekly": weekly(lines), "prices_weekly": price_table()}
    shuffled = {name: _shuffled_after(table, cut, rng) for name, table in known.items()}
    before = build_panel(land(home / "a", known), small_settings(home / "one"), until_week=cut)
    after = build_panel(land(home / "b", shuffled), small_settings(home / "two"), until_week=cut)
    assert same(before, after)
    assert before.weeks[-1] <= cut


def _shuffled_after(table: pd.DataFrame, cut: int, rng: np.random.Generator) -> pd.DataFrame:
    """Rows after week `cut` trade everything but their keys, and some of them go."""
    if "week" not in table:
        return table
    late = table.index[table["week"] > cut]
    out = table.copy()
    for name in table.columns.difference(["week", "transaction_id", "timestamp"]):
        out.loc[late, name] = table.loc[rng.permutation(late), name].to_numpy()
    out = out.drop(index=late[: len(late) // 3])
    return out.drop_duplicates(["product_id", "week"]) if "transaction_id" not in out else out


def test_halves_partition_what_named_customers_bought(tmp_path: Path, tables: dict[str, pd.DataFrame]) -> None:
    shop, config = land(tmp_path / "shop", tables), small_settings(tmp_path)
    whole = build_panel(shop, config)
    halves = [build_panel(shop, config, half=half) for half in ("a", "b")]
    assert (halves[0].units + halves[1].units == whole.units).all()
    for half in halves:
        assert half.product_ids == whole.product_ids
        assert half.price.tobytes() == whole.price.tobytes()  # the shop's own price table is nobody's half
        assert 0.3 < half.units.sum() / whole.units.sum() < 0.7


def test_rebuilt_prices_of_a_half_owe_nothing_to_the_other_half(
    tmp_path: Path, tables: dict[str, pd.DataFrame]
) -> None:
    lines = tables["transactions"]
    config = small_settings(tmp_path)
    before = build_panel(land(tmp_path / "a", {"transactions": lines, "products": listing()}), config, half="a")
    inside = _customers_of(before, lines)
    dearer = lines.assign(sales_value=lines["sales_value"].where(lines["customer_id"].isin(inside), 0.01))
    after = build_panel(land(tmp_path / "b", {"transactions": dearer, "products": listing()}), config, half="a")
    order = [after.product_ids.index(product) for product in before.product_ids]
    assert after.units[order].tobytes() == before.units.tobytes()
    assert after.price[order].tobytes() == before.price.tobytes()


def _customers_of(panel: Panel, lines: pd.DataFrame) -> set[str]:
    from engine.panel.read import half_of

    inside = {name for name in lines["customer_id"] if half_of(name) == "a"}
    assert lines[lines["customer_id"].isin(inside)]["quantity"].sum() == panel.units.sum()
    return inside


def test_split_takes_households_then_stores_then_coins(tmp_path: Path, tables: dict[str, pd.DataFrame]) -> None:
    config = small_settings(tmp_path)
    shop = land(tmp_path / "households", tables)
    whole = build_panel(shop, config)
    first, second, how = split_panel(shop, whole, config, seed=3)
    assert how == "households"
    assert (first.units + second.units == whole.units).all()

    weekly_only = {name: tables[name] for name in ("sales_weekly", "prices_weekly", "products")}
    shop = land(tmp_path / "coins", weekly_only)
    whole = build_panel(shop, config)
    first, second, how = split_panel(shop, whole, config, seed=3)
    assert how == "thinning"
    assert (first.units + second.units == whole.units).all()
    again, _, _ = split_panel(shop, whole, config, seed=3)
    assert again.units.tobytes() == first.units.tobytes()

    shop = land(tmp_path / "stores", _by_store(weekly_only, stores=8))
    whole = build_panel(shop, config)
    assert whole.units.shape == (64, 20)
    first, second, how = split_panel(shop, whole, config, seed=3)
    assert how == "stores"
    assert not set(first.series_store) & set(second.series_store)
    assert len(first.units) + len(second.units) == 64


def _by_store(tables: dict[str, pd.DataFrame], stores: int) -> dict[str, pd.DataFrame]:
    out = dict(tables)
    for name in ("sales_weekly", "prices_weekly"):
        out[name] = pd.concat([tables[name].assign(store_id=f"S{k}") for k in range(stores)], ignore_index=True)
    return out


def test_a_half_without_named_customers_is_refused(tmp_path: Path, tables: dict[str, pd.DataFrame]) -> None:
    shop = land(tmp_path / "shop", {"transactions": tables["transactions"].drop(columns="customer_id")})
    with pytest.raises(DataError, match="customer_id"):
        build_panel(shop, small_settings(tmp_path), half="a")


def test_missing_costs_are_assumed_by_department_or_refused(tmp_path: Path, tables: dict[str, pd.DataFrame]) -> None:
    known = tables["products"].assign(
        unit_cost=[1.0, np.nan, 3.0, np.nan, 0.0, 3.5, 4.0, 4.5], department=["grocery"] * 4 + ["deli"] * 4
    )
    shop = land(tmp_path / "shop", tables | {"products": known})
    panel = build_panel(shop, small_settings(tmp_path, "data.margin_by_department={deli: 0.4}"))
    cost = panel.products.set_index("product_id")["unit_cost"]
    assumed = panel.products.set_index("product_id")["cost_assumed"]
    assert cost["P0"] == 1.0
    assert cost["P1"] == pytest.approx(3.0 * 0.72)
    assert cost["P4"] == pytest.approx(6.0 * 0.6)
    assert sorted(assumed.index[assumed]) == ["P1", "P3", "P4"]
    with pytest.raises(DataError, match="3 of 8 products have no unit_cost"):
        build_panel(shop, small_settings(tmp_path, "data.default_margin=none"))


def test_cost_logged_by_the_week_wins(tmp_path: Path, tables: dict[str, pd.DataFrame]) -> None:
    costed = tables["prices_weekly"].assign(unit_cost=lambda d: np.where(d["week"] < 12, 9.0, 1.25))
    panel = build_panel(land(tmp_path / "shop", tables | {"prices_weekly": costed}), small_settings(tmp_path))
    assert panel.products["unit_cost"].tolist() == [1.25] * 8
    assert not panel.products["cost_assumed"].any()


def test_a_week_cut_short_by_the_data_is_not_observed(tmp_path: Path, tables: dict[str, pd.DataFrame]) -> None:
    lines = tables["transactions"]
    edge = lines["timestamp"].dt.floor("D")
    cut = lines[(edge >= pd.Timestamp("2024-01-06")) & (edge <= pd.Timestamp("2024-05-14"))]
    panel = build_panel(land(tmp_path / "days", {"transactions": cut}), small_settings(tmp_path))
    assert panel.observed[:, 1:-1].all()
    assert not panel.observed[:, [0, -1]].any()

    table = tables["sales_weekly"].copy()
    table.loc[table["week"] == 0, "units"] = 1
    panel = build_panel(land(tmp_path / "weeks", tables | {"sales_weekly": table}), small_settings(tmp_path))
    assert not panel.observed[:, 0].any()
    assert panel.observed[:, 1:].all()


def test_a_gap_in_the_price_table_carries_the_last_price_and_is_not_observed(
    tmp_path: Path, tables: dict[str, pd.DataFrame]
) -> None:
    prices, sales = tables["prices_weekly"], tables["sales_weekly"].drop(columns="revenue")
    gone = (prices["product_id"] == "P3") & prices["week"].between(8, 10)
    shop = land(tmp_path / "shop", {"prices_weekly": prices[~gone], "sales_weekly": sales, "products": listing()})
    panel = build_panel(shop, small_settings(tmp_path))
    row = panel.product_ids.index("P3")
    assert not panel.observed[row, 8:11].any()
    assert panel.observed.sum() == 8 * 20 - 3
    assert (panel.price[row, 8:11] == panel.price[row, 7]).all()


def test_identifiers_that_are_sold_but_not_listed_are_kept(tmp_path: Path, tables: dict[str, pd.DataFrame]) -> None:
    shop = land(tmp_path / "shop", tables | {"products": listing(3)})
    panel = build_panel(shop, small_settings(tmp_path))
    assert set(panel.product_ids) == {f"P{i}" for i in range(8)}
    assert panel.products.set_index("product_id").loc["P7", "title"] == ""


@pytest.mark.parametrize("names", [("products",), ("sales_weekly",), ("prices_weekly",)])
def test_a_shop_that_cannot_be_priced_is_refused(
    tmp_path: Path, tables: dict[str, pd.DataFrame], names: tuple[str, ...]
) -> None:
    bare = {name: tables[name].drop(columns="revenue", errors="ignore") for name in names}
    with pytest.raises(DataError, match=r"transactions|price"):
        build_panel(land(tmp_path / "shop", bare), small_settings(tmp_path))


def test_one_product_in_one_week_is_a_panel(tmp_path: Path) -> None:
    lines = purchases(products=1, weeks=1, customers=12)
    panel = build_panel(land(tmp_path / "shop", {"transactions": lines}), small_settings(tmp_path))
    assert panel.units.shape == (1, 1)
    assert np.isfinite(current_prices(panel)).all()
    assert recent_units(panel, 8) == pytest.approx(panel.units[:, 0])


def test_the_cache_gives_back_what_was_built(tmp_path: Path, tables: dict[str, pd.DataFrame]) -> None:
    shop, config = land(tmp_path / "shop", tables), small_settings(tmp_path)
    built = build_panel(shop, config)
    kept = list((tmp_path / "cache" / "panels").iterdir())
    assert len(kept) == 1
    moved = replace(shop, tables={})
    assert same(build_panel(moved, config), built)  # nothing was read but the cache
    kept[0].write_bytes(b"PK cut short")
    assert same(build_panel(shop, config), built)


def test_the_number_of_threads_changes_no_byte(tmp_path: Path, tables: dict[str, pd.DataFrame]) -> None:
    shop = land(tmp_path / "shop", {"transactions": tables["transactions"]})
    one = build_panel(shop, small_settings(tmp_path / "one"))
    two = build_panel(shop, small_settings(tmp_path / "two", "data.threads=3"))
    assert same(one, two)


def test_prices_by_store_with_sales_of_the_chain_are_averaged(tmp_path: Path, tables: dict[str, pd.DataFrame]) -> None:
    base = price_table()
    dear = base.assign(store_id="S1", price=base["price"] * 1.5)
    prices = pd.concat([base.assign(store_id="S0"), dear], ignore_index=True)
    weekly_only = {"sales_weekly": tables["sales_weekly"], "prices_weekly": prices, "products": listing()}
    panel = build_panel(land(tmp_path / "shop", weekly_only), small_settings(tmp_path))
    plain = build_panel(land(tmp_path / "plain", weekly_only | {"prices_weekly": base}), small_settings(tmp_path))
    assert panel.units.shape == (8, 20)
    assert panel.price == pytest.approx(plain.price * 1.25, abs=1e-3)


def test_one_price_table_holds_for_every_store_that_sold(tmp_path: Path, tables: dict[str, pd.DataFrame]) -> None:
    sales = _by_store({"sales_weekly": tables["sales_weekly"], "prices_weekly": price_table()}, stores=3)[
        "sales_weekly"
    ]
    sales = sales[(sales["product_id"] != "P5") | (sales["store_id"] == "S1")]
    shop = land(tmp_path / "shop", {"sales_weekly": sales, "prices_weekly": price_table(), "products": listing()})
    panel = build_panel(shop, small_settings(tmp_path))
    assert len(panel.series_product) == 7 * 3 + 1
    for row, product in enumerate(panel.series_product):
        shelf = price_table().loc[lambda d, p=panel.product_ids[product]: d["product_id"] == p]
        assert panel.price[row] == pytest.approx(shelf["price"].to_numpy())


def test_a_closed_store_has_no_say_in_the_price_in_force(tmp_path: Path) -> None:
    weeks = np.arange(30)
    rows = [
        pd.DataFrame({"product_id": "P0", "store_id": store, "week": weeks[:end], "price": price, "units": 10.0})
        for store, price, end in (("open", 3.0, 30), ("closed", 9.0, 10))
    ]
    table = pd.concat(rows, ignore_index=True)
    shop = land(
        tmp_path / "shop", {"sales_weekly": table.drop(columns="price"), "prices_weekly": table.drop(columns="units")}
    )
    panel = build_panel(shop, small_settings(tmp_path))
    assert current_prices(panel) == pytest.approx([3.0])


def test_recent_units_pass_over_weeks_out_of_stock(tmp_path: Path, tables: dict[str, pd.DataFrame]) -> None:
    prices = price_table().assign(stock_out=lambda d: ((d["product_id"] == "P2") & (d["week"] >= 17)).astype(float))
    sales = tables["sales_weekly"].assign(units=10.0)
    sales.loc[(sales["product_id"] == "P2") & (sales["week"] >= 17), "units"] = 1.0
    shop = land(tmp_path / "shop", {"sales_weekly": sales, "prices_weekly": prices})
    panel = build_panel(shop, small_settings(tmp_path))
    assert recent_units(panel, 4) == pytest.approx([10.0] * 8)


@pytest.mark.parametrize("logged", [True, False])
def test_a_price_moved_at_random_is_not_the_everyday_price(
    tmp_path: Path, tables: dict[str, pd.DataFrame], logged: bool
) -> None:
    prices = price_table().assign(price=lambda d: d["regular_price"], experiment=0.0)
    moved = prices["week"].isin([6, 12, 18, 19])
    prices.loc[moved, ["price", "regular_price"]] *= 1.08
    prices.loc[moved, "experiment"] = 1.0
    prices = prices if logged else prices.drop(columns="regular_price")
    shop = land(tmp_path / "shop", {"sales_weekly": tables["sales_weekly"], "prices_weekly": prices})
    panel = build_panel(shop, small_settings(tmp_path))
    expected = [2.0 + int(product[1:]) for product in panel.product_ids]
    assert current_prices(panel) == pytest.approx(expected)
    assert panel.regular_logged == logged


def test_one_customer_is_not_split_into_halves(tmp_path: Path, tables: dict[str, pd.DataFrame]) -> None:
    lines = tables["transactions"].assign(customer_id="C1")
    shop, config = land(tmp_path / "shop", {"transactions": lines}), small_settings(tmp_path)
    whole = build_panel(shop, config)
    first, second, how = split_panel(shop, whole, config, seed=1)
    assert how == "thinning"
    assert 0.4 < first.units.sum() / whole.units.sum() < 0.6
    assert (first.units + second.units == whole.units).all()


def test_a_product_without_price_or_sale_for_a_quarter_of_a_year_is_left_out(tmp_path: Path) -> None:
    lines = purchases(weeks=40)
    gone = lines[(lines["product_id"] != "P3") | (lines["week"] < 25)]
    prices = price_table(weeks=40)
    tables = {"prices_weekly": prices[(prices["product_id"] != "P3") | (prices["week"] < 25)]}
    panel = build_panel(land(tmp_path / "gone", tables | {"sales_weekly": weekly(gone)}), small_settings(tmp_path))
    assert "P3" not in panel.product_ids
    assert any("delisted" in caveat for caveat in panel.price_caveats)
    for kept in ({"prices_weekly": prices, "sales_weekly": weekly(gone)}, {"transactions": gone}):
        panel = build_panel(land(tmp_path / str(len(kept)), kept), small_settings(tmp_path))
        assert "P3" in panel.product_ids
        assert not any("delisted" in caveat for caveat in panel.price_caveats)
