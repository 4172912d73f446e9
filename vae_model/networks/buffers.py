"""Memory for the arrays that blocks of rows are computed in, used again block after block."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Buffers:
    """Memory that one block of rows after another is computed in, a piece for each name.

    What each block would ask of the system and give back costs more, in page faults, than what is computed in it. Under
    one name arrays of any shape follow each other, each in the place of the one before: memory that was just used is
    still in the processor's cache. Never for two threads at once.
    """

    def __init__(self) -> None:
        self._memory: dict[Hashable, NDArray[np.uint8]] = {}
        self._arrays: dict[tuple[Hashable, tuple[int, ...], Any], NDArray[Any]] = {}

    def __call__(self, name: Hashable, *shape: int, dtype: Any = np.float32) -> NDArray[Any]:
        """The array of a name, not initialised."""
        found = self._arrays.get((name, shape, dtype))
        if found is None:
            size = math.prod(shape) * np.dtype(dtype).itemsize
            memory = self._memory.get(name)
            if memory is None or len(memory) < size:
                memory = self._memory[name] = np.empty(size, np.uint8)
                self._arrays = {key: array for key, array in self._arrays.items() if key[0] != name}
            found = self._arrays[name, shape, dtype] = memory[:size].view(dtype).reshape(shape)
        return found

    def scratch(self, number: int, *shape: int, dtype: Any = np.float32) -> NDArray[Any]:
        """Memory for what is used up before the next step begins: all steps share it."""
        return self(("scratch", number), *shape, dtype=dtype)
