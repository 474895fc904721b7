"""Who is sent which coupon, under budgets and rules.

problem      values, costs and rules, validated where they come in
allocate     the way in: exact on small problems, multipliers on any size
exact        Pyomo and HiGHS
dual         multipliers by cutting planes; sums is the seam between driver and customers
repair       from the multipliers' mixture to whole offers
partitions   the same over chunks of files (chunks) and Apache Spark (spark)
explore      a logged random share; parity: what groups of customers get
table        from a table of values to a table of coupons
check        independent re-checks
"""

from optimizers.coupons.allocate import CouponPlan, allocate_coupons
from optimizers.coupons.problem import CouponProblem
from optimizers.coupons.watch import Standing

__all__ = ["CouponPlan", "CouponProblem", "Standing", "allocate_coupons"]
