"""One budget for prices, coupons and promotions, and frontiers of what a limit costs."""
