"""Price plans that hold under the posterior of the response, by how much risk is taken.

`risk` says what is maximised, always for the gain of the plan as a whole:

- "mean": expected gain over the draws (sample average approximation).
- "tail": expected gain in the worst tenth of the draws, the conditional value at risk (Rockafellar and Uryasev,
  "Optimization of Conditional Value-at-Risk", Journal of Risk, 2000). It is never above the quantile of the same share.
- "lower": that quantile itself. The best of the plans met on the way to "tail"; no bound is proven for it.
- "worst": the least gain for any own elasticities in an ellipsoid around their posterior mean (Ben-Tal and Nemirovski,
  "Robust Convex Optimization", Mathematics of Operations Research, 1998); level and substitution stand at their means.

"tail" and "worst" are games against an adversary who shifts probability between scenarios. Under any fixed shift the
best prices are an ordinary price problem, and its bound is a bound on the game (weak duality); the shifts come from the
linear program over the plans met so far, stepped back half-way to the best shift known (cutting planes with in-out
separation: Ben-Ameur and Neto, "Acceleration of cutting-plane and column generation algorithms", Networks, 2007).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError
from optimizers.gap import relative_gap
from optimizers.prices.problem import PricePlan, PriceProblem
from optimizers.prices.rows import PriceRows
from optimizers.prices.solve import evaluate_prices, solve_prices
from optimizers.prices.well_posed import check_effort, check_problem
from optimizers.prices.worst_case import scenario_problem, worst_gain
from optimizers.solver import CompiledModel, solve

Floats = npt.NDArray[np.float64]

RISKS = ("mean", "tail", "lower", "worst")
ROUNDS = 12
COARSEST = 5e-3
"""Gap of the price problems while the game is wide open."""


@dataclass(frozen=True)
class RobustPlan:
    """Prices, and what every risk setting counts of them. Money over the horizon."""

    risk: str
    price: Floats
    """(P,) money per unit."""
    objective: float
    """What `risk` maximises, at these prices by exact demand."""
    bound: float
    """No prices under the same rules count for more, as far as the bounds of `solve_prices` hold; infinite for
    "lower", for which nothing is proven."""
    gap: float
    status: str
    """"optimal" (within the gap), "gap_limit" (the gap stated is honest: prices are discrete, so the game may have a
    duality gap), "time_limit" or "heuristic" ("lower")."""
    expected_gain: float
    tail_gain: float
    """Expected gain in the worst `tail` share of the draws."""
    lower_gain: float
    """The `tail` quantile of the gain."""
    worst_gain: float
    """No own elasticities in the ellipsoid bring less."""
    rounds: int
    seconds: float = 0.0
    price_plan: PricePlan | None = None
    """The same prices as a plan of `problem` under "mean": expected gain, its bound, and the rules that bound each
    line; explanations and re-checks take it as they take any plan."""


def solve_robust_prices(
    problem: PriceProblem,
    risk: str,
    *,
    rows: PriceRows | None = None,
    tail: float = 0.10,
    radius: float = 1.645,
    gap: float = 1e-3,
    seconds: float = 60.0,
    rounds: int = ROUNDS,
) -> RobustPlan:
    """Choose prices by a risk setting of the whole plan.

    Args:
        problem: as `solve_prices` takes it; its own `risk` (line by line) is left aside.
        risk: one of `RISKS`.
        rows: further rules; hard and linear, as those that are counted in units or money would shift with the draws.
        tail: share of the draws that counts as the tail, above 0 and at most 1.
        radius: of the ellipsoid, in standard deviations; 1.645 holds 95 % of a normal posterior on the side that hurts.
        gap: relative gap at which the game may stop.
        seconds: time limit of all price problems together.
        rounds: price problems solved, at most.

    Raises:
        ProblemError: the problem is not well posed, a setting out of range, or a rule of another kind.
        InfeasibleError: no prices satisfy the rules.
    """
    check_problem(problem)
    check_effort(gap, seconds)
    _check_rows(rows)
    if risk not in RISKS:
        raise ProblemError(f"risk is {risk!r}; allowed: {', '.join(RISKS)}")
    if not 0 < tail <= 1:
        raise ProblemError(f"tail is {tail}; give a share of the draws above 0 and at most 1, such as 0.1")
    if not 0 <= radius < math.inf:
        raise ProblemError(f"radius is {radius}; give standard deviations, 0 or more, such as 1.645")
    begun = time.perf_counter()
    problem = replace(problem, risk="mean")
    measures = Measures(problem, tail, radius)
    shifts: Shifts = EllipsoidShifts(problem, radius) if risk == "worst" else TailShifts(problem, tail)
    game = _Game(problem, shifts, measures, risk, rows, gap, begun + seconds)
    game.play(rounds)
    return game.plan(time.perf_counter() - begun)


def _check_rows(rows: PriceRows | None) -> None:
    for row in rows.rows if rows is not None else ():
        if row.measure != "linear" or row.penalty is not None:
            raise ProblemError(f"rule {row.name!r}: plans by risk take hard, linear rules only; leave it out")


@dataclass(frozen=True)
class Measures:
    """What each risk setting counts of given prices."""

    problem: PriceProblem
    tail: float
    radius: float

    def of(self, price: Floats) -> dict[str, float]:
        """Risk setting -> money."""
        draws = evaluate_prices(self.problem, price).gain_draws
        return {
            "mean": float(draws.mean()),
            "tail": float(tail_weights(draws, self.tail) @ draws),
            "lower": float(np.quantile(draws, self.tail, method="lower")),
            "worst": worst_gain(self.problem, price, self.radius)[0],
        }


def tail_weights(gain: Floats, tail: float) -> Floats:
    """(D,) probabilities, none above 1 / (tail · D), under which the expected gain is least."""
    order = np.argsort(gain, kind="stable")
    most = 1.0 / (tail * len(gain))
    weight = np.zeros(len(gain))
    weight[order] = np.clip(1.0 - most * np.arange(len(gain)), 0.0, most)
    return weight


class Shifts(Protocol):
    """What the adversary may do: S scenarios and the probabilities that he may give them."""

    most: float
    """Largest probability of one scenario."""

    def outcomes(self, price: Floats) -> Floats:
        """(S,) gain of prices under every scenario."""

    def problem(self, weight: Floats) -> PriceProblem:
        """The price problem whose expectation is under probabilities (S,)."""

    def react(self, price: Floats) -> int:
        """Add the scenario that hurts prices most, if it is not there; return S."""


class TailShifts:
    """The draws are the scenarios; none may be given more than 1 / (tail · D)."""

    def __init__(self, problem: PriceProblem, tail: float) -> None:
        self.base = problem
        self.most = 1.0 / (tail * len(problem.own))

    def outcomes(self, price: Floats) -> Floats:
        """Return the gain under every draw."""
        return evaluate_prices(self.base, price).gain_draws

    def problem(self, weight: Floats) -> PriceProblem:
        """Weigh the draws."""
        # Gains are proportional to the level of demand, so a draw's probability can be put into its level.
        return replace(self.base, base_scale=self.base.base_scale * (weight * len(weight))[:, None])

    def react(self, price: Floats) -> int:
        """Add nothing: all draws are there."""
        del price
        return len(self.base.own)


class EllipsoidShifts:
    """The scenarios are the elasticities of the ellipsoid that hurt a plan met so far."""

    def __init__(self, problem: PriceProblem, radius: float) -> None:
        self.base, self.radius = problem, radius
        self.most = 1.0
        self.own = problem.own.mean(axis=0)[None, :]

    def outcomes(self, price: Floats) -> Floats:
        """Return the gain under every response met so far."""
        return evaluate_prices(scenario_problem(self.base, self.own), price).gain_draws

    def problem(self, weight: Floats) -> PriceProblem:
        """Weigh the responses met so far."""
        return scenario_problem(self.base, self.own, weight)

    def react(self, price: Floats) -> int:
        """Add the response that hurts the prices most."""
        hurts = worst_gain(self.base, price, self.radius)[1]
        self.own = np.vstack([self.own, hurts])
        return len(self.own)


class _Game:
    """Prices answer shifts, shifts answer prices, until the best prices meet the best bound."""

    def __init__(
        self,
        problem: PriceProblem,
        shifts: Shifts,
        measures: Measures,
        risk: str,
        rows: PriceRows | None,
        gap: float,
        deadline: float,
    ) -> None:
        self.base, self.shifts, self.measures, self.risk = problem, shifts, measures, risk
        self.rows, self.gap, self.deadline = rows, gap, deadline
        self.bound = math.inf
        self.rounds = 0
        self.met: list[Floats] = []
        self.counts: dict[str, float] = {}
        self.mean = self._solve(problem)
        self.held = self.mean
        self.counts = measures.of(self.mean.price)
        if rows is None and measures.of(problem.current_price)[risk] > self.counts[risk]:
            today = replace(self.mean, price=problem.current_price)
            self.held, self.counts = today, measures.of(problem.current_price)

    def play(self, rounds: int) -> None:
        """Go on until the gap is closed, time is up, or so many price problems have been solved."""
        if self.risk == "mean":
            self.bound = self.mean.bound
            return
        scenarios = len(self.shifts.outcomes(self.mean.price))
        best = np.full(scenarios, 1.0 / scenarios)
        if self.risk == "worst":
            self._answer(best)
        else:
            self.bound = self.mean.bound
        while self.rounds < rounds and not (self.late or self._done()):
            grown = self.shifts.react(self.met[-1])
            best = np.append(best, np.zeros(grown - len(best)))
            weight = 0.5 * (best + self._hardest(grown))
            if self._answer(weight):
                best = weight

    def _solve(self, problem: PriceProblem) -> PricePlan:
        left = self.deadline - time.perf_counter()
        plan = solve_prices(problem, rows=self.rows, gap=self._inner_gap(), seconds=max(left, 0.0))
        self.late = left <= 0 or plan.status == "time_limit"
        self.rounds += 1
        self.met.append(plan.price)
        return plan

    def _inner_gap(self) -> float:
        """Gap of one price problem: no finer than what the game has yet to close, by far."""
        if not self.rounds:
            return 0.3 * self.gap
        open_gap = math.inf if self.risk == "lower" else self._gap()
        return max(0.3 * self.gap, min(0.1 * open_gap, COARSEST))

    def _answer(self, weight: Floats) -> bool:
        """Solve the price problem under a shift; tell whether it proved a better bound."""
        plan = self._solve(self.shifts.problem(weight))
        counts = self.measures.of(plan.price)
        if counts[self.risk] > self.counts[self.risk]:
            self.held, self.counts = plan, counts
        better = plan.bound < self.bound
        self.bound = min(self.bound, plan.bound)
        return better

    def _done(self) -> bool:
        return self.risk != "lower" and self._gap() <= self.gap

    def _gap(self) -> float:
        value = self.counts[self.risk]
        return relative_gap(value, max(self.bound, value))

    def _hardest(self, scenarios: int) -> Floats:
        """(S,) the shift under which the best of the plans met so far counts least: a linear program."""
        from scipy import sparse

        gain = np.array([self.shifts.outcomes(price) for price in self.met])
        size = max(float(np.abs(gain).max()), 1e-300)
        plans = len(gain)
        rows = sparse.vstack(
            [
                sparse.hstack([sparse.csc_matrix(gain / size), sparse.csc_matrix(-np.ones((plans, 1)))]),
                sparse.csc_matrix(np.append(np.ones(scenarios), 0.0)[None, :]),
            ]
        ).tocsc()
        model = CompiledModel(
            columns=tuple(range(scenarios + 1)),
            rows=tuple(range(plans + 1)),
            sense=1,
            cost=np.append(np.zeros(scenarios), 1.0),
            offset=0.0,
            matrix=rows,
            row_low=np.append(np.full(plans, -np.inf), 1.0),
            row_high=np.append(np.zeros(plans), 1.0),
            column_low=np.append(np.zeros(scenarios), -np.inf),
            column_high=np.append(np.full(scenarios, max(self.shifts.most, 1.0 / scenarios)), np.inf),
            integer=np.zeros(scenarios + 1, dtype=np.bool_),
        )
        found = solve(model, seconds=10.0)
        if found.values is None:
            return np.full(scenarios, 1.0 / scenarios)
        weight = np.maximum(found.values[:scenarios], 0.0)
        return np.asarray(weight / weight.sum())

    def plan(self, seconds: float) -> RobustPlan:
        value = self.counts[self.risk]
        proven = self.risk != "lower"
        bound = max(self.bound, value) if proven else math.inf
        gap = relative_gap(value, bound) if proven else math.inf
        return RobustPlan(
            risk=self.risk,
            price=self.held.price,
            objective=value,
            bound=bound,
            gap=gap,
            status=self._status(proven, gap),
            expected_gain=self.counts["mean"],
            tail_gain=self.counts["tail"],
            lower_gain=self.counts["lower"],
            worst_gain=self.counts["worst"],
            rounds=self.rounds,
            seconds=seconds,
            price_plan=self._price_plan(),
        )

    def _price_plan(self) -> PricePlan:
        """The held prices with the gain that all draws expect of them."""
        value = self.counts["mean"]
        bound = max(self.mean.bound, value)
        reached = relative_gap(value, bound)
        status = "optimal" if reached <= self.gap else "gap_limit"
        return replace(self.held, status=status, objective=value, bound=bound, gap=reached)

    def _status(self, proven: bool, gap: float) -> str:
        if proven and gap <= self.gap:
            return "optimal"
        if self.late:
            return "time_limit"
        return "gap_limit" if proven else "heuristic"
