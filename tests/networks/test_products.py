"""Products whose rows do not depend on their place, on kernels that keep to that and on those that do not."""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from vae_model.networks import products, tiles
from vae_model.networks.products import multiply, one_thread
from vae_model.networks.tiles import BLOCK, INNER

SIZES = [(1, 1), (1, 7), (3, 1), (5, 12), (17, 23), (33, 31), (64, 32), (128, 33), (300, 300), (1000, 64), (64, 1000)]
"""Outputs and inputs."""


def product(weight_HK, rows_NK):
    """Rows times a matrix, (N, H)."""
    x_BKW = tiles.of_rows(rows_NK)
    out_BHW = np.empty((len(x_BKW), len(weight_HK), tiles.TILE), np.float32)
    with one_thread:
        return tiles.to_rows(multiply(weight_HK, x_BKW, out_BHW), len(rows_NK))


def drawn(outputs, inputs, rows, seed=0):
    """A matrix and rows."""
    draw = np.random.default_rng(seed)
    return tuple(draw.normal(size=(count, inputs)).astype(np.float32) for count in (outputs, rows))


@pytest.fixture
def untrustworthy(monkeypatch):
    """A machine on which places matter for every size of matrix."""
    monkeypatch.setattr(products, "places_are_equal", lambda outputs, inputs: False)


@pytest.mark.parametrize(("outputs", "inputs"), SIZES)
def test_equal_rows_come_out_equal(outputs, inputs):
    """A row has one result, wherever in a block it stands."""
    weight_HK, row_1K = drawn(outputs, inputs, 1)
    out_NH = product(weight_HK, np.repeat(row_1K, 2 * INNER + 5, axis=0))
    assert (out_NH == out_NH[0]).all()
    np.testing.assert_allclose(out_NH[:1], row_1K @ weight_HK.T, rtol=1e-4, atol=1e-4)


@settings(max_examples=40)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, BLOCK), st.integers(0, 9))
def test_neighbours_do_not_matter(outputs, inputs, rows, seed):
    """Rows sent alone, or in another order, have the results that they have together."""
    weight_HK, rows_NK = drawn(outputs, inputs, rows, seed)
    order = np.random.default_rng(seed).permutation(rows)
    together = product(weight_HK, rows_NK)
    np.testing.assert_array_equal(product(weight_HK, rows_NK[order]), together[order])
    np.testing.assert_array_equal(product(weight_HK, rows_NK[-1:]), together[-1:])


@pytest.mark.parametrize(("outputs", "inputs"), SIZES)
def test_where_places_matter_products_are_rounded_from_float64(outputs, inputs, untrustworthy):
    """They are the nearest float32 to the true product, so that rows come out equal whatever the kernel does."""
    weight_HK, rows_NK = drawn(outputs, inputs, 40)
    exact = (rows_NK.astype(float) @ weight_HK.T.astype(float)).astype(np.float32)
    np.testing.assert_allclose(product(weight_HK, rows_NK), exact, rtol=1.2e-7)
    out_NH = product(weight_HK, np.repeat(rows_NK[:1], INNER, axis=0))
    assert (out_NH == out_NH[0]).all()


def test_each_size_is_tried_on_a_tile_of_equal_rows(monkeypatch):
    """A kernel that treats one inner row otherwise is found out; one that treats only the margins so is not blamed."""
    products.places_are_equal.cache_clear()
    matmul = np.matmul

    def wrong_at(place):
        def wrong(a, b):
            out = matmul(a, b)
            out[..., place] = np.nextafter(out[..., place], np.float32(np.inf))
            return out

        return wrong

    for place, equal in ((0, True), (tiles.MARGIN, False), (-tiles.MARGIN - 1, False), (-1, True)):
        monkeypatch.setattr(np, "matmul", wrong_at(place))
        assert products.places_are_equal(6, 5) is equal
        products.places_are_equal.cache_clear()


THREADS = """
import json, sys
if sys.argv[1] == "blocked":
    sys.modules["threadpoolctl"] = None
import numpy as np
from vae_model.networks import tiles
from vae_model.networks.products import multiply, one_thread
draw, worst = np.random.default_rng(0), 0
for outputs, inputs in ((32, 64), (300, 300), (1000, 128), (64, 1000)):
    weight = draw.normal(size=(outputs, inputs)).astype("f4")
    x = tiles.of_rows(np.repeat(draw.normal(size=(1, inputs)).astype("f4"), 2000, axis=0))
    with one_thread:
        out = tiles.to_rows(multiply(weight, x, np.empty((len(x), outputs, tiles.TILE), "f4")), 2000)
    worst = max(worst, len(np.unique(out, axis=0)))
print(json.dumps(worst))
"""


@pytest.mark.slow
@pytest.mark.parametrize("threadpoolctl", ["there", "blocked"])
def test_several_threads_of_blas_do_not_matter(threadpoolctl):
    """With two threads equal rows come out equal too: held to one where that is possible, or else in float64."""
    process = subprocess.run(
        [sys.executable, "-c", THREADS, threadpoolctl], env=os.environ | {"OPENBLAS_NUM_THREADS": "2"},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert json.loads(process.stdout) == 1


def threads():
    """How many threads BLAS has now."""
    return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}


def test_blas_is_held_to_one_thread_until_the_last_caller_is_done():
    """Of several callers at once the first sets the limit and the last one lifts it; an error lifts it too."""
    products._libraries.cache_clear()  # other tests may have loaded one more
    before = threads()
    first_is_in, second_is_in, first_may_go = threading.Event(), threading.Event(), threading.Event()

    def first():
        with one_thread:
            first_is_in.set()
            assert first_may_go.wait(10)

    def second(first_call):
        assert first_is_in.wait(10)
        with one_thread:
            second_is_in.set()
            first_call.result()
            return threads()

    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(first)]
        calls.append(pool.submit(second, calls[0]))
        assert second_is_in.wait(10)
        assert threads() == {1}
        first_may_go.set()
        assert calls[1].result() == {1}
        assert threads() == before
    with pytest.raises(ZeroDivisionError), one_thread:
        _ = 1 / 0
    assert threads() == before
