"""The detectors that a model is held against."""

import numpy as np
import pyarrow as pa
import pytest

from vae_model import Config
from vae_model.detector import choose
from vae_model.errors import ConfigError
from vae_model.evaluation import baselines
from vae_model.evaluation.baselines import BASELINES, UNKNOWN, Encoder, Z
from vae_model.features import schema
from vae_model.features.spec import FeatureSpec

SIMPLE = [name for name in BASELINES if name not in ("Isolation Forest", "kNN", "PCA")]


def mixed(rows=400):
    """Numbers that hang together, a category, and a number with gaps."""
    draw = np.random.default_rng(0)
    a = draw.normal(size=rows)
    gaps = np.where(draw.random(rows) < 0.1, None, draw.normal(size=rows))
    return pa.table(
        {
            "a": a,
            "b": 2 * a + 0.1 * draw.normal(size=rows),
            "word": draw.choice(["x", "y", "z"], rows),
            "gaps": pa.array(gaps.tolist(), pa.float64()),
        }
    )


def encoder(table):
    """As a model of the table would encode it."""
    return Encoder(FeatureSpec.fit(table, choose(schema.arrow_columns(table.schema), Config())))


def with_value(table, name, value):
    """The table's first ten rows, the fourth with another value."""
    values = table.column(name).slice(0, 10).to_pylist()
    values[3] = value
    index = table.schema.get_field_index(name)
    return table.slice(0, 10).set_column(index, name, pa.array(values, table.schema.field(name).type))


@pytest.mark.slow
@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize(("column", "value"), [("a", 1000.0), ("b", -1000.0), ("gaps", 1000.0)])
def test_a_gross_error_ranks_first(name, column, value):
    """By each detector."""
    if name not in SIMPLE:
        pytest.importorskip("sklearn", reason="an extra that not every environment has")
    rows = mixed()
    encode = encoder(rows)
    scores = BASELINES[name](encode(rows), 0, encode.numbers)(encode(with_value(rows, column, value)))
    assert scores.shape == (10,) and np.isfinite(scores).all() and scores.argmax() == 3


@pytest.mark.parametrize("name", SIMPLE)
@pytest.mark.parametrize(("column", "value"), [("word", "w"), ("a", None)])
def test_what_was_never_there_ranks_first(name, column, value):
    """An unseen category, and a gap in a column that had none."""
    rows = mixed()
    encode = encoder(rows)
    scores = BASELINES[name](encode(rows), 0, encode.numbers)(encode(with_value(rows, column, value)))
    assert scores.argmax() == 3 and (name != Z or scores[3] == UNKNOWN)


def test_the_matrix_has_no_gaps():
    """A missing number is the mean, with a 1 that says so; a category has one 1 among its slots."""
    rows = mixed()
    encode = encoder(rows)
    matrix = encode(rows)
    assert np.isfinite(matrix).all() and encode.numbers == 3
    is_null = rows.column("gaps").is_null().to_numpy()
    assert np.array_equal(matrix[:, 5] == 1, is_null) and (matrix[is_null, 2] == 0).all()
    assert (matrix[:, 6:].sum(axis=1) == 1).all()


def test_a_robust_z_is_not_moved_by_strays():
    """A hundredth of wild values leaves the others where they were; a constant has a scale."""
    draw = np.random.default_rng(1)
    rows = np.column_stack([draw.normal(size=1000), np.zeros(1000)])
    rows[:10, 0] = 1e6
    z = BASELINES[Z](rows, 0, 2)(np.array([[3.0, 0.0], [0.0, 1.0]]))
    assert z == pytest.approx([3.0, 1.0], rel=0.1)


def test_a_library_that_is_not_there_is_told(monkeypatch):
    """With the extra that brings it."""
    monkeypatch.setattr(baselines, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"spark-vae-anomaly\[evaluate\]") as caught:
        baselines.check()
    assert caught.value.exit_code == 2
