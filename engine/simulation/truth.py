"""The truth beside a simulated shop: what any plan really earns, which no estimator gets to see."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.errors import DataError, ProblemError
from engine.simulation.catalogue import Catalogue
from engine.simulation.demand import draw_units, future_units, others_index, stockpiling_dip
from engine.simulation.market import FUTURE_WEEKS, Market
from engine.simulation.paths import Paths
from engine.simulation.scenario import Scenario

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Promotions = Literal["none", "recent"]

FORMAT = 1


@dataclass(frozen=True)
class CouponTruth:
    """Expected effect of one coupon, for one wave, against sending nothing."""

    customer_ids: tuple[str, ...]
    offer_ids: tuple[str, ...]
    """(O,) the first is '', no coupon."""
    profit: Floats
    """(N, O) expected incremental profit, net of the coupon's cost, money; column 0 is 0."""
    cost: Floats
    """(N, O) expected cost of the coupon (chance of redemption × face value), money; column 0 is 0."""
    baseline: Floats
    """(N,) expected profit without a coupon, money."""

    def policy_profit(self, choice: npt.ArrayLike) -> float:
        """Sum the expected incremental profit of sending customer n the offer in column `choice[n]` (0: nothing)."""
        return float(self.profit[np.arange(len(self.customer_ids)), np.asarray(choice, dtype=np.int64)].sum())

    def policy_cost(self, choice: npt.ArrayLike) -> float:
        """Sum the expected cost of the coupons of that policy, money."""
        return float(self.cost[np.arange(len(self.customer_ids)), np.asarray(choice, dtype=np.int64)].sum())

    def best_profit(self) -> float:
        """Sum what the best policy earns when there is no budget."""
        return float(self.profit.max(axis=1).sum())


@dataclass(frozen=True)
class Truth:
    """What P products will sell and earn at any everyday prices.

    Expected units of product i in week h ahead, when the everyday prices are p and p0 is in force today:

        base_ih · (p_i / p0_i)^regular_i · (Π_j (p_j / p0_j)^w_j)^cross_i

    with j over the other products of the category and w_j their share of those others' `weight`. A *realised gain* is
    the expected profit over the horizon at the proposed prices minus that at today's. It is an expectation: no luck of
    the draw is in it, every unit that is wanted is sold, and both sides see the same season.
    """

    scenario: Scenario
    seed: int
    scenario_name: str
    product_ids: tuple[str, ...]
    category: Ints
    current_price: Floats
    """(P,) everyday price in force in the last week, money."""
    unit_cost: Floats
    elasticity_regular: Floats
    """(P,) what a move of the everyday price will see, other prices unchanged."""
    elasticity_promotion: Floats
    elasticity_cross: Floats
    weight: Floats
    base_weekly: Floats
    """(P, 52) expected units of the weeks after the data at today's prices, without promotions."""
    recent_discount: Floats
    """(P, W) log discount in each of the last W weeks of the data, W at most 52, oldest first."""
    recent_lift: Floats
    """(P, W) log demand that leaflet and display added in those weeks."""
    coupons: CouponTruth | None = None

    def prices_of(self, product_ids: Sequence[str], prices: npt.ArrayLike) -> Floats:
        """(P,) prices in the order of the truth; a product that is not named keeps today's.

        Raises:
            ProblemError: a product that the shop does not have.
        """
        position = {product: i for i, product in enumerate(self.product_ids)}
        unknown = [str(product) for product in product_ids if str(product) not in position]
        if unknown:
            raise ProblemError(
                f"product {unknown[0]!r} is not in the simulated shop ({len(unknown)} such); use its ids"
            )
        full = self.current_price.copy()
        full[[position[str(product)] for product in product_ids]] = np.asarray(prices, dtype=np.float64)
        return full

    def weekly_units(self, prices: npt.ArrayLike, *, weeks: int = 8, promotions: Promotions = "none") -> Floats:
        """(P, weeks) expected units of each coming week at everyday prices `prices` (P,).

        `promotions="recent"` repeats the promotions of the last `weeks` weeks, with the same depths relative to the
        new everyday prices.

        Raises:
            ProblemError: prices of the wrong shape, not positive, or more weeks than the truth covers.
        """
        move = np.log(self._checked(prices, weeks, promotions) / self.current_price)
        discount, lift = self._promotions(weeks, promotions)
        others = others_index(move[:, None] + discount, self.weight, self.category)
        log_change = self.elasticity_regular[:, None] * move[:, None] + self.elasticity_cross[:, None] * others
        log_change = log_change + self.elasticity_promotion[:, None] * discount + lift
        log_change = log_change + stockpiling_dip(self.scenario, discount)
        units: Floats = self.base_weekly[:, :weeks] * np.exp(log_change)
        return units

    def units(self, prices: npt.ArrayLike, *, weeks: int = 8, promotions: Promotions = "none") -> Floats:
        """(P,) expected units over the coming weeks."""
        total: Floats = self.weekly_units(prices, weeks=weeks, promotions=promotions).sum(axis=1)
        return total

    def line_profit(self, prices: npt.ArrayLike, *, weeks: int = 8, promotions: Promotions = "none") -> Floats:
        """(P,) expected profit over the coming weeks, money."""
        units = self.weekly_units(prices, weeks=weeks, promotions=promotions)
        discount, _ = self._promotions(weeks, promotions)
        paid = np.asarray(prices, dtype=np.float64)[:, None] * np.exp(discount)
        profit: Floats = (units * (paid - self.unit_cost[:, None])).sum(axis=1)
        return profit

    def profit(self, prices: npt.ArrayLike, *, weeks: int = 8, promotions: Promotions = "none") -> float:
        """Sum the expected profit of the whole shop over the coming weeks, money."""
        return float(self.line_profit(prices, weeks=weeks, promotions=promotions).sum())

    def gain(
        self,
        prices: npt.ArrayLike,
        *,
        weeks: int = 8,
        promotions: Promotions = "none",
        current: npt.ArrayLike | None = None,
    ) -> float:
        """Realised gain of `prices` over `current` (None: the prices in force), money over the coming weeks."""
        before = self.current_price if current is None else current
        return self.profit(prices, weeks=weeks, promotions=promotions) - self.profit(
            before, weeks=weeks, promotions=promotions
        )

    def coupon_profit(self, choice: npt.ArrayLike) -> float:
        """Sum the expected incremental profit of a coupon policy, for one wave; see CouponTruth.policy_profit.

        Raises:
            ProblemError: the shop has no coupons.
        """
        if self.coupons is None:
            raise ProblemError("the simulated shop has no coupons; simulate it with coupon_waves above 0")
        return self.coupons.policy_profit(choice)

    def draw_sales(self, prices: npt.ArrayLike, rng: np.random.Generator, *, weeks: int = 8) -> Ints:
        """(P, weeks) one draw of the units that would be sold at everyday prices `prices`, without promotions."""
        return draw_units(self.weekly_units(prices, weeks=weeks), self.scenario.dispersion, rng)

    def _promotions(self, weeks: int, promotions: Promotions) -> tuple[Floats, Floats]:
        if promotions == "recent":
            return self.recent_discount[:, -weeks:], self.recent_lift[:, -weeks:]
        return np.zeros((len(self.product_ids), weeks)), np.zeros((len(self.product_ids), weeks))

    def _checked(self, prices: npt.ArrayLike, weeks: int, promotions: Promotions) -> Floats:
        array = np.asarray(prices, dtype=np.float64)
        longest = self.recent_discount.shape[1] if promotions == "recent" else FUTURE_WEEKS
        if not 1 <= weeks <= longest:
            raise ProblemError(f"weeks = {weeks} is refused; the truth covers 1 to {longest} of them")
        if array.shape != self.current_price.shape:
            raise ProblemError(f"prices have shape {array.shape}; give one price for each of {len(self.product_ids)}")
        if not (np.isfinite(array) & (array > 0)).all():
            raise ProblemError("prices must be above 0 and finite; see prices_of to fill in those of a plan")
        return array


def make_truth(
    scenario: Scenario,
    name: str,
    seed: int,
    catalogue: Catalogue,
    market: Market,
    paths: Paths,
    coupons: CouponTruth | None,
) -> Truth:
    """Gather what is true from the parts that drew it."""
    last = min(FUTURE_WEEKS, scenario.weeks)
    lift = scenario.mailer_lift * paths.mailer + scenario.display_lift * paths.display
    return Truth(
        scenario=scenario,
        seed=seed,
        scenario_name=name,
        product_ids=tuple(catalogue.table["product_id"]),
        category=catalogue.category,
        current_price=paths.everyday[:, -1],
        unit_cost=paths.unit_cost[:, -1],
        elasticity_regular=catalogue.regular,
        elasticity_promotion=catalogue.promotion,
        elasticity_cross=catalogue.cross,
        weight=catalogue.weight,
        base_weekly=future_units(scenario, catalogue, market, paths),
        recent_discount=paths.discount[:, -last:],
        recent_lift=lift[:, -last:],
        coupons=coupons,
    )


_COLUMNS = (
    "category", "current_price", "unit_cost", "elasticity_regular", "elasticity_promotion", "elasticity_cross", "weight"
)  # fmt: skip
_MATRICES = ("base_weekly", "recent_discount", "recent_lift")


def save_truth(truth: Truth, folder: Path) -> None:
    """Write the truth into `folder`: scenario.json, products.parquet, one file for each matrix, coupons.parquet."""
    folder.mkdir(parents=True, exist_ok=True)
    parameters = {field.name: getattr(truth.scenario, field.name) for field in fields(Scenario)}
    head = {"format": FORMAT, "scenario": truth.scenario_name, "seed": truth.seed, "parameters": parameters}
    (folder / "scenario.json").write_text(json.dumps(head, indent=1) + "\n", encoding="utf-8")
    table = pd.DataFrame({"product_id": truth.product_ids, **{name: getattr(truth, name) for name in _COLUMNS}})
    table.to_parquet(folder / "products.parquet", index=False)
    for name in _MATRICES:
        matrix = getattr(truth, name)
        frame = pd.DataFrame(matrix, columns=[str(week) for week in range(matrix.shape[1])])
        frame.to_parquet(folder / f"{name}.parquet", index=False)
    if truth.coupons is not None:
        _coupon_frame(truth.coupons).to_parquet(folder / "coupons.parquet", index=False)


def _coupon_frame(coupons: CouponTruth) -> pd.DataFrame:
    n, offers = coupons.profit.shape
    return pd.DataFrame(
        {
            "customer_id": np.repeat(np.array(coupons.customer_ids, dtype=object), offers),
            "offer_id": np.tile(np.array(coupons.offer_ids, dtype=object), n),
            "profit": coupons.profit.ravel(),
            "cost": coupons.cost.ravel(),
            "baseline": np.repeat(coupons.baseline, offers),
        }
    )


def load_truth(folder: Path) -> Truth:
    """Read the truth of the simulated shop in `folder`.

    Raises:
        DataError: the folder holds no simulated shop, or one written by another version.
    """
    place = Path(folder) / "truth"
    try:
        head = json.loads((place / "scenario.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{folder}: no simulated shop here; write one with `offerwright simulate {folder}`") from error
    if head.get("format") != FORMAT:
        raise DataError(
            f"{place}: written in format {head.get('format')!r}, this version reads {FORMAT}; simulate again"
        )
    table = pd.read_parquet(place / "products.parquet")
    matrices: dict[str, Any] = {
        name: pd.read_parquet(place / f"{name}.parquet").to_numpy(dtype=np.float64) for name in _MATRICES
    }
    columns = {name: table[name].to_numpy(dtype=np.float64) for name in _COLUMNS if name != "category"}
    parameters = dict(head["parameters"], coupon_faces=tuple(head["parameters"]["coupon_faces"]))
    return Truth(
        scenario=Scenario(**parameters),
        seed=int(head["seed"]),
        scenario_name=str(head["scenario"]),
        product_ids=tuple(table["product_id"].astype(str)),
        category=table["category"].to_numpy(dtype=np.int64),
        coupons=_load_coupons(place / "coupons.parquet"),
        **columns,
        **matrices,
    )


def _load_coupons(file: Path) -> CouponTruth | None:
    if not file.exists():
        return None
    frame = pd.read_parquet(file)
    offers = tuple(frame["offer_id"].drop_duplicates().astype(str))
    shape = (-1, len(offers))
    return CouponTruth(
        customer_ids=tuple(frame["customer_id"].astype(str).iloc[:: len(offers)]),
        offer_ids=offers,
        profit=frame["profit"].to_numpy(dtype=np.float64).reshape(shape),
        cost=frame["cost"].to_numpy(dtype=np.float64).reshape(shape),
        baseline=frame["baseline"].to_numpy(dtype=np.float64)[:: len(offers)],
    )
