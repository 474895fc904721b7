"""What a price test is worth: information on a product's response has a price, and tests are chosen by it.

The elasticity of a product is believed to be normal. A test charges another price in half of the shop (stores, or
days) for some weeks; its estimate narrows the belief, and the price is then chosen under the narrower one. The expected
gain of that choice, less the gain of choosing now, is the expected value of sample information (Raiffa and Schlaifer,
"Applied Statistical Decision Theory", 1961); for one product tested at a time it is the knowledge gradient (Frazier,
Powell and Dayanik, "A Knowledge-Gradient Policy for Sequential Information Collection", SIAM Journal on Control and
Optimization, 2008). It is computed exactly but for a quadrature over the estimate: under a normal belief the
expectation of (p / p0)^elasticity has a closed form. Substitution and the rules between products are left out: each
product's own ladder bounds it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError
from engine.proposal import Reason
from optimizers.prices.column_selection import Answer, Column, select_columns
from optimizers.prices.problem import PriceProblem, problem_ladder
from optimizers.prices.well_posed import check_problem

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NODES = 64
TEST_WORTH = (
    "testing this price for {weeks} weeks costs {cost:,.0f} and is expected to bring {information:,.0f} "
    "by what it teaches"
)


@dataclass(frozen=True)
class PriceTestDesign:
    """How a price is tested."""

    weeks: float
    """Length of the test."""
    horizon_weeks: float
    """Weeks that the problem's units stand for."""
    change: float = 0.05
    """Price charged in the test half, as a share above today's; negative: below."""
    dispersion: float = 1.0
    """Variance of units over their mean (quasi-Poisson)."""
    horizons: float = 1.0
    """For how many horizons what was learned will be used."""
    max_se: float = np.inf
    """A product whose elasticity is known less well than this stays held after the test as well."""


@dataclass(frozen=True)
class PriceTestValues:
    """What a test of each product is worth, (P,) each; money over the horizons that use it."""

    information: Floats
    """Expected gain of choosing after the test, less that of choosing now; never negative."""
    cost: Floats
    """Expected profit given up while the test price is charged instead of the price that would be otherwise: the best
    under today's belief, or today's of a held product; negative where the test price is better than that."""
    net: Floats
    posterior_sd: Floats
    """Of the elasticity, after the test."""


def value_tests(problem: PriceProblem, design: PriceTestDesign) -> PriceTestValues:
    """Value a price test of every product.

    A movable product's price would be chosen now under its belief; one that is held would stay at today's price, and is
    freed by a test that brings its standard deviation to `max_se` or below.

    Args:
        problem: beliefs (draws of `own`, taken as normal), money and ladders.
        design: of the test.

    Raises:
        ProblemError: the problem is not well posed, or a design that measures nothing.
    """
    check_problem(problem)
    _check_design(design)
    ladder = problem_ladder(replace(problem, movable=np.ones_like(problem.movable))).price
    mean, variance = problem.own.mean(axis=0), problem.own.var(axis=0)
    noise = _noise_variance(problem, design)
    with np.errstate(invalid="ignore"):
        after = np.where(variance > 0, variance * noise / (variance + noise), 0.0)
    after = np.where(np.isinf(noise), variance, after)
    now = np.where(problem.movable, _best_gain(problem, ladder, mean, variance), 0.0)
    free = problem.movable | (np.sqrt(after) <= design.max_se)
    then = np.where(free, _expected_best(problem, ladder, mean, variance - after, after), now)
    information = np.maximum(then - now, 0.0) * design.horizons
    test_price = problem.current_price * (1 + design.change)
    share = 0.5 * design.weeks / design.horizon_weeks
    cost = share * (now - _gain(problem, test_price[:, None], mean, variance)[:, 0])
    return PriceTestValues(information, cost, information - cost, np.sqrt(after))


def _check_design(design: PriceTestDesign) -> None:
    if not (-1 < design.change < np.inf and design.change != 0):
        raise ProblemError(f"the test's change is {design.change}; give a share such as 0.05 or -0.05, not 0")
    for name in ("weeks", "horizon_weeks", "dispersion", "horizons"):
        value = getattr(design, name)
        if not 0 < value < np.inf:
            raise ProblemError(f"the test's {name} is {value}; give a number above 0")
    if not design.max_se > 0:
        raise ProblemError(f"the test's max_se is {design.max_se}; give a number above 0")


def _noise_variance(problem: PriceProblem, design: PriceTestDesign) -> Floats:
    """(P,) variance of the test's estimate: log ratio of two halves' units over the log price ratio."""
    units = problem.base_units * design.weeks / design.horizon_weeks
    with np.errstate(divide="ignore"):
        return np.asarray(4.0 * design.dispersion / (units * np.log1p(design.change) ** 2))


def _gain(problem: PriceProblem, price: Floats, mean: Floats, variance: Floats | float) -> Floats:
    """(P, K) expected gain over today's profit at prices (P, K) under normal elasticities."""
    move = np.log(price / problem.current_price[:, None])
    spread = np.broadcast_to(variance, mean.shape)[:, None]
    units = np.exp(mean[:, None] * move + 0.5 * spread * move**2)
    margin = price - problem.unit_cost[:, None]
    today = problem.current_price - problem.unit_cost
    level = problem.base_units * problem.base_scale.mean(axis=0)
    return np.asarray(level[:, None] * (units * margin - today[:, None]))


def _best_gain(problem: PriceProblem, ladder: Floats, mean: Floats, variance: Floats) -> Floats:
    gain = _gain(problem, ladder, mean, variance)
    return np.asarray(np.where(np.isfinite(gain), gain, -np.inf).max(axis=1, initial=-np.inf))


def _expected_best(problem: PriceProblem, ladder: Floats, mean: Floats, learned: Floats, after: Floats) -> Floats:
    """(P,) expectation, over the posterior mean that the test will give, of the best gain under it."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    total = np.zeros_like(mean)
    for node, weight in zip(nodes, weights / weights.sum(), strict=True):
        total += weight * _best_gain(problem, ladder, mean + np.sqrt(np.maximum(learned, 0.0)) * node, after)
    return total


class _Candidate:
    """One product that may be tested or not."""

    def __init__(self, net: float, cost: float) -> None:
        self.leave = Column((0,), 0.0, np.zeros(2))
        self.test = Column((1,), net, np.array([1.0, max(cost, 0.0)]))

    def rest(self) -> Column:
        return self.leave

    def answer(self, prices: Floats) -> Answer:
        worth = self.test.value - float(self.test.usage @ prices)
        order = (self.test, self.leave) if worth > 0 else (self.leave, self.test)
        return Answer(order, max(worth, 0.0))

    def near(self, prices: Floats, least: float) -> tuple[Column, ...]:
        return tuple(c for c in (self.leave, self.test) if c.value - float(c.usage @ prices) >= least)


def choose_tests(
    values: PriceTestValues, *, max_tests: int, budget: float = np.inf, gap: float = 1e-4, seconds: float = 10.0
) -> tuple[Ints, float]:
    """Choose the products to test so that the net value of information is largest.

    Args:
        values: of every product's test.
        max_tests: most products tested at a time.
        budget: most expected profit given up by the tests together, money; a test that costs nothing uses none.
        gap: relative gap at which the choice may stop.
        seconds: time limit.

    Returns:
        Rows of the products, and a bound on the net value of any choice, money.

    Raises:
        ProblemError: a negative limit.
    """
    if max_tests < 0 or not budget >= 0:
        raise ProblemError(f"max_tests is {max_tests} and budget {budget}; give 0 or more for both")
    owners = [_Candidate(float(net), float(cost)) for net, cost in zip(values.net, values.cost, strict=True)]
    found = select_columns(owners, np.array([float(max_tests), float(budget)]), gap=gap, seconds=seconds)
    return np.flatnonzero([c.label == (1,) for c in found.columns]), found.bound


def word_test(values: PriceTestValues, design: PriceTestDesign, product: int) -> Reason:
    """Say what one product's test costs and what it is expected to bring."""
    return Reason(
        TEST_WORTH,
        {
            "weeks": design.weeks,
            "cost": float(values.cost[product]),
            "information": float(values.information[product]),
        },
    )
