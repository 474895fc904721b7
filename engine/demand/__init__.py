"""Demand: the level (what will sell at planned prices) and the response (what a price change does to it)."""
