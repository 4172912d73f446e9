"""What serverless platforms and Spark Connect forbid is not used, but where classic Spark alone comes by."""

import ast
from pathlib import Path

import pytest

import vae_model

PACKAGE = Path(vae_model.__file__).parent
CLASSIC = [PACKAGE / "spark" / "engines" / name for name in ("classic.py", "jvm.py")]
FORBIDDEN = {
    "rdd", "sparkContext", "_sc", "_jsc", "_jvm", "_jdf", "_jconf", "_jsparkSession",  # RDDs, contexts, the JVM
    "persist", "unpersist", "checkpoint", "localCheckpoint", "cacheTable",  # what a serverless session does not keep
    "addPyFile", "addFile", "broadcast", "accumulator", "statusTracker",
}  # fmt: skip


def reached(path):
    """The attributes a module reaches for."""
    return {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}


@pytest.mark.slow
def test_only_classic_sparks_modules_reach_past_the_dataframe_api():
    """No module but spark/engines/classic.py and jvm.py names an RDD, a SparkContext, the JVM, or persistence."""
    found = {path: reached(path) & FORBIDDEN for path in PACKAGE.rglob("*.py") if path not in CLASSIC}
    assert {name: names for name, names in found.items() if names} == {}


def test_classic_sparks_modules_are_where_they_are():
    """The test above looks for names that are in use."""
    start, session = map(reached, CLASSIC)
    assert {"sparkContext", "_jvm"} <= start
    assert {"sparkContext", "_jdf", "broadcast", "addPyFile"} <= session


def test_a_connect_client_scores_without_a_jvm(engine, detector, rows, path, request):
    """On a session that has no JVM, scoring does all it does elsewhere; where there is one, it is classic Spark's."""
    from tests.spark.workers.test_udf import assert_same_scores, collected
    from vae_model.spark import score
    from vae_model.spark.engines.lookup import engine_of

    names = {"sail": "Sail", "spark": "classic Spark", "connect": "Spark Connect"}
    assert engine_of(engine).name == names[request.node.callspec.id]
    assert_same_scores(collected(score(engine.read.parquet(path), detector)), detector.score(rows))
