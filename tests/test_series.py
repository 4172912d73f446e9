"""Detectors of rows that come one after the other: the one rule by windows, statuses, reasons, model files, errors."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.series import GAP_AT, LENGTH, config, plant, with_errors
from vae_model import Detector
from vae_model.errors import ConfigError, ModelFileError, SchemaError, TrainingError
from vae_model.scoring import model_file


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
