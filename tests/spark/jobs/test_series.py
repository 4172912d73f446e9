"""Rows that come one after the other, on every engine: the same scores, slices with what comes before them, jobs."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from tests.series import LENGTH, config, plant, with_errors
from tests.spark.jobs.scoring import run_score
from vae_model import Detector
from vae_model.errors import ConfigError, SchemaError, SourceError
from vae_model.scoring.output import OUTPUT, SCORED
from vae_model.spark import score, train
from vae_model.spark.frames import to_arrow
from vae_model.spark.jobs.run import run
from vae_model.spark.sinks.reading import read_output

pytestmark = pytest.mark.slow

SHORT = "short_window"


@pytest.fixture(scope="session")
def readings():
    """Normal readings, the same with errors, and where these are."""
    normal = plant(rows=500)
    return normal, with_errors(plant(rows=700))[0]


@pytest.fixture(scope="session")
def detector(readings):
    """Trained without Spark."""
    return Detector(config()).fit(readings[0])


@pytest.fixture(scope="session")
def expected(detector, readings):
    """The readings with errors, and what the detector makes of them without Spark."""
    return pd.concat([readings[1], detector.score(readings[1])], axis=1)


@pytest.fixture
def path(readings, tmp_path):
    """The readings with errors, shuffled over several files."""
    folder = tmp_path / "readings"
    folder.mkdir()
    frame = readings[1].iloc[np.random.default_rng(0).permutation(len(readings[1]))]
    for i, part in enumerate(np.array_split(np.arange(len(frame)), 4)):
        frame.iloc[part].to_parquet(folder / f"part{i}.parquet", index=False, coerce_timestamps="us")
    return str(folder)


def job(path, tmp_path, **changes):
    """A complete config over the readings."""
    values = {
        "source": {"path": path},
        "train": {"normal": "station <> 'B' or at < '2026-01-03'", "rows": 1500},
        "model": {"path": str(tmp_path / "plant.vae"), "steps": 60, "hidden": [16], "codes": 16},
        "output": {"path": str(tmp_path / "scored"), "format": "delta"},
    }
    return config(**{**values, **changes})


def in_order(table):
    """A scored table as pandas, its rows in the order of their series, the output columns as in this process."""
    columns = [name for name in table.column_names if name in OUTPUT.names]
    for name in columns:
        at = table.column_names.index(name)
        table = table.set_column(at, OUTPUT.field(name), table[name].cast(OUTPUT.field(name).type))
    frame = table.to_pandas()
    return frame.sort_values(["station", "at"]).reset_index(drop=True)


def assert_scores(found, expected):
    """The same scores, to the last digits, and the same statuses, flags and reasons."""
    expected = expected.sort_values(["station", "at"]).reset_index(drop=True)
    assert found.note.tolist() == expected.note.tolist()
    for name in ("anomaly_score", "anomaly_p_value", "reconstruction_error"):
        np.testing.assert_allclose(found[name].astype(float), expected[name].astype(float), rtol=1e-9)
    assert found.anomaly_status.tolist() == expected.anomaly_status.tolist()
    assert found.is_anomaly.eq(True).tolist() == expected.is_anomaly.eq(True).tolist()
    for ours, theirs in zip(found.anomaly_reasons, expected.anomaly_reasons, strict=True):
        assert [(one["feature"], one["observed"]) for one in ours] == [
            (one["feature"], one["observed"]) for one in theirs
        ]


@pytest.mark.parametrize("partitions", [None, 1, 7])
def test_scores_are_those_of_any_other_place(engine, path, detector, expected, partitions):
    """Scored by an engine, from shuffled files and however many partitions: the scores of this process, each row once,
    all columns beside them as they were.
    """
    frame = engine.read.parquet(path)
    found = score(frame.repartition(partitions) if partitions else frame, detector)
    assert found.columns == [*frame.columns, *SCORED.names]
    assert_scores(in_order(to_arrow(found)), expected)


def test_small_batches_are_no_matter(engine, path, detector, expected):
    """A window that reaches over many batches is as whole as one within a batch."""
    setting = "spark.sql.execution.arrow.maxRecordsPerBatch"
    engine.conf.set(setting, "7")
    try:
        assert_scores(in_order(to_arrow(score(engine.read.parquet(path), detector))), expected)
    finally:
        engine.conf.unset(setting)


def test_a_run_trains_on_stretches_and_finds_the_errors(engine, path, tmp_path):
    """From source to model file to table: the worst rows are those of station B, whose errors were planted."""
    made = job(path, tmp_path)
    record = run(engine, made)
    assert (record.status, record.rows_read) == ("succeeded", 2100)
    assert record.statuses[SHORT] == 6 * (LENGTH - 1)
    found = in_order(to_arrow(read_output(engine, made.output)))
    assert set(found.nlargest(10, "anomaly_score").station) == {"B"}
    assert Detector.load(made.model.path).header["sequence"]["length"] == LENGTH


def test_every_engine_trains_the_same_model(engine, on_sail, path, tmp_path):
    """The same stretches are drawn by all, so that the model is the same byte for byte."""
    made = job(path, tmp_path, train={"rows": 1000}).model_copy(update={"source": None, "output": None})
    data = train(engine.read.parquet(path), made).to_bytes()
    assert on_sail(lambda session: train(session.read.parquet(path).repartition(3), made).to_bytes()) == data


@pytest.mark.parametrize("gap", ["30m", None])
def test_a_slice_looks_back_before_it_and_scores_itself_alone(engine, path, readings, tmp_path, gap):
    """The rows of a slice have the scores that they have in the whole table, from the first one on; no others are
    written. With ``max_gap``, which says how far back to read, and without.
    """
    sequence = {"by": ["station"], "order": "at", "length": LENGTH, "max_gap": gap}
    start, features = "2026-01-04", {"exclude": ["note"], "sequence": sequence}
    detector = Detector(config(features=features)).fit(readings[0])
    made = job(path, tmp_path, source={"path": path, "where": f"at >= '{start}'"}, features=features)
    summary = run_score(engine, made, detector)
    whole = pd.concat([readings[1], detector.score(readings[1])], axis=1)
    whole = whole[whole["at"] >= pd.Timestamp(start, tz="UTC")]
    assert summary.rows == len(whole)
    assert SHORT not in summary.statuses
    assert_scores(in_order(to_arrow(read_output(engine, made.output))), whole)


def test_what_is_new_is_scored_with_what_came_before(engine, readings, detector, expected, tmp_path):
    """Day by day, by a column that grows: in the end all rows are there once, with the scores of one run over all."""
    folder = tmp_path / "growing"
    folder.mkdir()
    made = job(str(folder), tmp_path, source={"path": str(folder), "incremental": {"column": "at"}},
               output={"path": str(tmp_path / "scored"), "format": "delta", "mode": "append"})  # fmt: skip
    detector.save(made.model.path)
    frame, borders = readings[1], pd.to_datetime(["2026-01-01", "2026-01-03", "2026-01-04", "2027-01-01"], utc=True)
    for i, (begin, end) in enumerate(pairwise(borders)):
        own = frame[(frame["at"] >= begin) & (frame["at"] < end)]
        own.to_parquet(folder / f"part{i}.parquet", index=False, coerce_timestamps="us")
        assert run(engine, made, train=False).rows_read == len(own)
    assert_scores(in_order(to_arrow(read_output(engine, made.output))), expected)


def test_rows_of_the_same_moment_are_scored_alike_each_time(engine, path, detector):
    """Duplicated moments: every row has one score, the same however the table lies."""
    twice = engine.read.parquet(path)
    others = ["pressure", "hum", "level", "state", "concat(note, 'x') as note"]
    twice = twice.unionByName(twice.where("flow > 11").selectExpr("station", "at", "flow + 1 as flow", *others))
    found, again = (
        to_arrow(score(frame, detector).select("note", "anomaly_score")).to_pandas().sort_values("note").reset_index()
        for frame in (twice, twice.repartition(5))
    )
    assert found.anomaly_score.equals(again.anomaly_score)
    assert found.note.is_unique


def test_many_series_of_one_row_have_no_windows(engine, detector):
    """Series shorter than a window give rows without a score, and no error."""
    rows = engine.range(20_000).selectExpr(
        "cast(id as string) as station", "timestamp_seconds(id) as at", "10.0D as flow", "30.0D as pressure",
        "100.0D as hum", "0.0D as level", "'on' as state",
    )  # fmt: skip
    found = score(rows, detector).groupBy("anomaly_status").count().collect()
    assert [tuple(row) for row in found] == [(SHORT, 20_000)]


def test_columns_of_all_types_pass_through(engine, path, detector):
    """Beside the features a table may hold what no model sees: it comes out as it was."""
    frame = engine.read.parquet(path).selectExpr(
        "*", "array(struct(flow, note)) as nested", "cast(flow as decimal(20, 4)) as money", "map(note, 1) as `a.map`",
        "to_date(at) as `Day`", "cast(null as string) as nothing", "cast(note as binary) as bytes",
    )  # fmt: skip
    found = score(frame, detector)
    assert found.columns[: len(frame.columns)] == frame.columns
    names = [name for name in frame.columns if name != "a.map"]
    left, right = (to_arrow(one.select(*names)).to_pandas() for one in (frame, found))
    key = ["station", "at"]
    pd.testing.assert_frame_equal(*(one.sort_values(key).reset_index(drop=True) for one in (left, right)))


def test_a_table_without_its_order_is_refused_before_any_work(engine, path, detector, tmp_path):
    """The columns that say where a row stands are asked for with the features."""
    frame = engine.read.parquet(path)
    with pytest.raises(SchemaError, match="column 'at' is not in the table"):
        score(frame.drop("at"), detector)
    other = job(path, tmp_path, features={"sequence": {"order": "when"}})
    with pytest.raises(SchemaError, match="column 'when' is not in the table"):
        train(frame, other)


def test_a_predicate_that_does_not_fit_is_told(engine, path, tmp_path):
    """``train.normal`` is checked before the rows are numbered."""
    with pytest.raises(SourceError, match=r"train\.normal does not fit the source"):
        train(engine.read.parquet(path), job(path, tmp_path, train={"normal": "nothing > 1"}))


@pytest.mark.parametrize("how", [{"by": "version"}, {"column": "at", "lag": "1h"}])
def test_late_rows_are_no_part_of_series(tmp_path, how):
    """What would come between rows that are scored by now is refused when the config is read."""
    with pytest.raises(ConfigError, match=r"features\.sequence goes with source\.incremental: \{column"):
        job("readings", tmp_path, source={"path": "readings", "incremental": how},
            output={"path": "scored", "format": "delta", "mode": "append"})  # fmt: skip


def test_a_model_of_series_does_not_follow_late_rows(engine, path, detector, tmp_path):
    """Nor where the config says nothing of a sequence: it is the model that has one."""
    made = job(path, tmp_path, source={"path": path, "incremental": {"column": "at", "lag": "1h"}},
               features={"exclude": ["note"]}, output={"path": str(tmp_path / "out"), "format": "delta",
                                                       "mode": "append"})  # fmt: skip
    with pytest.raises(ConfigError, match="would change the windows of rows that are scored by then"):
        run_score(engine, made, detector)


def test_days_look_back_over_a_change_of_clocks(engine, tmp_path):
    """Days are a day apart, whatever the clocks do: a slice after they were put back has its windows."""
    days = pd.date_range("2019-09-01", periods=400)
    frame = pd.DataFrame({"at": days.date, "x": np.random.default_rng(0).normal(size=400), "note": "n"})
    folder = tmp_path / "days"
    folder.mkdir()
    frame.to_parquet(folder / "part.parquet", index=False)
    features = {"include": ["x"], "sequence": {"order": "at", "length": 8, "max_gap": "1d"}}
    detector = Detector(config(key=["at"], features=features)).fit(frame)
    before = engine.conf.get("spark.sql.session.timeZone")
    engine.conf.set("spark.sql.session.timeZone", "America/New_York")
    try:
        made = job(str(folder), tmp_path, key=["at"], features=features,
                   source={"path": str(folder), "where": "at >= '2019-11-08'"})  # fmt: skip
        assert SHORT not in run_score(engine, made, detector).statuses
    finally:
        engine.conf.set("spark.sql.session.timeZone", before)


def test_series_by_two_columns_with_nulls_are_kept_apart(engine, tmp_path):
    """(1, null) and (null, 1) are two series in the sample too."""
    rows = engine.range(3000).selectExpr(
        "if(id % 2 = 0, 1, null) as p", "if(id % 2 = 0, null, 1) as q", "id div 2 as t", "sin(id * 7919.0) as x"
    )
    own = config(key=[], features={"sequence": {"by": ["p", "q"], "order": "t", "length": 4}}, train={"rows": 5000})
    detector = train(rows, own)
    training = detector.header["training"]
    assert training["rows"] + training["calibration_rows"] > 2900
