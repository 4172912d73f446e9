"""The same rows get the same scores on every engine, however they are spread."""

import datetime as dt
import io
import re
import subprocess
import sys
from contextlib import redirect_stdout

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.spark.conftest import ODD
from vae_model.errors import SchemaError
from vae_model.scoring.output import SCORED
from vae_model.scoring.scorer import Scorer
from vae_model.spark import score
from vae_model.spark.frames import ENGINE_ERRORS, column, to_arrow
from vae_model.spark.workers import udf

NUMBERS = ["reconstruction_error", "anomaly_score", "anomaly_p_value"]


def collected(frame):
    """A scored frame as pandas, by id."""
    return to_arrow(frame).to_pandas().sort_values("id", ignore_index=True)


def assert_same_scores(found, expected):
    """Numbers to 1e-6 relative, the rest exactly."""
    np.testing.assert_allclose(found[NUMBERS].astype(float), expected[NUMBERS].astype(float), rtol=1e-6)
    for name in ("is_anomaly", "anomaly_status", "anomaly_model"):
        assert found[name].tolist() == expected[name].tolist()


def plan(frame):
    """The physical plan as text."""
    text = io.StringIO()
    with redirect_stdout(text):
        frame.explain()
    return text.getvalue()


def test_every_engine_scores_as_the_detector_does(frame, detector, rows):
    """A DataFrame's scores are those of the same rows in pandas, to 1e-6, on every engine."""
    assert_same_scores(collected(score(frame, detector)), detector.score(rows))


def test_reasons_name_the_same_columns_on_every_engine(frame, detector, rows):
    """A flagged row has the same reasons wherever it is scored, and a row that is not flagged has none."""
    found, expected = collected(score(frame, detector)), detector.score(rows)
    assert expected["is_anomaly"].any()
    for one, other, flagged in zip(
        found["anomaly_reasons"], expected["anomaly_reasons"], expected["is_anomaly"], strict=True
    ):
        assert [(r["feature"], r["observed"], r["expected"]) for r in one] == [
            (r["feature"], r["observed"], r["expected"]) for r in other
        ]
        assert (len(one) > 0) == flagged


def test_other_columns_pass_through_untouched(frame, detector, rows):
    """The source's columns come out first, in their order, type and value; the seven output columns follow."""
    scored = score(frame, detector)
    width = len(frame.columns)
    assert scored.columns == [*frame.columns, *SCORED.names]
    assert scored.dtypes[:width] == frame.dtypes
    assert [type_ for _, type_ in scored.dtypes[width:]] == [
        "double", "double", "double", "boolean",
        "array<struct<feature:string,share:double,observed:string,expected:string>>", "string", "string",
    ]  # fmt: skip
    pd.testing.assert_frame_equal(collected(scored)[list(rows.columns)], collected(frame))


@pytest.mark.parametrize("partitions", [1, 3, 7])
def test_partitions_do_not_change_a_score(frame, detector, rows, partitions):
    """A row's score is the same however many partitions the table has and wherever its neighbours are."""
    assert_same_scores(collected(score(frame.repartition(partitions), detector)), detector.score(rows))


def test_a_row_alone_scores_as_among_others(frame, detector, rows):
    """A filter before scoring leaves the scores of the rows that stay as they were."""
    few = collected(score(frame.where("id % 97 = 5"), detector))
    expected = detector.score(rows)[rows["id"] % 97 == 5].reset_index(drop=True)
    assert len(few) == 13
    assert_same_scores(few, expected)


def test_the_plan_has_one_python_evaluation_no_join_and_no_shuffle(frame, detector):
    """Scoring adds one Python evaluation to the plan, and neither a join nor an exchange."""
    text = plan(score(frame, detector))
    sparks = text.count("ArrowEvalPython [")
    sails = len(re.findall(r"score@\w+\(", text))
    assert sparks + sails == 1
    assert not re.search(r"Exchange|Join|Repartition|CoalescePartitions", text)


def test_only_feature_columns_cross_into_python(frame, detector):
    """A column that only passes through is no argument of the Python evaluation."""
    text = plan(score(frame, detector))
    call = re.search(r"ArrowEvalPython \[score\((.*?)\)", text)
    if call is None:  # Sail names columns by number: count the arguments instead
        call = re.search(r"score@\w+\((.*?)\)", text)
        assert call[1].count("@") == len(detector.spec.names)
    else:
        assert "note" not in call[1] and "colour" in call[1]


def test_no_more_bytes_cross_than_the_features_have(frame, path, detector, monkeypatch, request):
    """What a worker is given, as Arrow, is no larger than the feature columns in the file."""
    if "sail" not in request.node.callspec.id:
        pytest.skip("only Sail's workers are in this process, to be watched; the plan's arguments are tested above")
    given = []

    def weighing(self, arrays, call=Scorer.__call__):
        given.append(sum(array.nbytes for array in arrays))
        return call(self, arrays)

    monkeypatch.setattr(Scorer, "__call__", weighing)
    collected(score(frame, detector))
    assert 0 < sum(given) <= 1.05 * pq.read_table(path, columns=detector.spec.names).nbytes


def test_the_pandas_udf_scores_as_the_arrow_udf(frame, detector, rows):
    """The path for Spark versions without Arrow UDFs gives the same output."""
    function = udf.scoring_udf(frame.sparkSession, detector.to_bytes(), detector.scorer, use_pandas=True)
    scored = udf.add_scores(frame, function, detector.scorer)
    assert_same_scores(collected(scored), detector.score(rows))


def awkward(rows=400):
    """Columns that pandas would change: gaps among whole numbers, zones, and times beyond its calendar."""
    random = np.random.default_rng(1)
    gap = random.random((6, rows)) < 0.1
    moment = pd.Timestamp("2024-03-10 05:00").value // 1000 + random.integers(0, 2000, rows) * 3_600_000_000
    moment[:2] = (dt.datetime(9999, 12, 31) - dt.datetime(1970, 1, 1)) // dt.timedelta(microseconds=1)
    whole = random.poisson(4, rows)
    return pa.table({
        "id": np.arange(rows),
        "whole": pa.array(whole * 1_000_003, pa.int64(), mask=gap[0]),
        "code": pa.array(2**60 + whole % 3, pa.int64(), mask=gap[1]),
        "small": pa.array(whole, pa.int8(), mask=gap[2]),
        "flag": pa.array(whole > 4, mask=gap[3]),
        "at": pa.array(moment, pa.timestamp("us", "UTC"), mask=gap[4]),
        "local": pa.array(moment, pa.timestamp("us"), mask=gap[5]),
        "day": pa.array(moment // 86_400_000_000, pa.int32(), mask=gap[4]).cast(pa.date32()),
        "price": pa.array(whole / 4, mask=gap[0]).cast(pa.decimal128(12, 3)),
        "vector": pa.array([None if i % 7 == 0 else [int(w), None if i % 9 == 0 else 2] for i, w in enumerate(whole)]),
    })  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("use_pandas", [None, True])
def test_no_type_is_changed_on_its_way_to_the_scorer(engine, tmp_path, use_pandas):
    """Gaps, large whole numbers, zones, far years and arrays score, and are given as reasons, as without Spark."""
    from vae_model import Config, Detector

    table, path = awkward(), str(tmp_path / "awkward.parquet")
    pq.write_table(table, path)
    config = {"features": {"exclude": ["id"], "kinds": {"code": "categorical"}}, "model": {"steps": 50},
              "decision": {"false_alarm_rate": 0.3}}  # fmt: skip
    detector = Detector(Config.model_validate(config)).fit(table)
    zone = engine.conf.get("spark.sql.session.timeZone")
    engine.conf.set("spark.sql.session.timeZone", "America/New_York")
    try:
        function = udf.scoring_udf(engine, detector.to_bytes(), detector.scorer, use_pandas=use_pandas)
        found = collected(udf.add_scores(engine.read.parquet(path), function, detector.scorer))
    finally:
        engine.conf.set("spark.sql.session.timeZone", zone)
    expected = detector.score(table).to_pandas()
    assert_same_scores(found, expected)
    assert expected["is_anomaly"].sum() > 50
    named = [
        [[(r["feature"], r["observed"]) for r in row] for row in one["anomaly_reasons"]] for one in (found, expected)
    ]
    assert named[0] == named[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", [ODD, "count"])
def test_one_feature_column_is_enough(engine, path, rows, name):
    """A model of a single column scores, though Spark hands a single column over bare."""
    from vae_model import Config, Detector

    small = Config.model_validate({"features": {"include": [name]}, "model": {"steps": 50}})
    detector = Detector(small).fit(rows)
    assert_same_scores(collected(score(engine.read.parquet(path), detector)), detector.score(rows))


def test_a_prefix_goes_before_every_added_column(frame, detector):
    """Output columns carry the prefix, the source's columns do not."""
    assert score(frame, detector, "vae_").columns == [*frame.columns, *("vae_" + name for name in SCORED.names)]


def test_a_clash_with_an_output_column_is_refused(frame, detector):
    """A source column named like an output column, in any case, is an error before anything runs."""
    with pytest.raises(SchemaError, match=r"Is_Anomaly|is_anomaly") as error:
        score(frame.withColumn("Is_Anomaly", column("flag")), detector)
    assert "output.prefix" in str(error.value)


def test_a_missing_and_a_retyped_column_are_named_together(frame, detector):
    """A table that does not fit the model is answered with expected, found and the nearest name for each column."""
    wrong = frame.withColumnRenamed("count", "counts").withColumn("flag", column("flag").cast("string"))
    with pytest.raises(SchemaError) as error:
        score(wrong, detector)
    assert "column 'count' is not in the table; did you mean 'counts'?" in str(error.value)
    assert "column 'flag': expected boolean (boolean when the model was trained), found string" in str(error.value)


def test_an_error_on_a_worker_carries_the_columns_name(engine, path, detector):
    """An array of the wrong length fails the job with a message that names the column."""
    from pyspark.sql import functions as F

    wrong = engine.read.parquet(path).withColumn("vector", F.array(F.lit(1.0), F.lit(2.0)))
    with pytest.raises(ENGINE_ERRORS, match="Column 'vector' holds arrays of different lengths"):
        to_arrow(score(wrong, detector))


@pytest.mark.slow
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.randoms(use_true_random=False), cut=st.integers(1, 1199))
def test_order_and_batches_do_not_change_a_score(detector, rows, order, cut):
    """Any order and any split of the rows into batches gives each row the score it had."""
    expected = detector.score(rows)
    shuffled = list(range(len(rows)))
    order.shuffle(shuffled)
    parts = [detector.score(rows.iloc[part]) for part in (shuffled[:cut], shuffled[cut:])]
    assert_same_scores(pd.concat(parts).loc[range(len(rows))], expected)


BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "pydantic", "safetensors", "jobs", "ruamel", "typer", "rich", "fsspec"}:
            raise ModuleNotFoundError(f"{name} is not on a worker", name=name)
sys.meta_path.insert(0, Block())
import pickle, pyarrow as pa
function = pickle.load(sys.stdin.buffer)
table = pickle.load(sys.stdin.buffer)
out = next(function(iter([tuple(c.combine_chunks() for c in table.columns)])))
print(len(out), sorted(name for name in sys.modules if name.startswith("vae_model.spark")))
"""


@pytest.mark.slow
def test_the_udf_loads_where_only_numpy_pandas_and_pyarrow_are(detector, rows, tmp_path):
    """The function that travels needs no torch, pydantic or safetensors, and not the job's modules."""
    import pickle

    import pyarrow as pa
    from pyspark import cloudpickle

    data = detector.to_bytes()
    table = pa.Table.from_pandas(rows[detector.spec.names], preserve_index=False)
    sent = cloudpickle.dumps(
        udf._arrow_scoring("digest", detector.scorer.rule, lambda: data, lambda: None, explains=True)
    ) + pickle.dumps(table)
    done = subprocess.run([sys.executable, "-c", BLOCKED], input=sent, capture_output=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().split() == ["1200", "[]"]


def test_columns_named_like_those_of_the_plan_survive(engine, path, detector, rows):
    """A column called __vae, in any case and of any type, comes out with its values."""
    from pyspark.sql import functions as F

    frame = engine.read.parquet(path)
    odd = frame.select(
        "*", (F.col("id") * 2).alias("__VAE"), F.struct(F.col("id").alias("anomaly_score")).alias("__vae_1"),
        F.lit("x").alias("__vae.anomaly_score"), F.lit(1.5).alias("anomaly_score"),
    )  # fmt: skip
    found = collected(score(odd, detector, "vae_"))
    assert list(found.columns) == [*odd.columns, *("vae_" + name for name in SCORED.names)]
    assert found["__VAE"].tolist() == [2 * i for i in range(len(rows))]
    assert [value["anomaly_score"] for value in found["__vae_1"]] == list(range(len(rows)))
    assert set(found["__vae.anomaly_score"]) == {"x"}
    assert set(found["anomaly_score"]) == {1.5}
    scores = found[["vae_" + name for name in SCORED.names]].set_axis(SCORED.names, axis=1)
    assert_same_scores(scores, detector.score(rows))
