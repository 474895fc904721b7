"""Small tables that people write by hand (stocks, products, offers), read into the problems that they state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.errors import DataError, shown
from engine.proposal import Reason
from optimizers.markdown import MarkdownProblem, advance_week
from optimizers.promotions import PromotionProblem, advance_calendar
from optimizers.promotions.calendar import evaluate_calendar

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LADDER = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
"""Markdown prices as shares of the price in force, where nobody says which."""
LEVEL_SE = 0.2
"""Relative standard error of expected units, where the table does not say."""
LIFT_SE = 0.2
"""The same of a promotion's extra units: of an option over all products, and of a product beside it."""
NO_COLUMN = "{table}: no column {columns}; it has {present}"
NO_NUMBER = "{table}: column {column}, row {row}: {value} is no finite number; give one"
EMPTY = "{table}: column {column}, row {row} is empty; give a number"
NO_SUCH_OPTION = "{table}: week {week}: option {name!r} is unknown; there are {names}"
NOT_THE_WEEKS = "{table}: column week holds {weeks}; give the weeks that are over, counted from 1"
TWO_ROWS = "{table}: week {week} has two rows for product {product}; give one"
NO_ROW = "{table}: week {week} has no row for product {product}; give one for each product"
NO_RUNG = "{table}: week {week}, product {product}: {price} is not on its ladder"


def read_frame(path: Path, needed: Sequence[str], key: str) -> pd.DataFrame:
    """Read a CSV or Parquet file whose column `key` holds names.

    Raises:
        DataError: it cannot be read, or a column is missing.
    """
    try:
        is_parquet = path.suffix.lower() == ".parquet"
        frame = pd.read_parquet(path) if is_parquet else pd.read_csv(path, dtype={key: str}, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); give a CSV or Parquet table") from error
    require_columns(frame, needed, path)
    return frame


def require_columns(frame: pd.DataFrame, needed: Sequence[str], path: Path) -> None:
    """Refuse a table that lacks a column.

    Raises:
        DataError: naming what is missing and what there is.
    """
    missing = [name for name in needed if name not in frame.columns]
    if missing:
        present = ", ".join(map(str, frame.columns))
        raise DataError(Reason(NO_COLUMN, {"table": str(path), "columns": ", ".join(missing), "present": present}))


@dataclass(frozen=True)
class PlanTable:
    """A table with one row for each product, and where it came from."""

    path: Path
    frame: pd.DataFrame

    @classmethod
    def read(cls, path: Path, needed: Sequence[str], key: str = "product_id") -> PlanTable:
        """Read a CSV or Parquet file.

        Raises:
            DataError: it cannot be read, a column or every row is missing, or a key is empty or stands twice.
        """
        frame = read_frame(path, needed, key)
        if frame.empty:
            raise DataError(f"{path}: the table has no rows; give one for each {key.removesuffix('_id')}")
        keys = frame[key].astype("string").fillna("")
        for words, bad in (("is empty", keys == ""), ("stands twice", keys.duplicated())):
            if bad.any():
                row = int(np.flatnonzero(bad)[0])
                raise DataError(f"{path}: {key} {words} in row {row + 1} ({keys.iat[row]!r}); give each row its own")
        return cls(path, frame.assign(**{key: keys.astype(str).to_numpy(dtype=object)}))

    def texts(self, column: str) -> tuple[str, ...]:
        """Values of a column of names; empty texts where there is no such column."""
        if column not in self.frame:
            return ("",) * len(self.frame)
        return tuple("" if pd.isna(value) else str(value) for value in self.frame[column])

    def numbers(self, column: str, default: float | None = None) -> Floats:
        """Values of a column of numbers; `default` where it, or a value of it, is missing.

        Raises:
            DataError: a value that is no finite number, or a missing one without a default.
        """
        if column not in self.frame and default is not None:
            return np.full(len(self.frame), default)
        given = self.frame[column]
        values = pd.to_numeric(given, errors="coerce").to_numpy(dtype=np.float64, copy=True)
        if default is not None:
            values[given.isna().to_numpy()] = default
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            row = int(wrong[0])
            where = {"table": str(self.path), "column": column, "row": row + 1}
            if given.isna().iat[row]:
                raise DataError(Reason(EMPTY, where))
            raise DataError(Reason(NO_NUMBER, where | {"value": shown(given.iat[row])}))
        return values

    def errors(self, column: str, default: float) -> Floats:
        """Values of a column of standard errors.

        Raises:
            DataError: as `numbers`, or a value below 0.
        """
        values = self.numbers(column, default)
        if (values < 0).any():
            row = int(np.argmin(values))
            raise DataError(f"{self.path}: column {column}, row {row + 1}: {values[row]:g} is below 0; give 0 or more")
        return values

    def weekly(self, column: str, weeks: int) -> Floats:
        """(W, P) a column for each week, named `column`_1 …, or one column that holds for all of them."""
        names = [f"{column}_{week}" for week in range(1, weeks + 1)]
        if all(name in self.frame for name in names):
            return np.array([self.numbers(name) for name in names])
        if column not in self.frame:
            raise DataError(
                f"{self.path}: no column {column}, and not all of {names[0]} … {names[-1]}; give one or all"
            )
        return np.tile(self.numbers(column), (weeks, 1))


@dataclass(frozen=True)
class MarkdownRules:
    """What all products of a markdown plan obey."""

    weeks: int
    ladder: tuple[float, ...] = LADDER
    """Shares of the price in force; the price in force is always one."""
    may_rise: bool = False
    max_steps: int | None = None
    min_weeks_between: int = 1
    max_changed: int | None = None


def markdown_problem(
    table: PlanTable, rules: MarkdownRules, *, draws: int, rng: np.random.Generator
) -> MarkdownProblem:
    """State a markdown.

    Args:
        table: product_id, stock, price (in force), week_units (expected at that price), elasticity, and, where given,
            elasticity_se, level_se, decay (factor from week to week), unit_cost, salvage, max_steps.
        rules: of all products.
        draws: futures that the plan is judged under.
        rng: draws them.

    Raises:
        DataError, ProblemError: the table, or what it states, is refused by product and value.
    """
    price, elasticity = table.numbers("price"), table.numbers("elasticity")
    if (elasticity > 0).any():
        row = int(np.argmax(elasticity))
        raise DataError(
            f"{table.path}: column elasticity, row {row + 1}: {elasticity[row]:g} is above 0, as if a higher price "
            "sold more; give it with its sign, such as -2"
        )
    shares = np.array(sorted({1.0, *rules.ladder}))
    ladder = np.round(price[:, None] * shares[None, :], 2)
    ladder[:, 1:][np.diff(ladder, axis=1) <= 0] = np.nan
    decay = table.numbers("decay", 1.0)[None, :] ** np.arange(rules.weeks)[:, None]
    products = len(price)
    spread = rng.standard_normal((2, draws, products))
    level_se = table.errors("level_se", LEVEL_SE)
    steps = np.inf if rules.max_steps is None else float(rules.max_steps)
    most = np.minimum(table.numbers("max_steps", np.finfo(np.float64).max), steps)
    return MarkdownProblem(
        product_ids=table.texts("product_id"),
        stock=table.numbers("stock"),
        ladder=ladder,
        current_rung=np.full(products, int(np.flatnonzero(shares == 1.0)[0])),
        week_units=table.weekly("week_units", rules.weeks) * decay,
        reference_price=price,
        own=elasticity + table.errors("elasticity_se", 0.0) * spread[0],
        base_scale=np.exp(level_se * spread[1] - level_se**2 / 2),
        unit_cost=table.numbers("unit_cost", 0.0),
        salvage=table.numbers("salvage", 0.0),
        non_increasing=not rules.may_rise,
        max_steps=None if (most > rules.weeks).all() else np.minimum(most, rules.weeks).astype(np.int64),
        min_weeks_between=rules.min_weeks_between,
        max_changed=rules.max_changed,
    )


SOLD = ("product_id", "week", "price", "sold", "stock")
"""Columns of what sold of a markdown: week counts from 1, stock was counted after it."""
PROMOTED = ("product_id", "week", "sold")
"""Columns of what sold of a calendar; `option` says what ran, where that was not the plan."""


def read_sold(path: Path, needed: Sequence[str]) -> PlanTable:
    """Read what sold: a row for each product and week.

    Raises:
        DataError: it cannot be read, or a column is missing.
    """
    return PlanTable(path, read_frame(path, needed, "product_id"))


def after_sales(problem: MarkdownProblem, table: PlanTable) -> tuple[MarkdownProblem, int]:
    """The problem that is left after the weeks of a table with the columns `SOLD`.

    Returns:
        The problem, and how many weeks are over.

    Raises:
        DataError: the table is refused, a week lacks a product, or a price is not on the ladder.
    """
    over = _weeks_over(table)
    for week in range(1, over + 1):
        problem = _after_week(problem, table, week)
    return problem, over


def after_promotions(
    problem: PromotionProblem, option: Ints, names: Sequence[str], table: PlanTable
) -> tuple[PromotionProblem, int]:
    """The calendar that is left after the weeks of a table with the columns `PROMOTED`.

    Args:
        problem: what was planned.
        option: (P, W) what the plan says; a column `option` of the table (a name, or nothing) says it better.
        names: (O,) of the options.
        table: what sold.

    Returns:
        The problem, and how many weeks are over.

    Raises:
        DataError: the table is refused, a week lacks a product, or an option is unknown.
    """
    over = _weeks_over(table)
    for week in range(1, over + 1):
        rows = _of_week(table, problem.product_ids, week)
        ran = np.zeros((len(problem.product_ids), problem.weeks), dtype=np.int64)
        ran[:, 0] = option[:, week - 1]
        if "option" in rows.frame:
            ran[:, 0] = [_option_number(rows, name, names, week) for name in rows.texts("option")]
        problem = advance_calendar(problem, evaluate_calendar(problem, ran), rows.numbers("sold"))
    return problem, over


def _option_number(rows: PlanTable, name: str, names: Sequence[str], week: int) -> int:
    if name and name not in names:
        values = {"table": str(rows.path), "week": week, "name": name, "names": ", ".join(names)}
        raise DataError(Reason(NO_SUCH_OPTION, values))
    return names.index(name) + 1 if name else 0


def _weeks_over(table: PlanTable) -> int:
    weeks = sorted({int(week) for week in table.numbers("week")})
    if weeks != list(range(1, len(weeks) + 1)):
        raise DataError(Reason(NOT_THE_WEEKS, {"table": str(table.path), "weeks": ", ".join(map(str, weeks))}))
    return len(weeks)


def _of_week(table: PlanTable, products: Sequence[str], week: int) -> PlanTable:
    """The rows of one week, in the order of the products."""
    mine = table.frame[table.numbers("week") == week]
    twice = mine["product_id"][mine["product_id"].duplicated()]
    if len(twice):
        raise DataError(Reason(TWO_ROWS, {"table": str(table.path), "week": week, "product": str(twice.iloc[0])}))
    mine = mine.set_index("product_id")
    missing = [product for product in products if product not in mine.index]
    if missing:
        raise DataError(Reason(NO_ROW, {"table": str(table.path), "week": week, "product": missing[0]}))
    return PlanTable(table.path, mine.loc[list(products)].reset_index())


def _after_week(problem: MarkdownProblem, table: PlanTable, week: int) -> MarkdownProblem:
    rows = _of_week(table, problem.product_ids, week)
    price = rows.numbers("price")
    rung = np.nanargmin(np.abs(problem.ladder - price[:, None]), axis=1).astype(np.int64)
    off = np.abs(np.take_along_axis(problem.ladder, rung[:, None], axis=1)[:, 0] - price)
    if (off > 0.005).any():
        i = int(np.argmax(off))
        values = {"table": str(table.path), "week": week, "product": problem.product_ids[i], "price": float(price[i])}
        raise DataError(Reason(NO_RUNG, values))
    return advance_week(problem, rows.numbers("sold"), rows.numbers("stock"), rung)


@dataclass(frozen=True)
class CalendarRules:
    """What all products of a promotion calendar obey."""

    weeks: int
    min_gap: int = 1
    max_per_category: int | None = None
    budget: float | None = None


def promotion_problem(
    products: PlanTable, options: PlanTable, rules: CalendarRules, *, draws: int, rng: np.random.Generator
) -> PromotionProblem:
    """State a promotion calendar.

    Args:
        products: product_id, price, unit_cost, base_units (a week, without promotion), and, where given, category,
            dip_1 … (share of the extra units missing in each week after), max_promotions, level_se, lift_se (relative
            standard errors of base and of extra units), and lift_NAME, takes_NAME where a product answers to the
            option NAME in its own way.
        options: option, depth (share off the price), lift, and, where given, lift_se (of all products together), takes,
            fixed_cost, slot, slots (a week).
        rules: of the calendar.
        draws: futures that the plan is judged under.
        rng: draws them.

    Raises:
        DataError, ProblemError: a table, or what it states, is refused by name and value.
    """
    names = options.texts("option")
    slot_names = options.texts("slot")
    kinds = sorted({name for name in slot_names if name})
    dips = [name for name in products.frame.columns if str(name).startswith("dip_")]
    most = products.numbers("max_promotions", float(rules.weeks))
    categories = products.texts("category")
    known = sorted(set(categories))
    level_draws, lift_draws = _promotion_draws(products, options, draws, rng)
    return PromotionProblem(
        product_ids=products.texts("product_id"),
        price=products.numbers("price"),
        unit_cost=products.numbers("unit_cost"),
        base_units=products.weekly("base_units", rules.weeks),
        category=np.array([known.index(one) for one in categories], dtype=np.int64),
        depth=options.numbers("depth"),
        lift=_by_option(products, "lift", names, options.numbers("lift")),
        takes=_by_option(products, "takes", names, options.numbers("takes", 0.0)),
        dip=np.array([products.numbers(str(name)) for name in dips]).T.reshape(len(categories), len(dips)),
        fixed_cost=options.numbers("fixed_cost", 0.0),
        slot=np.array([kinds.index(name) if name else -1 for name in slot_names], dtype=np.int64),
        slots=_slots(options, slot_names, kinds, rules.weeks),
        min_gap=rules.min_gap,
        max_promotions=np.minimum(most, rules.weeks).astype(np.int64),
        max_per_category=rules.max_per_category,
        budget=rules.budget,
        level_draws=level_draws,
        lift_draws=lift_draws,
    )


def _promotion_draws(
    products: PlanTable, options: PlanTable, draws: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """(D, P) and (D, P, O) relative errors, log-normal with mean 1: an option's is shared by all products."""
    level = products.errors("level_se", LEVEL_SE)
    own, shared = products.errors("lift_se", LIFT_SE), options.errors("lift_se", LIFT_SE)
    parts = (level, own[:, None], shared)
    shapes = (level.shape, (len(own), len(shared)), shared.shape)
    errors = [
        np.exp(se * rng.standard_normal((draws, *shape)) - se**2 / 2) for se, shape in zip(parts, shapes, strict=True)
    ]
    return errors[0], errors[1] * errors[2][:, None, :]


def _by_option(products: PlanTable, column: str, names: Sequence[str], default: Floats) -> Floats:
    """(P, O) what the options do, product by product."""
    columns = [products.numbers(f"{column}_{name}", float(default[o])) for o, name in enumerate(names)]
    return np.array(columns).T.reshape(len(products.frame), len(names))


def _slots(options: PlanTable, slot_names: Sequence[str], kinds: Sequence[str], weeks: int) -> Floats:
    """(S, W) places of each kind; the least that its options say, no limit where none does."""
    places = options.numbers("slots", np.finfo(np.float64).max)
    by_kind = [min(places[o] for o, name in enumerate(slot_names) if name == kind) for kind in kinds]
    limits = np.array([np.inf if most == np.finfo(np.float64).max else most for most in by_kind])
    return np.tile(limits.reshape(-1, 1), (1, weeks)).reshape(len(kinds), weeks)
