"""The detector: fit, score, save and load on pandas, Arrow and NumPy."""

import os
import sys
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from vae_model import Config, Detector
from vae_model.config.sections import Decision
from vae_model.errors import InputError, ModelFileError, OutputError, SchemaError, TrainingError
from vae_model.runs.versions import Versions
from vae_model.scoring import model_file
from vae_model.scoring.output import SCORED
from vae_model.training.fit import SMALL

LEARNS = {"steps": 60, "hidden": [16]}
VALUES = ["reconstruction_error", "anomaly_score", "anomaly_p_value"]


class Stream:
    """A frame that is known by its Arrow C stream only, as polars' and others' are."""

    def __init__(self, table):
        self._table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self._table.__arrow_c_stream__(requested_schema)


def config(**sections):
    """A config of few steps: most of these tests are not about what is learnt."""
    few = {"decision": {"false_alarm_rate": 0.05}, "model": {"steps": 20, "hidden": [16]}}
    return Config.model_validate(few | sections)


def frame_of(rows, seed=0):
    """A pandas frame with a key, numbers, a category and gaps."""
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "id": [f"r{i}" for i in range(rows)],
            "a": draw.normal(size=rows),
            "b": draw.integers(0, 9, rows),
            "city": draw.choice(["x", "y"], rows),
        }
    )
    frame.loc[3::11, "a"] = np.nan
    frame.loc[5::22, "city"] = None
    return frame


def matrix_of(rows, seed=0):
    """A NumPy matrix with gaps."""
    matrix = np.random.default_rng(seed).normal(size=(rows, 3))
    matrix[::7, 1] = np.nan
    return matrix


@pytest.fixture(scope="module")
def detector():
    """Trained on a frame."""
    return Detector(config(name="small", key=["id"])).fit(frame_of(300))


@pytest.fixture(scope="module")
def numeric():
    """Trained on a matrix."""
    return Detector(config()).fit(matrix_of(300))


def refused(error, function, *arguments):
    """The message of the error a call raises."""
    with pytest.raises(error) as caught:
        function(*arguments)
    return str(caught.value)


def plain(scored):
    """Scored rows as a list of dicts, whatever holds them."""
    if isinstance(scored, pd.DataFrame):
        scored = pa.Table.from_pandas(scored, schema=SCORED, preserve_index=False)
    return scored.to_pylist()


# --- Frames


def test_frames_of_every_sort_agree(detector):
    """pandas, an Arrow table, a record batch and an Arrow stream give the same rows."""
    frame = frame_of(50, 1)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    expected = plain(detector.score(frame))
    for other in (table, table.combine_chunks().to_batches()[0], Stream(table)):
        assert plain(detector.score(other)) == expected
    assert len({row["anomaly_score"] for row in expected}) == 50


@pytest.mark.slow
def test_frames_of_every_sort_train_the_same_model(detector):
    """The same rows as pandas, Arrow or a stream give the same bytes."""
    table = pa.Table.from_pandas(frame_of(300), preserve_index=False)
    for other in (table, Stream(table)):
        assert Detector(config(name="small", key=["id"])).fit(other).to_bytes() == detector.to_bytes()


def test_a_matrix_is_a_frame_of_numbered_columns(numeric):
    """A NumPy matrix scores as the pandas frame with columns x0, x1, x2; NaN in it is a gap like a null."""
    matrix = matrix_of(40, 1) * 3
    frame = pd.DataFrame(matrix, columns=["x0", "x1", "x2"])
    assert numeric.spec.names == ["x0", "x1", "x2"]
    expected = plain(numeric.score(frame))
    assert sum(row["is_anomaly"] for row in expected) > 5
    assert plain(numeric.score(matrix)) == expected


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "bool", "object"])
def test_matrices_of_other_types_train(dtype):
    """A matrix of any type of number is trained on and scored."""
    matrix = np.random.default_rng(0).integers(0, 2, (60, 2)).astype(dtype)
    scored = Detector(config()).fit(matrix).score(matrix)
    assert len(scored) == 60
    assert np.isfinite(scored["anomaly_score"]).all()


def test_pandas_keeps_its_index(detector):
    """The scored frame has the index of the rows, of whatever sort."""
    frame = frame_of(6, 1)
    for index in (
        pd.Index([9, 9, 4, 0, -1, 7], name="row"),
        pd.Index(list("fedcba")),
        pd.MultiIndex.from_product([[1, 2], ["p", "q", "r"]], names=["n", "s"]),
        pd.date_range("2024-01-01", periods=6, tz="UTC"),
    ):
        scored = detector.score(frame.set_axis(index, axis=0))
        assert list(scored.columns) == SCORED.names
        pd.testing.assert_index_equal(scored.index, index, exact=False)
        np.testing.assert_array_equal(scored["anomaly_score"], detector.score(frame)["anomaly_score"])


def test_the_frame_is_not_changed(detector):
    """Fitting and scoring leave the caller's frame as it was."""
    frame = frame_of(60, 2)
    kept = frame.copy(deep=True)
    detector.score(frame)
    Detector(config(key=["id"])).fit(frame)
    pd.testing.assert_frame_equal(frame, kept)


@pytest.mark.parametrize("rows", [0, 1])
def test_no_rows_and_one_row_are_scored(detector, numeric, rows):
    """An empty frame gives an empty table with all columns; one row gives one."""
    frame = frame_of(1, 1).iloc[:rows]
    table = pa.Table.from_pandas(frame_of(1, 1), preserve_index=False).slice(0, rows)
    assert detector.score(table).schema.equals(SCORED)
    for scored in (detector.score(frame), detector.score(table).to_pandas(), numeric.score(matrix_of(1)[:rows])):
        assert list(scored.columns) == SCORED.names
        assert len(scored) == rows


def test_columns_may_come_in_any_order_with_others_between(detector):
    """Columns are taken by name; those the model does not know, the key too, are of no matter."""
    frame = frame_of(20, 1)
    other = frame[["city", "b", "a"]].assign(more=[b"bytes"] * 20)
    assert plain(detector.score(other)) == plain(detector.score(frame))


@pytest.mark.parametrize(
    "frame", [None, "rows", 5, [[1.0, 2.0]], pd.Series([1.0]), pd.DataFrame({"a": [1, "b"]})],
    ids=["none", "text", "number", "list", "series", "mixed"],
)  # fmt: skip
def test_what_is_no_frame_is_refused(numeric, frame):
    """Anything that cannot be read as a table says what can."""
    for function in (numeric.score, Detector(config()).fit):
        message = refused(SchemaError, function, frame)
        assert message.startswith(
            "The frame cannot be read as a table.\n  expected: pandas, Arrow or a NumPy matrix\n  found: "
        )


@pytest.mark.parametrize("shape", [(5,), (5, 2, 2)])
def test_arrays_that_are_no_matrix_are_refused(numeric, shape):
    """A NumPy array must have two dimensions."""
    assert refused(SchemaError, numeric.score, np.zeros(shape)) == (
        f"A NumPy frame has rows and columns.\n  expected: shape (N, F)\n  found: shape {shape}"
    )


def test_duplicate_columns_are_refused(numeric):
    """Two columns of one name are an error, from pandas as from Arrow."""
    frame = pd.DataFrame(np.zeros((30, 2)), columns=["x0", "x0"])
    table = pa.table([np.zeros(30), np.zeros(30)], names=["x0", "x0"])
    for rows in (frame, table):
        for function in (numeric.score, Detector(config()).fit):
            assert "x0" in refused(SchemaError, function, rows)


def test_missing_and_retyped_columns_are_named_together(detector):
    """Scoring a table that does not fit names every column, what was expected and the nearest name."""
    frame = frame_of(5, 1).rename(columns={"city": "citty"}).astype({"b": str})
    assert refused(SchemaError, detector.score, frame) == (
        "The table does not fit the model:\n"
        "  - column 'city' is not in the table; did you mean 'citty'?\n"
        "  - column 'b': expected integer (numeric when the model was trained), found string"
    )


def test_integers_with_gaps_are_still_numbers(detector):
    """An integer column that pandas made float, because of a gap, scores."""
    frame = frame_of(5, 1)
    frame["b"] = frame["b"].astype(float)
    frame.loc[2, "b"] = np.nan
    assert plain(detector.score(frame))[0] == plain(detector.score(frame_of(5, 1)))[0]


def test_a_feature_that_is_null_throughout_is_scored(detector):
    """A table in which a feature has no value at all, so no type, is scored with that feature missing."""
    frame = frame_of(5, 1).assign(city=None)
    typed = pa.Table.from_pandas(frame_of(5, 1), preserve_index=False)
    typed = typed.set_column(3, "city", pa.nulls(5, pa.string()))
    assert plain(detector.score(frame)) == plain(detector.score(typed))


def test_viewed_strings_train():
    """String views, as polars hands over, are trained on and scored."""
    table = pa.table({"s": pa.array(["a", "b"] * 50, pa.string_view())})
    scored = Detector(config()).fit(table).score(pa.table({"s": pa.array(["a", "c"], pa.string_view())}))
    assert scored["anomaly_status"].to_pylist() == ["ok", "unseen_category"]


# --- Fitting


@pytest.mark.slow
def test_fitting_twice_gives_the_same_bytes(detector):
    """Same rows, same config: the same file to the last bit, from a new detector and from the same one again."""
    first = Detector(config(name="small", key=["id"])).fit(frame_of(300))
    assert first.to_bytes() == detector.to_bytes()
    assert first.fit(frame_of(300)).to_bytes() == detector.to_bytes()


def test_another_seed_gives_another_model(detector):
    """The seed chooses the held-out rows and the weights."""
    other = Detector(config(name="small", key=["id"], train={"seed": 1})).fit(frame_of(300))
    assert other.header["sha256"] != detector.header["sha256"]
    assert not np.array_equal(other.calibration.scores, detector.calibration.scores)


def test_rows_are_split_by_the_share_of_the_config():
    """A fifth of the rows is held out, by default; all others train."""
    detector = Detector(config()).fit(matrix_of(SMALL))
    training = detector.header["training"]
    assert (training["rows"], training["calibration_rows"]) == (SMALL * 4 // 5, SMALL // 5)
    half = Detector(config(train={"calibration": 0.5})).fit(matrix_of(SMALL))
    assert (half.header["training"]["rows"], len(half.calibration.scores)) == (SMALL // 2, SMALL // 2)


def test_few_rows_all_train_and_all_calibrate():
    """Under ``SMALL`` rows each is scored by a model that has not seen it, and seen by the model that is kept."""
    frame = frame_of(100)
    detector = Detector(config(key=["id"])).fit(frame)
    assert (detector.header["training"]["rows"], len(detector.calibration.scores)) == (100, 100)
    own = np.sort(detector.score(frame)["anomaly_score"])
    assert not np.isclose(own, detector.calibration.scores).any()


@pytest.mark.slow
def test_p_values_of_few_rows_are_honest():
    """Of new normal rows about as many as promised have a small p-value, though every row has trained."""
    draw = np.random.default_rng(1)
    shares = []
    for seed in range(4):
        X = draw.normal(size=(120, 3))
        X[:, 2] = X[:, 0] + 0.3 * draw.normal(size=120)
        detector = Detector(config(train={"seed": seed}, model=LEARNS)).fit(X)
        new = draw.normal(size=(2000, 3))
        new[:, 2] = new[:, 0] + 0.3 * draw.normal(size=2000)
        shares.append((detector.score(new)["anomaly_p_value"] <= 0.1).mean())
    assert 0.04 < np.mean(shares) < 0.13


def test_progress_of_few_rows_is_as_kind_one():
    """The trainings of the folds and the last one are one row of steps, from the first to the last."""
    told = []
    Detector(config()).fit(matrix_of(60), progress=told.append)
    steps = [step.step for step in told]
    assert steps == sorted(set(steps))
    assert {step.steps for step in told} == {steps[-1]}
    assert told[-1].seconds_left == 0


def test_calibration_rows_can_be_given():
    """Rows handed over for calibration are all used for it, and none of the training rows is."""
    detector = Detector(config(key=["id"])).fit(frame_of(100), frame_of(30, 1))
    assert (detector.header["training"]["rows"], len(detector.calibration.scores)) == (100, 30)
    scores = detector.score(frame_of(30, 1))["anomaly_score"]
    np.testing.assert_allclose(detector.calibration.scores, np.sort(scores), rtol=1e-12)


def test_calibration_rows_must_fit_the_training_rows():
    """A calibration frame without one of the features is a SchemaError that names it."""
    short = frame_of(30, 1).drop(columns="city")
    message = refused(SchemaError, Detector(config(key=["id"])).fit, frame_of(100), short)
    assert "column 'city' is not in the table" in message


def test_calibration_rows_that_cannot_be_scored_are_refused():
    """Where no held-out row can be scored there is nothing to decide by: an error, not a model that flags all rows."""
    with pytest.raises(TrainingError):
        Detector(config()).fit(matrix_of(100), np.full((30, 3), np.nan))


@pytest.mark.parametrize(
    ("rows", "split"), [(0, "0 to train on and 0"), (1, "1 to train on and 0"), (19, "15 to train on and 4")]
)
def test_too_few_rows_are_refused(rows, split):
    """Fewer rows than can be trained on are an error with both counts."""
    table = pa.Table.from_pandas(frame_of(19), preserve_index=False).slice(0, rows)
    assert refused(TrainingError, Detector(config(key=["id"])).fit, table) == (
        "Too few normal rows to train on.\n"
        f"  expected: at least 20 rows\n  found: {split} held out\n"
        "  to do: Widen train.normal, or give a larger table."
    )


def test_twenty_rows_are_enough():
    """The smallest table that is taken trains and scores."""
    assert len(Detector(config(key=["id"])).fit(frame_of(20)).score(frame_of(3))) == 3


def test_no_held_out_rows_are_refused():
    """An empty calibration frame is an error."""
    message = refused(TrainingError, Detector(config()).fit, matrix_of(100), matrix_of(0))
    assert "100 to train on and 0 held out" in message


def test_everything_constant_is_refused():
    """A table in which nothing varies cannot be learnt."""
    frame = pd.DataFrame({"a": [1.0] * 50, "b": ["x"] * 50})
    message = refused(TrainingError, Detector(config()).fit, frame)
    assert message.startswith("There is nothing to learn: every feature is constant or null")


def test_a_failed_fit_leaves_the_trained_model(numeric):
    """A detector whose second fit fails still scores with its first model."""
    detector = Detector(config()).fit(matrix_of(300))
    with pytest.raises(TrainingError):
        detector.fit(np.zeros((50, 2)))
    assert detector.to_bytes() == numeric.to_bytes()


def test_features_of_the_config_are_used():
    """Included columns only, of the kinds that are set; the key is never a feature."""
    settings = config(key=["id"], features={"include": ["b", "city"], "kinds": {"b": "categorical"}})
    assert Detector(settings).fit(frame_of(60)).spec.trained == {
        "b": ("categorical", "integer"), "city": ("categorical", "string")
    }  # fmt: skip


def test_progress_is_told():
    """The callback hears of every 50th step and of the last."""
    told = []
    Detector(config(model=LEARNS)).fit(matrix_of(60), matrix_of(20, 1), told.append)
    assert [progress.step for progress in told] == [50, 60]


def test_without_torch_fitting_says_so(monkeypatch):
    """Training where torch is missing is an ImportError; the package itself was imported without it."""
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "vae_model.training.loop", raising=False)
    with pytest.raises(ImportError, match="torch"):
        Detector(config()).fit(matrix_of(60))


def test_fitting_keeps_the_config_it_was_given():
    """After training the detector's config is the one it was made with, reader options included."""
    given = config(source={"path": "p", "options": {"header": "true"}})
    detector = Detector(given).fit(matrix_of(60))
    assert detector.config == given


# --- Warnings


def test_columns_that_could_not_be_used_are_reported():
    """All-null and constant columns, and too few held-out rows, are named in the warnings."""
    frame = frame_of(100).assign(nothing=np.nan, same=1.0)
    detector = Detector(config(key=["id"], decision={"false_alarm_rate": 0.001})).fit(frame)
    assert detector.warnings == [
        "nothing: not used, all null in the training rows",
        "same: constant in the training rows",
        "decision.false_alarm_rate 0.001 needs 999 held-out rows and has 100: rows that score above all of them are "
        "flagged, about 0.0099 of the normal rows",
    ]


def test_a_pandas_column_of_none_is_reported_as_unused():
    """A column without any value, so without a type, is left out and reported like any other all-null column."""
    detector = Detector(config(key=["id"])).fit(frame_of(100).assign(nothing=None))
    assert detector.warnings == ["nothing: not used, all null in the training rows"]


def test_nothing_to_report(numeric):
    """A model with enough rows and no odd columns has no warnings."""
    assert numeric.warnings == []


# --- Decisions


def test_another_decision_changes_flags_not_scores(detector):
    """``with_decision`` gives the same bytes, name and scores, and flags that follow the rate."""
    frame = frame_of(200, 3)
    wide = detector.with_decision(Decision(false_alarm_rate=0.5))
    before, after = detector.score(frame), wide.score(frame)
    pd.testing.assert_frame_equal(before[VALUES], after[VALUES])
    assert 0 <= before["is_anomaly"].sum() < after["is_anomaly"].sum()
    np.testing.assert_array_equal(after["is_anomaly"], after["anomaly_p_value"] <= 0.5)
    assert wide.to_bytes() == detector.to_bytes()
    assert set(after["anomaly_model"]) == set(before["anomaly_model"])
    assert wide.config.decision.false_alarm_rate == 0.5
    assert detector.config.decision.false_alarm_rate == 0.05


def test_a_threshold_can_be_trained_with():
    """A config with a threshold trains a model that flags by it."""
    matrix = matrix_of(100)
    detector = Detector(config(decision={"threshold": 1.5})).fit(matrix)
    scored = detector.score(matrix)
    np.testing.assert_array_equal(scored["is_anomaly"], scored["anomaly_score"] >= 1.5)
    assert detector.warnings == []


def test_a_threshold_can_be_set_afterwards(numeric):
    """``with_decision`` takes a threshold."""
    scored = numeric.with_decision(Decision(threshold=1.5)).score(matrix_of(100))
    np.testing.assert_array_equal(scored["is_anomaly"], scored["anomaly_score"] >= 1.5)


# --- Files


def test_save_and_load_round_trip(detector, tmp_path):
    """A loaded model has the same bytes, config and scores; folders on the way are made."""
    path = tmp_path / "new" / "folder" / "m.vae"
    detector.save(path)
    again = Detector.load(path)
    assert path.read_bytes() == again.to_bytes() == detector.to_bytes()
    assert again.config == detector.config
    assert plain(again.score(frame_of(30, 1))) == plain(detector.score(frame_of(30, 1)))
    assert [file.name for file in path.parent.iterdir()] == ["m.vae"]


def test_file_uris_are_paths(detector, tmp_path):
    """``file:`` URIs name local files."""
    detector.save(f"file://{tmp_path}/m.vae")
    assert Detector.load(f"file:{tmp_path}/m.vae").to_bytes() == detector.to_bytes()


def test_other_file_systems_hold_models(detector):
    """Whatever fsspec knows can hold a model: here, its memory."""
    detector.save("memory://models/m.vae")
    assert Detector.load("memory://models/m.vae").to_bytes() == detector.to_bytes()


@pytest.mark.parametrize("step", ["pipe_file", "replace"])
def test_a_failing_write_leaves_the_old_file(detector, numeric, tmp_path, monkeypatch, step):
    """A write that fails half way is an OutputError; the old model is whole, and nothing is left beside it."""
    path = tmp_path / "m.vae"
    numeric.save(path)

    def fail(self, *arguments, **named):
        if step == "pipe_file":
            with open(arguments[0], "wb") as file:  # noqa: PTH123 - the first bytes reach the disk
                file.write(arguments[1][:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fsspec.implementations.local.LocalFileSystem if step == "pipe_file" else Path, step, fail)
    message = refused(OutputError, detector.save, path)
    assert message == f"The model cannot be written to {path}.\n  found: [Errno 28] No space left on device"
    monkeypatch.undo()
    assert Detector.load(path).to_bytes() == numeric.to_bytes()
    assert [file.name for file in tmp_path.iterdir()] == ["m.vae"]


def test_a_folder_is_no_place_for_a_model(detector, tmp_path):
    """Saving to the path of a folder is an OutputError, and puts nothing into the folder."""
    folder = tmp_path / "models"
    folder.mkdir()
    for path in (folder, f"{folder}/", f"{tmp_path}/none/"):
        refused(OutputError, detector.save, path)
    assert list(folder.iterdir()) == [] and list(tmp_path.iterdir()) == [folder]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_place_without_permission_is_an_output_error(detector, tmp_path):
    """Saving where one may not write is an OutputError."""
    tmp_path.chmod(0o500)
    try:
        refused(OutputError, detector.save, tmp_path / "m.vae")
    finally:
        tmp_path.chmod(0o700)


def test_a_missing_model_says_how_to_make_one(tmp_path):
    """Loading what is not there names the path and the command that writes it."""
    path = tmp_path / "none.vae"
    assert refused(ModelFileError, Detector.load, path) == (
        f"Model file {path} does not exist.\n  to do: `vae-anomaly train --config FILE` writes it."
    )


def test_a_folder_is_no_model(tmp_path):
    """A folder holds versions: where there are none, loading it says how to make one."""
    assert refused(ModelFileError, Detector.load, tmp_path) == (
        f"A current version of the model does not exist in {tmp_path}.\n"
        "  to do: `vae-anomaly train --config FILE` writes the first."
    )


def test_a_version_is_loaded_by_number_digest_or_as_the_current_one(detector, numeric, tmp_path):
    """Of a folder of versions the one in use is loaded, or any other that is asked for."""
    kept = Versions(str(tmp_path))
    for one in (numeric, detector):
        version = kept.add(one.to_bytes(), one.header["sha256"])
        kept.promote(version, one.header["sha256"], "a test")
    assert Detector.load(tmp_path).to_bytes() == Detector.load(f"{tmp_path}/").to_bytes() == detector.to_bytes()
    for wanted in (1, numeric.header["sha256"], numeric.scorer.name.partition("@")[2]):
        assert Detector.load(tmp_path, wanted).to_bytes() == numeric.to_bytes()


def test_a_version_that_holds_another_model_is_refused(detector, numeric, tmp_path):
    """A file that was put in the place of a version is not used under its name."""
    version = Versions(str(tmp_path)).add(numeric.to_bytes(), detector.header["sha256"])
    assert "holds another model than its name says" in refused(ModelFileError, Detector.load, tmp_path, version.number)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x80\x04\x95"])
def test_a_file_that_is_no_model_is_named(tmp_path, content):
    """The path of a bad file is in the message."""
    path = tmp_path / "m.vae"
    path.write_bytes(content)
    assert refused(ModelFileError, Detector.load, path).startswith(f"Model file {path} is ")


def test_a_place_nobody_knows_is_refused(detector):
    """A path of an unknown file system is an error about the place, for reading and writing."""
    for function in (Detector.load, detector.save):
        assert "nowhere://bucket/m.vae cannot be reached" in refused(InputError, function, "nowhere://bucket/m.vae")


def test_an_untrained_detector_says_so(tmp_path):
    """Scoring, saving and looking into a detector that was not trained is an error that says what to do."""
    detector = Detector(config())
    expected = "This detector is not trained.\n  to do: Call fit, or Detector.load."
    for function in (lambda: detector.score(matrix_of(3)), lambda: detector.save(tmp_path / "m"), detector.to_bytes):
        assert refused(TrainingError, function) == expected
    assert refused(TrainingError, lambda: detector.spec) == expected


@pytest.mark.slow
def test_where_things_lie_is_not_in_the_model():
    """The same rows from another source, trained into another file for another output on another engine and accepted
    otherwise, give the same bytes; nothing of the source travels with the model, secrets in its options least of all.
    """
    there = {
        "source": {"path": "s3://rows", "where": "a > 0", "options": {"fs.s3a.assumed.role": "hunter2-value"}},
        "output": {"table": "elsewhere"},
        "engine": "spark",
        "train": {"accept_if": {"max_score_loss": 0.1}},
    }
    here = {"source": {"table": "rows", "format": "delta"}, "output": {"path": "out", "mode": "append"}}
    models = []
    for number, sections in enumerate((here, there)):
        values = {**sections, "model": {"path": f"models/{number}.vae", "steps": 20, "hidden": [4], "keep": number + 2}}
        models.append(Detector(Config.model_validate(values)).fit(matrix_of(60)).to_bytes())
    assert models[0] == models[1]
    assert not any(word in models[0] for word in (b"s3:", b".vae", b"elsewhere", b"hunter2", b"role"))
    assert Detector.from_bytes(models[0]).config.source is None


def test_a_model_of_an_earlier_version_that_says_where_things_lie_is_read(numeric):
    """Files of format 3 whose config names source, output and its own path score as ever."""
    header, arrays = model_file.loads(numeric.to_bytes())
    header["config"] |= {"source": {"path": "rows"}, "output": {"path": "out"}, "engine": "sail"}
    header["config"]["model"]["path"] = "m.vae"
    kept = {key: value for key, value in header.items() if key not in ("format_version", "sha256")}
    again = Detector.from_bytes(model_file.dumps(kept, arrays))
    assert (
        plain(again.score(matrix_of(9)))[0]["anomaly_score"] == plain(numeric.score(matrix_of(9)))[0]["anomaly_score"]
    )
    assert str(again.config.source) == "rows"


def test_any_name_the_config_allows_can_be_trained():
    """A name of sixty-four zeros is odd, but allowed: the model is whole."""
    detector = Detector(config(name="0" * 64)).fit(matrix_of(60))
    assert detector.score(matrix_of(1))["anomaly_model"][0].startswith("0" * 64 + "@")


def test_the_model_tells_its_versions(detector):
    """The header says which Python and libraries shaped the model."""
    assert {"python", "torch", "numpy", "pyarrow"} <= set(detector.header["versions"])
