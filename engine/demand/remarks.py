"""Remarks: what every proposal must say about where its price response comes from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.demand.channels import EXPERIMENT, PROMOTION, REGULAR, Channels
from engine.demand.elasticities import EVERYDAY_RATIO, EVERYDAY_SD, TYPICAL, Elasticities
from engine.demand.sources import Disagreement
from engine.proposal import Reason

Floats = npt.NDArray[np.float64]

DISAGREE = (
    "warning: logged random price moves and the shop's other price moves disagree: everyday elasticity "
    "{experiment:.2f} by experiment, {history:.2f} by history (difference {difference:+.2f} ± {se:.2f}, {z:.1f} "
    "standard errors); something that moves both price and demand is missing from the data, and the experiments are "
    "believed"
)
AGREE = (
    "logged random price moves and the shop's other price moves agree and are read together: everyday elasticity "
    "{experiment:.2f} by experiment, {history:.2f} by history (difference {difference:+.2f} ± {se:.2f})"
)
ONLY_DISCOUNTS = (
    "warning: no everyday price ever moved, only the response to discounts is known ({promotion:.2f}); the response to "
    "the everyday price is taken to be {ratio:.2f} times that, give or take {spread:.2f}"
)
RATIO = (
    "a change of the everyday price moves demand {ratio:.2f} times as much as a discount of the same size "
    "(elasticity {everyday:.2f} ± {everyday_sd:.2f} against {promotion:.2f} ± {promotion_sd:.2f})"
)
SPLIT_OURS = (
    "the shop logs no everyday price; dips of up to {weeks} weeks were taken for promotions, lasting steps for changes "
    "of the everyday price"
)
NOTHING = (
    "warning: no price in the data says anything about demand; the response is that of the literature, and every price "
    "is held"
)


def remarks(
    channels: Channels,
    precision: Floats,
    posterior: Elasticities,
    disagreement: Disagreement | None,
    *,
    regular_logged: bool,
    closing_weeks: int,
) -> tuple[Reason, ...]:
    """Sentences for the proposal."""
    informed = {name: bool((precision[:, k, k] > 0).any()) for k, name in enumerate(channels.names)}
    if not any(informed.values()):
        return (Reason(NOTHING),)
    found: list[Reason] = []
    if disagreement is not None:
        found.append(_sources(disagreement))
    found.extend(_everyday(informed, channels, posterior))
    if not regular_logged and informed[PROMOTION]:
        found.append(Reason(SPLIT_OURS, {"weeks": closing_weeks - 1}))
    return tuple(found)


def _sources(found: Disagreement) -> Reason:
    values = {
        "experiment": found.experiment,
        "history": found.history,
        "difference": found.difference,
        "se": found.se,
        "z": abs(found.z),
    }
    return Reason(AGREE if found.agrees else DISAGREE, values)


def _everyday(informed: dict[str, bool], channels: Channels, posterior: Elasticities) -> list[Reason]:
    position = {name: k for k, name in enumerate(channels.names)}
    promotion, everyday = posterior.shop_mean[position[PROMOTION]], posterior.shop_mean[-1]
    if not informed[PROMOTION]:
        return []
    if not informed[REGULAR] and not informed.get(EXPERIMENT, False):
        spread = EVERYDAY_SD / abs(TYPICAL)
        return [Reason(ONLY_DISCOUNTS, {"promotion": float(promotion), "ratio": EVERYDAY_RATIO, "spread": spread})]
    values = {
        "ratio": float(everyday / promotion) if abs(promotion) > 1e-9 else float("nan"),
        "everyday": float(everyday),
        "everyday_sd": float(posterior.shop_sd[-1]),
        "promotion": float(promotion),
        "promotion_sd": float(posterior.shop_sd[position[PROMOTION]]),
    }
    return [Reason(RATIO, values)]
