"""Which products are worth a price test: what is learned has a price, and the tests are chosen by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from api.plan_files import csv_text
from api.price_choice import as_solved
from api.price_stage import PosedPrices
from engine.proposal import Reason
from engine.settings import Settings
from optimizers.prices.exploration import PriceTestDesign, PriceTestValues, choose_tests, value_tests, word_test

COLUMNS = ("product_id", "title", "identified", "elasticity", "elasticity_se", "se_after", "information", "cost", "net")


@dataclass(frozen=True)
class PriceTests:
    """Every product's test, and those that are chosen."""

    posed: PosedPrices
    design: PriceTestDesign
    values: PriceTestValues
    chosen: tuple[int, ...]
    """Rows of the products to test, those with the most net value first."""
    bound: float
    """No choice of tests under the same limits is worth more, money."""

    def words(self, row: int) -> Reason:
        """What one test costs and brings."""
        return word_test(self.values, self.design, row)

    def lines(self) -> list[tuple[Any, ...]]:
        """The chosen products in the columns `COLUMNS`, money over the horizons that use what is learned."""
        response, titles = self.posed.demand.response, self.posed.demand.panel.products["title"]
        return [
            (
                self.posed.problem.product_ids[i],
                str(titles.iat[i]),
                bool(response.identified[i]),
                float(response.elasticity[i]),
                float(response.elasticity_se[i]),
                *(float(getattr(self.values, name)[i]) for name in ("posterior_sd", "information", "cost", "net")),
            )
            for i in self.chosen
        ]

    def record(self) -> Mapping[str, Any]:
        """Figures for a program."""
        net = float(self.values.net[list(self.chosen)].sum())
        cost = float(np.maximum(self.values.cost[list(self.chosen)], 0.0).sum())
        return {"tests": len(self.chosen), "net": net, "bound": self.bound, "cost": cost}


def find_price_tests(
    posed: PosedPrices, settings: Settings, *, weeks: float, change: float, max_tests: int, budget: float
) -> PriceTests:
    """Value a test of every product, and choose.

    Args:
        posed: demand, problem and rules; a test frees a product whose elasticity it brings below
            `demand.max_elasticity_se`.
        settings: of the run.
        weeks: length of the tests.
        change: price charged in the test half, as a share above today's.
        max_tests: most products tested at a time.
        budget: most expected profit given up, money.

    Raises:
        ProblemError: a design that measures nothing.
    """
    known = settings.demand.max_elasticity_se
    design = PriceTestDesign(weeks, settings.demand.horizon_weeks, change, max_se=known)
    values = value_tests(as_solved(posed.problem), design)
    rows, bound = choose_tests(values, max_tests=max_tests, budget=budget, seconds=settings.pricing.seconds)
    chosen = sorted(rows.tolist(), key=lambda i: (-values.net[i], i))
    return PriceTests(posed, design, values, tuple(chosen), float(bound))


def price_test_table(found: PriceTests) -> str:
    """price_tests.csv: the products to test, and what each test costs and brings in words."""
    rows = [(*line, found.words(i).english()) for i, line in zip(found.chosen, found.lines(), strict=True)]
    return csv_text((*COLUMNS, "why"), rows)
