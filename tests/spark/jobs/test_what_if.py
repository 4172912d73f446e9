"""What other decisions would flag, counted by every engine in a scored table or in a source."""

import json
from collections import Counter
from datetime import UTC

import pandas as pd
import pytest

from tests.spark.jobs.test_jobs import job
from vae_model.errors import ConfigError, InputError, NothingToScore, SchemaError
from vae_model.spark import what_if
from vae_model.spark.jobs import tally

pytestmark = pytest.mark.slow

OUTPUT = {"format": "parquet"}


@pytest.fixture
def scored(rows, detector, tmp_path):
    """The table as two runs of a job would have written it; the last 50 rows by another model."""
    table = rows.join(detector.score(rows))
    table["anomaly_run"] = ["one" if i < 700 else "two" for i in range(len(table))]
    table.loc[table.index[-50:], "anomaly_model"] = "mixed@0123456789ab"
    table["local"] = table["at"].dt.tz_localize(None)
    table.loc[:2, "at"] = pd.NaT
    folder = tmp_path / "scored"
    folder.mkdir()
    table.to_parquet(folder / "part.parquet", index=False, coerce_timestamps="us")
    return table[:-50]


@pytest.fixture
def configured(path, tmp_path, detector):
    """A job with its model, whose output may be there; some of its keys changed."""
    detector.save(str(tmp_path / "models" / "mixed.vae"))

    def make(**changes):
        return job(path, tmp_path, **{"output": {"path": str(tmp_path / "scored"), **OUTPUT}, **changes})

    return make


def of_config(found):
    """What is told of the configured decision."""
    return next(one for one in found.estimates if one.cut.is_configured)


@pytest.mark.parametrize("decision", [{"false_alarm_rate": 0.02}, {"false_alarm_rate": 1e-6}, {"threshold": 2.5}])
def test_an_output_is_counted(engine, configured, detector, scored, decision):
    """Each decision flags as many as scoring by it would, and a day, a run and a segment as many of them as it has.
    Rows of another model, and those without a time, are told and not counted.
    """
    config = configured(decision=decision)
    found = what_if(engine, config, time="at", by=["colour", "flag"])
    deciding = detector.with_decision(config.decision).calibration
    flagged = scored[deciding.decide(scored["anomaly_score"].to_numpy())]
    own = of_config(found)
    assert (found.rows, found.scored, found.runs, own.alerts) == (1150, 1150, 2, len(flagged))
    assert own.cut.score == deciding.cut and own.expected == 1150 * deciding.resulting_rate
    days = Counter(at.date().isoformat() for at in flagged["at"].dropna())
    most = max(days.values(), default=0)
    assert (own.by_day.most, days[own.by_day.most_in]) == (most, most)
    assert found.days == scored["at"].dt.date.nunique()
    assert own.by_run.most == max(Counter(flagged["anomaly_run"]).values(), default=0)
    pairs = Counter(zip(flagged["colour"], map(str.lower, flagged["flag"].astype(str)), strict=True))
    told = {tuple(one.values.values()): one.alerts for one in found.segments}
    assert {values: count for values, count in told.items() if count} == dict(pairs)
    assert (None, "false") in told and sum(one.rows for one in found.segments) == 1150
    assert [note.partition(" ")[0] for note in found.subject.notes] == ["50", "3"]
    assert found.subject.is_output and json.dumps(found.to_json(), allow_nan=False)


def test_every_rate_flags_what_scoring_by_it_would(engine, configured, detector, scored):
    """All along the ladder, from the finest rate that can be had."""
    found = what_if(engine, configured())
    p_values = scored["anomaly_p_value"]
    assert found.estimates[0].cut.effective_rate == detector.calibration.finest_rate
    assert [one.alerts for one in found.estimates] == [
        int((p_values <= one.cut.effective_rate).sum()) for one in found.estimates
    ]


def test_a_source_is_scored_and_nothing_is_written(engine, configured, detector, rows, tmp_path):
    """Where there is no output, or one by another model, the source's rows are counted as they would be flagged."""
    before = sorted(tmp_path.rglob("*"))
    found = what_if(engine, configured(source={"path": str(tmp_path / "source"), "where": "id < 1000"}), by=["colour"])
    expected = detector.score(rows[:1000])["is_anomaly"]
    own = of_config(found)
    assert (found.rows, own.alerts, found.subject.is_output) == (1000, int(expected.sum()), False)
    assert found.runs == 0 and own.by_run is None and len(found.segments) == 4
    assert sorted(tmp_path.rglob("*")) == before
    (tmp_path / "scored").mkdir()
    other = rows.join(detector.score(rows)).assign(anomaly_model="mixed@0123456789ab")
    other.to_parquet(tmp_path / "scored" / "part.parquet", index=False, coerce_timestamps="us")
    assert not what_if(engine, configured()).subject.is_output


@pytest.mark.parametrize("time", ["at", "local", "Day"])
def test_days_are_those_of_utc(engine, configured, scored, time):
    """Whatever the session's time zone: of times with a zone, times without one and dates."""
    before = engine.conf.get("spark.sql.session.timeZone")
    engine.conf.set("spark.sql.session.timeZone", "Pacific/Auckland")
    try:
        found = what_if(engine, configured(decision={"false_alarm_rate": 0.5}), time=time)
    finally:
        engine.conf.set("spark.sql.session.timeZone", before)
    flagged = scored[scored["anomaly_p_value"] <= 0.5][time].dropna()
    if time == "at":
        flagged = flagged.dt.tz_convert(UTC)
    days = Counter((value if time == "Day" else value.date()).isoformat() for value in flagged)
    own = of_config(found).by_day
    assert (own.most, days[own.most_in]) == (max(days.values()), max(days.values()))


def test_days_that_stand_in_the_names_of_folders(engine, configured, scored, tmp_path):
    """Of a Parquet output that is partitioned by them they are dates on every engine."""
    dated = scored[scored["Day"].notna()]
    dated.to_parquet(tmp_path / "days", partition_cols=["Day"], index=False, coerce_timestamps="us")
    output = {"path": str(tmp_path / "days"), "partition_by": ["Day"], **OUTPUT}
    found = what_if(engine, configured(output=output), time="Day", by=["Day"])
    assert found.days == dated["Day"].nunique() == len(found.segments)
    assert {one.values["Day"]: one.rows for one in found.segments} == Counter(map(str, dated["Day"]))


def test_the_only_time_is_taken(engine, configured, scored):
    """Of key and features; of several none, which is told."""
    assert what_if(engine, configured(key=["id", "at"], features={"exclude": ["note", "Day"]})).days == 0
    several = what_if(engine, configured())
    assert several.days == 0 and any("at, Day are times" in note for note in several.subject.notes)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"by": ["color"]}, ["--by names 'color'", "did you mean 'colour'?"]),
        ({"by": ["a"]}, ["--by cannot take the column 'a'", "found: double"]),
        ({"by": ["vector"]}, ["--by cannot take the column 'vector'"]),
        ({"time": "zzz"}, ["--time names 'zzz'", "Such columns are at, Day"]),
        ({"time": "count"}, ["--time cannot take the column 'count'", "expected: date or timestamp"]),
    ],
)
def test_a_column_that_will_not_do_is_told(engine, configured, monkeypatch, options, words):
    """Before any row is counted, with the nearest name or what would do."""
    monkeypatch.setattr(tally, "to_arrow", None)
    with pytest.raises(SchemaError) as caught:
        what_if(engine, configured(), **options)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"source": {"path": "nowhere"}}, InputError, "cannot be opened"),
        ({"source": None}, ConfigError, "no source to score"),
        ({"source": None, "output": None}, ConfigError, "neither in the config"),
        ({"model": {"path": "none.vae"}}, InputError, "does not exist"),
    ],
)
def test_what_is_lacking_is_told(engine, configured, changes, error, words):
    """No model, no source where nothing is scored."""
    with pytest.raises(error, match=words):
        what_if(engine, configured(**changes))


def test_no_row_is_nothing_to_count(engine, configured, path):
    """As it is nothing to score."""
    with pytest.raises(NothingToScore):
        what_if(engine, configured(source={"path": path, "where": "id < 0"}))


def test_parts_without_end_are_refused(engine, configured, scored, monkeypatch):
    """A key as the segment would bring every row here."""
    monkeypatch.setattr(tally, "MAX_PARTS", 1000)
    with pytest.raises(SchemaError, match="too many days, runs and segments"):
        what_if(engine, configured(), by=["id"])
    few = what_if(engine, configured(), by=["count"])
    assert len(few.segments) == scored["count"].nunique()
