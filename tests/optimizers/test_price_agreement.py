"""All roads, one integer model and brute force agree: a share of `benchmarks.price_agreement`."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import pytest

from benchmarks.price_agreement import OpenGap, agree
from benchmarks.prices import drawn_shop
from optimizers.prices import problem_ladder, resolve, solve_prices
from optimizers.prices.check import check_price_plan


@pytest.mark.parametrize("first", [0, 15])
def test_all_roads_agree_on_random_problems(first: int) -> None:
    seen: Counter[str] = Counter()
    gaps = [gap for number in range(first, first + 15) for gap in agree(0, number, seen)]
    assert len(gaps) >= 8
    assert max(gap.share for gap in gaps) <= 1e-4


@pytest.mark.parametrize(("bound", "share", "of"), [(50.0, 0.2, "bound"), (0.02, 0.01, "turnover")])
def test_what_is_open_below_a_bound_next_to_nothing_is_told_as_a_share_of_turnover(bound, share, of) -> None:
    plan = SimpleNamespace(bound=bound, objective=bound - 10.0, gap=10.0 / bound)
    assert OpenGap.of_plan(plan, turnover=1_000.0) == OpenGap(pytest.approx(share), of)


def test_an_override_that_its_family_cannot_make_good_moves_a_few_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """With changes and index used up to the last, the family of the fixed product may find no plan by itself."""
    problem, rows = drawn_shop(100, draws=10, seed=3)
    plan = solve_prices(problem, rows=rows, gap=1e-3)
    monkeypatch.setattr(resolve, "solve_prices", lambda *_, **__: pytest.fail("the whole shop was solved again"))
    ladder = problem_ladder(problem)
    # Every product of one family is fixed at its highest price but one, which nothing inside it makes good.
    fixed = {n: float(ladder.price[n, ladder.today + 1]) for n in range(20, 26)}
    again = resolve.resolve_prices(problem, plan, fixed, rows=rows)
    check_price_plan(problem, again, rows)
    assert all(again.price[n] == price for n, price in fixed.items())
    assert again.bound == plan.bound
