"""Which product is promoted in which week, how deep and where."""

from optimizers.promotions.plan import (
    PromotionProblem,
    advance_calendar,
    evaluate_calendar,
    plan_promotions,
    word_budget_price,
)

__all__ = ["PromotionProblem", "advance_calendar", "evaluate_calendar", "plan_promotions", "word_budget_price"]
