"""Do exact, dual, the dual over partitions and brute force agree? Random small coupon problems of every kind.

    python -m benchmarks.coupon_agreement [--problems 2000] [--seed 0]

Half of the problems have one to five customers, so that every plan can be tried; the other half have 20 to 120, where
exact and dual are held against each other. Each is decided once more with its customers divided into one to four
partitions, as chunks and Spark have them: within the same bounds, though not to the last coin. Every feasible problem
is decided a last time with some of its customers drawn at random. Every plan is re-checked. Writes
benchmarks/results/coupon_agreement.md.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engine.errors import InfeasibleError
from optimizers.coupons import CouponPlan, CouponProblem, allocate_coupons
from optimizers.coupons.check import check_coupons
from optimizers.coupons.partitioned_plan import decided
from optimizers.coupons.partitions import allocate_partitions
from optimizers.coupons.questions import Chunks
from optimizers.coupons.rows import make_partition, make_rules

RESULTS = Path(__file__).parent / "results"
Ints = npt.NDArray[np.int64]


def main(arguments: Sequence[str] | None = None) -> None:
    """Try the problems, print and write what was found; the first disagreement stops it with an error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    seen: Counter[str] = Counter()
    gaps: list[float] = []
    short: list[float] = []
    explored: list[float] = []
    began = time.process_time()
    for number in range(asked.problems):
        rng = np.random.default_rng((asked.seed, number))
        tiny = number % 2 == 0
        customers = int(rng.integers(1, 6)) if tiny else int(rng.integers(20, 121))
        problem = random_problem(int(rng.integers(10**9)), customers, int(rng.integers(1, 4 if tiny else 8)))
        seen.update(_rules(problem))
        try:
            gaps += _agree(problem, tiny)
            short += _agree_divided(problem, int(rng.integers(1, 5)))
            explored += _agree_exploring(problem, int(rng.integers(1, 5)), float(rng.choice([0.1, 0.4, 1.0])), number)
        except AssertionError as error:
            raise SystemExit(f"problem {number}: {error}") from error
    _write(asked, seen, (gaps, short, explored), time.process_time() - began)


def _rules(problem: CouponProblem) -> list[str]:
    named = ("budget", "segment_budget", "min_sent", "offered", "max_sent", "offer_cap", "contact_limit")
    return [name for name in named if getattr(problem, name) is not None] + ["exclusive"] * bool(problem.exclusive)


def _agree(problem: CouponProblem, tiny: bool) -> list[float]:
    """Gap of the dual's plan, or nothing where no plan exists.

    Raises:
        AssertionError: two of them disagree, or a plan fails its re-check.
    """
    dual, exact = (_plan(problem, method) for method in ("dual", "exact"))
    if tiny:
        best = best_by_trying(problem)
        for plan in (dual, exact):
            if (plan is None) != (best is None):
                raise AssertionError(f"brute force holds {best}, the plan is {plan}")
            if plan is not None and best is not None:
                _within(plan, best)
    if (dual is None) != (exact is None):
        raise AssertionError(f"dual {dual}, exact {exact}")
    if dual is None or exact is None:
        return []
    if min(dual.bound, exact.bound) < max(dual.objective, exact.objective) - 1e-6:
        raise AssertionError(f"a bound lies below a plan: dual {dual}, exact {exact}")
    if max(dual.gap, exact.gap) > 1e-4:
        raise AssertionError(f"a gap is too wide: dual {dual}, exact {exact}")
    return [dual.gap]


def _agree_divided(problem: CouponProblem, parts: int) -> list[float]:
    """By how much the plan over partitions misses the best, or nothing where no plan exists.

    Raises:
        AssertionError: it breaks a rule, beats a bound, or is held where there is none, or the other way round.
    """
    whole, chunks = _plan(problem, "dual"), divided(problem, parts)
    try:
        plan = allocate_partitions(chunks, make_rules(problem))
    except InfeasibleError:
        plan = None
    if (plan is None) != (whole is None):
        raise AssertionError(f"in memory {whole}, over partitions {plan}")
    if plan is None or whole is None:
        return []
    choice = np.concatenate([decided(k, load(), plan).choice for k, load in enumerate(chunks.loaders)])
    earned = float(problem.profit.astype(float)[np.arange(len(choice)), choice].sum())
    if not keeps_everything(problem, choice) or abs(earned - plan.objective) > 1e-6:
        raise AssertionError(f"over partitions a rule is broken or the profit is {earned}: {plan}")
    if plan.objective > whole.bound + 1e-6 or plan.bound < whole.objective - 1e-6:
        raise AssertionError(f"a bound lies below a plan: in memory {whole}, over partitions {plan}")
    return [(whole.bound - plan.objective) / max(abs(whole.bound), 1e-9)]


def _agree_exploring(problem: CouponProblem, parts: int, share: float, seed: int) -> list[float]:
    """Customers drawn at random, on either road, or nothing where no plan is left beside them.

    Raises:
        AssertionError: a rule is broken, or a log from which the draws cannot be weighted.
    """
    chunks = divided(problem, parts)
    try:
        check_coupons(
            replace(problem, explore=share), allocate_coupons(replace(problem, explore=share), "dual", seed=seed)
        )
        plan = allocate_partitions(chunks, make_rules(problem), explore=share, seed=seed)
    except InfeasibleError:
        return []
    found = [decided(k, load(), plan) for k, load in enumerate(chunks.loaders)]
    if not keeps_everything(problem, np.concatenate([one.choice for one in found])):
        raise AssertionError(f"a rule is broken with explore = {share} over partitions: {plan}")
    logged = np.concatenate([one.explored.propensity for one in found if one.explored is not None])
    if not ((logged > 0) & (logged <= 1)).all():
        raise AssertionError(f"a propensity lies outside (0, 1]: {logged}")
    return [float(np.mean([one.explored.explored.mean() for one in found if one.explored is not None]))]


def divided(problem: CouponProblem, parts: int) -> Chunks:
    """The customers of a problem in partitions."""
    whole = make_partition(problem)
    pieces = [whole.take(p) for p in np.array_split(np.arange(problem.n_customers), parts) if len(p)]
    return Chunks([lambda piece=piece: piece for piece in pieces])


def _within(plan: CouponPlan, best: float) -> None:
    if not plan.objective - 1e-6 <= best <= plan.bound + 1e-6:
        raise AssertionError(f"brute force earns {best}, the plan {plan.objective} with bound {plan.bound}")


def _plan(problem: CouponProblem, method: str) -> CouponPlan | None:
    try:
        plan = allocate_coupons(problem, method, gap=1e-4)
    except InfeasibleError:
        return None
    check_coupons(problem, plan)
    return plan


def _write(asked: argparse.Namespace, seen: Counter[str], found: tuple[list[float], ...], seconds: float) -> None:
    gaps, short, explored = found
    lines = [
        f"# {asked.problems:,} random coupon problems, seed {asked.seed}: exact, dual, partitions and brute force",
        "",
        "Every second one is small enough to try all plans. No disagreement; every plan passed the re-check.",
        f"Feasible: {len(gaps):,}; widest gap of the dual {max(gaps):.1e}, median {np.median(gaps):.1e}; "
        f"{seconds:.0f} s of one core.",
        f"Over one to four partitions: {len(short):,} plans, {np.mean(np.array(short) < 1e-4):.0%} of them within 1e-4 "
        f"of the bound in memory, the furthest {max(short):.1e}. With a share drawn at random: {len(explored):,}.",
        "",
        "| rule | problems that have it |",
        "| --- | --- |",
        *(f"| {name} | {many:,} |" for name, many in sorted(seen.items())),
    ]
    print("\n".join(lines))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "coupon_agreement.md").write_text("\n".join([*lines, ""]), encoding="utf-8")


def random_problem(seed: int, customers: int, offers: int) -> CouponProblem:
    """Problems of all kinds: real and whole numbers, ties, empty budgets, floors, caps, offers not for everybody."""
    rng = np.random.default_rng(seed)
    shape = (customers, offers)
    profit, cost = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    whole = bool(rng.integers(2))
    profit[:, 1:] = (
        rng.integers(-2, 4, (customers, offers - 1)) if whole else rng.normal(0.5, 1, (customers, offers - 1))
    )
    cost[:, 1:] = rng.integers(0, 4, (customers, offers - 1)) if whole else rng.gamma(1, 1, (customers, offers - 1))
    if rng.random() < 0.3:
        alike = rng.integers(0, max(1, customers // 3), customers)
        profit, cost = profit[alike], cost[alike]
    segment = budgets = offered = None
    if rng.random() < 0.6:
        segments = int(rng.integers(1, 4))
        segment = rng.integers(0, segments, customers)
        budgets = rng.choice([0, 0.5, 1, 2, np.inf], segments) * customers * 0.3
    if rng.random() < 0.3:
        offered = rng.random(shape) < 0.7
        offered[:, 0] = True
    budget = None if rng.random() < 0.2 else float(rng.choice([0, 0.01, 0.3, 0.6]) * customers)
    min_sent = None if rng.random() < 0.5 else int(rng.integers(0, customers + 1))
    problem = CouponProblem(profit, cost, budget, segment, budgets, min_sent, offered)
    return with_limits(problem, rng)


def with_limits(problem: CouponProblem, rng: np.random.Generator) -> CouponProblem:
    """Caps, a greatest number sent, contacts and exclusions, each in some of the problems."""
    n, offers = problem.profit.shape
    limits: dict[str, object] = {}
    if rng.random() < 0.3:
        limits["max_sent"] = int(rng.integers(problem.min_sent or 0, n + 1))
    if rng.random() < 0.3:
        caps = rng.choice([0, 1, n // 2, n, np.inf], offers)
        limits["offer_cap"] = np.append(np.inf, caps[1:])
    if rng.random() < 0.2:
        limits |= {"contacts": rng.integers(0, 4, n), "contact_limit": int(rng.integers(1, 4))}
    if rng.random() < 0.2 and offers > 2:
        limits |= {"exclusive": ((1, 2),), "held": rng.random(problem.profit.shape) < 0.3}
    return replace(problem, **limits)


def keeps_everything(problem: CouponProblem, choice: Ints) -> bool:
    """Every rule, one after the other, in the plainest words."""
    at, sent = np.arange(len(choice)), choice > 0
    cost = problem.cost.astype(float)[at, choice]
    fits = problem.budget is None or cost.sum() <= problem.budget
    fits &= (problem.min_sent or 0) <= sent.sum() <= (_or(problem.max_sent, len(choice)))
    if problem.segment_budget is not None:
        fits &= bool((np.bincount(problem.segment, cost, len(problem.segment_budget)) <= problem.segment_budget).all())
    if problem.offer_cap is not None:
        fits &= bool((np.bincount(choice, minlength=len(problem.offer_cap))[1:] <= problem.offer_cap[1:]).all())
    if problem.contacts is not None:
        fits &= bool((problem.contacts + sent <= problem.contact_limit)[sent].all())
    for group in problem.exclusive:
        fits &= not any(o in group and problem.held[i, list(group)].any() for i, o in enumerate(choice))
    return fits and (problem.offered is None or bool(problem.offered[at, choice].all()))


def _or(count: int | None, otherwise: int) -> int:
    return otherwise if count is None else count


def best_by_trying(problem: CouponProblem) -> float | None:
    """Profit of the best of all plans; None: no plan keeps the rules."""
    n, o = problem.profit.shape
    at, best = np.arange(n), None
    for picked in itertools.product(range(o), repeat=n):
        choice = np.array(picked, dtype=int)
        if keeps_everything(problem, choice):
            value = float(problem.profit.astype(float)[at, choice].sum())
            best = value if best is None else max(best, value)
    return best


if __name__ == "__main__":
    main()
