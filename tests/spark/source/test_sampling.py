"""The training sample: stable, bounded, split by the same hash."""

import numpy as np
import pytest

from vae_model.spark.source import sampling

drawn = {}
"""What each engine drew, to hold them against each other."""


def ids(table):
    """The ids of a part of the sample, as a set."""
    return set(table.column("id").to_pylist())


def numbers(engine, rows, partitions=4):
    """A frame of ``rows`` ids with a value each."""
    return engine.range(0, rows, 1, partitions).selectExpr("id", "id * 0.5 AS value")


def test_the_sample_is_the_same_on_every_engine_and_for_any_partitions(engine):
    """The same key, seed and size draw the same rows in the same order, whatever holds them."""
    for partitions in (1, 5):
        sample = sampling.draw(numbers(engine, 5000, partitions), ["id"], ["id", "value"], 1000, 0.2, 7)
        found = (sample.training.to_pydict(), sample.calibration.to_pydict())
        assert drawn.setdefault("sample", found) == found


def test_the_sample_keeps_its_size_and_its_parts_apart(engine):
    """At most the rows asked for come over, and no row is both trained on and held out."""
    sample = sampling.draw(numbers(engine, 20_000), ["id"], ["id", "value"], 1000, 0.2, 0)
    training, held_out = ids(sample.training), ids(sample.calibration)
    assert len(training) + len(held_out) == 1000
    assert not training & held_out
    assert 130 < len(held_out) < 270
    assert sample.normal_rows == 20_000


def test_a_small_table_is_taken_whole(engine):
    """Where the table has fewer rows than asked for, every row is in the sample once."""
    sample = sampling.draw(numbers(engine, 300), ["id"], ["id", "value"], 1000, 0.2, 0)
    assert sorted(ids(sample.training) | ids(sample.calibration)) == list(range(300))


def test_another_seed_draws_other_rows(engine):
    """The seed is part of the hash."""
    one, other = (sampling.draw(numbers(engine, 5000), ["id"], ["id"], 500, 0.2, seed) for seed in (0, 1))
    assert ids(one.training) != ids(other.training)


def test_the_sample_is_spread_evenly(engine):
    """Rows from every part of the table are drawn alike: the mean id is within five standard errors."""
    sample = sampling.draw(numbers(engine, 20_000), ["id"], ["id"], 2000, 0.2, 3)
    mean = np.mean([*ids(sample.training), *ids(sample.calibration)])
    assert abs(mean - 10_000) < 5 * (20_000 / np.sqrt(12)) / np.sqrt(2000)


@pytest.mark.parametrize("rows", [100, 1000])
def test_repeated_rows_cannot_flood_the_driver(engine, rows):
    """Without a key, a table of one row repeated sends no more than the rows asked for."""
    same = engine.range(0, 50_000, 1, 4).selectExpr("1 AS a", "2.0D AS b")
    sample = sampling.draw(same, [], ["a", "b"], rows, 0.2, 0)
    assert len(sample.training) + len(sample.calibration) <= rows
