"""The best markdown policy: which price to charge for whatever stock is left, week by week.

Closed loop: each week's price is chosen after the week before was seen. Exact dynamic programming over (week, stock in
whole units, rung in force, weeks it has stood, changes left) for demand that is independent from week to week: every
week has its own draw of the response and its own Poisson or negative binomial sales. Where the response is known (one
draw) that is the model of Gallego and van Ryzin (1994) in discrete time, as Bitran and Mondschein (1997) solve it.
Where it is not, a plan that is re-made each week (`markdown.replan`) also learns the response; the policy does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.errors import ProblemError
from optimizers.markdown.problem import MarkdownProblem

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MAX_STATES = 60_000_000


@dataclass(frozen=True)
class MarkdownPolicy:
    """What to charge in every state of one product."""

    product_id: str
    value: float
    """Expected money from today on, salvage included."""
    rung: Ints
    """(W, S + 1, K, pause, M + 1) column of the ladder to charge in week w with s units left, rung k of the product's
    own rungs in force for h + 1 weeks (the last: or longer), m changes left (M = 0 where there is no limit)."""
    rungs: Ints
    """(K,) columns of the ladder that the product has."""

    def price_at(self, week: int, stock: int, current_rung: int, weeks_held: int, steps_left: int) -> int:
        """Return the column of the ladder to charge.

        Args:
            week: 0…W-1.
            stock: whole units left; more than the plan began with count as what it began with.
            current_rung: column of the ladder in force.
            weeks_held: weeks it has been, 1 or more.
            steps_left: changes left.
        """
        position = int(np.searchsorted(self.rungs, current_rung))
        held = min(weeks_held, self.rung.shape[3]) - 1
        left = min(steps_left, self.rung.shape[4] - 1)
        return int(self.rung[week, min(stock, self.rung.shape[1] - 1), position, held, left])


def solve_markdown_policy(problem: MarkdownProblem, product: int) -> MarkdownPolicy:
    """Solve one product's dynamic program exactly; limits that couple products are left out.

    Args:
        problem: stock, demand and rules. `noise` is left out: the weeks' noise is in the distribution of sales.
        product: row of the product.

    Raises:
        ProblemError: the stock has too many units for the table; plan in cases instead of units.
    """
    from optimizers.markdown.kernels import policy_rungs, solve_policy
    from optimizers.markdown.paths import rungs_of

    rungs = rungs_of(problem, product)
    stock = int(np.floor(problem.stock[product] + 1e-9))
    spend = 0 if problem.max_steps is None else 1
    steps = 0 if problem.max_steps is None else min(int(problem.max_steps[product]), problem.weeks)
    states = problem.weeks * (stock + 1) * len(rungs) * problem.min_weeks_between * (steps + 1)
    if states > MAX_STATES:
        raise ProblemError(
            f"product {problem.product_ids[product]}: {states:,} states are more than {MAX_STATES:,}; "
            "count its stock in cases, or limit its changes"
        )
    chance = sales_chances(problem, product, stock)
    price = problem.ladder[product, rungs] - problem.unit_cost[product]
    salvage, falling = float(problem.salvage[product]), problem.non_increasing
    table = solve_policy(chance, price, salvage, falling, problem.min_weeks_between, steps, spend)
    choice = rungs[policy_rungs(chance, price, table, falling, spend)]
    position = int(np.searchsorted(rungs, problem.current_rung[product]))
    held = problem.min_weeks_between if problem.weeks_held is None else int(problem.weeks_held[product])
    now = float(table[0, stock, position, min(held, problem.min_weeks_between) - 1, steps])
    return MarkdownPolicy(problem.product_ids[product], now, choice, rungs)


def sales_chances(problem: MarkdownProblem, product: int, stock: int) -> Floats:
    """Distribution of weekly demand (W, K, S + 1): 0…S-1 units, and S or more; averaged over the draws."""
    from scipy import stats

    from optimizers.markdown.paths import rungs_of

    ladder = problem.ladder[product, rungs_of(problem, product)]
    response = (ladder / problem.reference_price[product]) ** problem.own[:, product, None]
    response = response * problem.base_scale[:, product, None]
    weight = problem.probability()[:, product]
    chance = np.empty((problem.weeks, len(ladder), stock + 1))
    units = np.arange(stock)
    for w in range(problem.weeks):
        for k in range(len(ladder)):
            mean = np.maximum(problem.week_units[w, product] * response[:, k, None], 1e-12)
            if problem.dispersion > 0:
                size = 1.0 / problem.dispersion
                law = stats.nbinom(size, size / (size + mean))
            else:
                law = stats.poisson(mean)
            chance[w, k, :stock] = weight @ law.pmf(units[None, :])
    chance[:, :, stock] = np.maximum(1.0 - chance[:, :, :stock].sum(axis=2), 0.0)
    return chance
