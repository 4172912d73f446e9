"""Rows with pictures, on every engine: the same scores and reasons, whole jobs, what is refused before any work."""

import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.pictures import BROKEN, EMPTY, HOLES, LIGHT, SETTINGS, SIDE, config, parts, photos_alone, pixels, with_errors
from tests.spark.jobs.scoring import run_score
from vae_model import Detector
from vae_model.errors import ConfigError, SchemaError
from vae_model.spark import score, train
from vae_model.spark.frames import to_arrow
from vae_model.spark.jobs import evaluate as evaluating
from vae_model.spark.jobs import report as reporting
from vae_model.spark.jobs.run import run
from vae_model.spark.sinks.reading import read_output
from vae_model.spark.source import pictures

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def detector():
    """Trained without Spark."""
    return Detector(config()).fit(parts())


@pytest.fixture(scope="session")
def odd():
    """Parts with errors."""
    return with_errors(parts(120, seed=9))


@pytest.fixture(scope="session")
def expected(detector, odd):
    """What the detector makes of them without Spark."""
    return detector.score(odd)


@pytest.fixture
def path(odd, tmp_path):
    """The parts with errors, shuffled over several files."""
    return stored(odd, tmp_path / "parts")


def stored(rows, folder):
    """Parts, shuffled over several files."""
    folder.mkdir()
    frame = rows.iloc[np.random.default_rng(0).permutation(len(rows))]
    for i, part in enumerate(np.array_split(np.arange(len(frame)), 3)):
        pq.write_table(pa.Table.from_pandas(frame.iloc[part], preserve_index=False), folder / f"part{i}.parquet")
    return str(folder)


def job(path, tmp_path, **changes):
    """A complete config over the parts."""
    values = {
        "source": {"path": path}, "model": {**SETTINGS["model"], "path": str(tmp_path / "parts.vae")},
        "output": {"path": str(tmp_path / "scored"), "format": "delta"},
    }  # fmt: skip
    return config(**{**values, **changes})


def by_id(frame):
    """A scored frame as pandas, in the order of the ids."""
    return to_arrow(frame).to_pandas().sort_values("id").reset_index(drop=True)


def assert_scores(found, expected):
    """The same scores, to the last digits, and the same statuses, flags and reasons."""
    for name in ("anomaly_score", "anomaly_p_value", "reconstruction_error"):
        np.testing.assert_allclose(found[name].astype(float), expected[name].astype(float), rtol=1e-9)
    assert found.anomaly_status.tolist() == expected.anomaly_status.tolist()
    assert found.is_anomaly.eq(True).tolist() == expected.is_anomaly.eq(True).tolist()
    told = [[[(why["feature"], why["observed"]) for why in row] for row in own.anomaly_reasons]
            for own in (found, expected)]  # fmt: skip
    assert told[0] == told[1]


@pytest.mark.parametrize("partitions", [1, 5])
def test_every_engine_gives_the_scores_of_this_process(engine, detector, odd, expected, path, partitions):
    """Missing and broken files among them, however the rows lie; the files pass through byte for byte."""
    found = by_id(score(engine.read.parquet(path).repartition(partitions), detector))
    assert_scores(found, expected)
    own = [None if value is None else bytes(value) for value in found.photo]
    assert own == odd.photo.tolist()


def test_a_job_from_table_to_table(engine, tmp_path):
    """Trains, scores, writes alerts and a record; the holes and the light part come first, on each engine the same."""
    path = stored(with_errors(parts(520)), tmp_path / "parts")
    settings = job(path, tmp_path, alerts={"path": str(tmp_path / "alerts"), "budget": 3})
    record = run(engine, settings, train=True)
    assert (record.rows_read, record.statuses["unreadable_image"]) == (520, 1)
    found = by_id(read_output(engine, settings.output))
    assert set(found.anomaly_score.sort_values(ascending=False).index[:3]) == {*HOLES, LIGHT}
    assert found.anomaly_status[BROKEN] == "unreadable_image"
    assert found.anomaly_score.notna().all()
    alerts = to_arrow(read_output(engine, settings.alerts_output)).to_pandas()
    assert alerts.reason.str.startswith("photo is odd").sum() == len(set(alerts.id) & {*HOLES})
    assert set(alerts.id) <= {*HOLES, LIGHT, EMPTY}


def test_a_sample_drawn_by_an_engine_trains_the_same_model(engine, path, on_sail):
    """The model's bytes are those that the embedded engine's sample gives."""
    here = train(engine.read.parquet(path), photos_alone())
    there = on_sail(lambda sail: train(sail.read.parquet(path), photos_alone()))
    assert here.to_bytes() == there.to_bytes()


def test_arrays_of_numbers(engine, tmp_path):
    """A column of arrays with a shape is scored as it is without Spark; one of another length is unreadable."""
    features = {"kinds": {"photo": "image"}, "image": {"height": SIDE, "width": SIDE}}
    values = [one.ravel().tolist() for one in pixels(200)]
    table = pa.table({"id": range(200), "photo": pa.array([*values[:-1], [1, 2, 3]], pa.list_(pa.int32()))})
    pq.write_table(table, tmp_path / "arrays.parquet")
    own = Detector(config(features=features)).fit(table)
    found = by_id(score(engine.read.parquet(str(tmp_path / "arrays.parquet")), own))
    np.testing.assert_allclose(
        found.anomaly_score.astype(float), own.score(table)["anomaly_score"].to_numpy(), rtol=1e-9
    )
    assert found.anomaly_status.tolist() == ["ok"] * 199 + ["unreadable_image"]


def test_a_slice_is_scored_as_the_whole(engine, detector, path, expected, tmp_path):
    """``source.where`` takes some of the rows: their scores are what they are among all."""
    settings = job(path, tmp_path, source={"path": path, "where": "id < 40"})
    run_score(engine, settings, detector)
    assert_scores(by_id(read_output(engine, settings.output)), expected[:40])


def test_pictures_that_were_files_are_not_to_be_text(engine, detector, path, tmp_path):
    """A retyped column is refused before anything is written."""
    frame = engine.read.parquet(path).selectExpr("id", "width", "weight", "CAST(id AS STRING) AS photo")
    with pytest.raises(SchemaError, match="column 'photo': expected binary"):
        score(frame, detector)


def test_evaluate_says_that_it_cannot(engine, path, tmp_path):
    """Errors are not planted into pictures: a clear refusal, and what to do."""
    with pytest.raises(ConfigError, match="Pictures cannot be evaluated yet"):
        evaluating.evaluate(engine, job(path, tmp_path))


def test_large_pictures_make_a_smaller_sample(engine, path, monkeypatch):
    """As many rows as there is room for on the driver, at least a hundred; no more than are trained on."""
    frame = engine.read.parquet(path)
    assert pictures.room(frame, ["photo"], 10**6) == pictures.MOST_ROWS
    assert pictures.room(frame, ["photo"], 60) == 60
    monkeypatch.setattr(pictures, "MOST_BYTES", 200_000)
    assert 110 <= pictures.room(frame, ["photo"], 10**6) <= 300
    monkeypatch.setattr(pictures, "MOST_BYTES", 1)
    assert pictures.room(frame, ["photo"], 10**6) == 100


def test_drift_reads_no_file(engine, path, detector):
    """What is held against training of a picture is whether it is there: the rest stays where it is."""
    bare = to_arrow(pictures.without(engine.read.parquet(path), ["photo"])).to_pandas().sort_values("id")
    assert [None if value is None else bytes(value) for value in bare.photo] == [
        None if row == EMPTY else b"" for row in range(120)
    ]  # fmt: skip
    frame = pd.concat([bare] * 5)
    assert "photo" not in {one.column for one in detector.drift(frame).moved}


@pytest.mark.parametrize("name", ["belt", "two words 50%"])
def test_a_folder_of_files_is_a_table(engine, odd, tmp_path, name):
    """``format: binaryFile``: a row a file, its path the same on every engine, its content scored by a job."""
    folder = tmp_path / name
    folder.mkdir()
    for row in range(40):
        (folder / f"part {row:02}.png").write_bytes(odd.photo[row])
    features = {"include": ["content"], "kinds": {"content": "image"}, "image": {"height": SIDE, "width": SIDE}}
    settings = job(str(folder), tmp_path, source={"path": str(folder), "format": "binaryFile"}, key=["path"],
                   features=features)  # fmt: skip
    own = Detector(settings).fit(parts().rename(columns={"photo": "content", "note": "path"}))
    run_score(engine, settings, own)
    found = to_arrow(read_output(engine, settings.output)).to_pandas().sort_values("path").reset_index(drop=True)
    assert found.path.tolist() == [f"{folder}/part {row:02}.png" for row in range(40)]
    assert found.anomaly_score.idxmax() == HOLES[0]
    alone = own.score(odd.rename(columns={"photo": "content"})[:40])
    np.testing.assert_allclose(found.anomaly_score.astype(float), alone.anomaly_score, rtol=1e-9)


def test_the_report_shows_what_is_odd(engine, detector, path, tmp_path):
    """Beside the rows that are blamed on their photo stands the photo, twice; the light part has none, nor a script."""
    settings = job(path, tmp_path)
    detector.save(settings.model.path)
    record = run(engine, settings, train=False)
    page = reporting.report(engine, settings, record=record)
    shown = re.findall(r'<img src="data:image/jpeg;base64,[A-Za-z0-9+/=]+" alt="([^"]*)"', page)
    assert len(page.encode()) < 200_000
    assert shown[:2] == ["photo, as the model sees it", "what is odd about photo, in red"]
    assert len(shown) % 2 == 0
    assert "<script" not in page
    cards = {re.search(r"id (\d+)", card)[1]: card for card in re.findall(r"<article.*?</article>", page, re.DOTALL)
             if "id " in card}  # fmt: skip
    assert all("<img" in cards[str(row)] for row in HOLES)
    assert "<img" not in cards[str(LIGHT)]
