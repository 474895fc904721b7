"""Response to coupons: what sending an offer earns beyond what the customer would have brought anyway.

history      the coupon history as arrays
attributes   what is known about a customer before a wave
nuisance     chance of being sent each offer, and expected profit, cross-fitted by customer
effect       incremental gross profit: residual-on-residual regression with learned shrinkage
redemption   expected cost
checks       overlap, balance, placebo, agreement of targeted with randomised rows
verdict      credible or not, in words
policy       what sending by the estimates earned on customers not seen
estimate     estimate_coupon_response, which joins them
"""

from engine.coupon_response.estimate import estimate_coupon_response
from engine.coupon_response.record import Agreement, CouponResponse, Overlap, Placebo, PolicyValue

__all__ = ["Agreement", "CouponResponse", "Overlap", "Placebo", "PolicyValue", "estimate_coupon_response"]
