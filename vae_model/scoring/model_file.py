"""The model file: one safetensors file whose metadata holds a JSON header and a SHA-256 of everything else.

Written by the safetensors library; read by NumPy alone, because a worker has no safetensors. Nothing in it is ever
executed. Layout (https://github.com/huggingface/safetensors#format): 8 bytes little-endian length of the header, the
header as JSON, the tensors' bytes. Our header is the JSON text under ``__metadata__.vae_model``; its ``sha256`` is
taken over the whole file with the 64 digits of the digest itself set to zero.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_model.errors import ModelFileError

FORMAT_VERSION = 3
"""Raised with every change an older reader cannot follow."""
_BLANK = "0" * 64
_DTYPES = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "I32": "<i4"}


def dumps(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The bytes of a model file. The same header and arrays always give the same bytes."""
    from safetensors.numpy import save

    # The digest comes first: nothing before it can look like it, whatever the header holds.
    body = json.dumps({"format_version": FORMAT_VERSION, **header}, sort_keys=True, allow_nan=False)
    text = f'{{"sha256": "{_BLANK}", {body[1:]}'
    contiguous = {name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())}
    blank = save(contiguous, {"vae_model": text})
    digest = hashlib.sha256(blank).hexdigest()
    return blank.replace(_BLANK.encode(), digest.encode(), 1)


def loads(data: bytes, origin: str = "The model") -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header and arrays of a model file, checked. The arrays are views of ``data``.

    Raises ModelFileError where the bytes are truncated, altered, no model, or of another format version.
    """
    again = "Train the model again, or copy the file again."
    try:
        size = int.from_bytes(data[:8], "little")
        if data[8:9] != b"{":
            raise ValueError("no safetensors header")
        if size > len(data) - 8:
            raise ModelFileError(f"{origin} is truncated.", f"at least {size + 8} bytes", f"{len(data)} bytes", again)
        index = json.loads(data[8 : 8 + size])
        header = json.loads(index.pop("__metadata__")["vae_model"])
        version, digest = int(header["format_version"]), str(header["sha256"])
        specs = [(name, _DTYPES[s["dtype"]], s["shape"], *s["data_offsets"]) for name, s in index.items()]
        expected = size + 8 + max((int(stop) for *_, stop in specs), default=0)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError):
        raise ModelFileError(
            f"{origin} is not a model file.", "a file written by `vae-anomaly train`", f"{len(data)} bytes", again
        ) from None
    if version < FORMAT_VERSION:
        raise ModelFileError(
            f"{origin} holds another kind of model: since then a model is an ensemble.",
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
    if len(data) != expected:
        what = "is truncated" if len(data) < expected else "has bytes after its end"
        raise ModelFileError(f"{origin} {what}.", f"{expected} bytes", f"{len(data)} bytes", again)
    actual = hashlib.sha256(data.replace(digest.encode(), _BLANK.encode(), 1)).hexdigest()
    if actual != digest:
        raise ModelFileError(f"{origin} was altered: its digest does not match.", digest, actual, again)
    start = 8 + size
    arrays = {
        name: np.frombuffer(data[start + first : start + stop], dtype=dtype).reshape(shape)
        for name, dtype, shape, first, stop in specs
    }
    return header, arrays
