"""Business rules on whole catalogues: what they cost, what they promise, and what held-out sales say of it.

    python -m benchmarks.rules [--data complete_journey --rules docs/rules_complete_journey.yaml] [--home .offerwright]

The catalogue is planned with and without the rules. Then a plan is made under the same rules from each half of the
sales and judged by the other half with another class of model (`engine.demand.judge`), as in `benchmarks.heldout`;
the level is the mean of the last weeks. Without --data, both data sets that come with the product. Writes
benchmarks/results/rules.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from api.heldout import pose_half
from api.rule_stage import PriceRules, price_rules, under_rules
from benchmarks.heldout import whole_problem
from engine.demand.judge import judge_plan
from engine.demand.response import estimate_response
from engine.errors import PlanError
from engine.panel import Panel, build_panel, split_panel
from engine.settings import Settings, load_settings
from engine.shop import Shop
from engine.sources import open_shop
from optimizers.prices import PriceProblem, evaluate_prices, problem_ladder, solve_prices
from optimizers.prices.check import check_price_plan
from optimizers.rules import Basis, compile_rules
from optimizers.rules.plan import RuledPlan, solve_under_rules

RESULTS = Path(__file__).parent / "results"
SHOPS = (
    ("complete_journey", "docs/rules_complete_journey.yaml"),
    ("orange_juice", "docs/rules_orange_juice.yaml"),
)
GAP, SECONDS = 1e-3, 60.0


@dataclass(frozen=True)
class Figures:
    """Money over the horizon."""

    who: str
    changed: int
    gap: float
    promised: tuple[float, float, float] | None
    """Mean, 5 % and 95 % quantile; None where the plan was refused."""
    judged: tuple[float, float, float] | None = None


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data")
    parser.add_argument("--rules")
    parser.add_argument("--home", default=".offerwright")
    options = parser.parse_args(arguments)
    shops = ((options.data, options.rules),) if options.data else SHOPS
    lines = ["# Business rules on whole catalogues", "", _about(), ""]
    for data, rules in shops:
        lines += measure_shop(data, load_settings(None, [f"data.home={options.home}", f"pricing.rules={rules}"]))
    text = "\n".join(lines)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "rules.md").write_text(text, encoding="utf-8")
    print(text)


def _about() -> str:
    return (
        f"`python -m benchmarks.rules`; seed 1; {platform.python_implementation()} {platform.python_version()}, "
        f"{os.cpu_count()} cores, shared: processor time, not wall time."
    )


def measure_shop(data: str, settings: Settings) -> Iterator[str]:
    """Plan and judge one shop; lines of Markdown."""
    shop = open_shop(data, settings)
    panel = build_panel(shop, settings)
    rules = price_rules(shop, panel, settings)
    problem = under_rules(whole_problem(panel, settings), rules)
    facts = rules.facts
    if facts is None:
        return
    begun = time.process_time()
    rows = compile_rules(Basis(problem, problem_ladder(problem), facts), rules.rules).rows()
    compiled = time.process_time() - begun
    begun = time.process_time()
    ruled = solve_under_rules(problem, facts, rules.rules, gap=GAP, seconds=SECONDS)
    solved = time.process_time() - begun
    check_price_plan(problem, ruled.plan, ruled.rules.rows())
    free = solve_prices(problem, gap=GAP, seconds=SECONDS)
    figures = [
        _figures("settings alone", problem, free.price, free.gap),
        _figures("with the rules", problem, ruled.plan.price, ruled.plan.gap),
        *_halves(shop_halves(shop, panel, settings), panel, problem, rules, settings),
    ]
    today = float(evaluate_prices(problem, problem.current_price).profit.sum())
    yield f"## {data}: {panel.n_products} products, {int(problem.movable.sum())} movable, {len(rules.rules)} rules"
    yield ""
    yield f"{len(rows.rows)} rows; compiled in {compiled:.2f} s, solved in {solved:.1f} s. Shares of profit."
    yield from ("", "| plan | changed | gap | promised (90 %) | judged (90 %) |", "| --- | --- | --- | --- | --- |")
    yield from (_row(one, today) for one in figures)
    yield from (
        "",
        "| rule | kind | hard | products it can concern | bound | broken today |",
        "| --- | --- | --- | --- | --- | --- |",
    )
    yield from _rule_rows(ruled)
    yield ""


def shop_halves(shop: Shop, panel: Panel, settings: Settings) -> tuple[tuple[str, Panel, Panel], ...]:
    """Both directions."""
    first, second, _ = split_panel(shop, panel, settings, settings.seed)
    return ("half a → b", first, second), ("half b → a", second, first)


def _halves(
    halves: Sequence[tuple[str, Panel, Panel]],
    panel: Panel,
    problem: PriceProblem,
    rules: PriceRules,
    settings: Settings,
) -> Iterator[Figures]:
    for who, own, other in halves:
        half = pose_half(problem, estimate_response(own, settings, seed=settings.seed), settings)
        facts = rules.facts
        if facts is None:
            return
        try:
            ruled = solve_under_rules(half, facts, rules.rules, gap=GAP, seconds=SECONDS)
        except PlanError as error:
            print(error)
            yield Figures(f"{who}: refused by the re-check", 0, np.nan, None)
            continue
        judged = judge_plan(
            other,
            current_price=half.current_price,
            price=ruled.plan.price,
            unit_cost=half.unit_cost,
            base_units=half.base_units,
            seed=settings.seed,
            prices_from=panel if other.units.shape == panel.units.shape else None,
        )
        yield _figures(who, half, ruled.plan.price, ruled.plan.gap, (judged.gain, judged.gain_low, judged.gain_high))


def _figures(
    who: str,
    problem: PriceProblem,
    price: np.ndarray,
    gap: float,
    judged: tuple[float, float, float] | None = None,
) -> Figures:
    draws = evaluate_prices(problem, price).gain_draws
    low, high = np.quantile(draws, (0.05, 0.95))
    changed = int((price != problem.current_price).sum())
    return Figures(who, changed, gap, (float(draws.mean()), float(low), float(high)), judged)


def _row(one: Figures, today: float) -> str:
    def share(values: tuple[float, float, float] | None) -> str:
        return "–" if values is None else "{:.2%} ({:.2%} … {:.2%})".format(*(value / today for value in values))

    return f"| {one.who} | {one.changed} | {one.gap:.1e} | {share(one.promised)} | {share(one.judged)} |"


def _rule_rows(ruled: RuledPlan) -> Iterator[str]:
    for one in ruled.rules.rules:
        rule = one.rule
        bound = sum(rule.name in names.rules for names in ruled.bound)
        broken = sum(rule.name in names for names in ruled.broken_today)
        hard = "hard" if rule.hard else f"soft, {rule.penalty:g}"
        hard += ", no worse" if rule.today == "no_worse" else ""
        yield f"| {rule.name} | {rule.kind} | {hard} | {len(one.products)} | {bound} | {broken} |"


if __name__ == "__main__":
    main()
