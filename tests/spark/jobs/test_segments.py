"""Decisions by segments on every engine: the columns come with the sample, go to the workers, and are checked first."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from tests.spark.jobs.scoring import run_score
from tests.tables.test_one_rule import assert_same
from tests.test_segments import plant
from vae_model import Detector
from vae_model.config.load import parse_config
from vae_model.config.sections import Decision
from vae_model.errors import ConfigError, SchemaError, TrainingError
from vae_model.spark import run, score, train, what_if
from vae_model.spark.frames import to_arrow
from vae_model.spark.jobs.run import run_training
from vae_model.spark.jobs.train import run_train
from vae_model.spark.jobs.validate import validate
from vae_model.spark.sinks.reading import read_output
from vae_model.spark.workers import udf

pytestmark = pytest.mark.slow

ROWS = 4000
BY = {"by": ["site", "day", "line", "is_new"], "false_alarm_rate": 0.05}


def table():
    """Rows with segments of every type, gaps among them; the site is a part of the key, the line a feature."""
    draw = np.random.default_rng(7)
    gap = draw.random(ROWS) < 0.3
    more = {"id": pa.array(range(ROWS)), "line": pa.array(draw.integers(0, 2, ROWS), mask=gap)}
    rows = plant(ROWS)
    for name, values in (more | {"is_new": pa.array(draw.random(ROWS) < 0.5)}).items():
        rows = rows.append_column(name, values)
    return rows


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The table as a file."""
    path = tmp_path_factory.mktemp("segments") / "plant.parquet"
    pq.write_table(table(), path, row_group_size=700)
    return path


def config(place, folder, **changes):
    """A job of it."""
    values = {
        "name": "plant",
        "source": {"path": str(place)},
        "key": ["id", "site"],
        "features": {"exclude": ["day", "is_new"]},
        "model": {"path": str(folder / "plant.vae"), "steps": 30, "hidden": [8]},
        "train": {"rows": 3900},
        "decision": BY,
        "output": {"path": str(folder / "scored"), "format": "parquet"},
    }
    return parse_config(values | changes)


@pytest.fixture(scope="module")
def detector(place, tmp_path_factory):
    """Trained without Spark. The line is a feature too."""
    return Detector(config(place, tmp_path_factory.mktemp("none"))).fit(table().slice(0, 3700))


@pytest.mark.parametrize("use_pandas", [None, True])
@pytest.mark.parametrize("partitions", [1, 3])
def test_every_engine_decides_by_segments_as_the_detector_does(engine, place, detector, partitions, use_pandas):
    """In any partition, through either kind of function: the same scores, p-values, decisions and statuses to the last
    bit; an unseen segment and a missing value among them.
    """
    frame = engine.read.parquet(str(place)).repartition(partitions).withColumn(
        "site", F.when(F.col("id") < 5, "new").otherwise(F.col("site"))
    )  # fmt: skip
    function = udf.scoring_udf(engine, detector.to_bytes(), detector.scorer, use_pandas=use_pandas)
    found = to_arrow(udf.add_scores(frame, function, detector.scorer)).sort_by("id")
    rows = table()
    site = ["new"] * 5 + rows["site"].to_pylist()[5:]
    expected = detector.score(rows.set_column(rows.column_names.index("site"), "site", pa.array(site)))
    assert_same(found, expected)
    assert found["anomaly_status"].to_pylist()[:6] == ["unseen_segment"] * 5 + ["ok"]
    assert len(set(expected["anomaly_p_value"].to_pylist())) > 100


def test_columns_of_segments_cross_only_where_the_decision_is_by_them(engine, place, detector):
    """A decision by the whole needs none of them."""
    frame = engine.read.parquet(str(place))
    whole = detector.with_decision(Decision(false_alarm_rate=0.05))
    found = to_arrow(score(frame.drop("site", "day", "is_new"), whole)).sort_by("id")
    assert_same(found, whole.score(table()))
    with pytest.raises(SchemaError, match="column 'day' is not in the table"):
        score(frame.drop("day"), detector)


def test_every_engine_trains_the_same_segments(engine, on_sail, place, tmp_path):
    """The sample brings the columns, features or not, with the rows' scores: the same bytes on each engine."""
    settings = config(place, tmp_path).model_copy(update={"source": None, "output": None})
    trained = train(engine.read.parquet(str(place)), settings)
    data = on_sail(lambda spark: train(spark.read.parquet(str(place)).repartition(3), settings).to_bytes())
    assert trained.to_bytes() == data
    assert trained.scorer.segments.by == tuple(BY["by"])
    assert trained.scorer.segments.rows_S.sum() == len(trained.scorer.held_out)


@pytest.mark.parametrize(
    ("by", "error", "words"),
    [
        (["sites"], SchemaError, "column 'sites' is not in the table; did you mean 'site'?"),
        (["x0"], SchemaError, "column 'x0': expected string, integer, boolean or date, found double"),
        (["id"], TrainingError, "decision.by (id) makes too many segments."),
    ],
)
def test_columns_that_make_no_segments_are_told_before_training(engine, place, tmp_path, by, error, words):
    """And no model is written."""
    with pytest.raises(error) as caught:
        run_train(engine, config(place, tmp_path, decision={"by": by}))
    assert words in str(caught.value)
    assert not (tmp_path / "plant.vae").exists()


def test_segments_that_the_model_does_not_know_are_told_before_any_work(engine, place, detector, tmp_path):
    """No output, no record: the model has to be trained again."""
    settings = config(place, tmp_path, decision={"by": ["site"]})
    detector.save(settings.model.path)
    for job in (lambda: run(engine, settings, train=False), lambda: list(validate(engine, settings))):
        with pytest.raises(ConfigError, match="was not trained to decide by site"):
            job()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plant.vae"]


def test_a_run_says_what_to_expect(engine, place, tmp_path):
    """Training of the whole source, scoring of the rows that it scores: the rates of the decision, times the rows."""
    settings = config(place, tmp_path, decision=BY | {"by": ["site"]})
    trained = run_training(engine, settings)
    detector = Detector.load(settings.model.path)
    assert detector.alerts.rows == ROWS
    assert trained.expected_alerts == pytest.approx(ROWS * detector.calibration.resulting_rate)
    summary = run_score(engine, settings, detector)
    assert summary.expected == detector.calibration.alerts(ROWS) and summary.is_by_segment
    assert summary.expected.low <= summary.anomalies <= summary.expected.high
    record = run(engine, settings, train=False)
    rates = record.finest_rate, record.effective_rate, record.expected_alerts
    assert rates == (summary.finest_rate, summary.resulting_rate, summary.expected.expected)
    assert rates == (trained.finest_rate, trained.effective_rate, trained.expected_alerts)
    flagged = to_arrow(read_output(engine, settings.output).where("is_anomaly")).num_rows
    assert flagged == summary.anomalies


def test_a_version_without_segments_is_no_obstacle_to_one_with(on_sail, place, tmp_path):
    """A version that was trained before is held against the new one by the whole."""
    folder = {"path": f"{tmp_path}/versions/", "steps": 30, "hidden": [8]}
    accept = {"rows": 3900, "accept_if": {"max_share_flagged": 0.5}}
    plain, apart = (
        config(place, tmp_path, model=folder, train=accept, decision={**BY, "by": by}) for by in ([], ["site"])
    )
    on_sail(lambda spark: run_train(spark, plain))
    new = on_sail(lambda spark: run_train(spark, apart))
    assert Detector.load(folder["path"]).to_bytes() == new.to_bytes()


@pytest.mark.parametrize("by_of", ["table", "question"])
def test_what_another_decision_would_flag_is_told_by_the_scores(engine, place, detector, tmp_path, by_of):
    """A table that was scored by segments, asked for a decision without them, and the other way round: what scoring by
    that decision flags, in the whole and by segment.
    """
    plain = {"false_alarm_rate": 0.05}
    scoring, asked = (BY, plain) if by_of == "table" else (plain, BY)
    wanted = config(place, tmp_path, decision=asked)
    detector.save(str(tmp_path / "plant.vae"))
    deciding = detector.with_decision(config(place, tmp_path, decision=scoring).decision)
    rows, scored = table(), deciding.score(table())
    (tmp_path / "scored").mkdir()
    both = {name: own[name] for own in (rows, scored) for name in own.column_names}
    pq.write_table(pa.table(both), tmp_path / "scored" / "part.parquet")
    found = what_if(engine, wanted, by=["site"])
    flagged = detector.with_decision(wanted.decision).score(table())["is_anomaly"]
    expected = Counter(rows["site"].filter(flagged).to_pylist())
    own = next(one for one in found.estimates if one.cut.is_configured)
    assert found.subject.is_output and own.alerts == sum(expected.values())
    assert own.alerts != sum(scored["is_anomaly"].to_pylist())
    told = {one.values["site"]: one.alerts for one in found.segments if one.alerts}
    assert told == expected


def test_a_budget_goes_by_what_decides(engine, place, detector, tmp_path):
    """By segments, the alerts are the flagged rows of the lowest p-values, whatever segment has the highest scores."""
    job = config(place, tmp_path, alerts={"path": str(tmp_path / "alerts"), "format": "parquet", "budget": 20})
    detector.save(str(tmp_path / "plant.vae"))
    run(engine, job, "a run", train=False)
    scored = pq.read_table(tmp_path / "scored").filter(pc.field("is_anomaly"))
    found = pq.read_table(tmp_path / "alerts").sort_by("rank")
    p_values = np.sort(scored["anomaly_p_value"].to_numpy())[:20]
    np.testing.assert_array_equal(found["anomaly_p_value"].to_numpy(), p_values)
    highest = set(scored.sort_by([("anomaly_score", "descending")])["id"].to_pylist()[:20])
    assert set(found["id"].to_pylist()) != highest
