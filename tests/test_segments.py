"""Decisions by segments, without Spark: what a detector learns of them, and what it makes of rows."""

import numpy as np
import pyarrow as pa
import pytest

from vae_model import Config, Detector
from vae_model.config.sections import Decision
from vae_model.console.logs import LogFormat
from vae_model.console.reporter import Reporter
from vae_model.errors import ConfigError, SchemaError, TrainingError

pytestmark = pytest.mark.slow

BY = {"by": ["site", "day"], "false_alarm_rate": 0.02}


def plant(rows, seed=0, sites=("a", "b", None)):
    """Five numbers that hang together, the more loosely the later the site; the day says nothing."""
    draw = np.random.default_rng(seed)
    weights = np.random.default_rng(99).normal(size=(2, 5))
    site = draw.integers(0, len(sites), rows)
    values = draw.normal(size=(rows, 2)) @ weights + 0.2 * (1 + 2 * site[:, None]) * draw.normal(size=(rows, 5))
    columns = {f"x{i}": values[:, i] for i in range(5)}
    day = pa.array(draw.integers(0, 2, rows).astype(np.int32)).cast(pa.date32())
    return pa.table(columns | {"site": pa.array(sites, pa.string()).take(pa.array(site)), "day": day})


def config(**more):
    """Few steps; site and day are no features."""
    values = {"model": {"steps": 100, "hidden": [16]}, "features": {"exclude": ["site", "day"]}, "decision": BY}
    return Config.model_validate(values | more)


DETECTOR = Detector(config()).fit(plant(20_000))
NEW = plant(20_000, 1)


def rates(scored, rows):
    """The share flagged of each site, lowest first."""
    flagged = scored["is_anomaly"].to_numpy().astype(float)
    site = np.array(rows["site"].fill_null("-").to_pylist())
    return [float(flagged[site == one].mean()) for one in ("a", "b", "-")]


def test_the_rate_holds_in_each_segment():
    """Normal rows of each site are flagged as often as asked, where by one bar the looser ones have all the alarms."""
    whole = DETECTOR.with_decision(Decision(false_alarm_rate=0.02)).score(NEW)
    apart = DETECTOR.score(NEW)
    assert min(rates(whole, NEW)) < 0.004 and max(rates(whole, NEW)) > 0.04
    assert min(rates(apart, NEW)) > 0.008 and max(rates(apart, NEW)) < 0.036
    assert whole["anomaly_score"].equals(apart["anomaly_score"])


def test_p_values_are_of_scores_over_the_level_of_their_segment():
    """(1 + k) / (1 + n) among those of the held-out rows, and the rate flags what is at most that."""
    scorer, scored = DETECTOR.scorer, DETECTOR.score(NEW.slice(0, 500))
    segments = scorer.segments
    held_out = scorer.held_out / segments.level_S[segments.held_out_H]
    own = scored["anomaly_score"].to_numpy() / segments.level_S[segments.codes_in(NEW.slice(0, 500))]
    expected = [(1 + np.count_nonzero(held_out >= score)) / (1 + len(held_out)) for score in own]
    np.testing.assert_array_equal(scored["anomaly_p_value"].to_numpy(), expected)
    np.testing.assert_array_equal(scored["is_anomaly"].to_numpy(), np.array(expected) <= 0.02 * (1 + 1e-9))


def test_an_unseen_segment_is_decided_on_as_the_whole():
    """It has a score and a decision by the level 1, and its status says so; what keeps a row from being scored, or is
    odd in a feature, is said rather.
    """
    rows = NEW.slice(0, 4).set_column(5, "site", pa.array(["a", "new", "new", "new"]))
    x0 = pa.array([0.0, 0.0, np.inf, None])
    gone = pa.nulls(1, pa.float64())
    rows = rows.set_column(0, "x0", x0)
    for i in range(1, 4):
        column = pa.concat_arrays([rows[f"x{i}"].combine_chunks().slice(0, 3), gone])
        rows = rows.set_column(i, f"x{i}", column)
    scored = DETECTOR.score(rows)
    assert scored["anomaly_status"].to_pylist() == ["ok", "unseen_segment", "non_finite", "too_many_missing"]
    whole = DETECTOR.scorer.calibration.p_values(scored["anomaly_score"].to_numpy()[1:2])
    assert scored["anomaly_p_value"].to_pylist()[1] == whole[0]
    plain = DETECTOR.with_decision(Decision()).score(rows)
    assert plain["anomaly_status"].to_pylist() == ["ok", "ok", "non_finite", "too_many_missing"]


def test_a_decision_without_segments_does_not_need_their_columns():
    """A model that knows segments scores by the whole as a model that does not, and asks for features alone."""
    plain = Detector(config(decision={"false_alarm_rate": 0.02})).fit(plant(20_000))
    rows = NEW.slice(0, 2000)
    found = DETECTOR.with_decision(Decision(false_alarm_rate=0.02)).score(rows.drop_columns(["site", "day"]))
    assert found.drop_columns(["anomaly_model"]).equals(plain.score(rows).drop_columns(["anomaly_model"]))


def test_a_column_may_be_a_feature_and_of_another_type_later():
    """A feature is given once; its values are compared as text, in an enumeration too."""
    detector = Detector(config(features={})).fit(plant(3000))
    assert detector.scorer.names == detector.spec.names
    rows = NEW.slice(0, 1000)
    coded = rows.set_column(5, "site", rows["site"].dictionary_encode())
    assert set(detector.score(rows)["anomaly_status"].to_pylist()) == {"ok"}
    assert detector.score(coded).equals(detector.score(rows))
    text = rows.set_column(6, "day", rows["day"].cast(pa.string()))
    assert DETECTOR.score(text).equals(DETECTOR.score(rows))


def test_a_row_alone_is_decided_on_as_among_all():
    """Segment, p-value and decision are its own."""
    expected = DETECTOR.score(NEW.slice(0, 300))
    for i in range(0, 300, 25):
        assert DETECTOR.score(NEW.slice(i, 1)).equals(expected.slice(i, 1))


def test_codes_stay_with_the_scores_of_their_rows():
    """Whatever is left out of the held-out rows on the way, gross errors and rows with too many gaps: each score that
    calibrates stands beside the segment of its own row.
    """
    held_out = plant(2000, 3)
    for i in range(5):
        values = held_out[f"x{i}"].to_numpy().copy()
        values[i::50] = 1e6
        gaps = np.arange(2000) % 9 == 0 if i < 4 else np.zeros(2000, bool)
        held_out = held_out.set_column(i, f"x{i}", pa.array(values, mask=gaps))
    detector = Detector(config()).fit(plant(3000), calibration=held_out)
    assert detector.header["training"]["set_aside"]["held_out"] > 100
    scorer, scored = detector.scorer, detector.score(held_out)
    score = scored["anomaly_score"].to_numpy()
    pairs = set(zip(score.tolist(), scorer.segments.codes_in(held_out).tolist(), strict=True))
    assert len(scorer.held_out) > 1000
    assert set(zip(scorer.held_out.tolist(), scorer.segments.held_out_H.tolist(), strict=True)) <= pairs


def test_few_rows_that_serve_for_both_have_segments_too():
    """Under 500 rows each is held out once, and counted in its segment."""
    rows = plant(450, sites=("a", "b"))
    detector = Detector(config(decision={"by": ["site"]}, train={"trim": 0})).fit(rows)
    segments = detector.scorer.segments
    assert segments.values == (("a",), ("b",))
    assert segments.rows_S.tolist() == [rows["site"].to_pylist().count(site) for site in ("a", "b")]
    assert segments.level_S[0] < 0.7 and segments.level_S[1] > 1


def test_expected_alerts_are_a_rate():
    """So many alerts of so many rows are what that share of the rows would be."""
    alerts, rate = (Decision(**rule) for rule in ({"expected_alerts": {"alerts": 5, "rows": 250}}, BY | {"by": []}))
    one, other = (DETECTOR.with_decision(own) for own in (alerts, rate))
    assert one.score(NEW).equals(other.score(NEW))
    assert "decision.expected_alerts asks for 5 in 250 rows; 4,000 held-out rows" in one.calibration.describe()
    trained = Detector(config(decision={"expected_alerts": {"alerts": 5, "rows": 250}})).fit(plant(6000))
    assert Detector.from_bytes(trained.to_bytes()).calibration.false_alarm_rate == 0.02


def test_too_few_rows_for_the_alerts_are_told():
    """The warning names the rule that asks for them."""
    few = DETECTOR.with_decision(Decision(expected_alerts={"alerts": 1, "rows": 100_000}))
    assert few.warnings[-1].startswith(
        "decision.expected_alerts, a rate of 1e-05 needs 99,999 held-out rows and has 4,000"
    )


def test_what_is_divided_by_is_told():
    """By the words of the decision and by a warning, where a segment is small."""
    assert "times the level of their segment (site, day: 6, from 0." in DETECTOR.calibration.describe()
    rows = pa.concat_tables([plant(3000), plant(40, 5, sites=("rare",))])
    (note,) = Detector(config(decision={"by": ["site"], "false_alarm_rate": 0.01})).fit(rows).warnings
    assert note.startswith("decision.by: 1 of 4 segments has fewer than 50 held-out rows")


def test_a_model_lists_its_segments(capsys):
    """What `inspect` shows of each: its values, its held-out rows, and its level."""
    Reporter(LogFormat.plain).model(DETECTOR)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    segments = DETECTOR.scorer.segments
    for own, rows, level in zip(segments.values, segments.rows_S, segments.level_S, strict=True):
        assert [own[0] or "null", own[1], f"{rows:,}", f"{level:.4g}"] in lines


@pytest.mark.parametrize("by", [["site"], ["x0"], ["site", "day", "x0"]])
def test_segments_that_a_model_does_not_know_are_refused(by):
    """A decision by others than it was trained with says to train again; the order of columns says nothing."""
    with pytest.raises(ConfigError) as error:
        DETECTOR.with_decision(Decision(by=by))
    assert "was not trained to decide by" in str(error.value) and "decision.by: [site, day], or none" in str(
        error.value
    )
    assert "Train the model again" in error.value.hint
    other = DETECTOR.with_decision(Decision(by=["day", "site"], false_alarm_rate=0.02))
    assert other.score(NEW.slice(0, 99)).equals(DETECTOR.score(NEW.slice(0, 99)))


@pytest.mark.parametrize(
    ("by", "error", "words"),
    [
        (["sit"], SchemaError, "column 'sit' is not in the table; did you mean 'site'?"),
        (["x1", "day"], SchemaError, "column 'x1': expected string, integer, boolean or date, found double"),
        (["id"], TrainingError, "at most 10, one for each 100 of the 1,000 rows of the sample\n  found: 1,000\n"),
    ],
)
def test_columns_that_make_no_segments_are_told_before_training(by, error, words):
    """A missing one, one of floats, one with too many values."""
    rows = plant(1000).append_column("id", pa.array(range(1000)))
    seen = []
    with pytest.raises(error, match=r"decision\.by") as caught:
        Detector(config(decision={"by": by}, features={"include": ["x0", "x1"]})).fit(rows, progress=seen.append)
    assert words in str(caught.value) and not seen


def test_a_table_without_the_column_is_not_scored():
    """Told by name; so are rows to calibrate by."""
    with pytest.raises(SchemaError, match="column 'site' is not in the table"):
        DETECTOR.score(NEW.drop_columns(["site"]))
    with pytest.raises(SchemaError, match="column 'day' is not in the table"):
        Detector(config()).fit(plant(1000), calibration=plant(100).drop_columns(["day"]))
