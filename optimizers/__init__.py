"""What to do: prices, coupons, budgets. A problem comes in, a plan goes out; alone in calling Pyomo and HiGHS."""
