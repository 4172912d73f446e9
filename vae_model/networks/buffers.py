"""Memory for the arrays that blocks of rows are computed in, used again block after block."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Buffers:
    """Memory that one block of rows after another is computed in, an array for each name.

    What each block would ask of the system and give back costs more, in page faults, than what is computed in it. An
    array holds what its name was last used for; never for two threads at once.
    """

    def __init__(self) -> None:
        self._arrays: dict[Hashable, NDArray[Any]] = {}

    def __call__(self, name: Hashable, *shape: int, dtype: Any = np.float32) -> NDArray[Any]:
        """The array of a name, not initialised."""
        found = self._arrays.get(name)
        if found is None or found.shape != shape or found.dtype != dtype:
            found = self._arrays[name] = np.empty(shape, dtype)
        return found
