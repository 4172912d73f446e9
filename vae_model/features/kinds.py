"""The kinds of features there are."""

from __future__ import annotations

from vae_model.features.categories import Booleans, Categories
from vae_model.features.feature import Kind
from vae_model.features.images import Images
from vae_model.features.numbers import Numbers
from vae_model.features.times import Times
from vae_model.features.vectors import Vectors

KINDS: dict[str, Kind] = {
    kind.name: kind for kind in (Numbers(), Booleans(), Categories(), Times(), Vectors(), Images())
}
"""Every kind by its name, in the order in which messages list them. A new kind is added here and nowhere else."""


def default_kind(family: str) -> str | None:
    """The kind of a column of this family, where the config does not set one; None where it has to."""
    return next((name for name, kind in KINDS.items() if family in kind.default_of), None)
