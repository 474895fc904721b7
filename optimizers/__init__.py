"""What to do: prices, coupons, budgets. A problem comes in, a plan goes out; the only package that calls Pyomo and HiGHS."""
