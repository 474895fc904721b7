"""Who is sent which coupon, under budgets and rules.

problem      values, costs and rules, validated where they come in
plan         the answer: the choice, what it brings, how far from the best
allocate     the way in: exact on small problems, multipliers on any size
exact        Pyomo and HiGHS
dual         multipliers by cutting planes; sums is the seam between driver and customers
repair       from the multipliers' mixture to whole offers
partitions   the same over chunks of files (chunks, staging) and Apache Spark (spark); questions is what they are asked
explore      a logged random share (slices: over partitions); parity: what groups of customers get
robust       plans by risk: what surely comes of uncertain effects, for each coupon or for the plan as a whole
by_name      limits by the names of a table; table and long_table: from a table of values; summary: what is told
check        independent re-checks (check_partitions: over partitions)
"""

from optimizers.coupons.allocate import allocate_coupons
from optimizers.coupons.plan import CouponPlan
from optimizers.coupons.problem import CouponProblem
from optimizers.coupons.watch import Standing

__all__ = ["CouponPlan", "CouponProblem", "Standing", "allocate_coupons"]
