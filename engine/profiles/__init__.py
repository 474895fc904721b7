"""Customer profiles: P(u) = Σ wᵢ fᵢ(u), layered features as of a week, with weights learned to predict behaviour.

`build_profiles` draws them up; `profile_mix` says what the buyers of each product are like.
"""

from engine.profiles.build import build_profiles
from engine.profiles.mix import MIX_FEATURES, profile_mix
from engine.profiles.record import Profiles

__all__ = ["MIX_FEATURES", "Profiles", "build_profiles", "profile_mix"]
