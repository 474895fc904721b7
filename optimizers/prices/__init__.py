"""Which price each product takes, under the rules, so that expected profit is largest.

problem     what is asked and answered
ladder      the prices that a product may take
rows        rules between prices, as a mask and rows over the ladders
solve       the way in: problem in, plan out
well_posed  what is refused before anything is solved
listed      families small enough to list every choice, and how they are joined (joining); deep_listing: larger ones
search      families as columns: restricted master, rounding, the groups one by one, the plan in hand (incumbent)
proof       the bound for the whole: nodes, their multipliers, screening, branching, and listing what is left of them
resolve     from a plan, after locks and overrides
robust      plans by risk; exploration: what a price test is worth
explain     why this price, what bound it, what would change it
check       independent re-check
"""

from optimizers.prices.problem import PriceOutcome, PricePlan, PriceProblem, problem_ladder
from optimizers.prices.solve import evaluate_prices, raw_predicted_gain, solve_prices

__all__ = [
    "PriceOutcome",
    "PricePlan",
    "PriceProblem",
    "evaluate_prices",
    "problem_ladder",
    "raw_predicted_gain",
    "solve_prices",
]
