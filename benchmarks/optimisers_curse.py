"""The optimiser's curse on known truth: what plans promise and what they bring, by risk setting.

    python -m benchmarks.optimisers_curse [--shops 30]

In each shop (seeded) true elasticities are drawn from a prior (-2.2 ± .5), estimated with noise (± .8) and shrunk by
Bayes' rule; prices are chosen on the draws of the posterior under each risk setting, and on the raw estimates. What is
promised is the expected gain under the plan's own beliefs; what is realised comes from the truth. The last columns ask
whether the guarantee held: how often the realised gain fell below the tail's mean, the quantile and the worst case.
Writes benchmarks/results/optimisers_curse.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from optimizers.prices import PriceProblem, evaluate_prices, raw_predicted_gain, solve_prices
from optimizers.prices.robust import RISKS, solve_robust_prices

RESULTS = Path(__file__).parent / "results"
NOTE = "`python -m benchmarks.optimisers_curse --shops 30`; drawn shops (seeds 0 …); money over the horizon."
PRODUCTS, DRAWS, PRIOR_MEAN, PRIOR_SD, NOISE = 40, 100, -2.2, 0.5, 0.8


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shops", type=int, default=30)
    options = parser.parse_args(arguments)
    names = ("raw estimates", *RISKS, "truth known")
    promised, realised, below = (dict.fromkeys(names, 0.0) for _ in range(3))
    each: dict[str, list[float]] = {name: [] for name in names}
    for shop in range(options.shops):
        problem, truth, estimate = _shop(shop)
        for name, gains in _plans(problem, truth, estimate).items():
            promised[name] += gains[0]
            realised[name] += gains[1]
            below[name] += gains[1] < gains[2]
            each[name].append(gains[1])
    lines = [
        f"# Promised and realised, {options.shops} shops of {PRODUCTS} products, {DRAWS} draws",
        "",
        NOTE,
        "",
        "| plan | promised | realised | realised ÷ promised | worst tenth of shops | guarantee broken |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_row(name, promised[name], realised[name], each[name], below[name] / options.shops) for name in names),
    ]
    print("\n".join(lines))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "optimisers_curse.md").write_text("\n".join([*lines, ""]), encoding="utf-8")


def _shop(seed: int) -> tuple[PriceProblem, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = PRIOR_MEAN + PRIOR_SD * rng.standard_normal(PRODUCTS)
    estimate = truth + NOISE * rng.standard_normal(PRODUCTS)
    keep = PRIOR_SD**2 / (PRIOR_SD**2 + NOISE**2)
    own = PRIOR_MEAN + keep * (estimate - PRIOR_MEAN) + np.sqrt(keep) * NOISE * rng.standard_normal((DRAWS, PRODUCTS))
    price = np.round(np.exp(rng.normal(1.2, 0.5, PRODUCTS)), 2) + 0.5
    problem = PriceProblem(
        product_ids=tuple(f"p{i}" for i in range(PRODUCTS)),
        current_price=price,
        unit_cost=price * rng.uniform(0.45, 0.65, PRODUCTS),
        base_units=np.exp(rng.normal(4, 0.8, PRODUCTS)),
        own=own,
        cross=np.zeros_like(own),
        base_scale=np.ones_like(own),
        family=np.arange(PRODUCTS) // 8,
        movable=np.ones(PRODUCTS, dtype=np.bool_),
        max_change=0.10,
        step=0.025,
        index_band=None,
        min_margin=None,
        max_changed=None,
        endings=None,
    )
    return problem, truth, estimate


def _plans(problem: PriceProblem, truth: np.ndarray, estimate: np.ndarray) -> dict[str, tuple[float, float, float]]:
    """Plan -> (promised gain, realised gain, the gain it guarantees)."""
    real = _believing(problem, truth)
    raw = solve_prices(_believing(problem, estimate), gap=1e-3)
    promise = raw_predicted_gain(problem, estimate, gap=1e-3)
    found = {"raw estimates": (promise, _realised(real, raw.price), -np.inf)}
    for risk in RISKS:
        plan = solve_robust_prices(problem, risk, rounds=6, seconds=20.0)
        held = -np.inf if risk == "mean" else plan.objective
        found[risk] = (plan.expected_gain, _realised(real, plan.price), held)
    best = solve_prices(real, gap=1e-3)
    return found | {"truth known": (best.objective, best.objective, -np.inf)}


def _believing(problem: PriceProblem, own: np.ndarray) -> PriceProblem:
    one = np.ones((1, len(own)))
    return replace(problem, own=own[None, :], cross=0 * one, base_scale=one)


def _realised(real: PriceProblem, price: np.ndarray) -> float:
    return float(evaluate_prices(real, price).gain.sum())


def _row(name: str, promised: float, realised: float, each: list[float], broken: float) -> str:
    worst = float(np.mean(np.sort(each)[: max(1, len(each) // 10)]))
    guarantee = f"{broken:.0%}" if name in ("tail", "lower", "worst") else ""
    return f"| {name} | {promised:,.0f} | {realised:,.0f} | {realised / promised:.3f} | {worst:,.1f} | {guarantee} |"


if __name__ == "__main__":
    main()
