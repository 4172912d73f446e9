"""Rows with pictures, without Spark: what is odd is found and told, whatever the file and whatever is beside it."""

import re

import numpy as np
import pyarrow as pa
import pytest

from tests.pictures import BROKEN, EMPTY, HOLES, LIGHT, SIDE, config, parts, photos_alone, pixels, png, with_errors
from vae_model import Detector
from vae_model.config.load import parse_config
from vae_model.config.sections import Decision
from vae_model.errors import ConfigError, ModelFileError, SchemaError, TrainingError
from vae_model.scoring import model_file

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def normal():
    """Parts as they should be."""
    return parts()


@pytest.fixture(scope="module")
def odd(normal):
    """Others, with errors."""
    return with_errors(parts(120, seed=9))


@pytest.fixture(scope="module")
def detector(normal):
    """Sees photo, width and weight."""
    return Detector(config()).fit(normal)


@pytest.fixture(scope="module")
def alone(normal):
    """Sees the photo alone."""
    return Detector(photos_alone()).fit(normal)


@pytest.fixture(scope="module")
def scored(detector, odd):
    """What the one makes of the parts with errors."""
    return detector.score(odd)


def test_planted_errors_rank_first_in_pictures_and_in_numbers(scored):
    """The two holes and the light part have the highest scores of all rows, and are flagged."""
    first = scored.anomaly_score.sort_values(ascending=False).index
    assert set(first[:3]) == {*HOLES, LIGHT}
    assert scored.is_anomaly[[*HOLES, LIGHT]].all()
    assert scored.is_anomaly.eq(True).sum() <= 6


def test_pictures_alone_are_enough(alone, odd):
    """A model of nothing but a column of pictures finds the holes; the light part is nothing to it."""
    found = alone.score(odd)
    assert set(found.anomaly_score.sort_values(ascending=False).index[:2]) == set(HOLES)
    assert not found.is_anomaly[LIGHT]
    assert found.anomaly_reasons[HOLES[0]][0]["feature"] == "photo"


def test_a_reason_says_where_in_the_picture(scored):
    """A part with a hole is blamed on its photo, with a patch that holds the hole; the light one on weight or width."""
    for row in HOLES:
        reason = scored.anomaly_reasons[row][0]
        assert reason["feature"] == "photo"
        assert reason["share"] > 0.9
        place = re.search(r"odd .*in (\d+) x \d+ pixels from row (\d+), column (\d+) on", reason["observed"])
        size, top, left = map(int, place.groups())
        assert size <= SIDE / 2
        assert 19 - size < top < 27
        assert 3 - size < left < 11
        assert reason["expected"] == "one like those of training"
    assert scored.anomaly_reasons[LIGHT][0]["feature"] in ("weight", "width")


def test_the_reason_as_a_sentence(detector, odd):
    """What explaining gives is a sentence that names the photo and where."""
    arrays = [pa.array(odd[name].iloc[[HOLES[0]]]) for name in detector.scorer.names]
    (sentence,) = detector.scorer.explain(arrays).field("reason").to_pylist()
    assert sentence.startswith("photo is odd")
    assert sentence.endswith("; without it the row is ordinary.")


def test_a_photo_that_is_missing_or_broken_is_told_and_loses_nothing(detector, scored, odd):
    """Such rows are scored by their other columns; the broken one has a status of its own, and all others are ok."""
    assert scored.anomaly_status[BROKEN] == "unreadable_image"
    assert scored.anomaly_status[EMPTY] == "ok"
    assert scored.anomaly_score[[BROKEN, EMPTY]].notna().all()
    assert set(scored.anomaly_status.drop(BROKEN)) == {"ok"}
    light = odd.iloc[[BROKEN, EMPTY]].assign(weight=10.0)
    assert detector.score(light).is_anomaly.all()


def test_without_a_picture_there_is_no_score_where_there_is_nothing_else(alone, odd):
    """The statuses say why: unreadable_image, or too_many_missing."""
    found = alone.score(odd)
    assert found.anomaly_status[[BROKEN, EMPTY]].tolist() == ["unreadable_image", "too_many_missing"]
    assert found.anomaly_score[[BROKEN, EMPTY]].isna().all()
    assert found.anomaly_reasons[BROKEN] is None or len(found.anomaly_reasons[BROKEN]) == 0
    assert found.anomaly_score.drop([BROKEN, EMPTY]).notna().all()


def test_a_photo_that_never_was_missing_is_a_reason(detector, odd):
    """Of a model whose sample always had one: a row without one scores far above others, and says so."""
    found = detector.score(odd)
    assert found.anomaly_score[EMPTY] > found.anomaly_score.drop([*HOLES, LIGHT, EMPTY, BROKEN]).quantile(0.9)
    table = pa.Table.from_pandas(odd.iloc[[EMPTY, BROKEN]], preserve_index=False)
    explained = detector.scorer.explain([table.column(name).combine_chunks() for name in detector.scorer.names])
    whys = [row["anomaly_reasons"][0] for row in explained.to_pylist()]
    assert [(why["feature"], why["observed"]) for why in whys] == [
        ("photo", "missing"), ("photo", "no picture that can be read"),
    ]  # fmt: skip


def test_a_row_has_one_score_whatever_is_beside_it(detector, odd, scored):
    """To the last bit: alone, in another order, in batches of seven."""
    order = np.random.default_rng(0).permutation(len(odd))
    again = detector.score(odd.iloc[order]).sort_index()
    assert again.anomaly_score.tolist() == scored.anomaly_score.tolist()
    sevens = [detector.score(odd.iloc[start : start + 7]) for start in range(0, 28, 7)]
    assert [score for part in sevens for score in part.anomaly_score] == scored.anomaly_score[:28].tolist()
    assert detector.score(odd.iloc[[HOLES[0]]]).anomaly_score.tolist() == [scored.anomaly_score[HOLES[0]]]


def test_the_same_config_and_rows_give_the_same_bytes(alone, normal):
    """Training again gives the same model file, which gives the same scores when it is read."""
    again = Detector(photos_alone()).fit(normal)
    assert again.to_bytes() == alone.to_bytes()
    read = Detector.from_bytes(alone.to_bytes())
    assert read.score(normal[:20]).equals(alone.score(normal[:20]))


@pytest.mark.parametrize("full", [1.0, 255.0])
def test_arrays_of_numbers_are_pictures_too(alone, normal, odd, full):
    """An array column of the same pixels, from 0 to 1 or to 255, is scored as the files are."""
    made = [pixels(600), pixels(120, seed=9)[:60]]
    frames = [
        pa.table({"id": np.arange(len(own)), "photo": pa.array([
            (one.ravel() / 255.0 if full == 1 else one.ravel()).tolist() for one in own
        ], pa.list_(pa.float64() if full == 1 else pa.int32()))})
        for own in made
    ]  # fmt: skip
    features = {"kinds": {"photo": "image"}, "image": {"height": SIDE, "width": SIDE}}
    arrays = Detector(config(features=features)).fit(frames[0])
    found = arrays.score(frames[1])["anomaly_score"].to_numpy()
    files = alone.score(odd.assign(photo=[png(one) for one in pixels(120, seed=9)])[:60]).anomaly_score
    np.testing.assert_allclose(found, files, rtol=1e-12)
    short = pa.table({"id": [1], "photo": pa.array([[1.0, 2.0]])})
    assert arrays.score(short)["anomaly_status"].to_pylist() == ["unreadable_image"]


def test_two_columns_of_pictures(normal):
    """Each has networks of its own: a hole in either is found, and blamed on it."""
    features = {"include": ["photo", "back"], "kinds": {"photo": "image", "back": "image"},
                "image": {"height": SIDE, "width": SIDE}}  # fmt: skip
    both = normal.assign(back=[png(255 - one) for one in pixels(600, seed=4)])
    found = Detector(config(features=features)).fit(both)
    new = parts(60, seed=9)
    new["back"] = [png(255 - one) for one in pixels(60, seed=5)]
    own = with_errors(parts(120, seed=9)).photo
    new.at[10, "photo"], new.at[20, "back"] = own[10], own[50]
    scored = found.score(new)
    assert set(scored.anomaly_score.sort_values(ascending=False).index[:2]) == {10, 20}
    assert [scored.anomaly_reasons[row][0]["feature"] for row in (10, 20)] == ["photo", "back"]
    with pytest.raises(SchemaError, match="one of photo, back"):
        found.heat_map(new)
    assert found.heat_map(new[:2], "back").shape == (2, SIDE, SIDE)


def test_the_heat_map_is_hottest_where_the_hole_is(detector, odd):
    """And NaN where there is no picture to be read."""
    heat = detector.heat_map(odd)
    assert heat.shape == (120, SIDE, SIDE)
    for row in HOLES:
        top, left = np.unravel_index(heat[row].argmax(), (SIDE, SIDE))
        assert 15 <= top <= 31
        assert 0 <= left <= 15
        assert heat[row].max() > 2 * np.nanmax(heat[[0, 1, 2]])
    assert np.isnan(heat[[EMPTY, BROKEN]]).all()


def test_a_model_without_pictures_has_no_heat_map(normal):
    """Nor has a frame that lacks the column."""
    plain = Detector(config(features={"include": ["width", "weight"]})).fit(normal)
    with pytest.raises(SchemaError, match="The model has no column of pictures"):
        plain.heat_map(normal)


def test_the_decision_can_be_another_one(alone, odd):
    """By a threshold, in the currency of the scores."""
    other = alone.with_decision(Decision(false_alarm_rate=None, threshold=3.0))
    found = other.score(odd)
    assert found.is_anomaly.eq(True).tolist() == (found.anomaly_score > 3.0).tolist()


def test_few_rows_train_and_calibrate_by_turns(normal, odd):
    """Of 120 parts the holes still are the highest."""
    found = Detector(photos_alone()).fit(normal[:120]).score(odd)
    assert set(found.anomaly_score.sort_values(ascending=False).index[:2]) == set(HOLES)


def test_a_share_of_broken_files_in_the_sample_is_borne(normal, odd):
    """They are no pictures to learn from, and what is usual in training is no alarm."""
    broken = normal.copy()
    for row in range(0, 600, 4):
        broken.at[row, "photo"] = b"no picture"
    found = Detector(config()).fit(broken).score(odd)
    assert set(found.anomaly_score.sort_values(ascending=False).index[:3]) == {*HOLES, LIGHT}
    assert not found.is_anomaly[BROKEN]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"kinds": {"photo": "image"}}, "what size the pictures of photo are brought to is missing"),
        ({"image": {"height": 16, "width": 16}}, "'image' goes with a column of pictures"),
        ({"kinds": {"photo": "image"}, "image": {"height": 3, "width": 16}}, "features.image.height"),
        ({"kinds": {"photo": "image"}, "image": {"height": 16, "width": 513}}, "features.image.width"),
        ({"kinds": {"photo": "image"}, "image": {"height": 16, "width": 16, "channels": 2}}, "features.image.channels"),
        ({"kinds": {"photo": "image"}, "image": {"height": 16, "width": 16}, "sequence": {"order": "id"}},
         "pictures are scored one by one"),
    ],
)  # fmt: skip
def test_a_config_that_cannot_be_is_refused(changes, told):
    """With the key, what was expected and what was found."""
    with pytest.raises(ConfigError, match=told):
        config(features=changes)


def test_a_column_of_files_says_how_to_be_looked_at(normal):
    """Bytes are taken for pictures only where the config says so: the error says how."""
    with pytest.raises(SchemaError, match=r"column 'photo' has type binary.*photo: image.*exclude: \[photo\]"):
        Detector(parse_config({"name": "parts", "key": ["id"]})).fit(normal)


def test_bytes_that_are_no_pictures_are_refused_by_name(normal):
    """Where hardly any file of the sample can be read, training says which column and what it found."""
    files = normal.assign(photo=[f"text {i}".encode() for i in range(600)])
    with pytest.raises(TrainingError, match=r"Column 'photo': Too few pictures(.|\n)*at least 20(.|\n)*found: 0"):
        Detector(config()).fit(files)


def test_a_table_to_score_must_have_the_pictures_as_they_were(detector, normal):
    """Text where files were is refused before anything is scored."""
    with pytest.raises(SchemaError, match="column 'photo': expected binary"):
        detector.score(normal.assign(photo="no file"))


def test_drift_tells_of_pictures_that_are_gone(detector, normal):
    """More missing photos than in training have moved the column."""
    gone = normal.copy()
    gone.loc[::3, "photo"] = None
    named = {finding.column for finding in detector.drift(gone).moved}
    assert "photo" in named
    assert "photo" not in {finding.column for finding in detector.drift(normal).moved}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"height": 3}, "height"), ({"height": 600}, "height"), ({"channels": 2}, "channels"), ({"full": 0}, "full"),
        ({"gap": -1}, "gap"), ({"groups": 0}, "groups"), ({"groups": 10**9}, "picture.0"), ({"hidden": []}, "hidden"),
        ({"latent": "x"}, "latent"), ({"whole_hidden": [5]}, "picture.0"),
    ],
)  # fmt: skip
def test_a_forged_header_is_refused(alone, change, told):
    """Whatever the model file says of its pictures is checked before it is used."""
    header, arrays = model_file.loads(alone.to_bytes(), "The model")
    header = {key: value for key, value in header.items() if key != "sha256"}
    header["pictures"] = [{**header["pictures"][0], **change}]
    with pytest.raises(ModelFileError, match=told):
        Detector.from_bytes(model_file.dumps(header, arrays))


def test_members_of_pictures_alone_are_none(alone):
    """A header that speaks of others is refused."""
    header, arrays = model_file.loads(alone.to_bytes(), "The model")
    header = {key: value for key, value in header.items() if key != "sha256"}
    for members in (3, "x", [{"kind": "vae"}]):
        forged = {**header, "training": {**header["training"], "members": members}}
        with pytest.raises(ModelFileError, match="members"):
            Detector.from_bytes(model_file.dumps(forged, arrays))


@pytest.mark.parametrize("told", [None, [], [{}], [{"column": "photo", "steps": "x", "held_out": 3}]])
def test_what_is_told_of_training_is_checked_too(alone, told):
    """What notes and the console say of the pictures is data of the file as well."""
    header, arrays = model_file.loads(alone.to_bytes(), "The model")
    header = {key: value for key, value in header.items() if key != "sha256"}
    header["training"] = {**header["training"], "pictures": told}
    with pytest.raises(ModelFileError, match=r"training\.pictures"):
        Detector.from_bytes(model_file.dumps(header, arrays))


def test_few_held_out_pictures_are_told_and_blind_nothing(normal):
    """Where hardly any row has a photo, two or three of them held out: a gross error in another column is flagged, an
    odd photo still counts, and a note says how few there are.
    """
    with_photo = set(np.random.default_rng(3).choice(600, 30, replace=False).tolist())
    few = normal.assign(photo=[photo if i in with_photo else None for i, photo in enumerate(normal.photo)])
    found = Detector(config()).fit(few)
    assert any("held-out pictures hardly tell what is usual" in note for note in found.warnings)
    new = parts(120, seed=9)
    new.loc[30, "weight"] -= 20
    scored = found.score(new)
    assert scored.is_anomaly[30]
    assert scored.anomaly_score.max() < 100


@pytest.mark.parametrize("rows", [600, 100])
def test_constant_columns_beside_pictures_are_left_out(normal, odd, rows):
    """They tell nothing: a note says so, and the pictures are looked at as if they were alone."""
    found = Detector(config()).fit(normal[:rows].assign(width=1.0, weight=2.0))
    assert [note for note in found.warnings if "width: not used" in note]
    assert set(found.score(odd).anomaly_score.sort_values(ascending=False).index[:2]) == set(HOLES)


def test_trimmed_rows_take_no_column_of_pictures_along(normal):
    """Where all rows with a photo lie far from the others and are left out of training, the photos are still known."""
    draw = np.random.default_rng(3)
    with_photo = draw.choice(600, 60, replace=False)
    far = normal.assign(photo=[photo if i in set(with_photo) else None for i, photo in enumerate(normal.photo)])
    far.loc[with_photo, "width"] += draw.normal(6, 0.5, 60)
    found = Detector(config(train={"trim": 0.15})).fit(far)
    assert [feature.name for feature in found.spec.pictures] == ["photo"]
    assert found.score(far[:50]).anomaly_score.notna().all()


@pytest.mark.parametrize("type_", [pa.uint64(), pa.int64(), pa.float16(), pa.float64(), pa.decimal128(25, 1)])
def test_numbers_of_any_type_and_size(type_):
    """One row with a number beyond all measure is a bright pixel, and no reason to fail."""
    rows = pixels(80)
    values = pa.array(rows.reshape(80, -1).astype(float).tolist(), pa.list_(pa.float64()))
    photo = values.cast(pa.list_(type_))
    features = {"kinds": {"photo": "image"}, "image": {"height": SIDE, "width": SIDE}}
    found = Detector(config(features=features)).fit(pa.table({"id": range(80), "photo": photo}))
    odd = photo.slice(0, 2).to_pylist()
    odd[1][5] = type(odd[1][5])(2**16 - 100 if type_ == pa.float16() else 2**62 + 1)
    scored = found.score(pa.table({"id": [0, 1], "photo": pa.array(odd, pa.list_(type_))}))
    assert scored["anomaly_status"].to_pylist() == ["ok", "ok"]


def test_numbers_that_are_no_brightness_are_refused():
    """Standardised ones are below 0: the error says which column, and how they should be."""
    rows = (pixels(80).reshape(80, -1).astype(float) - 128) / 64
    table = pa.table({"id": range(80), "photo": pa.array(rows.tolist(), pa.list_(pa.float64()))})
    features = {"kinds": {"photo": "image"}, "image": {"height": SIDE, "width": SIDE}}
    with pytest.raises(TrainingError, match="Column 'photo' holds numbers that are no brightness"):
        Detector(config(features=features)).fit(table)


def test_a_small_sample_needs_pictures_for_each_fifth(normal):
    """The error says how many there are, and how many there have to be."""
    few = normal[:200].assign(photo=[photo if i < 25 else None for i, photo in enumerate(normal.photo[:200])])
    with pytest.raises(TrainingError, match=r"at least 30 in a small sample(.|\n)*25 in 200 rows"):
        Detector(config()).fit(few)


def test_pictures_alone_have_no_likelihood_to_be_compared(normal):
    """``train.accept_if.max_score_loss`` is refused with them, before any training."""
    with pytest.raises(ConfigError, match="max_share_flagged"):
        Detector(photos_alone(train={"accept_if": {"max_score_loss": 0.2}})).fit(normal)


def test_it_is_not_said_to_be_ordinary_without_what_is_not_named(normal):
    """A row with two errors, only one of which is named as a reason, is not called ordinary without it."""
    same = Detector(config()).fit(normal.assign(photo=[normal.photo[0]] * 600))
    both = parts(10, seed=9).assign(photo=normal.photo[5])
    both.loc[3, "weight"] -= 20
    arrays = [pa.array(both[name].iloc[[3]]) for name in same.scorer.names]
    (sentence,) = same.scorer.explain(arrays).field("reason").to_pylist()
    assert "ordinary" not in sentence or "weight" in sentence


@pytest.mark.parametrize("pictures", [None, [], "x", [{}, {}]])
def test_a_header_without_its_pictures_is_refused(alone, pictures):
    """As many as the spec has columns of pictures, no less and no more."""
    header, arrays = model_file.loads(alone.to_bytes(), "The model")
    header = {key: value for key, value in header.items() if key != "sha256"} | {"pictures": pictures}
    with pytest.raises(ModelFileError, match="pictures"):
        Detector.from_bytes(model_file.dumps(header, arrays))
