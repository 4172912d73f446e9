"""Rows of the sample that were set aside: what a model says of them."""

import pytest

from tests.scoring.test_scorer import DETECTOR
from vae_model import Detector
from vae_model.errors import ModelFileError
from vae_model.scoring import model_file
from vae_model.scoring.set_aside import SetAside

HEADER, ARRAYS = model_file.loads(DETECTOR.to_bytes())
CELL = {"feature": "amount", "observed": "1e+09", "expected": "about 50"}


def model(set_aside):
    """A model whose training set rows aside."""
    header = {key: value for key, value in HEADER.items() if key not in ("sha256", "format_version")}
    return model_file.dumps(header | {"training": HEADER["training"] | {"set_aside": set_aside}}, ARRAYS)


@pytest.mark.parametrize(
    ("set_aside", "words"),
    [
        (
            {"training": 8, "held_out": 3, "worst": [CELL, CELL | {"feature": "city", "observed": "Oslo"}]},
            "11 rows of the sample were set aside as not normal: kept out of training and calibration, and still "
            "scored; the worst: amount 1e+09 (expected about 50); city Oslo (expected about 50)",
        ),
        (
            {"training": 0, "held_out": 1, "worst": []},
            "1 row of the sample was set aside as not normal: kept out of training and calibration, and still scored",
        ),
        ({"training": 0, "held_out": 0, "worst": []}, None),
        (None, None),
    ],
)
def test_rows_that_were_set_aside_are_told(set_aside, words):
    """A model says how many rows, of training and held-out ones together, and which cells; nothing where none."""
    before = DETECTOR.warnings
    assert Detector.from_bytes(model(set_aside)).warnings == [*before, *filter(None, [words])]


def test_five_cells_are_shown():
    """However many a file holds."""
    own = SetAside.of({"set_aside": {"training": 9, "held_out": 0, "worst": [CELL] * 9}})
    assert len(own.worst) == own.describe().count("1e+09") == 5


@pytest.mark.parametrize(
    ("forged", "place"),
    [
        ([], "training.set_aside"),
        ({"held_out": 0, "worst": []}, "training.set_aside.training"),
        ({"training": 1.5, "held_out": 0, "worst": []}, "training.set_aside.training"),
        ({"training": 1, "held_out": -1, "worst": []}, "training.set_aside.held_out"),
        ({"training": 1, "held_out": 0}, "training.set_aside.worst"),
        ({"training": 1, "held_out": 0, "worst": [7]}, "training.set_aside.worst.0"),
        ({"training": 1, "held_out": 0, "worst": [CELL, {"feature": "a"}]}, "training.set_aside.worst.1.observed"),
        ({"training": 1, "held_out": 0, "worst": [CELL | {"expected": 5}]}, "training.set_aside.worst.0.expected"),
    ],
)
def test_what_training_cannot_have_written_is_refused(forged, place):
    """A forged file is refused when it is loaded, with the place in its header."""
    with pytest.raises(ModelFileError) as error:
        Detector.from_bytes(model(forged), "Model file m.vae")
    assert str(error.value).startswith(f"Model file m.vae does not make sense. {place} of the model cannot be.\n")
