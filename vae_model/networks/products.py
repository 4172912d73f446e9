"""Matrix products in which what becomes of a row does not depend on where it stands, or on the rows beside it.

The product's one rule is that a row's score depends on nothing but the row and the model. No BLAS, the library that
multiplies matrices for NumPy, promises that: to be fast it treats rows in groups, and may add up a row's products in
another order at the end of a group than in its middle, so that the last bits differ. What was found of OpenBLAS, which
NumPy brings along (its kernels for Haswell, SkylakeX, Sandy Bridge, Nehalem and Prescott):

- Where rows are stored one after the other, the kernel for Haswell (most AMD servers, older Intel ones) takes them in
  groups of twelve, and the last six of each come out otherwise than the first six.
- Where rows run along the last axis, as in ``tiles``, only the first 8 and the last 8 rows of a call can come out
  otherwise, on every kernel and for matrices of any size; given that a call has at most 320 rows (with more it is cut
  in pieces, which have such ends too) and that one thread computes it (more threads cut it as well).

So each tile is one call of 320 rows, whose first and last 8 are not used, and ``one_thread`` holds BLAS to a thread.
A kernel nobody has tried (Accelerate, MKL, ARM), or several threads where they cannot be told to be one, may do other
things. Therefore each size of matrix is tried once a process, with a tile of equal rows. If they come out different,
products of this size are computed in float64 and rounded, which leaves next to nothing of the difference, at twice the
price.

Shapes: B tiles, W rows of a tile, K inputs, H outputs.
"""

from __future__ import annotations

import threading
from contextlib import ContextDecorator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_model.networks.tiles import MARGIN, TILE

TRIES = 4
"""Matrices of a size that are tried. Where places matter, nearly any one shows it."""


def multiply(weight_HK: NDArray[Any], x_BKW: NDArray[Any], out_BHW: NDArray[Any]) -> NDArray[Any]:
    """Multiply each row of some tiles, its inputs, by a matrix; into ``out_BHW``, which is returned."""
    if x_BKW.dtype == np.float64 or places_are_equal(*weight_HK.shape):
        return np.matmul(weight_HK, x_BKW, out=out_BHW)
    np.copyto(out_BHW, np.matmul(weight_HK.astype(np.float64), x_BKW.astype(np.float64)), casting="same_kind")
    return out_BHW


@cache
def places_are_equal(outputs: int, inputs: int) -> bool:
    """Whether this machine's float32 product with a matrix of this size treats all inner rows of a tile alike."""
    for attempt in range(TRIES):
        # The sines of large numbers, in place of random ones: numpy.random need not be loaded for this.
        numbers = np.sin(1e4 * (1 + attempt) + np.arange(float(inputs * (outputs + 1))) ** 1.5).astype(np.float32)
        weight_HK, x_K = numbers[inputs:].reshape(outputs, inputs), numbers[:inputs]
        product_HW = np.matmul(weight_HK, np.repeat(x_K[None, :, None], TILE, axis=2))[0, :, MARGIN:-MARGIN]
        if (product_HW != product_HW[:, :1]).any():
            return False
    return True


class _OneThread(ContextDecorator):
    """Hold BLAS to one thread, for as long as anyone in the process asks for it.

    The number of threads is a setting of the process: the first of several callers at once sets it, the last one sets
    it back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callers = 0
        self._before: list[tuple[Any, int]] = []
        """Libraries of more than one thread, and how many they had."""

    def __enter__(self) -> None:
        libraries = _libraries()
        with self._lock:
            if not self._callers:
                self._before = [(one, threads) for one in libraries if (threads := one.get_num_threads()) != 1]
                self._set([(one, 1) for one, _ in self._before])
            self._callers += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._callers -= 1
            if not self._callers:
                self._set(self._before)

    @staticmethod
    def _set(threads: list[tuple[Any, int]]) -> None:
        for library, number in threads:
            library.set_num_threads(number)
            if hasattr(library, "clear_controlling_thread"):
                # Since 3.7 threadpoolctl lets only the Python thread that was first set the number, until it is done.
                # Here another one may have to set it back.
                library.clear_controlling_thread()


one_thread = _OneThread()


@cache
def _libraries() -> list[Any]:
    """The BLAS libraries of the process as threadpoolctl has them, looked up once, as that takes milliseconds. None
    where it is not installed: on Spark's workers, whose BLAS has one thread unless ``spark.task.cpus`` gives it more.
    """
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return []
    return list(ThreadpoolController().select(user_api="blas").lib_controllers)
