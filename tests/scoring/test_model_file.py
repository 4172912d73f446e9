"""The model file: whole or refused."""

import json
import pickle
import random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from vae_model.errors import ModelFileError
from vae_model.scoring import model_file
from vae_model.scoring.model_file import FORMAT_VERSION, PLAIN_VERSION, dumps, loads

HEADER = {"config": {"name": "größe"}, "spec": {"values": ["a", "b"], "center": [1.5, None]}, "training": {"rows": 7}}
ARRAYS = {
    "encoder.0.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "scores": np.array([0.5, 1e300, -0.0]),
    "codes": np.array([1, -1], dtype=np.int32),
    "counts": np.array([2**40], dtype=np.int64),
    "empty": np.empty((0, 4), dtype=np.float32),
}
DATA = dumps(HEADER, ARRAYS)
HEADER_SIZE = int.from_bytes(DATA[:8], "little")


def refused(data, origin="The model"):
    """The message with which bytes are refused."""
    with pytest.raises(ModelFileError) as caught:
        loads(data, origin)
    message = str(caught.value)
    assert message.startswith(f"{origin} ")
    assert "\n  expected: " in message or "does not match" in message or "newer" in message
    return message


def rewritten(change):
    """The file with its JSON header changed and the digest computed anew, as a careful forger would."""
    index = json.loads(DATA[8 : 8 + HEADER_SIZE])
    header = json.loads(index["__metadata__"]["vae_model"])
    change(index, header)
    index["__metadata__"]["vae_model"] = json.dumps(header)
    text = json.dumps(index).encode()
    return len(text).to_bytes(8, "little") + text + DATA[8 + HEADER_SIZE :]


def test_round_trip():
    """Header and arrays come back as they went in, with version and digest added."""
    header, arrays = loads(DATA)
    assert {key: header[key] for key in HEADER} == HEADER
    assert header["format_version"] == PLAIN_VERSION
    assert len(header["sha256"]) == 64
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].shape == array.shape


def test_the_same_input_gives_the_same_bytes():
    """Order of keys and of arrays, and the memory layout of an array, leave no trace."""
    turned = {name: np.asfortranarray(array) for name, array in reversed(ARRAYS.items())}
    assert dumps(dict(reversed(HEADER.items())), turned) == DATA


def test_another_input_gives_another_digest():
    """A changed header or a changed weight changes the digest."""
    other_arrays = {**ARRAYS, "scores": np.array([0.5, 1e300, 0.0])}
    files = (DATA, dumps(HEADER | {"x": 1}, ARRAYS), dumps(HEADER, other_arrays))
    assert len({loads(data)[0]["sha256"] for data in files}) == 3


def test_it_is_a_safetensors_file(tmp_path):
    """The safetensors library opens it, and finds the arrays and the header."""
    path = tmp_path / "m.vae"
    path.write_bytes(DATA)
    with safe_open(path, framework="numpy") as file:
        assert set(file.keys()) == set(ARRAYS)
        np.testing.assert_array_equal(file.get_tensor("encoder.0.weight"), ARRAYS["encoder.0.weight"])
        assert json.loads(file.metadata()["vae_model"])["config"] == {"name": "größe"}


@pytest.mark.parametrize("zeros", [{"config": {"name": "0" * 64}}, {"a": "0" * 64}, {"spec": {"values": ["0" * 64]}}])
def test_a_header_may_hold_sixty_four_zeros(zeros):
    """A name or a value that looks like the blank digest does not take its place."""
    header, _ = loads(dumps(HEADER | zeros, ARRAYS))
    assert {key: header[key] for key in zeros} == zeros
    assert header["sha256"] != "0" * 64


def test_numbers_that_json_does_not_know_are_refused():
    """NaN in the header is an error when writing, not a file other readers cannot parse."""
    with pytest.raises(ValueError, match="JSON"):
        dumps({"loss": float("nan")}, {})


# --- Damage


@pytest.mark.parametrize("flip", [0x01, 0x20, 0x80, 0xFF])
def test_every_altered_byte_is_detected(flip):
    """Any one byte changed - size, header, digest, tensors - is a ModelFileError."""
    for position in range(len(DATA)):
        altered = bytearray(DATA)
        altered[position] ^= flip
        try:
            loads(bytes(altered))
        except ModelFileError:
            continue
        except Exception as error:
            pytest.fail(f"byte {position} of {len(DATA)} ({DATA[position : position + 1]!r}): {error!r}")
        pytest.fail(f"byte {position} of {len(DATA)} was altered unnoticed")


@pytest.mark.parametrize("region", ["header", "digest", "tensors"])
def test_an_altered_byte_is_named_as_such(region):
    """A change that leaves the file readable is told as an alteration, with both digests."""
    digest = loads(DATA)[0]["sha256"]
    position = {
        "header": DATA.index(b"training") + 1, "digest": DATA.index(digest.encode()) + 5, "tensors": len(DATA) - 3
    }[region]  # fmt: skip
    altered = bytearray(DATA)
    altered[position] = ord("b") if altered[position] != ord("b") else ord("c")
    message = refused(bytes(altered), "Model file m.vae")
    assert message.startswith("Model file m.vae was altered: its digest does not match.\n  expected: ")
    assert "\n  found: " in message
    assert message.endswith("\n  to do: Train the model again, or copy the file again.")


def test_two_swapped_blocks_are_detected():
    """Tensor bytes in another order are an alteration."""
    assert "was altered" in refused(DATA[:-16] + DATA[-8:] + DATA[-16:-8])


@pytest.mark.parametrize("size", [8 + HEADER_SIZE // 2, 8 + HEADER_SIZE, len(DATA) - 8, len(DATA) - 1])
def test_a_truncated_file_is_refused_with_both_sizes(size):
    """A file cut in its header or its tensors says how long it should be and is."""
    message = refused(DATA[:size])
    assert message.startswith("The model is truncated.\n  expected: ")
    assert f"\n  found: {size} bytes\n" in message


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9])
def test_a_file_of_a_few_bytes_is_refused(size):
    """Next to nothing is no model."""
    refused(DATA[:size])


@pytest.mark.parametrize("more", [b"\0", b"\n", DATA])
def test_appended_bytes_are_refused(more):
    """A file longer than it says is refused, and not called too short."""
    message = refused(DATA + more)
    assert f"{len(DATA)} bytes" in message
    assert f"{len(DATA) + len(more)} bytes" in message
    assert "truncated" not in message


def test_a_newer_format_is_as_kind_such():
    """A file of a later version asks for an upgrade, whatever else is in it."""
    data = rewritten(lambda _, header: header.update(format_version=FORMAT_VERSION + 1))
    assert refused(data, "Model file m.vae") == (
        "Model file m.vae was written by a newer version of spark-vae-anomaly.\n"
        f"  expected: format version {FORMAT_VERSION}\n"
        f"  found: format version {FORMAT_VERSION + 1}\n"
        "  to do: Upgrade spark-vae-anomaly."
    )


def test_an_older_format_is_as_kind_such():
    """A file of an earlier version asks for training again."""
    for version in range(1, PLAIN_VERSION):
        older = rewritten(lambda _, header, own=version: header.update(format_version=own))
        message = refused(older, "Model file m.vae")
        assert "an older version" in message and f"format version {version}" in message
        assert "Train the model again" in message


@pytest.mark.parametrize(
    "change",
    [
        lambda index, _: index["scores"].pop("data_offsets"),
        lambda index, _: index["scores"].update(data_offsets=[0]),
        lambda index, _: index["scores"].update(data_offsets="ab"),
        lambda index, _: index.update(scores=None),
        lambda index, _: index.update(scores=[1]),
        lambda _, header: header.pop("sha256"),
        lambda _, header: header.update(sha256=""),
        lambda _, header: header.update(format_version=None),
        lambda _, header: header.update(format_version=1e999),
    ],
)
def test_a_malformed_header_is_refused(change):
    """A header whose parts are missing or of another type is a ModelFileError, not a crash."""
    refused(rewritten(change))


@settings(max_examples=200)
@given(st.binary(max_size=200))
@example(b"")
@example(b"\2\0\0\0\0\0\0\0{}")
@example(b"\2\0\0\0\0\0\0\0[]")
@example(b"\4\0\0\0\0\0\0\0null")
@example(b"\x10\0\0\0\0\0\0\0" + b"[" * 16)
def test_random_bytes_are_refused(data):
    """Any bytes that are no model are a ModelFileError."""
    refused(data)


def test_deeply_nested_json_is_refused():
    """JSON nested deeper than a parser goes is a ModelFileError."""
    deep = b"[" * 200_000
    refused(len(deep).to_bytes(8, "little") + deep)


class Trap:
    """Fails the test when it is unpickled."""

    def __reduce__(self):
        return pytest.fail, ("a pickle was executed",)


@pytest.mark.parametrize("content", [{"a": 1}, Trap(), list(range(10_000))], ids=["dict", "trap", "long"])
def test_a_pickle_is_refused_and_not_run(content):
    """A pickle file is no model file, is called so, and nothing in it is executed."""
    assert refused(pickle.dumps(content)).startswith("The model is not a model file.")


def test_a_foreign_safetensors_file_is_refused():
    """A safetensors file that is not ours is told as no model file."""
    from safetensors.numpy import save

    for data in (save({"a": np.zeros(3)}), save({"a": np.zeros(3)}, {"vae_model": "{}"}), save({}, {"other": "x"})):
        assert refused(data).startswith("The model is not a model file.\n  expected: a file written by")


def test_damage_anywhere_in_a_large_file_is_detected():
    """In a file of a real model's size, damage at random places is detected."""
    draw = random.Random(0)
    data = dumps(HEADER, {"w": np.random.default_rng(0).normal(size=20_000)})
    for _ in range(50):
        start = draw.randrange(len(data))
        altered = data[:start] + bytes([data[start] ^ draw.randrange(1, 256)]) + data[start + 1 :]
        refused(altered)


def test_arrays_are_read_only_views():
    """What is read cannot be written to by accident: the bytes are shared by all that score."""
    _, arrays = loads(DATA)
    with pytest.raises(ValueError, match="read-only"):
        arrays["scores"][0] = 1


def test_the_module_needs_safetensors_to_write_only():
    """Reading uses NumPy alone; the library is imported by ``dumps``."""
    assert "safetensors" not in vars(model_file)
