"""A small table of every kind of column, fitted without training a network."""

import numpy as np
import pyarrow as pa

from vae_model.drift.comparison import Comparison
from vae_model.drift.reference import Reference
from vae_model.features import schema
from vae_model.features.spec import FeatureSpec


def table(rows=4000, seed=0):
    """Numbers, counts, categories, booleans, times and arrays, some missing."""
    draw = np.random.default_rng(seed)
    words = draw.choice(["red", "green", "blue"], rows, p=[0.6, 0.3, 0.1])
    return pa.table(
        {
            "number": pa.array(draw.normal(size=rows), mask=draw.random(rows) < 0.1),
            "count": draw.poisson(3, rows),
            "colour": pa.array(words, mask=draw.random(rows) < 0.02),
            "flag": draw.random(rows) < 0.3,
            "at": pa.array(draw.integers(0, 10**9, rows), pa.timestamp("s")),
            "vector": pa.FixedSizeListArray.from_arrays(draw.normal(size=3 * rows), 3).cast(pa.list_(pa.float64())),
        }
    )


def fitted(rows):
    """The spec and the reference of a table."""
    spec = FeatureSpec.fit(rows, schema.select(schema.arrow_columns(rows.schema), [], None, [], {}))
    return spec, Reference.fit(spec, rows, [rows])


def compared(reference, rows):
    """A table held against a reference."""
    return Comparison.of(reference, reference.counts(rows))


def with_column(rows, name, values):
    """A table with another column in the place of one."""
    return rows.set_column(rows.schema.get_field_index(name), name, pa.array(values))
