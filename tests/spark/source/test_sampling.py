"""The training sample: stable, bounded, split by the same hash."""

from collections import Counter

import numpy as np
import pytest

from vae_model.features.categories import MAX_BYTES
from vae_model.spark.frames import to_arrow
from vae_model.spark.source import sampling


def ids(table):
    """The ids of a part of the sample, as a set."""
    return set(table.column("id").to_pylist())


def numbers(engine, rows, partitions=4):
    """A frame of ``rows`` ids with a value each."""
    return engine.range(0, rows, 1, partitions).selectExpr("id", "id * 0.5 AS value")


def both(sample):
    """Training and held-out rows as lists of tuples."""
    return tuple([tuple(row.values()) for row in part.to_pylist()] for part in (sample.training, sample.calibration))


def test_the_sample_is_the_same_on_every_engine_and_for_any_partitions(engine, on_sail):
    """The same key, seed and size draw the same rows in the same order, whatever holds them."""

    def draw(session, partitions):
        return both(sampling.draw(numbers(session, 5000, partitions), ["id"], ["id", "value"], 1000, 0.2, 7))

    found = draw(engine, 1)
    assert sum(map(len, found)) == 1000
    assert draw(engine, 5) == found
    assert on_sail(lambda session: draw(session, 3)) == found


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


def test_another_choice_of_features_draws_the_same_rows(engine, caplog):
    """A key that identifies rows draws by itself, and nothing is said of it."""
    one, other = (
        sampling.draw(numbers(engine, 5000), ["id"], features, 500, 0.2, 0) for features in (["id"], ["id", "value"])
    )
    assert one.training.column("id").equals(other.training.column("id"))
    assert not caplog.text


@pytest.mark.slow
def test_a_key_of_few_values_draws_as_many_rows_as_any_other(engine, on_sail, caplog):
    """Rows of one key are drawn apart, for any seed, alike on every engine and for any partitions; the log tells."""

    def draw(session, seed, partitions):
        rows = session.range(0, 20_000, 1, partitions).selectExpr("id % 3 AS machine", "id * 0.5 AS value")
        return both(sampling.draw(rows, ["machine"], ["value"], 2000, 0.2, seed))

    for seed in range(12):
        training, held_out = draw(engine, seed, 1)
        assert len({*training, *held_out}) == 2000
        assert 300 < len(held_out) < 500
        machines = np.bincount([int(2 * value) % 3 for (value,) in training], minlength=3)
        assert machines.min() > 400
    assert draw(engine, 11, 5) == (training, held_out)
    assert "The key (machine) does not identify a row: 3 different ones in the " in caplog.text
    assert on_sail(lambda session: draw(session, 11, 3)) == (training, held_out)


def test_a_small_table_with_a_key_of_few_values_is_split(engine, caplog):
    """A table that is taken whole is split by its rows where the key does not tell them apart."""
    rows = engine.range(600).selectExpr("id % 3 AS machine", "id AS value")
    training, held_out = both(sampling.draw(rows, ["machine"], ["value"], 1000, 0.2, 0))
    assert sorted(training + held_out) == [(i,) for i in range(600)]
    assert 80 < len(held_out) < 160
    assert "3 different ones in the 600 rows drawn" in caplog.text


DUPLICATES = {
    "one row": (["1 AS a", "2.0D AS b"], 1),
    "half of them one row": (["if(id % 2 = 0, -1, id) AS a", "if(id % 2 = 0, NULL, 0.5D) AS b"], 1 / 2),
    "seven rows": (["id % 7 AS a", "id % 7 * 0.5D AS b"], 1 / 7),
    "nulls on either side": (["if(id % 2 = 0, NULL, 1) AS a", "if(id % 2 = 1, NULL, 1) AS b"], 1 / 2),
}
"""Columns, and the share of the commonest row."""


@pytest.mark.slow
@pytest.mark.parametrize("key", [[], ["a"]])
@pytest.mark.parametrize("case", DUPLICATES)
def test_identical_rows_are_drawn_by_their_share(engine, on_sail, case, key):
    """Of rows that repeat as many are drawn as of others, the same on every engine and for any partitions; either part
    of the sample has what is common.
    """
    columns, share = DUPLICATES[case]

    def draw(session, partitions):
        rows = session.range(0, 20_000, 1, partitions).selectExpr(*columns)
        return both(sampling.draw(rows, key, ["a", "b"], 2000, 0.2, 1))

    training, held_out = found = draw(engine, 1)
    assert draw(engine, 5) == found
    assert len(training) + len(held_out) == 2000
    assert 300 < len(held_out) < 500
    ((common, times),) = Counter(training + held_out).most_common(1)
    assert times == pytest.approx(2000 * share, rel=0.05)
    assert held_out.count(common) == pytest.approx(0.2 * times, rel=0.35)
    assert on_sail(lambda session: draw(session, 3)) == found


def test_a_table_that_was_loaded_twice_has_no_row_on_both_sides(engine, caplog):
    """A row's few copies are all trained on or all held out."""
    twice = numbers(engine, 3000).union(numbers(engine, 3000))
    sample = sampling.draw(twice, ["id"], ["id", "value"], 1000, 0.2, 0)
    assert len(sample.training) + len(sample.calibration) == 1000
    assert not ids(sample.training) & ids(sample.calibration)
    assert "The key (id) does not identify a row" in caplog.text


@pytest.mark.parametrize("rows", [100, 1000])
def test_repeated_rows_cannot_flood_the_driver(engine, rows, monkeypatch):
    """Without a key, a table of one row repeated sends as many rows as were asked for."""
    fetched = []
    monkeypatch.setattr(sampling, "to_arrow", lambda frame: fetched.append(to_arrow(frame)) or fetched[-1])
    same = engine.range(0, 50_000, 1, 4).selectExpr("1 AS a", "2.0D AS b")
    sample = sampling.draw(same, [], ["a", "b"], rows, 0.2, 0)
    assert len(sample.training) + len(sample.calibration) == rows
    assert all(len(table) <= 2 * rows for table in fetched)


def test_a_wide_decimal_is_a_key_on_every_engine(engine, on_sail):
    """Numbers of more than 18 digits, which engines hash in their own ways, draw the same rows."""

    def draw(session):
        rows = session.range(5000).selectExpr("CAST(id AS DECIMAL(30, 3)) AS number", "id")
        return both(sampling.draw(rows, ["number"], ["id"], 500, 0.2, 0))

    assert draw(engine) == on_sail(draw)


OWN = ["__vae_choice", "choice", "key", "row", "copies", "0", "1", "a.b"]
"""Names that the plan of a draw has, or might have, of its own."""


@pytest.mark.parametrize("repeats", [1, 20_000])
def test_features_may_be_called_anything(engine, repeats):
    """Columns named like those of the draw itself arrive with their own values, by whichever way rows are drawn."""
    rows = engine.range(20_000).selectExpr(
        "id AS a", *(f"id DIV {repeats} + {i} AS `{name}`" for i, name in enumerate(OWN))
    )  # fmt: skip
    sample = sampling.draw(rows, [], OWN, 500, 0.2, 0)
    table = sample.training
    assert table.column_names == OWN
    first = table.column(0).to_pylist()
    for i in range(len(OWN)):
        assert table.column(i).to_pylist() == [value + i for value in first]
    assert len(table) + len(sample.calibration) == 500


def test_long_text_is_not_brought_over(engine):
    """Of a text that is too long for a category no more arrives than shows that it is, and the rows are the same."""
    rows = engine.range(3000).selectExpr("id", "repeat('ä', 5000) AS long", "string(id) AS short")
    sample = sampling.draw(rows, ["id"], ["long", "short", "id"], 500, 0.2, 0)
    assert {len(text.encode()) for text in sample.training.column("long").to_pylist()} == {2 * (MAX_BYTES + 1)}
    assert sample.training.column("short").to_pylist() == [str(i) for i in sample.training.column("id").to_pylist()]


@pytest.mark.parametrize(
    ("rows", "sampled", "most", "expected"),
    [(20_000, 1000, 500, 500), (1200, 1000, 500, None), (300, 1000, 500, None)],
)
def test_other_rows_were_not_trained_on(engine, rows, sampled, most, expected):
    """Those beyond the sample where there are many; else the held-out ones too, which are told apart; they stand for
    all rows of the table.
    """
    draws = numbers(engine, rows), ["id"], ["id", "value"]
    sample = sampling.draw(*draws, sampled, 0.2, 0)
    others = sampling.draw_others(*draws, most, 0, sample)
    found = others.rows.column("id").to_pylist()
    assert len(found) == len(set(found)) == (expected or len(found)) <= most
    assert not set(found) & ids(sample.training)
    is_held_out = [one in ids(sample.calibration) for one in found]
    assert others.is_held_out.tolist() == is_held_out and any(is_held_out) == (expected is None)
    assert others.weight * len(found) == pytest.approx(rows)
    assert others.rows.column("value").to_pylist() == [one * 0.5 for one in found]


def test_other_rows_are_the_same_for_any_partitions(engine, on_sail):
    """And on every engine."""

    def draw(session, partitions):
        draws = numbers(session, 5000, partitions), ["id"], ["id", "value"]
        return sampling.draw_others(*draws, 500, 7, sampling.draw(*draws, 1000, 0.2, 7)).rows.to_pylist()

    found = draw(engine, 1)
    assert draw(engine, 5) == found and on_sail(lambda session: draw(session, 3)) == found


def test_copies_of_trained_rows_are_no_other_rows(engine):
    """Of a table that repeats a few rows there are none, as far as they are trained on."""
    same = engine.range(0, 4000, 1, 4).selectExpr("id % 5 AS a")
    sample = sampling.draw(same, [], ["a"], 1000, 0.2, 0)
    others = sampling.draw_others(same, [], ["a"], 500, 0, sample)
    assert others is None
