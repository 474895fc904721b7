"""What to do: a problem goes in, a plan with its bound comes out, and independent code checks the plan.

prices       which price each product takes, under rules
rules        business rules as data, and what to say when they contradict each other
coupons      who is sent which coupon, under budgets; in memory, in chunks, on Spark
markdown     selling a stock by a date
promotions   a calendar of promotions
budget       one budget for all of them, and frontiers of what a limit costs
solver       the only caller of Pyomo and HiGHS
"""
