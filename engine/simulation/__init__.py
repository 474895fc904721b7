"""Shops whose truth is known: what an estimator must find and what a plan really earns.

simulate_shop   write a shop in the data contract, with its truth beside it
load_truth      read that truth: elasticities, expected units, realised gain, coupon effects
Scenario        the parameters; SCENARIOS are the named sets of them
"""

from engine.simulation.scenario import SCENARIOS, Scenario
from engine.simulation.shop import SimulatedShop, make_shop, simulate_shop
from engine.simulation.truth import CouponTruth, Truth, load_truth

__all__ = [
    "SCENARIOS",
    "CouponTruth",
    "Scenario",
    "SimulatedShop",
    "Truth",
    "load_truth",
    "make_shop",
    "simulate_shop",
]
