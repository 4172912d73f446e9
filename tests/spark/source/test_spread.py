"""How the rows to score are spread over tasks: as they lie, unless cores would be idle or tasks a waste."""

import gzip
import re

import numpy as np
import pytest

from tests.spark.jobs.scoring import run_score
from tests.spark.jobs.test_jobs import job
from tests.spark.workers.test_udf import assert_same_scores, collected, plan
from vae_model.spark import score
from vae_model.spark.sinks import writer
from vae_model.spark.source import spread

CLASSIC = pytest.mark.classic


@pytest.fixture
def classic(_classic, monkeypatch):
    """Classic Spark alone, with two cores."""
    monkeypatch.delenv("SPARK_CONNECT_MODE_ENABLED", raising=False)
    return _classic


@pytest.fixture
def one_partition(classic, tmp_path):
    """A table that cannot be split: one gzipped CSV file."""
    text = "".join(f"{i},{v:.6f}\n" for i, v in enumerate(np.random.default_rng(0).normal(size=5000)))
    (tmp_path / "one.csv.gz").write_bytes(gzip.compress(f"id,a\n{text}".encode()))
    return classic.read.csv(str(tmp_path / "one.csv.gz"), header=True, inferSchema=True)


def partitions(frame):
    """How many partitions a frame has."""
    return frame.rdd.getNumPartitions()


@CLASSIC
def test_one_large_partition_is_spread_over_the_cores(one_partition, monkeypatch, caplog):
    """A table of fewer partitions than cores is shuffled into one a core, and the log says why."""
    monkeypatch.setattr(spread, "WORTH_A_SHUFFLE", 1000)
    caplog.set_level("INFO", "vae_model")
    spreaded = spread.spread(one_partition, None)
    assert (partitions(one_partition), partitions(spreaded)) == (1, 2)
    assert "1 for 2 cores: the rows are shuffled into 2" in caplog.text
    assert sorted(r[0] for r in spreaded.select("id").collect()) == list(range(5000))


@CLASSIC
def test_a_small_table_is_left_as_it_lies(one_partition, caplog):
    """One small partition is not worth a shuffle."""
    caplog.set_level("INFO", "vae_model")
    assert spread.spread(one_partition, None) is one_partition
    assert not caplog.text


@CLASSIC
def test_many_tiny_partitions_are_put_together_without_a_shuffle(classic, detector, rows, path, caplog):
    """Many partitions of a few kilobytes, most of them empty, become four a core, and no exchange."""
    caplog.set_level("INFO", "vae_model")
    classic.conf.set("spark.sql.files.maxPartitionBytes", "1000b")
    try:
        tiny = classic.read.parquet(path)
        count, together = partitions(tiny), spread.spread(tiny, None)
        assert partitions(together) == 8  # planned now, under this setting
    finally:
        classic.conf.unset("spark.sql.files.maxPartitionBytes")
    assert count > 50
    assert "put together into 8, without a shuffle" in caplog.text
    scored = score(together, detector)
    assert "Exchange" not in plan(scored)
    assert_same_scores(collected(scored), detector.score(rows))


@CLASSIC
def test_a_table_of_unknown_size_is_left_as_it_lies(classic):
    """Where Spark has no estimate of the size, many partitions may each be large."""
    frame = classic.createDataFrame(classic.sparkContext.parallelize([(1.0,)] * 50, 50), "a double")
    assert spread.spread(frame, None) is frame


@CLASSIC
def test_a_plan_that_only_running_tells_is_left_alone(classic):
    """A frame behind a shuffle is not run to learn its partitions."""
    grouped = classic.range(1000).groupBy("id").count()
    assert spread.spread(grouped, None) is grouped


@CLASSIC
def test_tiny_partitions_make_few_files(classic, path, detector, tmp_path):
    """The output of a table in many small files is not as many files again."""
    many = tmp_path / "many"
    classic.read.parquet(path).repartition(60).write.parquet(str(many))
    config = job(str(many), tmp_path, output={"path": str(tmp_path / "scored"), "format": "parquet"})
    assert run_score(classic, config, detector).rows == 1200
    assert len(list((tmp_path / "scored").glob("*.parquet"))) <= 8


def test_partitions_that_are_asked_for_are_made(engine, path, detector, rows, tmp_path):
    """source.partitions spreads the rows on every engine, and changes no score."""
    config = job(path, tmp_path, source={"path": path, "partitions": 5})
    frame = spread.spread(engine.read.parquet(path), config.source.partitions)
    assert re.search(r"Partitioning\(5\)|RoundRobinBatch\(5\)|REPARTITION_BY_NUM, .*5", plan(frame)), plan(frame)
    assert_same_scores(collected(score(frame, detector)), detector.score(rows))


@CLASSIC
def test_a_huge_partition_is_cut_into_files(classic, path, detector, tmp_path, monkeypatch):
    """No output file holds more rows than its columns allow."""
    monkeypatch.setattr(writer, "rows_per_file", lambda columns: 500)
    one = tmp_path / "one"
    classic.read.parquet(path).coalesce(1).write.parquet(str(one))
    config = job(str(one), tmp_path, output={"path": str(tmp_path / "scored"), "format": "parquet"})
    assert run_score(classic, config, detector).rows == 1200
    assert len(list((tmp_path / "scored").glob("*.parquet"))) == 3


def test_a_file_holds_fewer_rows_of_more_columns():
    """Rows a file follow from the columns, and wide tables still get files worth opening."""
    assert writer.rows_per_file(40) * 40 <= writer.FILE_CELLS < writer.rows_per_file(40) * 41 * 2
    assert writer.rows_per_file(100_000) == 100_000
