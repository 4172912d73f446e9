"""Detectors of rows that come one after the other: the one rule by windows, statuses, reasons, model files, errors."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.series import GAP_AT, LENGTH, config, plant, with_errors
from vae_model import Detector
from vae_model.errors import ConfigError, ModelFileError, SchemaError, TrainingError
from vae_model.scoring import model_file

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def readings():
    """Normal readings, the same with errors, and where these are."""
    normal = plant()
    return normal, *with_errors(normal)


@pytest.fixture(scope="module")
def detector(readings):
    """Trained on the normal readings."""
    return Detector(config()).fit(readings[0])


@pytest.fixture(scope="module")
def scored(detector, readings):
    """What it makes of the readings with errors."""
    return detector.score(readings[1])


def same(found, expected):
    """Two scored frames are the same to the last bit."""
    pd.testing.assert_frame_equal(found.reset_index(drop=True), expected.reset_index(drop=True), check_exact=True)


def test_a_window_alone_gives_a_row_its_score(detector, readings, scored):
    """With nothing but its window a row has the score it has among all; with a row less it has none."""
    for row in (LENGTH - 1, 850, 1100, 1271, 2099):
        window = readings[1].iloc[row - LENGTH + 1 : row + 1]
        same(detector.score(window).tail(1), scored.iloc[[row]])
        short = detector.score(window.iloc[1:]).iloc[-1]
        assert short.anomaly_status == "short_window"
        assert pd.isna([short.anomaly_score, short.is_anomaly, short.anomaly_p_value, short.reconstruction_error]).all()


def test_the_order_in_which_rows_come_is_no_matter(detector, readings, scored):
    """Shuffled, the rows get the scores they had, each at its own place."""
    order = np.random.default_rng(0).permutation(len(scored))
    same(detector.score(readings[1].iloc[order]), scored.iloc[order])


def test_other_series_are_no_matter(detector, readings, scored):
    """A station scored by itself is scored as it was among the others."""
    own = readings[1].station == "B"
    same(detector.score(readings[1][own]), scored[own])


def test_time_zones_are_no_matter(detector, readings, scored):
    """The same moments, told in the time of another place."""
    moved = readings[1].assign(at=readings[1]["at"].dt.tz_convert("Asia/Kathmandu"))
    same(detector.score(moved), scored)


def test_what_has_no_whole_window_is_told(scored):
    """At the begin of a series and after its gap rows have no score; all others have one."""
    short = scored.anomaly_status == "short_window"
    expected = [place % 700 in [*range(LENGTH - 1), *range(GAP_AT, GAP_AT + LENGTH - 1)] for place in range(2100)]
    assert short.tolist() == expected
    assert scored.is_anomaly.isna().tolist() == expected
    assert set(scored.anomaly_status) == {"ok", "short_window"}


def test_what_is_wrong_only_at_its_time_comes_first(scored, readings):
    """The highest scores are of planted errors and of rows whose windows hold them, and each kind is found."""
    _, _, places = readings
    near = {row + after for own in places.values() for row in own for after in range(LENGTH)}
    assert set(scored.anomaly_score.nlargest(12).index) <= near
    flagged = set(np.flatnonzero(scored.is_anomaly.eq(True)))
    for kind, own in places.items():
        assert flagged & set(own), kind
    others = flagged - near
    assert len(others) < 0.02 * len(scored)


@pytest.mark.parametrize(
    ("kind", "feature", "observed"),
    [("stuck", "flow", "in 9 rows in a row"), ("jump", "flow", ""), ("loud", "hum", "on average over 6 rows")],
)
def test_a_reason_says_what_is_odd_about_the_course(scored, readings, kind, feature, observed):
    """The column comes first, with what was seen of it over time, and what was expected."""
    own = [one for one in scored.anomaly_reasons[readings[2][kind]] if len(one)]
    assert {reasons[0]["feature"] for reasons in own[-2:]} == {feature}
    assert any(observed in one["observed"] for reasons in own for one in reasons)
    assert all(sum(one["share"] for one in reasons) <= 1 + 1e-9 for reasons in own)


def test_a_value_of_another_hour_is_told_beside_the_one_expected(scored, readings):
    """What was expected of it after the rows before is near what it truly was."""
    (jump,) = readings[2]["jump"]
    expected = scored.anomaly_reasons[jump][0]["expected"]
    assert expected.endswith(" after the rows before it")
    assert float(expected.split()[0]) == pytest.approx(readings[0].flow[jump], abs=1.5)


def test_the_row_as_it_is_counts_too(detector, readings):
    """A category that never was is a reason by itself, as in a table without an order."""
    frame = readings[0].copy()
    frame.loc[50, "state"] = "on fire"
    row = detector.score(frame).loc[50]
    assert row.anomaly_status == "unseen_category"
    assert row.anomaly_reasons[0]["feature"] == "state"
    assert row.is_anomaly


def test_the_same_rows_give_the_same_model(readings, detector):
    """Byte by byte, in whatever order they come; and a file of it scores as it does."""
    order = np.random.default_rng(1).permutation(2100)
    assert Detector(config()).fit(readings[0].iloc[order]).to_bytes() == detector.to_bytes()
    same(Detector.from_bytes(detector.to_bytes()).score(readings[1]), detector.score(readings[1]))


def test_few_rows_train_and_calibrate_by_turns(readings):
    """Of one short series every row calibrates, but for those without a whole window."""
    small = readings[0][:250]
    found = Detector(config()).fit(small)
    assert len(found.calibration.scores) >= 200
    assert (found.score(small).anomaly_status == "short_window").sum() == LENGTH - 1


def test_one_series_needs_no_column_that_tells_series_apart(readings):
    """Without ``by`` all rows are of one series, and the order may be a number."""
    frame = readings[0][:700].assign(at=np.arange(700)).drop(columns=["station", "note"])
    own = config(key=["at"], features={"sequence": {"order": "at", "length": LENGTH}})
    found = Detector(own).fit(frame)
    assert found.spec.names == ["flow", "pressure", "hum", "level", "state"]
    assert (found.score(frame).anomaly_status == "short_window").sum() == LENGTH - 1


def test_no_row_is_no_trouble(detector, readings):
    """An empty frame gives an empty one, with all columns."""
    assert detector.score(readings[1][:0]).columns.tolist() == detector.score(readings[1]).columns.tolist()
    assert len(detector.score(pa.Table.from_pandas(readings[1][:0]))) == 0


def test_series_that_are_all_too_short_cannot_be_learnt_from(readings):
    """The error says how many windows there are, and what to do."""
    own = config(features={"exclude": ["note"], "sequence": {"by": ["station"], "order": "at", "max_gap": "5m"}})
    with pytest.raises(TrainingError, match=r"Too few rows have a whole window before them.\n(.|\n)*0 of"):
        Detector(own).fit(readings[0])


def test_without_a_number_there_is_no_course(readings):
    """Categories alone are judged row by row: a sequence of them is refused in words."""
    own = config(features={"include": ["state"], "sequence": {"by": ["station"], "order": "at"}})
    with pytest.raises(TrainingError, match="No number has a course"):
        Detector(own).fit(readings[0])


@pytest.mark.parametrize(
    ("sequence", "error", "words"),
    [
        ({"order": "when"}, SchemaError, "column 'when' is not in the table"),
        ({"order": "state"}, SchemaError, "column 'state' cannot be the order of the rows"),
        ({"order": "at", "by": ["flow"]}, SchemaError, "column 'flow' cannot be what tells the series apart"),
        ({"order": "at", "max_gap": 3}, ConfigError, "max_gap does not go with the column 'at'"),
        ({"order": "flow", "max_gap": "3h"}, ConfigError, "max_gap does not go with the column 'flow'"),
    ],
)
def test_a_config_that_does_not_fit_is_refused_before_any_work(readings, sequence, error, words):
    """Column by column, with what was expected."""
    with pytest.raises(error, match=words):
        Detector(config(features={"sequence": sequence})).fit(readings[0])


def test_a_table_without_the_order_cannot_be_scored(detector, readings):
    """What the model needs beside its features is asked for by name."""
    with pytest.raises(SchemaError, match="column 'at' is not in the table"):
        detector.score(readings[1].drop(columns="at"))


@pytest.mark.parametrize("name", ["sequence.course.weight", "sequence.evidence.knot", "sequence.row.tail_scale"])
@pytest.mark.parametrize("change", ["gone", "turned", "wild"])
def test_a_forged_model_is_refused(detector, name, change):
    """An array of the courses that is missing, of another shape, or holds what is no number."""
    header, arrays = model_file.loads(detector.to_bytes())
    arrays = {key: array.copy() for key, array in arrays.items()}
    if change == "gone":
        del arrays[name]
    elif change == "turned":
        arrays[name] = np.repeat(arrays[name], 2, axis=0)
    else:
        arrays[name].flat[0] = np.nan
    own = {key: value for key, value in header.items() if key not in ("sha256", "format_version")}
    with pytest.raises(ModelFileError, match=name):
        Detector.from_bytes(model_file.dumps(own, arrays))


def walk(rows, seed=0, **columns):
    """A series of one number that hardly remembers, in the order of t, and other columns."""
    random = np.random.default_rng(seed)
    return pd.DataFrame({"t": np.arange(rows), "x": random.normal(size=rows), **columns})


def trained(frame, length=8, rate=0.01, **changes):
    """A detector of rows in the order of t."""
    own = {
        "features": {"sequence": {"order": "t", "length": length, **changes}},
        "decision": {"false_alarm_rate": rate},
    }
    return Detector(config(key=[], **own)).fit(frame)


def test_a_counter_may_go_on_for_ever():
    """A number that wanders is not odd for being where it has never been, however far that is."""
    random = np.random.default_rng(0)
    frame = walk(6000, meter=np.cumsum(random.integers(1, 50, 6000)) + 10**9)
    found = trained(frame[:1500])
    flagged = found.score(frame).is_anomaly.eq(True).to_numpy()
    assert flagged[4000:].mean() < 0.05
    frame.loc[5000:5100, "meter"] = frame.meter[5000]
    stuck = found.score(frame)
    assert stuck.is_anomaly[5005:5100].all()
    assert "in a row" in stuck.anomaly_reasons[5050][0]["observed"]


def test_counters_of_several_series_may_go_on_too():
    """Each goes beyond where it was, though not beyond where others of them were."""
    random = np.random.default_rng(4)
    steps = random.integers(1, 50, (3, 3000))
    frame = pd.concat([walk(3000, one, s=one, meter=np.cumsum(steps[one])) for one in range(3)], ignore_index=True)
    found = trained(frame[frame["t"] < 1500], by=["s"])
    assert found.score(frame[frame["t"] >= 1500]).is_anomaly.eq(True).mean() < 0.05


def test_a_gap_in_a_number_that_wanders_says_nothing_of_those_after_it():
    """What is missing in a window is passed over: no level is that of the training mean."""
    random = np.random.default_rng(1)
    frame = walk(3000, level=1000 + np.cumsum(random.normal(size=3000)))
    found = trained(frame)
    clean = found.score(frame).is_anomaly.eq(True).sum()
    frame.loc[[500, 1100, 1700, 2500], "level"] = np.nan
    scored = found.score(frame)
    assert scored.is_anomaly.eq(True).sum() <= clean + 6
    after = [row + back for row in (500, 1100, 1700, 2500) for back in (1, 2, 3)]
    assert not any(one["feature"] == "level" for row in after for one in scored.anomaly_reasons[row])


def test_rows_may_be_given_to_calibrate_by():
    """They are series of their own, whose windows reach into no other table."""
    found = Detector(config(key=[], features={"sequence": {"order": "t", "length": 2}})).fit(walk(2000), walk(900, 1))
    assert len(found.calibration.scores) == 899
    fresh = found.score(walk(4000, 2)).is_anomaly.eq(True).mean()
    assert fresh < 4 * 0.004


def test_ties_do_not_depend_on_the_order_in_which_rows_come():
    """Of rows of the same moment the values say which comes first."""
    frame = walk(900)
    frame["t"] //= 3
    found = trained(frame)
    order = np.random.default_rng(3).permutation(900)
    shuffled = found.score(frame.iloc[order])
    assert shuffled.anomaly_score.sort_index().equals(found.score(frame).anomaly_score)


def test_a_moment_that_is_no_number_stands_for_itself():
    """NaN in the column of the order is as good as a null, however it comes."""
    frame = walk(600)
    frame["t"] = frame["t"].astype(float)
    found = trained(frame)
    frame.loc[300, "t"] = np.nan
    kept = pa.Table.from_pandas(frame, preserve_index=False, safe=False)
    as_nan = kept.set_column(0, "t", pa.array(frame["t"].to_numpy()))
    for given in (frame, kept, as_nan):
        statuses = pa.array(found.score(given)["anomaly_status"]).to_pylist()
        assert statuses[300] == "short_window"
        assert statuses.count("short_window") == 8


def test_short_series_are_held_out_too():
    """Of hundreds of series of four rows some are held out, whole."""
    frame = walk(2400)
    frame["s"], frame["t"] = frame["t"] // 4, frame["t"] % 4
    found = trained(frame, length=2, by=["s"])
    assert 200 < len(found.calibration.scores) < 500


@pytest.mark.parametrize(
    ("order", "gap"),
    [
        (pa.array([f"{n // 10}.{n % 10}" for n in range(600)]).cast(pa.decimal128(10, 1)), 0.1),
        (pa.array(np.arange(600) * 0.1), 0.1),
        (pa.array(1_700_000_000_000_000_000 + 50 * np.arange(600)), 50),
        (pa.array(np.arange(600), pa.float32()).cast(pa.float16()), 1),
    ],
)
def test_a_gap_as_wide_as_the_step_is_none(order, gap):
    """Decimals, fractions and large whole numbers are told apart as finely as they are written."""
    table = pa.Table.from_pandas(walk(600).drop(columns="t"), preserve_index=False).append_column("t", order)
    found = trained(table, max_gap=gap)
    assert pa.array(found.score(table)["anomaly_status"]).to_pylist().count("short_window") == 7


def test_an_order_of_numbers_may_be_of_another_type_when_rows_are_scored():
    """Whole numbers among which one is missing become floats in pandas: they are the same numbers."""
    frame = walk(600)
    found, changed = trained(frame), frame.astype({"t": float})
    changed.loc[300, "t"] = np.nan
    assert found.score(changed).anomaly_score[:300].equals(found.score(frame).anomaly_score[:300])


def test_a_key_of_any_type_orders_ties():
    """A pandas category is a key like any other."""
    frame = walk(600)
    frame["k"] = pd.Categorical((frame["t"] % 7).astype(str))
    own = config(key=["k"], features={"exclude": ["k"], "sequence": {"order": "t", "length": 8}})
    assert Detector(own).fit(frame).score(frame).anomaly_score.notna().sum() == 593


def test_a_largest_gap_of_nothing_is_refused():
    """With it no row would have another before it."""
    with pytest.raises(ConfigError, match="max_gap must be more than 0"):
        config(features={"sequence": {"order": "t", "max_gap": "0h"}})


def test_rows_of_series_cannot_be_scored_by_themselves(detector):
    """The scorer says so, where it is called as for a table."""
    with pytest.raises(ValueError, match=r"call along\(\)"):
        detector.scorer([])


def test_a_wild_value_is_no_measure_for_those_after_it():
    """Neither the next rows nor the one whose window begins with it are expected where it was."""
    random = np.random.default_rng(2)
    frame = walk(3000, level=50 + np.cumsum(random.normal(size=3000)))
    found = trained(frame)
    frame.loc[1500, "level"] += 10_000
    scored = found.score(frame)
    flagged = set(np.flatnonzero(scored.is_anomaly.eq(True)))
    assert 1500 in flagged
    assert 1507 not in flagged
    assert len(flagged & set(range(1501, 1508))) <= 3


def test_a_level_of_one_value_among_gaps_is_no_level():
    """A number that is seldom there is judged by what it is, and not as if it had been that for many rows."""
    frame = walk(4000)
    frame["gust"] = np.where(np.arange(4000) % 7 < 2, np.random.default_rng(5).normal(size=4000), np.nan)
    found = trained(frame, length=24, rate=0.005)
    fresh = walk(4000, 9)
    fresh["gust"] = np.where(np.arange(4000) % 13 == 0, np.random.default_rng(6).normal(size=4000), np.nan)
    scored = found.score(fresh)
    levels = [one for reasons in scored.anomaly_reasons for one in reasons if "on average" in one["observed"]]
    assert not [one for one in levels if one["feature"] == "gust"]
