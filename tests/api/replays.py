"""A/A replays for tests whose matter is something else: as they are, of fewer splits."""

from __future__ import annotations

from experiments import replay_design

_WHOLE = replay_design.replay_design


def short_replay(made, past, *, splits):
    """The replay of a design, of 16 splits at most."""
    return _WHOLE(made, past, splits=min(splits, 16))
