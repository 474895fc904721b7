"""Weekly sales, prices and promotion shares, rebuilt from purchases and promotion records. Runs on any backend.

A price that nobody bought at is unknown, and the mean price of a week leans towards the stores and days where more was
sold, so a rebuilt price carries a trace of the demand it is meant to explain. Three things are done about it. Prices
are rebuilt by product, store and week first, where the shelf price is one number. The chain's price is the mean over
the stores that sold the product that week, weighted by what each had sold of it up to and including that week, so
that weights move slowly and never know the future. And whoever judges a plan rebuilds prices from other households.

Frames are lazy Narwhals frames with the columns of the contract's transactions, plus the running `week`.
"""

from __future__ import annotations

import narwhals as nw

from engine.frames import PARTS, TICKS, Frame, parts, ticks

KEY = ("product_id", "week")
STORE_KEY = ("product_id", "store_id", "week")


def weekly_sales(transactions: Frame, *, by_store: bool = False) -> Frame:
    """Units and revenue by product and week.

    Returns are taken off. A week in which nothing was sold has no row.

    Args:
        transactions: product_id, week, quantity, sales_value (money)(, store_id).
        by_store: also by store.

    Returns:
        product_id, week(, store_id), units (float), revenue (money).
    """
    key = STORE_KEY if by_store else KEY
    lines = transactions.select(*key, _q=parts(nw.col("quantity")), _v=ticks(nw.col("sales_value")))
    sums = lines.group_by(*key).agg(_q=nw.col("_q").sum().cast(nw.Int64), _v=nw.col("_v").sum().cast(nw.Int64))
    return sums.select(*key, units=nw.col("_q") / PARTS, revenue=nw.col("_v") / TICKS)


def store_week_prices(transactions: Frame) -> Frame:
    """What one unit cost on the shelf, by product, store and week.

    The shelf price is (sales_value + coupon_discount) / quantity: a coupon is the customer's, not the shelf's. The
    everyday price adds the shop's discount. Returns, and lines without quantity or value, say nothing about prices.

    Args:
        transactions: product_id, store_id, week, quantity, sales_value, discount, coupon_discount (money, nulls are 0).

    Returns:
        product_id, store_id, week, units (parts, whole), price and regular_price (ticks, whole).
    """
    lines = transactions.select(
        *STORE_KEY,
        _q=parts(nw.col("quantity")),
        _v=ticks(nw.col("sales_value")) + ticks(nw.col("coupon_discount").fill_null(0.0)),
        _d=ticks(nw.col("discount").fill_null(0.0)),
    ).filter((nw.col("_q") > 0) & (nw.col("_v") > 0))
    sums = lines.group_by(*STORE_KEY).agg(*(nw.col(name).sum().cast(nw.Int64) for name in ("_q", "_v", "_d")))
    return sums.select(
        *STORE_KEY,
        units=nw.col("_q"),
        price=(nw.col("_v") * PARTS / nw.col("_q")).round().cast(nw.Int64),
        regular_price=((nw.col("_v") + nw.col("_d")) * PARTS / nw.col("_q")).round().cast(nw.Int64),
    )


def rebuild_prices(transactions: Frame, *, by_store: bool = False) -> Frame:
    """Prices by product and week, rebuilt from purchases.

    Args:
        transactions: as for `store_week_prices`; hand in some households only, to get the prices that they saw.
        by_store: one price for each store; else the chain's.

    Returns:
        product_id, week(, store_id), price, regular_price (money per unit, ≥ price).
    """
    stores = store_week_prices(transactions)
    if by_store:
        return stores.select(*STORE_KEY, price=nw.col("price") / TICKS, regular_price=nw.col("regular_price") / TICKS)
    weight = nw.col("units").cum_sum().over("product_id", "store_id", order_by="week").cast(nw.Int64)
    weighed = stores.with_columns(_w=weight).select(
        *KEY, "_w", _p=nw.col("_w") * nw.col("price"), _r=nw.col("_w") * nw.col("regular_price")
    )
    sums = weighed.group_by(*KEY).agg(*(nw.col(name).sum().cast(nw.Int64) for name in ("_w", "_p", "_r")))
    return sums.select(
        *KEY,
        price=((nw.col("_p") / nw.col("_w")).round().cast(nw.Int64)) / TICKS,
        regular_price=((nw.col("_r") / nw.col("_w")).round().cast(nw.Int64)) / TICKS,
    )


def store_weights(transactions: Frame) -> Frame:
    """Sales of each store up to and including each week: how much a promotion there counts.

    Returns:
        store_id, week, weight (ticks, whole).
    """
    lines = transactions.select("store_id", "week", _v=ticks(nw.col("sales_value")))
    sums = lines.group_by("store_id", "week").agg(_v=nw.col("_v").sum().cast(nw.Int64))
    weight = nw.col("_v").cum_sum().over("store_id", order_by="week").cast(nw.Int64)
    return sums.select("store_id", "week", weight=weight)


def promotion_shares(promotions: Frame, weights: Frame) -> Frame:
    """In which share of the chain (by sales of the stores so far) a product was in the leaflet, and on display.

    Duplicate rows for a product, store and week count once. Stores of which no promotion was ever recorded do not
    count. A product-week without any promotion has no row.

    Args:
        promotions: product_id, store_id, week, mailer, display (whole numbers, 0 or 1).
        weights: of `store_weights`.

    Returns:
        product_id, week, mailer, display (shares, 0…1, four decimals).
    """
    once = promotions.group_by(*STORE_KEY).agg(nw.col("mailer").max(), nw.col("display").max())
    covered = promotions.select("store_id").unique()
    known = weights.join(covered, on="store_id", how="semi")
    total = known.group_by("week").agg(_all=nw.col("weight").sum().cast(nw.Int64))
    weighed = once.join(known, on=["store_id", "week"], how="inner").select(
        *KEY, _m=nw.col("mailer") * nw.col("weight"), _d=nw.col("display") * nw.col("weight")
    )
    sums = weighed.group_by(*KEY).agg(nw.col("_m").sum().cast(nw.Int64), nw.col("_d").sum().cast(nw.Int64))
    joined = sums.join(total, on="week", how="inner")
    return joined.select(*KEY, mailer=_share("_m"), display=_share("_d"))


def _share(column: str) -> nw.Expr:
    return (nw.col(column) * TICKS / nw.col("_all")).round().cast(nw.Int64) / TICKS
