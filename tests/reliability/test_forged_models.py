"""Forged model files: a right digest on contents that make no sense. Each is refused, or is as good as the true one."""

import copy
import hashlib
import json
import math
import random
import tracemalloc
from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from tests.scoring.test_scorer import odd_rows, rows_of
from vae_model import Config, Detector
from vae_model.errors import ModelFileError
from vae_model.scoring import model_file
from vae_model.scoring.output import SCORED
from vae_model.scoring.scorer import Scorer

pytestmark = pytest.mark.slow

DETECTOR = Detector(Config.model_validate({"name": "true", "model": {"steps": 40, "hidden": [8]}})).fit(rows_of(600, 0))
HEADER, ARRAYS = model_file.loads(DETECTOR.to_bytes())
ROWS = odd_rows()
SAFETENSORS = {"float32": "F32", "float64": "F64", "int32": "I32", "int64": "I64"}
JUNK = [
    None, True, {}, [], "", "\ud800", "\x1b[2J", -1, 1.5, -1e308, 2**60, 10**400, math.nan, math.inf, "1e999",
    [[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]], [None], {"a": [1]},
]  # fmt: skip
"""What stands in the place of a value of the header. "1e999" is written without its quotes."""


def forged(header=HEADER, arrays=ARRAYS, index=lambda entries: None, text=lambda text: text):
    """A file of a header and arrays, its index and then its header's text changed, with the digest that belongs."""
    entries, body = {}, b""
    for name, array in arrays.items():
        shape = {"dtype": SAFETENSORS[array.dtype.name], "shape": list(array.shape)}
        entries[name] = shape | {"data_offsets": [len(body), len(body) + array.nbytes]}
        body += array.tobytes()
    index(entries)
    own = text(json.dumps({"sha256": "0" * 64, **{key: value for key, value in header.items() if key != "sha256"}}))
    raw = json.dumps({"__metadata__": {"vae_model": own}, **entries}).encode()
    blank = len(raw).to_bytes(8, "little") + raw + body
    return blank.replace(b"0" * 64, hashlib.sha256(blank).hexdigest().encode(), 1)


def scored(model):
    """What a detector or a scorer makes of odd rows, without the model's own name."""
    if isinstance(model, Detector):
        return model.score(ROWS).drop(SCORED.names[-1])
    return pa.Table.from_struct_array(model([ROWS[name].combine_chunks() for name in model.names]))


EXPECTED = scored(DETECTOR)


def outcome(data, what):
    """Whether a file is refused; if not, it has to score as the true one does. On a worker and on the driver."""
    for load in (Detector.from_bytes, Scorer.from_bytes):
        try:
            loaded = load(data, "Model file m.vae")
        except ModelFileError as error:
            assert str(error).startswith("Model file m.vae "), what
            assert "\x1b" not in str(error), what
            assert len(str(error)) < 2000, what
            return "refused"
        except Exception as error:
            pytest.fail(f"{what}: {error!r}")
        assert scored(loaded).equals(EXPECTED), f"{what} is not refused, and scores otherwise"
    return "as good as the true one"


def outcomes(files):
    """How many of some files had which outcome; printed."""
    count = Counter(outcome(data, what) for what, data in files)
    print(dict(count))
    return count


def leaves(value, path=()):
    """The paths to all values of JSON, those within others too."""
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, own in inner:
        yield from leaves(own, (*path, key))


def changed(path, value):
    """The header with something else in one place."""
    header = copy.deepcopy(HEADER)
    place = header
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return header


def is_harmless(path, junk):
    """Whether another number or text there is another model, as sound as this one, or none that scoring looks at."""
    place, last = path[:1], path[-1]
    in_feature = place == ("spec",) and len(path) > 3
    is_number = type(junk) in (int, float) and abs(junk) < math.inf and junk != 10**400
    return in_feature and (
        (not {"center", "low", "high"}.isdisjoint(path) and is_number) or ("scale" in path and is_number and junk >= 0)
        or (isinstance(junk, str) and junk in ("", "\x1b[2J") and (last == "name" or "values" in path))
    )  # fmt: skip


def test_a_forged_file_is_made_as_the_true_one_is():
    """Without a change the forger's file is the true model: what is refused below is refused for what was changed."""
    assert outcome(forged(), "unchanged") == "as good as the true one"


def test_values_of_the_header():
    """200 values of the header, drawn by a seed, are replaced by something else."""
    pairs = [(path, junk) for path in leaves(HEADER) for junk in JUNK if not is_harmless(path, junk)]
    pairs = [(path, junk) for path, junk in pairs if path != ("sha256",)]
    count = outcomes(
        (f"{path} = {junk!r}", forged(changed(path, junk), text=lambda text: text.replace('"1e999"', "1e999")))
        for path, junk in random.Random(0).sample(pairs, 200)
    )
    assert count["refused"] > 140


@pytest.mark.parametrize("part", ["spec", "training", "config.decision"])
def test_what_scoring_needs_cannot_be_left_out(part):
    """Each value of the header that scoring reads is missed, and so is a second one of the same name."""
    above = [(path, own) for path in leaves(HEADER) if (own := path[-1]) and ".".join(map(str, path)).startswith(part)]
    unread = {"steps", "loss", "curve", "exclude", "include", "set_aside"}
    unread.add("decimals")  # a column that is not rounded has none
    for path, name in above:
        if not isinstance(name, str) or name in unread:
            continue
        header = copy.deepcopy(HEADER)
        place = header
        for key in path[:-1]:
            place = place[key]
        place.pop(name)
        assert outcome(forged(header), f"without {path}") == "refused"
    twice = f'"{above[0][1]}": '
    assert outcome(forged(text=lambda text: text.replace(twice, f"{twice}1, {twice}", 1)), twice) == "refused"


@pytest.mark.parametrize("name", ARRAYS)
def test_the_index_of_an_array(name):
    """An array that lies elsewhere, over another, or has another type, size or name is refused."""
    start, stop = 0, ARRAYS[name].nbytes

    def entry(**values):
        def change(entries):
            first, _ = entries[name]["data_offsets"]
            own = {key: value(first) if callable(value) else value for key, value in values.items()}
            entries[name].update(own)

        return forged(index=change)

    shape = list(ARRAYS[name].shape)
    files = {
        "over the first": entry(data_offsets=[start, stop]),
        "moved by a byte": entry(data_offsets=lambda first: [first + 1, first + stop + 1]),
        "before the file": entry(data_offsets=lambda first: [first - 10**6, first - 10**6 + stop]),
        "beyond the file": entry(data_offsets=lambda first: [first + 2**40, first + 2**40 + stop]),
        "backwards": entry(data_offsets=lambda first: [first + stop, first]),
        "fractions": entry(data_offsets=lambda first: [float(first), float(first + stop)]),
        "another type": entry(dtype="I32"),
        "an unknown type": entry(dtype="BF16"),
        "no shape": entry(shape=None),
        "one more": entry(shape=[shape[0] + 1, *shape[1:]]),
        "negative": entry(shape=[-side for side in shape]),
        "overflows to the size": entry(shape=[2**62, 4, *shape]),
        "nothing of much": entry(shape=[0, 2**62]),
        "many sides": entry(shape=[*shape, *[1] * 70]),
        "turned": entry(shape=[*shape, 1]),
        "more keys": entry(more=1),
        "gone": forged(arrays={other: array for other, array in ARRAYS.items() if other != name}),
        "renamed": forged(arrays={f"{other}." if other == name else other: a for other, a in ARRAYS.items()}),
    }
    # One is the first of all itself, and an empty array is over any.
    harmless = {"over the first"} if name == next(iter(ARRAYS)) or not stop else set()
    for what, data in files.items():
        if what not in harmless:
            assert outcome(data, f"{name}: {what}") == "refused"


@pytest.mark.parametrize("name", [name for name in ARRAYS if ARRAYS[name].size])
def test_numbers_of_an_array(name):
    """Not a number, infinities where none belong, and numbers of another type are refused."""
    files = []
    for value in (math.nan, math.inf, -math.inf):
        for place in (0, -1):
            array = ARRAYS[name].copy()
            array.reshape(-1)[place] = value
            if not np.array_equal(array, ARRAYS[name]):
                files.append((f"{name}: {value} at {place}", forged(arrays=ARRAYS | {name: array})))
    files.append(
        (
            f"{name}: another type",
            forged(arrays=ARRAYS | {name: ARRAYS[name].astype("f8" if ARRAYS[name].dtype == "f4" else "f4")}),
        )
    )
    assert outcomes(files)["refused"] == len(files)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("calibration_scores", lambda a: a[::-1]),
        ("drift.edges", lambda a: a[::-1]),
        ("drift.edges", lambda a: 0 * a),
        ("drift.shares", lambda a: -a),
        ("drift.shares", lambda a: a / 2),
        ("drift.shares", lambda a: 2 * a),
        ("gap_score", lambda a: -1 - a),
        ("unseen_score", lambda a: -1 - a),
        ("member.0.ordinary", lambda a: -a),
        ("member.0.ordinary", lambda a: 0 * a),
        ("member.0.log_variance", lambda a: a + 300),
        ("member.0.log_variance", lambda a: a - 300),
        ("member.0.encoder.0.weight", lambda a: a * 1e30),
        ("member.2.log_share", lambda a: a + 20),
        ("member.2.mean", lambda a: a + 1e4),
        ("member.1.residual.scale", lambda a: -a),
        ("member.1.residual.scale", lambda a: 0 * a),
        ("member.1.residual.tail_start", lambda a: np.where(np.isinf(a), 1, a)),
        ("member.1.residual.tail_start", lambda a: np.where(np.isinf(a), a, np.inf)),
        ("member.1.residual.tail_power", lambda a: -a),
        ("member.1.residual.tail_power", lambda a: a * 50),
        ("member.1.residual.plain", lambda a: -a),
        ("member.1.residual.direction", lambda a: a * 1e6),
        ("member.1.residual.excess", lambda a: a - 1e3),
    ],
)
def test_numbers_that_would_turn_a_score_about(name, change):
    """A negative scale, a precision that is none, a scale of zero: finite, and refused."""
    array = np.ascontiguousarray(change(ARRAYS[name]), ARRAYS[name].dtype)
    assert outcome(forged(arrays=ARRAYS | {name: array}), name) == "refused"


def test_bits_of_the_arrays():
    """A flipped bit with a digest anew is refused, or gives another model: then all rows have a score, or a status.

    Other weights within what is possible are as legitimate as any; that they were altered no reader can tell.
    """
    draw, count = random.Random(0), Counter()
    for attempt in range(100):
        name = draw.choice([name for name in ARRAYS if ARRAYS[name].size])
        raw = bytearray(ARRAYS[name].tobytes())
        raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
        array = np.frombuffer(bytes(raw), ARRAYS[name].dtype).reshape(ARRAYS[name].shape)
        try:
            rows = Detector.from_bytes(forged(arrays=ARRAYS | {name: array})).score(ROWS).to_pylist()
        except ModelFileError:
            count["refused"] += 1
            continue
        count["another model"] += 1
        for row in rows:
            numbers = [row[column] for column in SCORED.names[:3]]
            is_scored = row["anomaly_status"] != "too_many_missing"
            assert [number is not None and math.isfinite(number) for number in numbers] == [is_scored] * 3, attempt
    print(dict(count))
    assert min(count["refused"], count["another model"]) > 5


def test_weights_that_overflow_together_give_no_wrong_score():
    """Weights each of which may be, but which together give numbers beyond measure: an error, not a row called ok."""
    arrays = {
        name: np.full_like(array, 1e6) if ".encoder." in name or ".decoder." in name else array
        for name, array in ARRAYS.items()
    }
    deep = copy.deepcopy(HEADER)
    inputs, outputs = ARRAYS["member.0.encoder.0.weight"].shape[0], ARRAYS["member.0.decoder.1.bias"].shape[0]
    for member in (0, 1):
        entry = deep["training"]["members"][member]
        entry["hidden"] = [8] * 5
        widths = [inputs, *[8] * 5, entry["latent"]]
        for side, of_side in (("encoder", widths), ("decoder", [*widths[:0:-1], outputs])):
            for i, (rows, columns) in enumerate(pairwise(of_side)):
                arrays[f"member.{member}.{side}.{i}.weight"] = np.full((rows, columns), 1e6, "f4")
                arrays[f"member.{member}.{side}.{i}.bias"] = np.full(columns, 1e6, "f4")
    detector = Detector.from_bytes(forged(deep, arrays))
    with np.errstate(all="ignore"), pytest.raises(ModelFileError, match="gives a row no score"):
        detector.score(ROWS)


def wide(**values):
    """The header with a category's fields changed."""
    header = copy.deepcopy(HEADER)
    next(one for one in header["spec"]["features"] if one["kind"] == "categorical").update(values)
    return header


NESTED = '"more": ' + '{"a":' * 10**5 + "1" + "}" * 10**5
SIZES = {
    "many slots": forged(wide(slots=2**31)),
    "many values": forged(wide(values=[str(i) for i in range(50_000)], slots=50_000)),
    "a wide layer": forged(changed(("training", "members", 0, "hidden"), [2**33])),
    "many layers": forged(changed(("training", "members", 0, "hidden"), [1] * 100_000)),
    "many latent dimensions": forged(changed(("training", "members", 0, "latent"), 2**40)),
    "many codes": forged(changed(("training", "members", 2, "codes"), 2**40)),
    "many members": forged(changed(("training", "members"), HEADER["training"]["members"] * 20_000)),
    "many units": forged(wide(kind="vector", family="array", center=[0.5] * 100_000, scale=[1.0] * 100_000)),
    "many features": forged(changed(("spec", "features"), HEADER["spec"]["features"] * 500)),
    "nested": forged(text=lambda text: text.replace('"spec": ', f'"more": {"[" * 10**5}{"]" * 10**5}, "spec": ')),
    "nested objects": forged(text=lambda text: text.replace('"spec": ', f'{NESTED}, "spec": ')),
    "one array under many names": forged(
        index=lambda entries: entries.update({f"more.{i}": entries["member.0.encoder.0.weight"] for i in range(5000)})
    ),
}  # fmt: skip


@pytest.mark.parametrize("attack", SIZES)
def test_a_file_takes_memory_by_its_size(attack):
    """A header that speaks of more than the file holds is refused, before anything of that size is made."""
    data = SIZES[attack]
    tracemalloc.start()
    try:
        assert outcome(data, attack) == "refused"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    print(f"{attack}: {len(data):,} bytes, at most {peak:,} in memory")
    assert peak < 40 * len(data) + 2**22


def test_a_sound_model_takes_a_few_times_its_size():
    """Loading a true model of wide layers copies it a few times, not more."""
    settings = Config.model_validate({"model": {"steps": 1, "hidden": [600, 600], "codes": 0}})
    data = Detector(settings).fit(np.random.default_rng(0).normal(size=(600, 40))).to_bytes()
    tracemalloc.start()
    try:
        Scorer.from_bytes(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * len(data)


def test_an_error_names_what_is_wrong():
    """The message says the file, the place in it, what was expected and what was found, with nothing to obey."""
    header = changed(("spec", "features", 0, "scale", 0), -1.0)
    with pytest.raises(ModelFileError) as caught:
        Detector.from_bytes(forged(header), "Model file m.vae")
    assert str(caught.value) == (
        "Model file m.vae does not make sense. spec.features.0.scale.0 of the model cannot be.\n"
        "  expected: a number, at least 0\n  found: -1.0\n"
        "  to do: Train the model again, or copy the file again."
    )
    arrays = ARRAYS | {"member.9.\x1b[2J": np.zeros(1)}
    with pytest.raises(ModelFileError, match=r"The array 'member\.9\.\\x1b\[2J' of the model cannot be\.\n  expected"):
        Detector.from_bytes(forged(arrays=arrays))
