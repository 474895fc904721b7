"""Coupon plans that hold under the posterior of the effects, by how much risk is taken.

`risk` says what is maximised:

- "mean": expected incremental profit.
- "lower": the 10 % quantile of each coupon's own profit, coupon by coupon.
- "tail": the plan's expected profit in the worst tenth of the posterior (conditional value at risk: Rockafellar and
  Uryasev, "Optimization of Conditional Value-at-Risk", Journal of Risk, 2000).
- "worst": its least profit over an ellipsoid of effects around their posterior mean (Ben-Tal and Nemirovski, "Robust
  Convex Optimization", Mathematics of Operations Research, 1998).

Effects are linear in normal coefficients, so the profit of a plan is normal, and "tail" and "worst" are both its mean
less a number of its standard deviations. That is a game against an adversary who picks a direction of the errors in the
unit ball: under any fixed direction the best plan is an ordinary allocation, and its bound is a bound on the game (weak
duality). Directions come from the best mixture of the plans met so far, stepped back half-way to the best direction
known (cutting planes with in-out separation: Ben-Ameur and Neto, "Acceleration of cutting-plane and column generation
algorithms", Networks, 2007).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError
from optimizers.coupons.allocate import allocate_coupons
from optimizers.coupons.plan import CouponPlan
from optimizers.coupons.problem import CouponProblem, Floats, Ints
from optimizers.gap import gap_below

if TYPE_CHECKING:
    from engine.coupon_response.record import LinearErrors

RISKS = ("mean", "lower", "tail", "worst")
QUANTILE = 1.2815515594457831
"""Standard deviations from the mean of a normal down to its 10 % quantile."""
AVERSION = {"tail": 1.7549833193248687, "worst": 1.6448536269514722}
"""Standard deviations taken off the mean: the mean of a normal below its 10 % quantile; an ellipsoid that holds 95 % on
the side that hurts."""
ROUNDS = 24
SMOOTH = 1e-5
"""Least size that a sum of errors counts as, as a share of the largest plan's: a tenth of the usual gap."""


@dataclass(frozen=True)
class RobustCoupons:
    """A plan, and what every risk setting counts of it. Money."""

    risk: str
    plan: CouponPlan
    """As a plan of the expected profit: its bound and gap are those of the mean."""
    objective: float
    """What `risk` maximises, at this plan."""
    bound: float
    """No plan under the same limits counts for more."""
    gap: float
    """Bound less objective, as a share of what the plan by mean may bring: what surely comes may be nothing."""
    status: str
    """As of a plan; "gap_limit" also where the game has a duality gap, as coupons are whole."""
    expected: float
    tail: float
    """Expected profit in the worst tenth of the posterior."""
    worst: float
    """No effects in the ellipsoid bring less."""
    rounds: int
    seconds: float


def solve_robust_coupons(
    problem: CouponProblem,
    errors: LinearErrors,
    risk: str,
    *,
    method: str = "auto",
    gap: float = 1e-4,
    seconds: float = 60.0,
    seed: int = 0,
    rounds: int = ROUNDS,
) -> RobustCoupons:
    """Choose coupons by a risk setting.

    Args:
        problem: expected profits, costs and limits.
        errors: of the profits, together.
        risk: one of `RISKS`.
        method: as `allocate_coupons` takes it.
        gap: at which to stop, as a share of what the plan by mean may bring.
        seconds: time limit of all allocations together.
        seed: of the exploration share, which is drawn the same whatever the risk.
        rounds: allocations, at most.

    Raises:
        ProblemError: an unknown risk, or as `allocate_coupons`.
        InfeasibleError: the limits contradict each other.
    """
    if risk not in RISKS:
        raise ProblemError(f"risk is {risk!r}; allowed: {', '.join(RISKS)}")
    game = _Game(problem, errors, risk, method, gap, seconds, seed)
    if risk == "lower":
        return game.line_by_line()
    if risk != "mean":
        game.play(rounds)
    return game.found()


class _Game:
    """The plans met so far, and the best direction that the adversary knows against all of them."""

    def __init__(
        self,
        problem: CouponProblem,
        errors: LinearErrors,
        risk: str,
        method: str,
        gap: float,
        seconds: float,
        seed: int,
    ) -> None:
        self.problem, self.errors, self.risk, self.method = problem, errors, risk, method
        self.gap, self.seconds, self.seed = gap, seconds, seed
        self.begun = time.perf_counter()
        self.aversion = AVERSION.get(risk, 0.0)
        self.base = self._allocate(problem)
        self.choices: list[Ints] = []
        self.means, self.loads = np.empty(0), np.empty((0, len(errors.loads_of(self.base.choice))))
        self.bound, self.direction = self.base.bound, np.zeros(self.loads.shape[1])
        self.rounds = 1
        self._meet(self.base.choice)
        if not problem.min_sent and problem.explore == 0:
            self._meet(np.zeros_like(self.base.choice))

    def play(self, rounds: int) -> None:
        """Ask for plans against ever better directions."""
        step = 1.0
        while self.rounds < rounds and not self._closed() and time.perf_counter() - self.begun < self.seconds:
            wanted = self._mixed_direction()
            asked = self.direction + step * (wanted - self.direction)
            shifted = self.problem.profit - self.aversion * self.errors.moves(asked)
            found = self._allocate(_at(self.problem, shifted))
            self.rounds += 1
            if found.bound < self.bound:
                self.bound, self.direction = found.bound, asked
            if self._meet(found.choice):
                step = 0.5
            elif step == 1.0:
                break  # the best answer to the best direction is known: only whole coupons keep the two apart
            else:
                step = 1.0

    def found(self) -> RobustCoupons:
        """The best plan met."""
        best = int(self._values().argmax())
        value = float(self._values()[best])
        bound = max(self.bound, value)
        reached = self._gap(value, bound)
        late = time.perf_counter() - self.begun >= self.seconds
        status = "optimal" if reached <= self.gap else "time_limit" if late else "gap_limit"
        return self._robust(self.choices[best], value, bound, reached, status)

    def line_by_line(self) -> RobustCoupons:
        """Every coupon at the lower quantile of its own profit."""
        lowered = self.problem.profit - QUANTILE * self.errors.sd()
        plan = self._allocate(_at(self.problem, lowered))
        self.rounds += 1
        value = float(lowered[np.arange(len(plan.choice)), plan.choice].sum(dtype=np.float64))
        bound = max(plan.bound, value)
        return self._robust(plan.choice, value, bound, self._gap(value, bound), plan.status)

    def _allocate(self, problem: CouponProblem) -> CouponPlan:
        left = max(self.seconds - (time.perf_counter() - self.begun), 0.0)
        return allocate_coupons(problem, self.method, self.gap, seconds=left, seed=self.seed)

    def _meet(self, choice: Ints) -> bool:
        """Take a plan in; False where it is known."""
        if any(np.array_equal(choice, known) for known in self.choices):
            return False
        self.choices.append(choice)
        self.means = np.append(self.means, _expected(self.problem, choice))
        self.loads = np.vstack([self.loads, self.errors.loads_of(choice)])
        return True

    def _values(self) -> Floats:
        """What the risk makes of every plan met."""
        return np.asarray(self.means - self.aversion * np.linalg.norm(self.loads, axis=1))

    def _closed(self) -> bool:
        value = float(self._values().max())
        return self._gap(value, max(self.bound, value)) <= self.gap

    def _gap(self, value: float, bound: float) -> float:
        scale = max(abs(bound), abs(self.base.bound))
        return (bound - value) / scale if scale > 0 else 0.0

    def _mixed_direction(self) -> Floats:
        """The direction, of length 1 at most, that hurts the best mixture of the plans met most.

        Plans whose errors cancel leave the adversary no direction of full length, so what is mixed is smoothed: the
        size of a sum of errors never counts as less than a hair.
        """
        scale = max(float(np.abs(self.means).max()), float(np.linalg.norm(self.loads, axis=1).max()), 1e-300)
        total = best_mixture(self.means / scale, self.loads / scale, self.aversion) @ self.loads / scale
        return np.asarray(total / math.hypot(float(np.linalg.norm(total)), SMOOTH))

    def _robust(self, choice: Ints, value: float, bound: float, gap: float, status: str) -> RobustCoupons:
        expected = _expected(self.problem, choice)
        spend = float(self.problem.cost[np.arange(len(choice)), choice].sum(dtype=np.float64))
        by_mean = gap_below(expected, max(self.base.bound, expected))
        plan = replace(self.base, choice=choice, objective=expected, spend=spend, gap=by_mean, status=status)
        sd = float(np.linalg.norm(self.errors.loads_of(choice)))
        tail, worst = (expected - AVERSION[name] * sd for name in ("tail", "worst"))
        seconds = time.perf_counter() - self.begun
        return RobustCoupons(
            self.risk,
            replace(plan, seconds=seconds),
            value,
            bound,
            gap,
            status,
            expected,
            tail,
            worst,
            self.rounds,
            seconds,
        )


def best_mixture(means: Floats, loads: Floats, aversion: float) -> Floats:
    """Weights (J,), which add up to 1, of the mixture with the largest mean less so many standard deviations.

    A concave function of a few weights: sequential quadratic programming.

    Args:
        means: (J,) of the plans, about 1.
        loads: (J, q) how each moves with each independent error.
        aversion: standard deviations taken off.
    """
    from scipy.optimize import minimize

    def lost(weight: Floats) -> tuple[float, Floats]:
        total = weight @ loads
        size = math.hypot(float(np.linalg.norm(total)), SMOOTH)
        return float(aversion * size - weight @ means), aversion * (loads @ total) / size - means

    found = minimize(
        lost,
        np.full(len(means), 1.0 / len(means)),
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * len(means),
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1.0, "jac": lambda w: np.ones(len(w))},
        options={"maxiter": 200, "ftol": 1e-12},
    )
    return np.asarray(np.clip(found.x, 0.0, None))


def _at(problem: CouponProblem, profit: npt.NDArray[Any]) -> CouponProblem:
    """The problem at other profits (N, O), in the precision for which its kernels are compiled."""
    profit[:, 0] = 0.0
    return replace(problem, profit=profit.astype(problem.profit.dtype))


def _expected(problem: CouponProblem, choice: Ints) -> float:
    return float(problem.profit[np.arange(len(choice)), choice].sum(dtype=np.float64))
