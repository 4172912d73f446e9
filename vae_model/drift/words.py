"""What moved in a column, in words."""

from __future__ import annotations

import numpy as np

from vae_model.drift.reference import Spread
from vae_model.features.categories import shortened
from vae_model.features.numbers import Numbers, whole


def from_to(then: float, now: float) -> str:
    """Two shares: ``0.8 % -> 31 %``."""
    return f"{_percent(then)} -> {_percent(now)}"


def _percent(share: float) -> str:
    """A share with two digits, as many as tell it from none and from all."""
    percent = 100 * share
    return f"{percent:.2g} %" if percent < 10 else f"{percent:.3g} %"


def bin_in_words(own: Spread, place: int) -> str:
    """A bin among those that are compared: a value of a category, a range of numbers."""
    feature, edges_E = own.feature, own.edges_E
    if feature.values:
        return repr(shortened(feature.values[place])) if place < len(own.share_B) - 3 else "rare values"
    if feature.kind != Numbers.name:
        return f"part {place + 1} of its range"
    if feature.family == "integer":
        edges_E = np.ceil(edges_E)
    ends = [f"{whole(float(edge), feature.offset_of(0)):.6g}" for edge in edges_E]
    if len(ends) == 2 or (feature.family == "integer" and edges_E[place] + 1 == edges_E[place + 1]):
        return ends[place]
    if place == 0:
        return f"below {ends[1]}"
    return f"from {ends[place]}" if place == len(ends) - 2 else f"from {ends[place]} to below {ends[place + 1]}"
