"""A price problem as the arrays that the compiled loops read: families side by side, tables of demand, scaled rows.

Families are gathered in groups. A group is what is optimised in one piece: usually one family, several where a rule
over few products joins them or where they are tiny, the whole shop where that is small. Rows over one group's products
are kept inside it; the others couple groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimizers.prices import tables as price_tables
from optimizers.prices.kernels import Tables, evaluate
from optimizers.prices.ladder import Ladder
from optimizers.prices.model import INDEX_SLACK, LOWER_QUANTILE, Families, index_parts, own_move
from optimizers.prices.problem import PriceProblem
from optimizers.prices.row_set import RawRow, RowSet, expanded_rows, row_set, split_fines
from optimizers.prices.rows import LinearRow, PriceRows

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

WHOLE = 40
"""Rungs other than the first of each product up to which the whole shop is one group."""
JOINING = 6
"""A row over at most so many products joins their families, rather than being priced between them …"""
JOINED = 60
"""… as long as no more products than this come together."""
PACKED = 12
"""Small families are gathered until they hold so many products."""
INDEX, CHANGES = "index", "max_changed"
"""Names of the rows that `PriceProblem` brings along."""
CHUNK = 2000
"""Products whose draws are copied at a time."""


@dataclass(frozen=True)
class PriceSystem:
    """P products sorted by group and family, G groups, F families."""

    order: Ints
    """(P,) number in the problem of each product of the system."""
    tables: Tables
    worth: Floats
    """(P, K, M) polynomials of each rung's gain over today's prices less its fine, money."""
    fine: Floats
    """(P, K) what each rung pays for soft rules that concern its product alone, money."""
    margin: Floats
    """(P, K) money per unit sold at each rung."""
    dent: Floats
    """(P, K) minus the least second derivative of the worth in y (negative where it is convex)."""
    error: float
    """Money by which the tables may understate the best choice."""
    groups: Ints
    """(G + 1,) first product of each group."""
    inner: RowSet
    inner_first: Ints
    """(G + 1,) first of each group's own rows."""
    coupling: RowSet
    today: int

    @property
    def size(self) -> int:
        """G."""
        return len(self.groups) - 1

    def place(self, group: int) -> Ints:
        """(5,) first and last product, first family, first and last own row of a group, for the compiled loops."""
        first, last = self.groups[group], self.groups[group + 1]
        family = self.tables.family[first]
        return np.array([first, last, family, self.inner_first[group], self.inner_first[group + 1]], dtype=np.int64)

    def families_of(self, group: int) -> int:
        """Families of a group."""
        return int(self.tables.family[self.groups[group + 1] - 1] - self.tables.family[self.groups[group]] + 1)


def all_rows(problem: PriceProblem, ladder: Ladder, rows: PriceRows | None) -> PriceRows:
    """Add the rules that the problem states itself to those that were given."""
    moved = np.arange(ladder.price.shape[1]) != ladder.today
    product, rung = np.nonzero(ladder.rungs & moved)
    own = []
    if problem.index_band is not None:
        band = problem.index_band + INDEX_SLACK
        parts = index_parts(problem, ladder.price)[product, rung]
        own.append(LinearRow(INDEX, product, rung, parts, -band, band))
    if problem.max_changed is not None:
        own.append(LinearRow(CHANGES, product, rung, np.ones(len(product)), -np.inf, float(problem.max_changed)))
    if rows is None:
        return PriceRows(ladder.rungs, tuple(own))
    return PriceRows(rows.allowed & ladder.rungs, (*own, *rows.rows))


def build_system(problem: PriceProblem, ladder: Ladder, rules: PriceRows, *, whole: bool = False) -> PriceSystem:
    """Tabulate demand and compile the rules.

    Args:
        problem: a checked problem.
        ladder: its ladder.
        rules: all rules (`all_rows`).
        whole: True makes one group of everything, whatever its size.
    """
    free = int((rules.allowed.sum(axis=1) - 1).sum())
    family = _substitutes(problem)
    group = np.zeros(len(family), dtype=np.int64)
    if not whole and free > WHOLE:
        group = _group_families(family, problem.family, rules.rows)[family]
    order = np.lexsort((np.arange(len(group)), family, group)).astype(np.int64)
    groups = np.flatnonzero(np.diff(group[order], prepend=-1))
    groups = np.append(groups, len(order)).astype(np.int64)
    tables, worth, margin, dent, error = _tabulate(problem, ladder, rules, order, family[order])
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    rows, fine = split_fines(expanded_rows(problem, ladder, rules.rows, back), margin.shape)
    worth[:, :, 0] -= fine
    parted = _split_rows(rows, np.asarray(group[order]), tables, groups)
    return PriceSystem(order, tables, worth, fine, margin, dent, error, groups, *parted, ladder.today)


def _substituted(problem: PriceProblem) -> npt.NDArray[np.bool_]:
    """(P,) True for the products of families in which any demand reacts to another price."""
    reacts = (problem.cross != 0).any(axis=0)
    return np.asarray(np.bincount(problem.family, weights=reacts)[problem.family] > 0)


def _substitutes(problem: PriceProblem) -> Ints:
    """(P,) family codes from 0, where products that no other price concerns stand alone."""
    alone = np.flatnonzero(~_substituted(problem))
    family = problem.family.copy()
    family[alone] = int(problem.family.max(initial=0)) + 1 + np.arange(len(alone))
    return np.asarray(np.unique(family, return_inverse=True)[1], dtype=np.int64)


def _group_families(code: Ints, family: Ints, rows: Sequence[LinearRow]) -> Ints:
    """Group of each code, (C,): codes that share a row over few products, or over one family, come together."""
    size = np.bincount(code)
    parent = np.arange(len(size))

    def root(one: int) -> int:
        while parent[one] != one:
            parent[one] = parent[parent[one]]
            one = int(parent[one])
        return one

    for row in rows:
        products = np.unique(row.product)
        within = len(products) > 0 and bool((family[products] == family[products[0]]).all())
        if len(products) > JOINING and not within:
            continue
        roots = sorted({root(one) for one in np.unique(code[products]).tolist()})
        if len(roots) > 1 and (within or int(size[roots].sum()) <= JOINED):
            size[roots[0]] = size[roots].sum()
            parent[roots[1:]] = roots[0]
    return _packed(np.array([root(one) for one in range(len(parent))], dtype=np.int64), size)


def _packed(roots: Ints, size: Ints) -> Ints:
    """Number the groups, neighbours together while they are small."""
    number = np.zeros(len(roots), dtype=np.int64)
    count, held = 0, 0
    for code in np.unique(roots):
        if held and held + size[code] > PACKED:
            count, held = count + 1, 0
        number[code] = count
        held += int(size[code])
    return np.asarray(number[roots])


def _tabulate(
    problem: PriceProblem, ladder: Ladder, rules: PriceRows, order: Ints, code: Ints
) -> tuple[Tables, Floats, Floats, Floats, float]:
    """Tables, worth, margin, dent and error of `PriceSystem`."""
    family = np.cumsum(np.diff(code, prepend=code[0] if len(code) else 0) != 0)
    first = np.append(np.flatnonzero(np.diff(family, prepend=-1)), len(order)).astype(np.int64)
    families = Families.of(problem)
    rest, weight = np.where(_substituted(problem), families.rest, np.inf)[order], families.weight[order]
    total = np.where(np.isfinite(rest), weight + rest, 1.0)
    share = np.where(np.isfinite(rest), weight / total, 0.0)
    inverse = np.where(np.isfinite(rest), total / rest, 0.0)
    allowed = rules.allowed[order] & ladder.rungs[order]
    current = problem.current_price[order]
    price = np.where(allowed, ladder.price[order], current[:, None])
    move = np.log(price / current[:, None])
    # A row of zeros exactly where the price is today's, so that "unmoved" can be told by comparing with 0.
    move[:, ladder.today] = 0.0
    low, high = _reach(family, share, move, allowed)
    middle, half = inverse * (low + high) / 2, inverse * (high - low) / 2
    stretch = np.divide(1.0, half, out=np.zeros_like(half), where=half > 1e-12)
    half = np.where(half > 1e-12, half, 0.0)
    reach = float((np.abs(problem.cross[:, order]).max(axis=0, initial=0.0) * (half + np.abs(middle))).max(initial=0.0))
    units = _unit_tables(problem, order, move, middle, half, price_tables.node_count(reach))
    margin = price - problem.unit_cost[order][:, None]
    curve = _curvature(units, stretch)
    tables = Tables(family, first, share, inverse, move, allowed.astype(np.uint8), middle, stretch, units, curve)
    today = problem.base_units[order] * problem.base_scale[:, order].mean(axis=0) * (current - problem.unit_cost[order])
    off = price_tables.interpolation_error(reach, units.shape[2])
    error = off * float((np.abs(margin)[:, :, None] * np.abs(units)).max(axis=(1, 2), initial=0.0).sum())
    if problem.risk == "mean":
        worth = margin[:, :, None] * units
        worth[:, :, 0] -= today[:, None]
        return tables, worth, margin, -margin * curve, error if off > 1e-9 else 0.0
    worth, dent, error = _lower_tables(problem, order, tables, margin)
    units, worth = _same_length(units, worth)
    return tables._replace(units=units), worth, margin, dent, error


def _same_length(*polynomials: Floats) -> Iterator[Floats]:
    """Polynomials (…, M) with as many coefficients as the longest, so that they can be added up."""
    length = max(found.shape[-1] for found in polynomials)
    for found in polynomials:
        longer = np.zeros((*found.shape[:-1], length))
        longer[..., : found.shape[-1]] = found
        yield longer


def _reach(family: Ints, share: Floats, move: Floats, allowed: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Least and largest weighted log move of the rest of each product's family, (P,)."""
    least = share * np.where(allowed, move, np.inf).min(axis=1, initial=np.inf)
    most = share * np.where(allowed, move, -np.inf).max(axis=1, initial=-np.inf)
    return (
        np.asarray(np.bincount(family, weights=least)[family] - least),
        np.asarray(np.bincount(family, weights=most)[family] - most),
    )


def _draws(problem: PriceProblem, products: Ints) -> tuple[Floats, Floats, Floats]:
    """Draws of some products, (n, D) each; the level is in units."""
    own, cross = (np.ascontiguousarray(draws[:, products].T) for draws in (problem.own, problem.cross))
    return own, cross, np.ascontiguousarray((problem.base_scale[:, products] * problem.base_units[products]).T)


def _unit_tables(problem: PriceProblem, order: Ints, move: Floats, middle: Floats, half: Floats, nodes: int) -> Floats:
    """(P, K, M) polynomials of expected units in t."""
    at, to_powers = price_tables.chebyshev(nodes)
    found = np.empty((*move.shape, nodes))
    for begin in range(0, len(order), CHUNK):
        part = slice(begin, begin + CHUNK)
        y = middle[part, None] + half[part, None] * at
        price_tables.tabulate(*_draws(problem, order[part]), own_move(problem, move[part]), y, found[part])
    return np.asarray(found @ to_powers)


def _curvature(units: Floats, stretch: Floats) -> Floats:
    """Largest second derivative in y, (P, K): at an end, as all even derivatives of a mixture of exponentials grow."""
    m = np.arange(units.shape[2])
    second = m * (m - 1)
    up = units @ second
    down = units @ (second * (-1.0) ** m)
    return np.asarray(np.maximum(up, down) * stretch[:, None] ** 2 * (1 + 1e-6))


def lower_values(problem: PriceProblem, order: Ints, tables: Tables, margin: Floats, at: Floats) -> Floats:
    """(P, K, N) value of every rung under `risk="lower"`, fines apart, at positions t (N,) of the products' tables."""
    found = np.empty((*margin.shape, len(at)))
    half = np.divide(1.0, tables.stretch, out=np.zeros_like(tables.stretch), where=tables.stretch > 0)
    today = (problem.current_price - problem.unit_cost)[order][:, None]
    for begin in range(0, len(order), CHUNK):
        part = slice(begin, begin + CHUNK)
        paid = np.concatenate([margin[part], today[part]], axis=1)
        y = tables.middle[part, None] + half[part, None] * at
        moved = own_move(problem, tables.log_move[part])
        price_tables.tabulate_lower(*_draws(problem, order[part]), moved, y, paid, LOWER_QUANTILE, found[part])
    return found


def _lower_tables(problem: PriceProblem, order: Ints, tables: Tables, margin: Floats) -> tuple[Floats, Floats, float]:
    """Worth, dent and error under `risk="lower"`.

    A quantile over draws has kinks in y, so the error is measured between the nodes, not proven.
    """
    at, to_powers = price_tables.chebyshev(price_tables.QUANTILE_NODES)
    check = np.linspace(-1, 1, 2 * price_tables.QUANTILE_NODES)
    worth = lower_values(problem, order, tables, margin, at) @ to_powers
    fitted = worth @ (check[None, :] ** np.arange(len(at))[:, None])
    off = np.abs(fitted - lower_values(problem, order, tables, margin, check))
    m = np.arange(len(at))
    bend = np.stack([worth[:, :, 2:] @ (m[2:] * (m[2:] - 1) * t ** (m[2:] - 2)) for t in check], axis=-1)
    dent = np.maximum(-bend.min(axis=-1), 0.0) * tables.stretch[:, None] ** 2
    return worth, dent, float(off.max(axis=(1, 2), initial=0.0).sum())


def _split_rows(rows: list[RawRow], group: Ints, tables: Tables, groups: Ints) -> tuple[RowSet, Ints, RowSet]:
    """Tell rows inside one group from those between groups."""
    rows = [row for row in rows if len(row.product)]
    inside = [bool((group[row.product] == group[row.product[0]]).all()) for row in rows]
    own = [(int(group[row.product[0]]), n) for n, row in enumerate(rows) if inside[n]]
    own.sort()
    mine = np.array([n for _, n in own], dtype=np.int64)
    inner = row_set([rows[n] for n in mine], tables, mine)
    owners = np.array([g for g, _ in own], dtype=np.int64)
    first = np.append(np.searchsorted(owners, group[groups[:-1]]), len(owners)).astype(np.int64)
    between = np.flatnonzero(~np.array(inside, dtype=np.bool_))
    return inner, first, row_set([rows[n] for n in between], tables, between)


def priced(system: PriceSystem, price: Floats) -> tuple[Floats, Floats]:
    """Worth (P, K, M) and dent (P, K) of every rung less what it pays for the coupling rows at `price` (R,)."""
    worth, dent = system.worth.copy(), system.dent
    rows = system.coupling.arrays
    block_product = np.repeat(np.arange(len(system.order)), np.diff(rows.start))
    toll = price[rows.row][:, None] * rows.coefficient
    linear = rows.measured[rows.row] == 0
    np.subtract.at(worth[:, :, 0], block_product[linear], toll[linear])
    if not linear.all():
        dent = dent.copy()
        for n in np.flatnonzero(~linear & (price[rows.row] != 0)):
            i = block_product[n]
            worth[i] -= toll[n][:, None] * system.tables.units[i]
            dent[i] += toll[n] * system.tables.curve[i]
    return worth, dent


def joint_rows(problem: PriceProblem, ladder: Ladder, rules: PriceRows, system: PriceSystem) -> RowSet:
    """All rows that couple products, those of the groups and those between them, over the products of the system."""
    back = np.empty_like(system.order)
    back[system.order] = np.arange(len(system.order))
    rows, _ = split_fines(expanded_rows(problem, ladder, rules.rows, back), system.fine.shape)
    rows = [row for row in rows if len(row.product)]
    return row_set(rows, system.tables, np.arange(len(rows)))


def gain_of(system: PriceSystem, choice: Ints) -> float:
    """Gain of a choice (P,) by the tables, money, fines apart."""
    state = (np.zeros(len(system.tables.first)), np.zeros(len(system.inner)))
    value = evaluate(system.tables, system.inner.arrays, system.worth, 0, len(choice), choice, state)
    return float(value + system.fine[np.arange(len(choice)), choice].sum())


def nearest_to_today(system: PriceSystem) -> Ints:
    """(P,) today's rung, or the permitted one nearest to it."""
    allowed = system.tables.allowed > 0
    move = np.where(allowed, np.abs(system.tables.log_move), np.inf)
    move[:, system.today] = np.where(allowed[:, system.today], -1.0, np.inf)
    return np.asarray(np.argmin(move, axis=1), dtype=np.int64)


def cheap_bound(system: PriceSystem) -> float:
    """Every product at its best rung, the rest of its family where that helps it most: no solver is needed."""
    worth, tables = system.worth, system.tables
    sign = (-1.0) ** np.arange(worth.shape[2])
    ends = np.maximum(worth.sum(axis=2), worth @ sign)
    width = np.divide(2.0, tables.stretch, out=np.zeros_like(tables.stretch), where=tables.stretch > 0)
    ends = ends + np.maximum(system.dent, 0.0) * (width[:, None] ** 2) / 8
    return float(np.where(tables.allowed > 0, ends, -np.inf).max(axis=1).sum())


def named_prices(system: PriceSystem, coupling_price: Floats, inner_price: Floats) -> dict[str, float]:
    """Money per unit by which each binding rule is relaxed, at the prices of the proof; the largest of a name.

    index_up and index_down: per 0.1 % of the index; others per unit of the row.
    """
    found: dict[str, float] = {}
    for rows, price in ((system.coupling, coupling_price), (system.inner, inner_price)):
        for name, each in zip(rows.name, (price / rows.scale).tolist(), strict=True):
            if name == INDEX:
                found["index_up"], found["index_down"] = (max(side * 1e-3, 0.0) + 0.0 for side in (each, -each))
            else:
                found[name] = max(found.get(name, 0.0), abs(each))
    return found
