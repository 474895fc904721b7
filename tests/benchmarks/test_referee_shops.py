from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.oracle import KnownTruth, best_prices
from benchmarks.referee_shops import CATALOGUE, DESIGNS, main, simulate_referee_shop

NAMES = sorted(DESIGNS)
# What the oracle reads of the pricing rules; it is a plain object so that these tests need nothing of the product.
RULES: Any = SimpleNamespace(
    max_change=0.1, step=0.02, index_band=0.002, max_changed=None, endings=None, min_margin=None
)


@pytest.mark.parametrize("name", NAMES)
def test_tables_follow_the_contract(tmp_path: Path, name: str) -> None:
    truth: KnownTruth = simulate_referee_shop(tmp_path, seed=3, design=name)
    products, prices, sales = (
        pd.read_csv(tmp_path / f"{table}.csv") for table in ("products", "prices_weekly", "sales_weekly")
    )
    assert tuple(products["product_id"]) == truth.product_ids and products["product_id"].is_unique
    assert products["title"].notna().all() and set(products["category"]) == set(CATALOGUE)
    share = products["unit_cost"] / products["list_price"]
    assert share.between(0.54, 0.81).all()
    assert len(prices) == len(sales) == 300 * 104
    assert not prices.duplicated(["product_id", "week"]).any()
    weeks = pd.to_datetime(prices["week"])
    assert (weeks.dt.day_of_week == 0).all() and weeks.nunique() == 104
    assert (sales["units"] >= 0).all() and sales["units"].sum() > 0
    np.testing.assert_allclose(sales["revenue"], sales["units"] * prices["price"], atol=0.0051)
    assert (prices["price"] >= prices["product_id"].map(products.set_index("product_id")["unit_cost"]) - 1e-9).all()
    last = prices[prices["week"] == prices["week"].max()]
    np.testing.assert_allclose(last["regular_price"], truth.current_price)
    np.testing.assert_allclose(products["list_price"], truth.current_price)
    share = DESIGNS[name].random_share
    if share:
        moved = prices[prices["experiment"] == 1]
        assert len(moved) / len(prices) == pytest.approx(share, rel=0.1)
        assert not (last["experiment"] == 1).any()
        assert abs(np.log(moved["price"] / moved["regular_price"]).mean()) < 0.01
    else:
        assert "experiment" not in prices and (prices["price"] <= prices["regular_price"]).all()


@pytest.mark.parametrize("name", NAMES)
def test_elasticity_is_the_slope_of_the_truth(tmp_path: Path, name: str) -> None:
    truth = simulate_referee_shop(tmp_path, seed=4, design=name)
    today, slope, step = truth.current_price, np.empty(300), 1e-5
    for i in range(300):
        up, down = today.copy(), today.copy()
        up[i] *= 1 + step
        down[i] *= 1 - step
        slope[i] = (truth.units(up)[i] - truth.units(down)[i]) / (2 * step * truth.units(today)[i])
    np.testing.assert_allclose(slope, truth.elasticity_regular, atol=1e-6)
    assert (truth.elasticity_regular < 0).all()
    assert abs(truth.elasticity_regular.mean() - DESIGNS[name].elasticity) < 0.3


@pytest.mark.parametrize("name", NAMES)
def test_oracle_finds_a_few_per_cent(tmp_path: Path, name: str) -> None:
    truth = simulate_referee_shop(tmp_path, seed=1, design=replace(DESIGNS[name], products=150))
    today = truth.current_price
    best = best_prices(truth, RULES, weeks=8)
    assert 0.025 < truth.gain(best) / truth.line_profit(today).sum() < 0.08
    assert truth.gain(today) == 0
    assert (truth.units(today, weeks=1) > 0).all()
    with pytest.raises(ValueError, match="weeks must be"):
        truth.units(today, weeks=53)


def test_nested_logit_sends_a_moderate_part_of_lost_sales_to_the_category(tmp_path: Path) -> None:
    truth = simulate_referee_shop(tmp_path, seed=1, design="nested")
    low, middle, high = np.quantile(truth.diversion(), [0.05, 0.5, 0.95])
    assert 0.25 < low < high < 0.65 and 0.4 < middle < 0.55
    # Today's weeks without season sell what was drawn, and no price sells more than there are shoppers.
    flat = np.zeros((1, 300))
    price = truth.current_price[None]
    np.testing.assert_allclose(truth.mean_units(price, price, flat, flat)[0], truth.volume)
    cheap = truth.mean_units(price * 0.01, price * 0.01, flat, flat)[0]
    for number in range(truth.category.max() + 1):
        rows = truth.category == number
        assert cheap[rows].sum() <= truth.volume[rows].sum() / (1 - truth.outside[rows][0]) + 1e-6


def test_promotions_are_confounded_and_the_random_prices_are_not(tmp_path: Path) -> None:
    truth = simulate_referee_shop(tmp_path, seed=5, design="experiments")
    rows = pd.read_csv(tmp_path / "prices_weekly.csv").merge(pd.read_csv(tmp_path / "sales_weekly.csv"))
    rows["q"], rows["p"] = np.log(rows["units"] + 0.5), np.log(rows["price"])

    def pooled(part: pd.DataFrame) -> float:
        within = part[["q", "p"]] - part.groupby("product_id")[["q", "p"]].transform("mean")
        return float((within["q"] * within["p"]).sum() / (within["p"] ** 2).sum())

    real = float(truth.elasticity_regular.mean())
    assert pooled(rows[rows["experiment"] == 0]) < real - 0.7
    assert abs(pooled(rows[rows["experiment"] == 1]) - real) < 0.35


def test_the_seed_makes_the_shop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(tmp_path / "a"), "--design", "semilog", "--seed", "7"])
    assert "300 products" in capsys.readouterr().out
    for folder, seed in (("b", 7), ("c", 8)):
        simulate_referee_shop(tmp_path / folder, seed=seed, design="semilog")
    first, same, other = ((tmp_path / folder / "sales_weekly.csv").read_bytes() for folder in "abc")
    assert first == same != other
