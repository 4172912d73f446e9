"""Every kind answers what is asked of one, and another kind needs nothing but its class and its place in the list."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from vae_model import Config, Detector
from vae_model.config.sections import Features
from vae_model.errors import SchemaError
from vae_model.features.categories import Categories, SlotKind
from vae_model.features.families import FAMILIES, family
from vae_model.features.feature import MISSING, Chosen, Expectation, Feature, Words
from vae_model.features.kinds import KINDS, default_kind
from vae_model.features.spec import FeatureSpec
from vae_model.features.units import UnitsKind

ROWS = 60
DRAW = np.random.default_rng(0)
EXAMPLES = {
    "integer": pa.array([*DRAW.integers(0, 9, ROWS - 1), None], pa.int64()),
    "float": pa.array([*DRAW.normal(5, 2, ROWS - 1), None]),
    "decimal": pa.array([*DRAW.integers(0, 9, ROWS - 1).tolist(), None], pa.decimal128(9, 0)),
    "boolean": pa.array([*(DRAW.random(ROWS - 1) < 0.3), None], pa.bool_()),
    "string": pa.array([*DRAW.choice(["Lyon", "Nice"], ROWS - 1), None], pa.string()),
    "date": pa.array([*DRAW.integers(0, 700, ROWS - 1), None], pa.int32()).cast(pa.date32()),
    "timestamp": pa.array([*DRAW.integers(0, 10**15, ROWS - 1).tolist(), None], pa.timestamp("us")),
    "array": pa.array([*DRAW.normal(size=(ROWS - 1, 3)).tolist(), None]),
    "binary": pa.array([*(bytes([number]) for number in range(ROWS - 1)), None], pa.binary()),
}
"""A column of every family, the last row missing."""
PAIRS = [(name, one) for name, kind in KINDS.items() for one in kind.families if not kind.is_picture]
"""Of pictures there is ``tests/test_pictures.py``."""
DESCRIBED = {
    "numeric": "±",
    "boolean": "2 values (false, true)",
    "categorical": "values (",
    "datetime": "(UTC)",
    "vector": "3 numbers",
}


def fit(kind, one):
    """A spec of one column of a family, taken for a kind."""
    return FeatureSpec.fit(pa.table({"c": EXAMPLES[one]}), {"c": Chosen(kind, one)})


def test_examples_are_of_their_family():
    """There is an example of every family but that of no type."""
    assert {name: family(array.type) for name, array in EXAMPLES.items()} == {name: name for name in EXAMPLES}
    assert {*EXAMPLES, "null"} == set(FAMILIES)


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_says_its_families(name):
    """A kind is listed by its own name, made from families there are, and the default of none that it cannot be."""
    kind = KINDS[name]
    assert kind.name == name
    assert kind.families
    assert set(kind.families) <= set(EXAMPLES)
    assert set(kind.default_of) <= {*kind.families, "null"}
    assert [isinstance(kind, UnitsKind), isinstance(kind, SlotKind), kind.is_picture].count(True) == 1


@pytest.mark.parametrize("one", FAMILIES)
def test_a_family_has_one_default(one):
    """Of every family but files a column has a kind without the config, and no two kinds claim it."""
    found = [name for name, kind in KINDS.items() if one in kind.default_of]
    assert found == ([] if one == "binary" else [default_kind(one)])


@pytest.mark.parametrize(("name", "one"), PAIRS)
def test_a_kind_goes_through_json(name, one):
    """What was fitted is the same after it went through JSON text, and encodes to the same bits."""
    spec = fit(name, one)
    again = FeatureSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    assert again.trained == {"c": Chosen(name, one)}
    for found, expected in zip(*(vars(s.encode([EXAMPLES[one]])).values() for s in (again, spec)), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("name", "one"), PAIRS)
def test_a_kind_encodes(name, one):
    """A column becomes units or a slot, as its kind says; the null row alone is missing; a feature counts once."""
    spec = fit(name, one)
    batch, (feature,), (kind,) = spec.encode([EXAMPLES[one]]), spec.features, spec.kinds
    assert batch.missing_N.tolist() == [0] * (ROWS - 1) + [1]
    assert not batch.non_finite_N.any() and not batch.unseen_NC.any()
    assert spec.share_R.sum() == pytest.approx(1)
    if isinstance(kind, SlotKind):
        assert (batch.x_NF.shape[1], batch.codes_NC.shape[1], spec.residuals) == (0, 1, [slice(0, 1)])
        assert set(batch.codes_NC[:, 0]) <= set(range(-1, feature.slots + 1))
    else:
        units = len(feature.center)
        assert (batch.x_NF.shape[1], batch.codes_NC.shape[1], spec.residuals) == (units, 0, [slice(0, units)])
        np.testing.assert_allclose(np.nanmean(batch.x_NF, axis=0), 0, atol=0.1)


@pytest.mark.parametrize(("name", "one"), PAIRS)
def test_a_kind_takes_a_column_without_a_type(name, one):
    """A column of nulls alone, which has no type, is a column of missing values."""
    assert fit(name, one).encode([pa.nulls(4)]).missing_N.tolist() == [1] * 4


@pytest.mark.parametrize(("name", "one"), PAIRS)
def test_a_kind_describes_what_was_fitted(name, one):
    """One line, in the words of the kind."""
    spec = fit(name, one)
    line = spec.kinds[0].describe(spec.features[0])
    assert DESCRIBED[name] in line
    assert "\n" not in line


def expectation(expected, around=0.0, parts=None):
    """What a model expects of units, give or take the same of each."""
    value_U = np.array(expected, float)
    parts_U = np.array(parts or [1] * len(value_U), np.float32)
    return Expectation(value_U, value_U - around, value_U + around, parts_U)


@pytest.mark.parametrize(("name", "one"), PAIRS)
def test_a_kind_gives_words(name, one):
    """What was observed and what was expected are two texts that are not empty."""
    spec = fit(name, one)
    (feature,), (kind,) = spec.features, spec.kinds
    observed, expected = kind.words(feature, EXAMPLES[one][0], expectation(feature.center or [0.0]))
    assert observed and expected


@pytest.mark.parametrize(("name", "one"), PAIRS)
def test_a_kind_has_words_for_what_is_missing(name, one):
    """A null is observed as missing; what was expected is still said."""
    spec = fit(name, one)
    (feature,), (kind,) = spec.features, spec.kinds
    gap = pa.scalar(None, EXAMPLES[one].type)
    observed, expected = kind.words(feature, gap, expectation(feature.center or [0.0]))
    assert observed == MISSING
    assert expected and MISSING not in expected


@pytest.mark.parametrize(
    ("value", "observed"), [([1.0, None], "[1]: missing"), ([1.0, np.nan], "[1]: missing"), ([1.0, np.inf], "[1]: inf")]
)
def test_the_gap_in_an_array_in_words(value, observed):
    """Of an array, the element that is missing is named, and what was expected of it."""
    feature = Feature("c", "vector", "array", scale=(1.0, 1.0), low=(-2, -2), high=(2, 2))
    words = KINDS["vector"].words(feature, pa.scalar(value), expectation([0, 0.5], parts=[1, 2]))
    assert words == (observed, "[1]: 0.5")


WORDS = {
    ("numeric", "integer"): (pa.scalar(7), [4.4], [1], {"scale": (2.0,), "decimals": 0}, ("7", "4")),
    ("numeric", "float"): (pa.scalar(7.25), [4.4], [1], {"scale": (2.0,)}, ("7.25", "4.4")),
    ("boolean", "boolean"): (pa.scalar(True), [0], [1], {"values": ("false", "true"), "slots": 2}, ("true", "false")),
    ("categorical", "string"): (pa.scalar("x"), [1], [1], {"values": ("a", "b"), "slots": 1}, ("x", "(a rare value)")),
    ("datetime", "date"): (
        pa.scalar(19_000, pa.date32()), [0, 1, 1, 0], [0, 0, 1, 0], {}, ("2022-01-08", "month: April")
    ),
    ("datetime", "timestamp"): (
        pa.scalar(0, pa.timestamp("s")), [0, -1, 0, 1, 0, 1], [0, 3, 2, 0, 0, 0], {},
        ("1970-01-01T00:00:00", "time of day: 12:00"),
    ),
    ("vector", "array"): (
        pa.scalar([1.0, 2.5, 3.0]), [0, 0.5, 0], [0, 2, 1], {"scale": (1.0,) * 3}, ("[1]: 2.5", "[1]: 0.5")
    ),
}  # fmt: skip


@pytest.mark.parametrize("pair", WORDS, ids=" of ".join)
def test_the_words_of_a_kind(pair):
    """Numbers in digits, categories by their values; of moments and arrays, what deviates most."""
    (name, one), (value, expected, parts, fitted, words) = pair, WORDS[pair]
    feature = Feature("c", name, one, **{"low": (-100.0,) * 6, "high": (100.0,) * 6} | fitted)
    assert KINDS[name].words(feature, value, expectation(expected, parts=parts)) == words


def test_the_config_knows_every_kind():
    """Each can be set in the config, and the line under the key names it."""
    image = {"height": 8, "width": 8}
    assert Features(kinds={name: name for name in KINDS}, image=image).kinds == {name: name for name in KINDS}
    assert all(name in Features.model_fields["kinds"].description for name in KINDS)


class Shapes(UnitsKind):
    """A text by how long it is and by how many digits it has: a kind for these tests."""

    name = "shape"
    families = ("string",)

    def encode(self, feature, array):
        """(N, 2) its length and its digits."""
        lengths = pc.utf8_length(array), pc.count_substring_regex(array, r"\d")
        return np.stack([part.cast(pa.float64()).to_numpy(zero_copy_only=False) for part in lengths], axis=1)

    def describe(self, feature):
        """The mean of both."""
        return "about {:.0f} letters, {:.0f} of them digits".format(*feature.center)

    def words(self, feature, value, expected):
        """The one that deviates most."""
        unit = int(np.argmax(expected.parts_U))
        found = str(value), sum(map(str.isdigit, str(value)))
        return Words(f"{('length', 'digits')[unit]} of {found[0]}", f"{expected.value_U[unit]:.0f}")


class Initials(Categories):
    """A text by its first letter."""

    name = "initial"
    families = ("string",)
    default_of = ()

    def fit(self, bare, array):
        """The first letters, as categories."""
        return super().fit(bare, pc.utf8_slice_codeunits(array, 0, 1))

    def encode(self, feature, array):
        """The slot of the first letter."""
        return super().encode(feature, pc.utf8_slice_codeunits(array, 0, 1))


def test_another_kind_needs_nothing_else(monkeypatch):
    """Listed among the kinds, a class trains, is saved, scores, gives reasons, describes and checks tables."""
    settings = {
        "features": {"kinds": {"plate": "shape", "name": "initial"}},
        "model": {"steps": 60},
        "decision": {"false_alarm_rate": 0.05},
    }
    with pytest.raises(ValueError, match="'vector' or 'image'"):
        Config.model_validate(settings)
    for kind in (Shapes(), Initials()):
        monkeypatch.setitem(KINDS, kind.name, kind)
    draw = np.random.default_rng(0)
    plates = [f"{'ABCDE'[: draw.integers(2, 5)]}-{draw.integers(10, 10_000)}" for _ in range(600)]
    names = draw.choice(["Ann", "Abe", "Bob"], 600)
    rows = pa.table({"x": draw.normal(size=600), "plate": plates, "name": names})
    detector = Detector(Config.model_validate(settings)).fit(rows)
    again = Detector.from_bytes(detector.to_bytes())
    assert again.spec.trained["plate"] == Chosen("shape", "string")
    assert [kind.describe(one) for kind, one in zip(again.spec.kinds, again.spec.features, strict=True)][1:] == [
        "about 8 letters, 4 of them digits",
        "2 values (A, B)",
    ]
    odd = pa.table({"x": [0.0, 0.0], "plate": ["A" * 30 + "-123", "ABC-1234"], "name": ["Ada", "Zoe"]})
    scored = again.score(odd).to_pylist()
    first, second = (row["anomaly_reasons"][0] for row in scored)
    assert (first["feature"], second["feature"]) == ("plate", "name")
    assert first["observed"] == f"length of {'A' * 30}-123"
    assert float(first["expected"]) < 20
    assert (second["observed"], second["expected"] in ("A", "B")) == ("Zoe", True)
    assert [row["anomaly_status"] for row in scored] == ["ok", "unseen_category"]
    with pytest.raises(SchemaError, match=r"'plate': expected string \(shape when the model was trained\)"):
        again.score(odd.set_column(1, "plate", pa.array([1, 2])))
    with pytest.raises(SchemaError, match="column 'plate' cannot be shape: expected string, found int64"):
        Detector(Config.model_validate(settings)).fit(rows.set_column(1, "plate", pa.array(range(600))))
