"""The weekly product panel: what was sold at what price, with its promotions, as dense matrices.

`build_panel` makes it from a shop; `split_panel` makes two independent halves to judge with; `current_prices` and
`recent_units` read the state of the shop at its end.
"""

from engine.panel.build import build_panel
from engine.panel.current import current_prices, recent_units
from engine.panel.record import Panel
from engine.panel.split import split_panel

__all__ = ["Panel", "build_panel", "current_prices", "recent_units", "split_panel"]
