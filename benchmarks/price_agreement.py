"""Do listed families, families as columns, one piece, one integer model and brute force agree? Random price problems.

    python -m benchmarks.price_agreement [--problems 2000] [--seed 0]

Half of the problems have two to four products, so that every plan can be tried; the other half have 9 to 18. The
integer model has a binary for every combination of rungs of a family, valued by exact demand, and HiGHS solves it to
1e-9: an oracle that shares no code with the search. Every problem is solved by listing and joining its families, in one
piece, and with every family a group of its own, joined by the master; every plan is checked again. Writes
benchmarks/results/price_agreement.md.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
import numpy.typing as npt

from engine.errors import InfeasibleError, PlanError
from optimizers.prices import PricePlan, PriceProblem, problem_ladder, solve_prices
from optimizers.prices import listed as price_listed
from optimizers.prices import system as price_system
from optimizers.prices.check import check_price_plan
from optimizers.prices.rows import LinearRow, PriceRows
from optimizers.solver import CompiledModel, solve

RESULTS = Path(__file__).parent / "results"
GAP = 1e-4
EXACT = 1e-6
"""Share of turnover that counts as nothing."""
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Base = Literal["bound", "turnover"]
NEAR_NOTHING = 1e-3
"""Share of turnover; what is still open below a smaller bound is told as a share of turnover, not of the bound."""


@dataclass(frozen=True)
class OpenGap:
    """How much more than a plan brings may still be had."""

    share: float
    of: Base

    @classmethod
    def of_plan(cls, plan: PricePlan, turnover: float) -> OpenGap:
        """Nothing where plan and bound agree but for rounding."""
        money = plan.bound - plan.objective
        of: Base = "bound" if abs(plan.bound) >= NEAR_NOTHING * turnover else "turnover"
        if money <= EXACT * turnover:
            return cls(0.0, of)
        return cls(plan.gap if of == "bound" else money / turnover, of)


def main(arguments: Sequence[str] | None = None) -> None:
    """Try the problems, print and write what was found; the first disagreement stops it with an error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    seen: Counter[str] = Counter()
    gaps: list[OpenGap] = []
    began = time.process_time()
    for number in range(asked.problems):
        try:
            gaps += agree(asked.seed, number, seen)
        except AssertionError as error:
            raise SystemExit(f"problem {number}: {error}") from error
    _write(asked.problems, asked.seed, seen, gaps, time.process_time() - began)


def agree(seed: int, number: int, seen: Counter[str]) -> list[OpenGap]:
    """What the decomposed plan leaves open; empty where no plan exists.

    Raises:
        AssertionError: two of them disagree, or a plan lies outside its bound.
        PlanError: a plan fails its re-check.
    """
    rng = np.random.default_rng((seed, number))
    tiny = number % 2 == 0
    products = int(rng.integers(2, 5)) if tiny else int(rng.integers(9, 19))
    problem = random_problem(rng, products)
    rows = random_rows(rng, problem)
    seen.update(_named(problem, rows))
    turnover = float((problem.base_units * problem.current_price).sum())
    oracle = _oracle(problem, rows)
    if tiny:
        tried = best_by_trying(problem, rows)
        _hold((tried is None) == (oracle is None), f"tried {tried}, integer model {oracle}")
        close = tried is None or oracle is None or abs(tried - oracle) <= EXACT * turnover
        _hold(close, f"tried {tried}, integer model {oracle}")
    joined = _plan(problem, rows, "listed and joined", oracle, seen)
    with searched():
        whole = _plan(problem, rows, "in one piece", oracle, seen)
        with families_apart():
            apart = _plan(problem, rows, "family by family", oracle, seen)
    seen["no plan"] += oracle is None
    for plan in (joined, whole, apart):
        if plan is not None:
            _hold(oracle is not None, f"the integer model finds no plan, the search {plan}")
            _within(plan, oracle or 0.0, turnover)
    for road, plan in (("listed and joined", joined), ("in one piece", whole), ("family by family", apart)):
        seen[f"{road}: ends above the gap"] += plan is not None and plan.status == "gap_limit"
    return [] if apart is None else [OpenGap.of_plan(apart, turnover)]


def _within(plan: PricePlan, best: float, turnover: float) -> None:
    slack = EXACT * turnover
    _hold(plan.objective - slack <= best <= plan.bound + slack, f"best is {best}, plan {plan}")
    near = plan.status != "optimal" or plan.objective >= best - GAP * abs(plan.bound) - slack
    _hold(near, f"best is {best}, plan {plan}")


def _hold(what: bool, otherwise: str) -> None:
    if not what:
        raise AssertionError(otherwise)


def _plan(
    problem: PriceProblem, rows: PriceRows, road: str, oracle: float | None, seen: Counter[str]
) -> PricePlan | None:
    """Solve and check again; where the work that is allowed neither found a plan nor ruled one out, that is counted."""
    try:
        plan = solve_prices(problem, rows=rows, gap=GAP)
    except InfeasibleError as error:
        _hold(oracle is None or "were found" in str(error), f"integer model {oracle}: {error}")
        seen[f"{road}: no plan found though there is one"] += oracle is not None
        return None
    except PlanError as error:
        _hold("the work that is allowed" in str(error), str(error))
        seen[f"{road}: no plan found though there is one"] += oracle is not None
        return None
    check_price_plan(problem, plan, rows)
    return plan


@contextmanager
def searched() -> Iterator[None]:
    """Search families, however few choices they have, instead of listing and joining them."""
    with _set(price_listed, {"MOST_OF_ALL": 0}):
        yield


@contextmanager
def families_apart() -> Iterator[None]:
    """Make every family a group of its own, however small the shop."""
    with _set(price_system, {"WHOLE": 0, "JOINING": 0, "PACKED": 1}):
        yield


@contextmanager
def _set(module: ModuleType, values: Mapping[str, int]) -> Iterator[None]:
    kept = {name: getattr(module, name) for name in values}
    for name, value in values.items():
        setattr(module, name, value)
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(module, name, value)


def random_problem(rng: np.random.Generator, products: int) -> PriceProblem:
    """Shops of all kinds: with and without substitution, bent demand, held products, bands and limits on changes."""
    price = np.round(rng.uniform(0.8, 9.0, products), 2)
    draws = int(rng.integers(1, 5))
    return PriceProblem(
        product_ids=tuple(f"p{i}" for i in range(products)),
        current_price=price,
        unit_cost=price * rng.uniform(0.5, 0.9, products),
        base_units=rng.uniform(5.0, 500.0, products) * (rng.random(products) < 0.95),
        own=rng.normal(-2.0, 0.9, products) + 0.3 * rng.standard_normal((draws, products)),
        cross=float(rng.choice([0.0, 0.4, 1.5])) * np.ones((draws, products)),
        base_scale=np.exp(0.1 * rng.standard_normal((draws, products))),
        family=np.arange(products) // int(rng.integers(1, 5)),
        movable=rng.random(products) < 0.9,
        max_change=0.10,
        step=float(rng.choice([0.05, 0.1])),
        index_band=None if rng.random() < 0.4 else float(rng.choice([0.005, 0.02, 0.05])),
        min_margin=None if rng.random() < 0.7 else 0.2,
        max_changed=None if rng.random() < 0.5 else int(rng.integers(0, products + 1)),
        endings=None,
        curvature=float(rng.choice([0.0, 0.5])),
    )


def random_rows(rng: np.random.Generator, problem: PriceProblem) -> PriceRows:
    """A mask, orders between two products, floors on units, revenue, profit and margin; hard, or some of them soft."""
    ladder = problem_ladder(problem)
    allowed = ladder.rungs & (rng.random(ladder.rungs.shape) < 0.9)
    allowed[:, ladder.today] |= (rng.random(len(allowed)) < 0.97) | ~allowed.any(axis=1)
    units = _demand(problem, problem.current_price[None, :])[0]
    none = np.empty(0)
    rows = [_order(rng, problem) for _ in range(int(rng.integers(0, 3)))]
    for kind in ("units", "revenue", "profit", "margin"):
        if rng.random() < 0.3:
            members = np.flatnonzero(rng.random(len(allowed)) < 0.6)
            row = LinearRow(kind, members, none.astype(np.int64), none, measure=kind)  # type: ignore[arg-type]
            profit = units * (problem.current_price - problem.unit_cost)
            found = _measured(row, units, units * problem.current_price, profit)
            rows.append(replace(row, low=found * rng.uniform(0.95, 1.01)))
    soft = [float(rng.uniform(0.01, 2.0)) if rng.random() < 0.3 else None for _ in rows]
    return PriceRows(
        allowed, tuple(replace(row, penalty=fine) for row, fine in zip(rows, soft, strict=True) if len(row.product))
    )


def _order(rng: np.random.Generator, problem: PriceProblem) -> LinearRow:
    """One product's price stays below another's, times a ratio."""
    ladder = problem_ladder(problem)
    first, second = rng.permutation(len(problem.product_ids))[:2].tolist()
    ratio = float(problem.current_price[first] / problem.current_price[second]) * rng.uniform(0.98, 1.05)
    both = [np.flatnonzero(ladder.rungs[i]) for i in (first, second)]
    product = np.repeat([first, second], [len(rungs) for rungs in both])
    value = np.concatenate([ladder.price[first][both[0]], -ratio * ladder.price[second][both[1]]])
    return LinearRow("order", product, np.concatenate(both), value, high=1e-9)


def _demand(problem: PriceProblem, price: Floats) -> Floats:
    """Expected units (N, P) at prices (N, P), straight from the statement of demand."""
    ratio = price / problem.current_price
    bend = problem.curvature
    own = (ratio**bend - 1) / bend if bend else np.log(ratio)
    weight = problem.current_price * problem.base_units
    mates = (problem.family[:, None] == problem.family[None, :]) & ~np.eye(len(weight), dtype=np.bool_)
    share = mates * weight[:, None]
    total = share.sum(axis=0)
    rest = np.divide(np.log(ratio) @ share, total, out=np.zeros_like(ratio), where=total > 0)
    power = problem.own * own[:, None, :] + problem.cross * rest[:, None, :]
    return np.asarray((problem.base_units * problem.base_scale * np.exp(power)).mean(axis=1))


def _measured(row: LinearRow, units: Floats, revenue: Floats, profit: Floats) -> float:
    if row.measure == "margin":
        return float(profit[row.product].sum() / max(float(revenue[row.product].sum()), 1e-300))
    return float({"units": units, "revenue": revenue, "profit": profit}[row.measure][row.product].sum())


def _all_rows(problem: PriceProblem, rows: PriceRows) -> list[LinearRow]:
    """The given rows, and those that the problem states."""
    ladder, weight = problem_ladder(problem), problem.current_price * problem.base_units
    product, rung = np.nonzero(ladder.rungs & (np.arange(ladder.price.shape[1]) != ladder.today))
    moved = ladder.price[product, rung] - problem.current_price[product]
    found = list(rows.rows)
    if problem.index_band is not None:
        band = problem.index_band + 5e-10
        part = problem.base_units[product] * moved / max(float(weight.sum()), 1e-300)
        found.append(LinearRow("index", product, rung, part, -band, band))
    if problem.max_changed is not None:
        found.append(LinearRow("changes", product, rung, np.ones(len(product)), high=problem.max_changed))
    return found


def _parts(problem: PriceProblem, rows: list[LinearRow], rung: Ints) -> tuple[Floats, Floats]:
    """Gain (N,) and what each row adds up to (N, R), of rungs (N, P); a margin as profit less its floor's share."""
    ladder = problem_ladder(problem).price
    price = ladder[np.arange(rung.shape[1]), rung]
    units, today = _demand(problem, price), _demand(problem, problem.current_price[None, :])
    each = {"units": units, "revenue": units * price, "profit": units * (price - problem.unit_cost)}
    gain = each["profit"] - today * (problem.current_price - problem.unit_cost)
    found = np.zeros((len(rung), len(rows)))
    for r, row in enumerate(rows):
        if row.measure == "linear":
            for i, k, value in zip(row.product, row.rung, row.coefficient, strict=True):
                found[:, r] += value * (rung[:, i] == k)
        elif row.measure == "margin":
            found[:, r] = (each["profit"] - row.low * each["revenue"])[:, row.product].sum(axis=1)
        else:
            found[:, r] = each[row.measure][:, row.product].sum(axis=1)
    return gain.sum(axis=1), found


def _sides(row: LinearRow) -> tuple[float, float]:
    return (0.0, np.inf) if row.measure == "margin" else (row.low, row.high)


def best_by_trying(problem: PriceProblem, rows: PriceRows) -> float | None:
    """Value of the best of all plans; None: no plan keeps the rules."""
    everything = _all_rows(problem, rows)
    options = [np.flatnonzero(mask) for mask in rows.allowed & problem_ladder(problem).rungs]
    rung = np.array(list(itertools.product(*options)))
    value, found = _parts(problem, everything, rung)
    fits = np.ones(len(rung), dtype=np.bool_)
    for r, row in enumerate(everything):
        low, high = _sides(row)
        off = np.maximum(np.maximum(low - found[:, r], found[:, r] - high), 0.0)
        if row.penalty is None:
            fits &= off <= 1e-9 * np.maximum(np.abs(found[:, r]), 1.0)
        else:
            value = value - row.penalty * off
    return float(value[fits].max()) if fits.any() else None


def _oracle(problem: PriceProblem, rows: PriceRows) -> float | None:
    """Value of the best plan by one integer model over all combinations of each family; None: there is no plan."""
    everything = _all_rows(problem, rows)
    allowed = rows.allowed & problem_ladder(problem).rungs
    today = np.argmax(allowed, axis=1)
    base = _parts(problem, everything, today[None, :])
    codes = np.unique(problem.family)
    value, found, owner = [], [], []
    for place, code in enumerate(codes):
        members = np.flatnonzero(problem.family == code)
        own = np.array(list(itertools.product(*(np.flatnonzero(allowed[i]) for i in members))))
        rung = np.repeat(today[None, :], len(own), axis=0)
        rung[:, members] = own
        gain, activity = _parts(problem, everything, rung)
        value.append(gain - base[0])
        found.append(activity - base[1])
        owner.append(np.full(len(own), place))
    model = _integer_model(everything, np.concatenate(value), np.concatenate(found), np.concatenate(owner), base[1][0])
    solved = solve(model, gap=1e-9, seconds=60.0)
    return None if solved.objective is None else solved.objective + float(base[0][0])


def _integer_model(rows: list[LinearRow], value: Floats, found: Floats, owner: Ints, base: Floats) -> CompiledModel:
    """One column of each owner, within the rows; soft rows may be off at their price."""
    from scipy import sparse

    columns, owners, many = len(value), int(owner.max()) + 1, len(rows)
    pick = sparse.csc_matrix((np.ones(columns), (owner, np.arange(columns))), shape=(owners, columns))
    size = np.maximum(np.abs(found).max(axis=0, initial=0.0), 1e-9)
    soft = np.array([row.penalty is not None for row in rows], dtype=np.bool_)
    fine = np.array([row.penalty or 0.0 for row in rows]) * size
    slack = sparse.hstack([sparse.identity(many), -sparse.identity(many)])
    use = sparse.hstack([sparse.csc_matrix((found / size).T), slack])
    empty = sparse.csc_matrix((owners, 2 * many))
    low, high = (np.array([_sides(row)[n] for row in rows]).reshape(many) for n in (0, 1))
    room = np.tile(np.where(soft, np.inf, 0.0), 2)
    return CompiledModel(
        columns=tuple(range(columns + 2 * many)),
        rows=tuple(range(owners + many)),
        sense=-1,
        cost=np.concatenate([value, -np.tile(fine, 2)]),
        offset=0.0,
        matrix=sparse.vstack([sparse.hstack([pick, empty]), use]).tocsc(),
        row_low=np.concatenate([np.ones(owners), (low - base) / size]),
        row_high=np.concatenate([np.ones(owners), (high - base) / size]),
        column_low=np.zeros(columns + 2 * many),
        column_high=np.concatenate([np.ones(columns), room]),
        integer=np.concatenate([np.ones(columns, dtype=np.bool_), np.zeros(2 * many, dtype=np.bool_)]),
    )


def _named(problem: PriceProblem, rows: PriceRows) -> list[str]:
    found = [row.name + (", soft" if row.penalty is not None else "") for row in rows.rows]
    found += [name for name in ("index_band", "max_changed", "min_margin") if getattr(problem, name) is not None]
    return [*sorted(set(found)), *(["substitution"] * bool(problem.cross.any()))]


def _widest(gaps: Sequence[OpenGap], of: Base) -> str:
    share = [gap.share for gap in gaps if gap.of == of]
    widest, words = max(share, default=0.0), "the bound" if of == "bound" else "turnover"
    return f"at most {widest:.2g} of {words}, {sum(one > GAP for one in share)} of {len(share):,} plans above {GAP:g}"


def _write(problems: int, seed: int, seen: Counter[str], gaps: list[OpenGap], seconds: float) -> None:
    lines = [
        f"# {problems:,} random price problems, seed {seed}",
        "",
        f"Command: `python -m benchmarks.price_agreement --problems {problems} --seed {seed}`. Solved by listing"
        " and joining families, in one piece, family by family and as one integer model; every second one is small"
        " enough to try all plans as well. No disagreement; every plan passed the re-check of every rule and fine.",
        f"Feasible: {len(gaps):,}, in {seconds:.0f} s of one core."
        f" Left open family by family: {_widest(gaps, 'bound')};"
        f" where the bound is less than {NEAR_NOTHING:.1%} of turnover {_widest(gaps, 'turnover')}.",
        "",
        "| rule | problems that have it |",
        "| --- | --- |",
        *(f"| {name} | {many:,} |" for name, many in sorted(seen.items())),
    ]
    print("\n".join(lines))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "price_agreement.md").write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
