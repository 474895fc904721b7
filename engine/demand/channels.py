"""Price channels: one price path taken apart into the kinds of move that shoppers answer to differently.

The log price of a series is the sum of three channels, so that each move has one place:

    log price = regular + promotion + experiment

`regular` is the log everyday price, `promotion` the log of shelf over everyday price in ordinary weeks (never above
zero), `experiment` the log of shelf over everyday price in weeks whose price was moved at random and logged.
A discount moves more units than the same change of the everyday price, so it has an elasticity of its own; so have
random moves, unless what they say agrees with what the shop's own everyday moves say (`sources`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from engine.panel import Panel

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

PROMOTION, REGULAR, EXPERIMENT = "promotion", "regular", "experiment"
CLOSING_WEEKS = 7
"""A dip of fewer weeks than this counts as a promotion where the shop does not log its everyday price."""
MEDIAN_WEEKS = 3
"""Rebuilt everyday prices wobble with who bought where; a running median of three weeks steadies them."""
LEAST_VARIANCE = 1e-8
"""A channel that moves less than this (variance of log price) does not move."""


@dataclass(frozen=True)
class Channels:
    """The K channels of a panel's prices, in the order promotion, regular and, where it exists, experiment."""

    names: tuple[str, ...]
    values: Floats
    """(S, T, K) log price moves; only changes within a series mean anything."""
    usable: Bools
    """(S, T) cells that may be used to estimate: observed, in stock, with a price."""

    @property
    def target(self) -> int:
        """Position of the channel that a change of the everyday price is read from."""
        return len(self.names) - 1

    def column(self, name: str) -> Floats:
        """(S, T) one channel; zeros where the panel has no such channel."""
        if name not in self.names:
            return np.zeros(self.usable.shape)
        return self.values[:, :, self.names.index(name)]


def split_prices(panel: Panel) -> Channels:
    """Take the prices of a panel apart into channels."""
    usable = usable_cells(panel)
    price = _log_filled(panel.price, usable)
    random = (panel.experiment > 0.5) & usable
    everyday = _everyday(panel, price, random, usable)
    gap = price - everyday
    promotion = np.where(random, 0.0, np.minimum(gap, 0.0))
    regular = np.where(random, everyday, np.maximum(price, everyday))
    if panel.prices_reconstructed:
        regular = rolling_median(everyday)
    experiment = np.where(random, gap, 0.0)
    parts = {PROMOTION: promotion, REGULAR: regular}
    if _moves(experiment, usable):
        parts[EXPERIMENT] = experiment
    return Channels(tuple(parts), np.stack(list(parts.values()), axis=2), usable)


def with_random_moves(channels: Channels) -> Channels:
    """The channels with random moves counted among those of the everyday price."""
    if EXPERIMENT not in channels.names:
        return channels
    kept = tuple(name for name in channels.names if name != EXPERIMENT)
    values = channels.values[:, :, [channels.names.index(name) for name in kept]]
    values[:, :, kept.index(REGULAR)] += channels.column(EXPERIMENT)
    return Channels(kept, values, channels.usable)


def usable_cells(panel: Panel) -> Bools:
    """(S, T) observed, not known to be out of stock, with a positive price; series that never sold are left out."""
    cells = panel.observed & (panel.stock_out < 0.5) & (panel.price > 0) & np.isfinite(panel.price)
    if panel.prices_reconstructed:
        cells = cells & (panel.units > 0)
    sold = np.where(cells, panel.units, 0.0).sum(axis=1) > 0
    usable: Bools = cells & sold[:, None]
    return usable


def _everyday(panel: Panel, price: Floats, random: Bools, usable: Bools) -> Floats:
    """(S, T) log everyday price, without discounts and without random moves."""
    if not panel.regular_logged:
        return closing(_log_filled(panel.price, usable & ~random))
    between = _log_filled(panel.regular_price, usable & ~random)
    logged = _log_filled(panel.regular_price, usable)
    return between if _moves_along(price, logged, between, random) else logged


def _moves_along(price: Floats, logged: Floats, between: Floats, random: Bools) -> bool:
    """Whether the logged everyday price takes part in random moves: it then lies nearer to the price than they reach.

    Medians over the random cells, as prices of stores may wobble by a hundredth about what is logged.
    """
    if not random.any():
        return False
    apart, reach = np.abs(price - logged)[random], np.abs(price - between)[random]
    return bool(np.median(apart) < 0.5 * np.median(reach))


def closing(log_price: Floats, weeks: int = CLOSING_WEEKS) -> Floats:
    """Grey-scale closing of each row in time: dips shorter than `weeks` are filled, lasting steps stay where they are.

    The reference of a backward-looking window follows a step only weeks later and calls the weeks between a
    promotion; looking both ways is right here, where the past is explained and nothing is forecast. (Serra, Image
    Analysis and Mathematical Morphology, 1982.)
    """
    size = (1, min(weeks, log_price.shape[1]))
    return np.asarray(ndimage.grey_closing(log_price, size=size, mode="nearest"), dtype=np.float64)


def rolling_median(log_price: Floats, weeks: int = MEDIAN_WEEKS) -> Floats:
    """(S, T) running median of each row."""
    return np.asarray(ndimage.median_filter(log_price, size=(1, weeks), mode="nearest"), dtype=np.float64)


def _log_filled(price: Floats, known: Bools) -> Floats:
    """Log price with unknown cells carried forward, then backward; rows without any known cell are zero."""
    good = known & (price > 0) & np.isfinite(price)
    logs = np.log(np.where(good, price, 1.0))
    index = np.where(good, np.arange(price.shape[1]), -1)
    last = np.maximum.accumulate(index, axis=1)
    first = np.where(good.any(axis=1), good.argmax(axis=1), 0)
    source = np.where(last >= 0, last, first[:, None])
    filled: Floats = np.take_along_axis(logs, source, axis=1)
    return filled


def _moves(values: Floats, usable: Bools) -> bool:
    count = usable.sum()
    if count == 0:
        return False
    mean = values[usable].mean()
    return bool(((values[usable] - mean) ** 2).mean() > LEAST_VARIANCE)
