"""Bandits: learn which arm is best while earning.

policies   what is believed, and how a reward changes it: Thompson (Beta, Gaussian, normal-inverse-gamma, linear,
           logistic), UCB1, LinUCB
marginals  beliefs row by row: draws, and the exact chance that an arm is best
bandit     decide and learn: exploration floor, top-two, forgetting, removed arms, propensities
knapsack   a cost for each arm, a budget that is never overspent
drift      change detection
record     design and state as JSON
"""

from experiments.bandits.bandit import BanditDesign, BanditState, Decisions, decide, learn, remove_arm, start
from experiments.bandits.drift import Cusum
from experiments.bandits.knapsack import Budget
from experiments.bandits.policies import (
    BetaThompson,
    GaussianThompson,
    LinearThompson,
    LinearUcb,
    LogisticThompson,
    NormalInverseGammaThompson,
    Ucb,
)

__all__ = [
    "BanditDesign",
    "BanditState",
    "BetaThompson",
    "Budget",
    "Cusum",
    "Decisions",
    "GaussianThompson",
    "LinearThompson",
    "LinearUcb",
    "LogisticThompson",
    "NormalInverseGammaThompson",
    "Ucb",
    "decide",
    "learn",
    "remove_arm",
    "start",
]
