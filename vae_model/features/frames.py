"""Frames of any kind as Arrow tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from vae_model.errors import SchemaError

_VIEWS = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
"""Types that pyarrow cannot take() rows of, and what is as good."""


def as_table(frame: Any) -> pa.Table:
    """Any frame as an Arrow table. Raises SchemaError where it is none."""
    try:
        if isinstance(frame, np.ndarray):
            if frame.ndim != 2:
                raise SchemaError("A NumPy frame has rows and columns.", "shape (N, F)", f"shape {frame.shape}")
            return pa.table({f"x{i}": frame[:, i] for i in range(frame.shape[1])})
        if isinstance(frame, pd.DataFrame):
            return pa.Table.from_pandas(frame, preserve_index=False)
        table = frame if isinstance(frame, pa.Table) else pa.table(frame)
        plain = [field.with_type(_VIEWS.get(field.type, field.type)) for field in table.schema]
        return table if plain == list(table.schema) else table.cast(pa.schema(plain))
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise SchemaError(
            "The frame cannot be read as a table.", "pandas, Arrow or a NumPy matrix", str(error)
        ) from error
