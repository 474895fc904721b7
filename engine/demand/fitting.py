"""From a panel to fitted counts: the design put together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.demand.channels import Channels
from engine.demand.controls import build_controls
from engine.demand.counts import CountFit, Design, fit_counts
from engine.panel import Panel

Floats = npt.NDArray[np.float64]


def fit_panel(
    panel: Panel, channels: Channels, *, without: frozenset[str] = frozenset(), fixed: Floats | None = None
) -> CountFit:
    """Explain the panel's counts by its price channels and everything else known.

    Args:
        panel: weekly sales and prices.
        channels: its prices, taken apart.
        without: observed confounders to leave out (engine.demand.controls.CONFOUNDERS).
        fixed: (P, K) channel elasticities that are given; None: estimate them.
    """
    controls = build_controls(panel, channels, without)
    design = Design(
        units=panel.units,
        usable=channels.usable,
        product=panel.series_product,
        group=controls.group,
        controls=controls.values,
        control_names=controls.names,
        control_sd=controls.sd,
        channels=channels.values,
        n_products=panel.n_products,
        sold_only=panel.prices_reconstructed,
        fixed=fixed,
    )
    return fit_counts(design)
