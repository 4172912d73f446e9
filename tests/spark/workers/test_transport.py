"""How the package and the model reach the workers."""

import hashlib
import os
import subprocess
from collections.abc import Iterator

import pyarrow as pa
import pytest
from pyspark import cloudpickle
from pyspark.sql import functions as F
from pyspark.sql import types as T

import vae_model
from tests.conftest import WORKER
from vae_model.errors import EngineError
from vae_model.spark.engines import engine as engine_module
from vae_model.spark.engines.engine import CLOSURE_LIMIT
from vae_model.spark.workers import transport, udf


@pytest.fixture
def large():
    """As many bytes as a model of some thousand columns has, and no two the same."""
    return os.urandom(5 << 20)


def digest_on_a_worker(engine, model):
    """The digest of a model's bytes where they arrive."""
    digest = F.udf(lambda _: hashlib.sha256(model()).hexdigest(), T.StringType(), useArrow=False)
    return engine.range(1).select(digest("id")).collect()[0][0]


def test_a_large_model_arrives_whole_and_outside_the_function(engine, large, request):
    """Five megabytes reach a worker unchanged; only the embedded engine, which is one process, carries them along."""
    model = transport.ship_model(engine, large)
    assert digest_on_a_worker(engine, model) == hashlib.sha256(large).hexdigest()
    embedded = "sail" in request.node.callspec.id
    assert (len(cloudpickle.dumps(model)) < 50_000) != embedded


def test_the_function_of_a_model_is_small(engine, detector, request):
    """What is pickled with the scoring function stays under 50 KB on classic Spark, and under a megabyte elsewhere."""
    data = detector.to_bytes()
    weight = len(cloudpickle.dumps(udf.scoring_udf(engine, data, detector.scorer).func))
    assert weight < (50_000 if "spark" in request.node.callspec.id else CLOSURE_LIMIT)
    assert len(data) > 50_000


def test_a_model_too_large_for_the_engine_is_refused(engine, request, large, monkeypatch):
    """Where there are no artifacts, a model above gRPC's limit is an error of ours; elsewhere it arrives."""
    monkeypatch.setattr(engine_module, "MESSAGE_LIMIT", 2 << 20)
    if "sail" in request.node.callspec.id:
        with pytest.raises(EngineError, match="too large for this engine"):
            transport.ship_model(engine, large)
    else:
        assert digest_on_a_worker(engine, transport.ship_model(engine, large)) == hashlib.sha256(large).hexdigest()


def batch_sizes(frame):
    """The sizes of the batches in which a column reaches Python."""

    def sizes(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        for batch in batches:
            yield pa.repeat(len(batch), len(batch))

    sizes.__annotations__ = {"batches": Iterator[pa.Array], "return": Iterator[pa.Array]}
    return {row[0] for row in frame.select(F.arrow_udf(sizes, T.IntegerType())("id")).distinct().collect()}


@pytest.mark.skipif(not hasattr(F, "arrow_udf"), reason="a setting of Spark 4.2")
def test_rows_go_to_python_and_not_a_readers_batches(engine, tmp_path, request):
    """Inside the block a Parquet table reaches Python in batches of Spark's setting for rows."""
    if "sail" in request.node.callspec.id:
        pytest.skip("knows no such setting")
    name = "spark.sql.execution.arrow.maxRecordsPerBatch"
    engine.range(700, numPartitions=1).write.parquet(str(tmp_path / "table"))
    frame, before = engine.read.parquet(str(tmp_path / "table")), engine.conf.get(name)
    had = engine.conf.get(transport.COLUMNAR_INPUT)
    engine.conf.set(name, "100")
    try:
        with transport.as_rows(engine):
            assert batch_sizes(frame) == {100}
    finally:
        engine.conf.set(name, before)
    assert engine.conf.get(transport.COLUMNAR_INPUT) == had


def test_a_setting_that_an_engine_does_not_know_is_let_be(engine, monkeypatch):
    """An engine without the setting works as ever."""
    monkeypatch.setattr(transport, "COLUMNAR_INPUT", "spark.sql.no.such.setting")
    with transport.as_rows(engine):
        assert engine.range(3).count() == 3


@pytest.mark.slow
def test_the_package_that_is_sent_is_small_and_enough_for_a_worker(tmp_path):
    """The zip is under 1 MB, a Python with numpy, pandas and pyarrow alone imports the scorer from it, and it knows its
    version.
    """
    path = tmp_path / "package.zip"
    path.write_bytes(transport._package())
    assert path.stat().st_size < 1_000_000
    code = "import sys; sys.path.insert(0, sys.argv[1]); import vae_model.scoring.scorer as s; print(s.__file__);"
    code += "import vae_model; print(vae_model.__version__)"
    done = subprocess.run([WORKER, "-c", code, path], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    place, version = done.stdout.splitlines()
    assert place.startswith(str(path))
    assert version == vae_model.__version__


def test_the_package_is_the_same_whenever_it_is_made():
    """The same sources make the same zip: a second session sends nothing new."""
    first = hashlib.sha256(transport._package()).hexdigest()
    transport._package.cache_clear()
    assert hashlib.sha256(transport._package()).hexdigest() == first
