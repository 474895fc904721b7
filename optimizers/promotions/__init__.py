"""Which product is promoted in which week, how deep and where."""

from optimizers.promotions.calendar import evaluate_calendar
from optimizers.promotions.plan import advance_calendar, plan_promotions, word_budget_price
from optimizers.promotions.problem import PromotionProblem

__all__ = ["PromotionProblem", "advance_calendar", "evaluate_calendar", "plan_promotions", "word_budget_price"]
