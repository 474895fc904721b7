"""Every kind of rule: its parameters, what one unit of violation is, and what it asks. `docs/rules.md` shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.proposal import N_

MAX_SHARE = 10.0
MAX_AMOUNT = 1e9


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kind."""

    name: str
    type: str
    """"number", "whole", "numbers", "columns", "column", "scope" or "choice"."""
    help: str
    required: bool = False
    default: Any = None
    low: float = 0.0
    high: float = MAX_SHARE
    choices: tuple[str, ...] = ()
    unit_of_rule: bool = True
    """Whether it is counted in the unit of the rule's violation (times `Kind.scale`), so that a relaxation moves it."""


@dataclass(frozen=True)
class Kind:
    """One kind of rule."""

    name: str
    asks: str
    """What a plan has to keep, in one sentence."""
    unit: str
    """What one unit of violation is: a soft rule costs money per this, and relaxations are counted in it."""
    parameters: tuple[Parameter, ...] = ()
    at_least_one: tuple[str, ...] = ()
    """Parameters of which at least one has to be given."""
    counted_in: str = N_("percentage points")
    """Word for several of these units."""
    counted: bool = False
    """True: violations are counted over products (to relax is to exempt some); False: the largest one counts."""
    scale: float = 100.0
    """Units of violation in one unit of the parameter."""

    @property
    def limits(self) -> tuple[str, ...]:
        """Parameters that a relaxation moves."""
        return tuple(p.name for p in self.parameters if p.type in ("number", "whole") and p.unit_of_rule)


POINT_OF_TODAY = "one percentage point of today's price, for each product"
PRODUCT = "one product"
PRODUCTS = N_("product(s)")
CHANGES = N_("change(s)")

_BY = Parameter("by", "column", "one limit for each value of this column; none: one for the whole scope")
_AGREE = "products are compared that agree in these columns"
_GROUP = Parameter("group_by", "columns", _AGREE, default=("category",))
_PER = Parameter("per", "choice", "what is compared", default="unit", choices=("unit", "pack"))

_ALL = (
    Kind(
        "max_change",
        "A changed price lies at most `up` above and at most `down` below today's.",
        POINT_OF_TODAY,
        (
            Parameter("up", "number", "largest raise, share of today's price"),
            Parameter("down", "number", "largest cut, share of today's price", high=1.0),
        ),
        ("up", "down"),
    ),
    Kind(
        "min_step",
        "A changed price differs from today's by at least `share` of it and by at least `money`.",
        PRODUCT,
        (
            Parameter("share", "number", "smallest move, share of today's price", default=0.0, high=1.0),
            Parameter("money", "number", "smallest move, money", default=0.0, high=MAX_AMOUNT),
        ),
        ("share", "money"),
        counted=True,
        counted_in=PRODUCTS,
    ),
    Kind(
        "margin_floor",
        "Every price, changed or not, leaves a gross margin (price − cost) / price of at least `at_least`.",
        "one percentage point of margin, for each product",
        (Parameter("at_least", "number", "smallest margin, share of the price", required=True, low=-1.0, high=0.99),),
    ),
    Kind(
        "group_margin_floor",
        "Profit of each group is at least `at_least` of its revenue, both as expected at the plan's prices.",
        "one per cent of the group's revenue at today's prices",
        (
            Parameter("at_least", "number", "smallest margin, share of revenue", required=True, low=-1.0, high=0.99),
            Parameter("by", "column", "one limit for each value of this column", default="category"),
        ),
    ),
    Kind(
        "price_endings",
        "A changed price ends with one of `endings`.",
        PRODUCT,
        (Parameter("endings", "numbers", "permitted fractions of the money unit: [0.99, 0.49]", True, high=0.99),),
        counted=True,
        counted_in=PRODUCTS,
    ),
    Kind(
        "price_ladder",
        "A changed price is one of `prices`.",
        PRODUCT,
        (Parameter("prices", "numbers", "permitted prices, money", required=True, low=0.01, high=MAX_AMOUNT),),
        counted=True,
        counted_in=PRODUCTS,
    ),
    Kind(
        "pack_size_order",
        "Within a group, a larger pack is not dearer per unit than the next smaller one (by more than `tolerance`).",
        "one percentage point of the smaller pack's price per unit, for each pair",
        (
            Parameter("group_by", "columns", _AGREE, default=("brand", "category")),
            Parameter("tolerance", "number", "share by which the larger pack may be dearer per unit", default=0.0),
        ),
    ),
    Kind(
        "brand_gap",
        "Each product of the scope costs at least `at_least` (and at most `at_most`) less per unit than the "
        "products `above` of its group do on average (weighted by today's revenue).",
        "one percentage point of the dearer products' average price per unit, for each product",
        (
            Parameter("above", "scope", "the dearer products, a scope such as {brand: ACME}", required=True),
            Parameter("at_least", "number", "smallest gap, share of the dearer price", low=-MAX_SHARE, high=1.0),
            Parameter("at_most", "number", "largest gap, share of the dearer price", low=-MAX_SHARE, high=1.0),
            _GROUP,
            _PER,
        ),
        ("at_least", "at_most"),
    ),
    Kind(
        "private_label_gap",
        "Each private label product of the scope costs at least `at_least` (and at most `at_most`) less per unit "
        "than the brands of its group do on average (weighted by today's revenue).",
        "one percentage point of the brands' average price per unit, for each private label product",
        (
            Parameter("at_least", "number", "smallest gap, share of the brands' price", low=-MAX_SHARE, high=1.0),
            Parameter("at_most", "number", "largest gap, share of the brands' price", low=-MAX_SHARE, high=1.0),
            _GROUP,
            _PER,
        ),
        ("at_least", "at_most"),
    ),
    Kind(
        "move_together",
        "Within a price family, every relative change is within `tolerance` of that of the product with most revenue.",
        "one percentage point of relative change, for each product",
        (
            Parameter("group_by", "columns", "what makes a family", default=("price_family",)),
            Parameter("tolerance", "number", "share; 0 is rarely possible in whole cents", default=0.01),
        ),
    ),
    Kind(
        "competitor_gap",
        "Every price, changed or not, lies at most `above` over and at most `below` under the competitor's, "
        "where that is known.",
        "one percentage point of the competitor's price, for each product",
        (
            Parameter("above", "number", "share of the competitor's price"),
            Parameter("below", "number", "share of the competitor's price", high=1.0),
        ),
        ("above", "below"),
    ),
    Kind(
        "min_days_between_changes",
        "A price changes only if its last change was at least `days` before the plan begins.",
        PRODUCT,
        (Parameter("days", "whole", "days", required=True, high=3660),),
        counted=True,
        counted_in=PRODUCTS,
        scale=1.0,
    ),
    Kind(
        "lowest_price_30_days",
        "A cut price lies below the lowest price of the last 30 days by at least `at_least`, so that it may be claimed "
        "as a reduction (EU directive 98/6/EC, article 6a); where that price is unknown, nothing is cut.",
        PRODUCT,
        (Parameter("at_least", "number", "share of the lowest price", default=0.0, high=1.0),),
        counted=True,
        counted_in=PRODUCTS,
    ),
    Kind("frozen", "No price changes.", PRODUCT, counted=True, counted_in=PRODUCTS, scale=1.0),
    Kind(
        "max_changes",
        "At most `at_most` prices change, and at most `share` of them.",
        "one change",
        (
            Parameter("at_most", "whole", "number of products", high=MAX_AMOUNT),
            Parameter("share", "number", "share of the products of the scope", high=1.0, unit_of_rule=False),
            _BY,
        ),
        ("at_most", "share"),
        counted_in=CHANGES,
        scale=1.0,
    ),
    Kind(
        "price_index",
        "The price index of each group (Σ w_i (p_i / today_i − 1), w_i shares of today's revenue) lies between `low` "
        "and `high`.",
        "one percentage point of the index",
        (
            Parameter("low", "number", "smallest relative change, such as −0.005", low=-1.0),
            Parameter("high", "number", "largest relative change, such as 0.005", low=-1.0),
            _BY,
        ),
        ("low", "high"),
    ),
    Kind(
        "volume_floor",
        "Expected units of each group are at least `at_least` of those at today's prices.",
        "one per cent of the group's units at today's prices",
        (Parameter("at_least", "number", "share of today's units, such as 0.98", required=True), _BY),
    ),
    Kind(
        "revenue_floor",
        "Expected revenue of each group is at least `at_least` of that at today's prices.",
        "one per cent of the group's revenue at today's prices",
        (Parameter("at_least", "number", "share of today's revenue, such as 0.98", required=True), _BY),
    ),
    Kind(
        "stock_cover",
        "Expected units of each product over the horizon are at most `share` of its stock, where that is known: "
        "the price is not below what the stock can serve.",
        "one per cent of the product's stock",
        (Parameter("share", "number", "share of the stock that the horizon may take", default=1.0),),
    ),
)
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _ALL}
