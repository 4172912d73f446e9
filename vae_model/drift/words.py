"""What moved in a column, in words."""

from __future__ import annotations

import numpy as np

from vae_model.drift.reference import Spread
from vae_model.features.categories import shortened
from vae_model.features.numbers import Numbers, whole


def from_to(then: float, now: float) -> str:
    """Two shares: ``0.8 % -> 31 %``."""
    return f"{percent(then)} -> {percent(now)}"


def percent(share: float) -> str:
    """A share with as many digits as tell it from none and from all."""
    if 0.99 < share < 1:
        return f"{100 - float(f'{100 * (1 - share):.2g}'):.12g} %"
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.3g} %"


def bin_in_words(own: Spread, place: int) -> str:
    """The rows of a bin: those with a value of a category, or with numbers of a range."""
    feature, edges_E = own.feature, own.edges_E
    last = len(own.share_B) - 1
    if feature.values:
        if place >= last - 2:
            return "rows with rare values" if place == last - 2 else "rows with values that training has not seen"
        return f"rows with {shortened(feature.values[place])!r}"
    if place in (0, last - 1):
        return "rows outside the training range"
    if feature.kind != Numbers.name:
        return f"rows in part {place} of its range"
    if feature.family == "integer":
        edges_E = np.ceil(edges_E)
    low, high = (f"{whole(float(edge), feature.offset_of(0)):.6g}" for edge in edges_E[place - 1 : place + 1])
    if low == high or len(edges_E) == 2 or (feature.family == "integer" and edges_E[place - 1] + 1 == edges_E[place]):
        return f"rows with {low}"
    if place == 1:
        return f"rows below {high}"
    return f"rows from {low}" if place == last - 2 else f"rows from {low} to below {high}"
