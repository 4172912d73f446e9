"""The model file: one safetensors file whose metadata holds a JSON header and a SHA-256 of everything else.

Written by the safetensors library; read by NumPy alone, because a worker has no safetensors. Nothing in it is ever
executed. Layout (https://github.com/huggingface/safetensors#format): 8 bytes little-endian length of the header, the
header as JSON, the tensors' bytes. Our header is the JSON text under ``__metadata__.vae_model``; its ``sha256`` is
taken over the whole file with the 64 digits of the digest itself set to zero.

Here a file is found whole, and its arrays where it says they are. Whether they make sense, ``header`` says.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from vae_model.errors import ModelFileError
from vae_model.features.fields import REMEDY
from vae_model.printable import printable

FORMAT_VERSION, PLAIN_VERSION = 7, 6
"""Raised with every change an older reader cannot follow. A model without pictures is as it was before them."""
MAX_HEADER = 100_000_000
"""Bytes. The safetensors library writes no longer header, and reads none."""
MAX_SIDE = 2**40
"""Of an array, where another side is 0: more than any file has, and NumPy can count it."""
MAX_DEPTH = 16
"""JSON within JSON: ours goes five levels deep."""
_BLANK = "0" * 64
_DTYPES = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "I32": "<i4"}


def dumps(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The bytes of a model file. The same header and arrays always give the same bytes."""
    from safetensors.numpy import save

    # The digest comes first: nothing before it can look like it, whatever the header holds.
    version = FORMAT_VERSION if "pictures" in header else PLAIN_VERSION
    body = json.dumps({"format_version": version, **header}, sort_keys=True, allow_nan=False)
    text = f'{{"sha256": "{_BLANK}", {body[1:]}'
    contiguous = {name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())}
    blank = save(contiguous, {"vae_model": text})
    digest = _digest(blank, _BLANK)
    return blank.replace(_BLANK.encode(), digest.encode(), 1)


def loads(data: bytes, origin: str = "The model") -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header and arrays of a model file, checked. The arrays are views of ``data``.

    Raises ModelFileError where the bytes are truncated, altered, no model, or of another format version, or where the
    arrays are not the rest of the file, one after the other.
    """
    size = int.from_bytes(data[:8], "little")
    try:
        if data[8:9] != b"{":
            raise ValueError("no safetensors header")
        if size > len(data) - 8:
            raise ModelFileError(f"{origin} is truncated.", f"at least {size + 8} bytes", f"{len(data)} bytes", REMEDY)
        if size > MAX_HEADER:
            raise ValueError("too long a header")
        index = _json(data[8 : 8 + size])
        header = _json(index.pop("__metadata__")["vae_model"])
        version, digest = header["format_version"], header["sha256"]
        if type(version) is not int or not re.fullmatch("[0-9a-f]{64}", digest):
            raise ValueError("no version or no digest")
        entries = [_Entry.of(name, values) for name, values in index.items()]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError):
        raise ModelFileError(
            f"{origin} is not a model file.", "a file written by `vae-anomaly train`", f"{len(data)} bytes", REMEDY
        ) from None
    _check_version(version, origin)
    start = 8 + size
    expected = start + max((entry.stop for entry in entries), default=0)
    if len(data) != expected:
        what = "is truncated" if len(data) < expected else "has bytes after its end"
        raise ModelFileError(f"{origin} {what}.", f"{expected} bytes", f"{len(data)} bytes", REMEDY)
    actual = _digest(data, digest)
    if actual != digest:
        raise ModelFileError(f"{origin} was altered: its digest does not match.", digest, actual, REMEDY)
    _check_places(entries, origin)
    return header, {entry.name: entry.read(data, start) for entry in entries}


class _Entry(NamedTuple):
    """Where an array stands, counted from the end of the header."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    stop: int

    @classmethod
    def of(cls, name: str, values: Any) -> Self:
        """From the index of the file. Raises one of many errors where it is none."""
        if values.keys() != {"dtype", "shape", "data_offsets"}:
            raise ValueError("not an array")
        (start, stop), shape = values["data_offsets"], values["shape"]
        if not all(type(number) is int and number >= 0 for number in (start, stop, *shape)):
            raise ValueError("sizes are whole numbers")
        return cls(name, np.dtype(_DTYPES[values["dtype"]]), tuple(shape), start, stop)

    @property
    def size(self) -> int:
        """Bytes that the shape takes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def read(self, data: bytes, start: int) -> NDArray[Any]:
        """The array, a view of the file's bytes."""
        flat = np.frombuffer(data, self.dtype, math.prod(self.shape), start + self.start)
        return flat.reshape(self.shape)


def _check_places(entries: list[_Entry], origin: str) -> None:
    """Each array has the bytes that its shape takes, and begins where the one before it ends."""
    end = 0
    for entry in sorted(entries, key=lambda entry: (entry.start, entry.stop)):
        array = f"{origin} says of the array {printable(repr(entry.name))}"
        if entry.stop - entry.start != entry.size:
            found = f"{entry.stop - entry.start} bytes"
            raise ModelFileError(f"{array} two sizes.", f"{entry.size} bytes for its shape", found, REMEDY)
        if entry.start != end:
            raise ModelFileError(f"{array} a place that cannot be.", f"byte {end}", f"byte {entry.start}", REMEDY)
        if len(entry.shape) > 2 or max(entry.shape, default=0) > MAX_SIDE:
            raise ModelFileError(f"{array} a shape that cannot be.", "one or two sides", str(entry.shape)[:100], REMEDY)
        end = entry.stop


def _check_version(version: int, origin: str) -> None:
    if version < PLAIN_VERSION:
        raise ModelFileError(
            f"{origin} was written by an older version of spark-vae-anomaly: what a model holds has changed.",
            f"format version {FORMAT_VERSION}",
            f"format version {version}",
            "Train the model again.",
        )
    if version > FORMAT_VERSION:
        raise ModelFileError(
            f"{origin} was written by a newer version of spark-vae-anomaly.",
            f"format version {FORMAT_VERSION}",
            f"format version {version}",
            "Upgrade spark-vae-anomaly.",
        )


def _digest(data: bytes, found: str) -> str:
    """The SHA-256 of a file in which the digest it holds is set to zero."""
    place, view = data.find(found.encode()), memoryview(data)
    digest = hashlib.sha256(view[:place])
    digest.update(_BLANK.encode())
    digest.update(view[place + len(_BLANK) :])
    return digest.hexdigest()


def _json(text: str | bytes) -> Any:
    """Strict JSON: no key twice, no number that is none. Raises ValueError, or RecursionError."""
    value = json.loads(text, object_pairs_hook=_distinct, parse_constant=_no_number, parse_float=_finite)
    level = [value]
    for _ in range(MAX_DEPTH):
        within = [own.values() if isinstance(own, dict) else own for own in level]
        level = [inner for own in within for inner in own if isinstance(inner, dict | list)]
        if not level:
            return value
    raise ValueError("nested too deep")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key stands twice")
    return values


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number")
    return number
