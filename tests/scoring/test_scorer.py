"""The scorer: a pure function of a row and the model's bytes."""

import math
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_model import Config, Detector
from vae_model.networks.buffers import Buffers
from vae_model.networks.tiles import BLOCK, to_rows
from vae_model.scoring import scorer
from vae_model.scoring.output import COMPUTED, OUTPUT, SCORED, STATUSES
from vae_model.scoring.scorer import Scorer

VALUES = ["reconstruction_error", "anomaly_score", "anomaly_p_value"]


def rows_of(rows, seed):
    """Numbers, a category, a flag, times and arrays, with gaps."""
    draw = np.random.default_rng(seed)
    a = draw.normal(size=rows)
    return pa.table(
        {
            "a": pa.array(a, mask=draw.random(rows) < 0.1),
            "b": a + draw.normal(0, 0.1, rows),
            "city": pa.array(draw.choice(["x", "y", "z"], rows), mask=draw.random(rows) < 0.05),
            "flag": a > 0,
            "at": pa.array(np.datetime64("2024-01-01", "us") + draw.integers(0, 10**13, rows)),
            "v": pa.array([None if i % 13 == 0 else list(draw.normal(size=2)) for i in range(rows)]),
            "one": np.full(rows, 1.0),
        }
    )


def odd_rows():
    """Normal rows, and rows wrong in every way."""
    table = rows_of(40, 1)
    first = table.slice(1, 1).to_pylist()[0]
    wrong = [
        {"a": 1e300}, {"a": -50.0}, {"a": math.inf}, {"b": math.nan}, {"city": "new"}, {"flag": None},
        {"v": [1e9, None]}, {"one": 2.0}, {"city": "new", "a": -math.inf},
        dict.fromkeys(["a", "b", "city", "flag"]), dict.fromkeys(first),
    ]  # fmt: skip
    return pa.concat_tables([table, pa.Table.from_pylist([first | change for change in wrong], schema=table.schema)])


def config(**decision):
    """Few steps."""
    return Config.model_validate({"name": "tiny", "model": {"steps": 100, "hidden": [16]}, "decision": decision})


DETECTOR = Detector(config(false_alarm_rate=0.05)).fit(rows_of(400, 0))
SCORER = DETECTOR.scorer
ODD = odd_rows()


def scored(table, scorer=SCORER):
    """The struct array of a table's rows, as columns."""
    return pa.Table.from_struct_array(scorer([table[name].combine_chunks() for name in scorer.names]))


def one(**change):
    """A normal row with something changed, scored."""
    row = rows_of(2, 1).slice(1, 1).to_pylist()[0] | change
    return scored(pa.Table.from_pylist([row], schema=ODD.schema)).to_pylist()[0]


# --- What comes out


def test_the_output_is_the_contract():
    """Names, types and order of the columns a scored table gains."""
    reasons = pa.list_(
        pa.struct(
            [("feature", pa.string()), ("share", pa.float64()), ("observed", pa.string()), ("expected", pa.string())]
        )
    )
    expected = [
        ("reconstruction_error", pa.float64()),
        ("anomaly_score", pa.float64()),
        ("anomaly_p_value", pa.float64()),
        ("is_anomaly", pa.bool_()),
        ("anomaly_reasons", reasons),
        ("anomaly_status", pa.string()),
        ("anomaly_model", pa.string()),
        ("anomaly_run", pa.string()),
    ]
    assert [(field.name, field.type) for field in OUTPUT] == expected
    assert OUTPUT.names[:-1] == SCORED.names
    assert SCORED.names[:-1] == COMPUTED.names
    assert set(STATUSES) == {
        "ok", "unseen_segment", "unseen_category", "non_finite", "short_window", "too_many_missing",
        "unreadable_image",
    }  # fmt: skip


def test_explaining_adds_reasons_and_changes_nothing_else():
    """Every row that has a score has reasons, those of flagged rows as before; all other columns are the same."""
    arrays = [ODD[name].combine_chunks() for name in SCORER.names]
    before, after = (pa.Table.from_struct_array(one) for one in (SCORER(arrays), SCORER.explain(arrays)))
    assert after.drop(["anomaly_reasons", "reason"]).equals(before.drop("anomaly_reasons"))
    assert [text is not None for text in after["reason"].to_pylist()] == after["anomaly_score"].is_valid().to_pylist()
    has_score = [score is not None for score in after["anomaly_score"].to_pylist()]
    assert [bool(reasons) for reasons in after["anomaly_reasons"].to_pylist()] == has_score
    flagged = before["is_anomaly"].fill_null(False)
    assert 0 < flagged.to_pylist().count(True) < len(ODD)
    assert after.filter(flagged)["anomaly_reasons"].equals(before.filter(flagged)["anomaly_reasons"])


@pytest.mark.parametrize("rows", [0, 1, len(ODD)])
def test_scored_rows_have_exactly_the_schema(rows):
    """However many rows: the struct is that of the contract, a detector's table has its whole schema."""
    table = ODD.slice(0, rows)
    struct = SCORER([table[name].combine_chunks() for name in SCORER.names])
    assert struct.type == pa.struct(list(COMPUTED))
    assert len(struct) == rows
    assert DETECTOR.score(table).schema.equals(SCORED)


def test_the_model_is_named_by_name_and_digest():
    """The last column is the model's name and the first twelve digits of its digest, in every row."""
    assert SCORER.name == f"tiny@{DETECTOR.header['sha256'][:12]}"
    assert DETECTOR.score(ODD)["anomaly_model"].to_pylist() == [SCORER.name] * len(ODD)


def test_a_p_value_is_the_share_of_held_out_scores():
    """The p-value of a row is what the calibration makes of its score."""
    out = scored(ODD)
    ok = np.array([status != "too_many_missing" for status in out["anomaly_status"].to_pylist()])
    scores, p = (out[name].to_numpy()[ok] for name in ("anomaly_score", "anomaly_p_value"))
    held_out = SCORER.calibration.scores
    assert len(held_out) == 400
    np.testing.assert_allclose(p, [(1 + (held_out >= s).sum()) / 401 for s in scores])


def test_a_row_is_flagged_by_its_p_value():
    """The flag is p <= rate, in every row that was scored."""
    for row in scored(ODD).to_pylist():
        if row["anomaly_status"] != "too_many_missing":
            assert row["is_anomaly"] == (row["anomaly_p_value"] <= 0.05)


@pytest.mark.slow
def test_reconstruction_error_counts_a_feature_once():
    """A row at the training mean of unstructured columns has an error of 0, at one deviation 1, missing or not."""
    draw = np.random.default_rng(0)
    table = pa.table({"x": draw.normal(size=300), "v": pa.array(list(draw.normal(size=(300, 4))))})
    detector = Detector(config()).fit(table)
    errors = np.array(detector.score(table)["reconstruction_error"])
    residuals = to_rows(detector.scorer.ensemble(detector.spec.encode_table(table)).squared_BRW, len(table))
    np.testing.assert_allclose(errors, (residuals[:, 0] + residuals[:, 1:].mean(axis=1)) / 2, rtol=1e-5)
    gap = table.slice(0, 1).set_column(0, "x", pa.array([None], pa.float64()))
    residuals = to_rows(detector.scorer.ensemble(detector.spec.encode_table(gap)).squared_BRW, 1)
    assert detector.score(gap)["reconstruction_error"][0].as_py() == pytest.approx(residuals[0, 1:].mean())


# --- Statuses


def test_an_ordinary_row_is_ok():
    """Nothing wrong: status ok, all values there."""
    row = one()
    assert row["anomaly_status"] == "ok"
    assert all(row[name] is not None for name in [*VALUES, "is_anomaly"])


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"city": "new"}, "unseen_category"),
        ({"a": math.inf}, "non_finite"),
        ({"v": [-math.inf, 0.0]}, "non_finite"),
        ({"a": math.nan}, "ok"),
        ({"a": None, "city": None, "flag": None}, "ok"),
        ({"a": -math.inf, "city": "new"}, "non_finite"),
        ({"a": math.inf, "b": math.inf, "v": None, "city": None}, "too_many_missing"),
    ],
    ids=str,
)
def test_status_says_why(change, status):
    """The gravest of what is wrong with a row is its status."""
    assert one(**change)["anomaly_status"] == status


@pytest.mark.parametrize(
    "change", [dict.fromkeys(["a", "b", "city", "flag"]), dict.fromkeys(ODD.column_names)], ids=["four of seven", "all"]
)
def test_too_many_missing_is_not_scored(change):
    """Over half of the features missing: no error, no score, no p-value, no flag, no reasons."""
    assert one(**change) == {
        "reconstruction_error": None, "anomaly_score": None, "anomaly_p_value": None, "is_anomaly": None,
        "anomaly_reasons": [], "anomaly_status": "too_many_missing",
    }  # fmt: skip


def test_max_missing_is_a_setting():
    """The share of missing features up to which a row is scored comes from the decision."""
    strict = DETECTOR.with_decision(DETECTOR.config.decision.model_copy(update={"max_missing": 0.1}))
    row = pa.Table.from_pylist([ODD.slice(1, 1).to_pylist()[0] | {"a": None}], schema=ODD.schema)
    assert strict.score(row)["anomaly_status"].to_pylist() == ["too_many_missing"]
    assert DETECTOR.score(row)["anomaly_status"].to_pylist() == ["ok"]


def test_unseen_is_at_least_as_surprising_as_seen():
    """A category that was not in training never scores below the categories that were."""
    assert one(city="new")["anomaly_score"] > max(one(city=city)["anomaly_score"] for city in "xyz")


# --- The one rule


def assert_same_rows(found, expected):
    """Two scored tables agree: values to the last bit, words exactly."""
    for name in VALUES:
        np.testing.assert_array_equal(*(np.array(table[name].to_pylist(), float) for table in (found, expected)))
    for name in ("is_anomaly", "anomaly_status"):
        assert found[name].to_pylist() == expected[name].to_pylist()
    for mine, theirs in zip(found["anomaly_reasons"].to_pylist(), expected["anomaly_reasons"].to_pylist(), strict=True):
        assert [(r["feature"], r["observed"]) for r in mine] == [(r["feature"], r["observed"]) for r in theirs]


@pytest.mark.slow
@settings(max_examples=20)
@given(st.permutations(range(len(ODD))), st.lists(st.integers(0, len(ODD)), max_size=3))
def test_order_and_batches_do_not_matter(order, cuts):
    """Rows in any order, cut into batches anywhere, keep their scores, flags and reasons."""
    moved = ODD.take(order)
    bounds = [0, *sorted(cuts), len(ODD)]
    pieces = [scored(moved.slice(a, b - a)) for a, b in pairwise(bounds)]
    assert_same_rows(pa.concat_tables(pieces), scored(ODD).take(order))


@settings(max_examples=15)
@given(st.integers(0, len(ODD) - 1), st.lists(st.integers(0, len(ODD) - 1), max_size=30))
def test_neighbours_do_not_matter(row, neighbours):
    """A row alone and the row among any others score the same."""
    among = scored(ODD.take([*neighbours, row])).slice(len(neighbours))
    assert_same_rows(scored(ODD.slice(row, 1)), among)


def test_more_rows_than_a_block_do_not_matter():
    """Rows beyond the first block, and at its edge, score as they do alone."""
    copies = -(-(2 * BLOCK + 10) // len(ODD))
    many = pa.concat_tables([ODD] * copies).slice(0, 2 * BLOCK + 10)
    alone = pa.concat_tables([scored(ODD)] * copies).slice(0, len(many))
    assert_same_rows(scored(many), alone)


def test_the_same_bytes_score_the_same():
    """A second scorer of the same bytes agrees to the last bit."""
    again = Scorer.from_bytes(DETECTOR.to_bytes())
    assert scored(ODD, again).equals(scored(ODD))


def test_sliced_and_chunked_columns_do_not_matter():
    """Arrays with an offset into a larger buffer score as copies of them do."""
    sliced = pa.concat_tables([rows_of(7, 9), ODD]).combine_chunks().slice(7)
    assert_same_rows(scored(sliced), scored(ODD))


@pytest.mark.parametrize(
    "change",
    [
        {"a": 1.7e308}, {"a": -1.7e308, "b": 1.7e308}, {"v": [1.7e308, -1.7e308]}, {"one": 1.7e308}, {"a": 5e-324},
        {"a": 1e300, "b": -1e300, "city": "new", "flag": False, "v": [1e300, 1e300], "one": -1e300},
    ],
    ids=str,
)  # fmt: skip
def test_values_of_any_size_stay_finite(change):
    """The largest floats give finite scores and errors, and no warning."""
    row = one(**change)
    assert math.isfinite(row["anomaly_score"])
    assert math.isfinite(row["reconstruction_error"])
    assert 0 < row["anomaly_p_value"] <= 1


@pytest.mark.slow
@settings(max_examples=60)
@given(st.floats(allow_nan=True, allow_infinity=True), st.floats(allow_nan=True, allow_infinity=True))
def test_any_float_is_scored(a, b):
    """Whatever the numbers: a finite score of at least 0, and a status that tells of infinities."""
    row = one(a=a, b=b)
    assert math.isfinite(row["anomaly_score"])
    assert row["anomaly_status"] == ("non_finite" if math.isinf(a) or math.isinf(b) else "ok")


def test_farther_out_scores_higher():
    """A number scores higher the farther it is from what the rest of its row suggests."""
    scores = [one(a=2.0 * 10**power)["anomaly_score"] for power in range(1, 9)]
    assert scores == sorted(scores)
    assert scores[0] > one()["anomaly_score"]


@pytest.mark.slow
def test_narrow_columns_take_values_of_any_size():
    """A column whose scale is far below 1 takes the largest floats too."""
    table = pa.table({"x": np.random.default_rng(0).normal(size=100) * 1e-6})
    detector = Detector(config()).fit(table)
    (row,) = detector.score(pa.table({"x": [1.7e308]})).to_pylist()
    assert math.isfinite(row["anomaly_score"])


def test_a_scorer_is_built_once_and_its_bytes_are_asked_for_once(monkeypatch):
    """Batches and tasks of one process share a scorer by its digest, and a known digest needs no bytes."""
    monkeypatch.setattr(scorer, "_scorers", {})
    asked = []
    first = scorer.load_scorer("one", SCORER.rule, lambda: asked.append(1) or DETECTOR.to_bytes())
    assert scorer.load_scorer("one", SCORER.rule, lambda: asked.append(2) or b"") is first
    assert asked == [1]


def test_a_rule_has_a_scorer_of_its_own(monkeypatch):
    """Two jobs of one model that decide otherwise do not get each other's scorer from a worker process."""
    monkeypatch.setattr(scorer, "_scorers", {})
    wide = SCORER.rule._replace(false_alarm_rate=0.5)
    trained, other = (scorer.load_scorer("one", rule, DETECTOR.to_bytes) for rule in (SCORER.rule, wide))
    assert (trained.rule, other.rule) == (SCORER.rule, wide)
    assert trained.calibration.cut != other.calibration.cut
    assert trained.name == other.name


def test_few_scorers_are_kept(monkeypatch):
    """A process that serves many models keeps the last few."""
    monkeypatch.setattr(scorer, "_scorers", {})
    for number in range(10):
        scorer.load_scorer(str(number), SCORER.rule, DETECTOR.to_bytes)
    assert [digest for digest, _ in scorer._scorers] == ["6", "7", "8", "9"]


@pytest.mark.slow
def test_a_large_batch_is_scored_in_blocks():
    """However large a batch, what grows with it is the output, not what the network makes of it: a few numbers a row,
    and the reasons of the few that are flagged.
    """
    import tracemalloc

    scorer, table = SCORER, rows_of(BLOCK, 2)
    arrays = [table.column(name).combine_chunks() for name in scorer.names]
    peaks = []
    for times in (8, 80):
        many = [pa.concat_arrays([array] * times) for array in arrays]
        scorer(many)
        tracemalloc.start()
        scorer(many)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    bytes_a_row = (peaks[1] - peaks[0]) / (72 * BLOCK)
    assert bytes_a_row < 80


@pytest.mark.slow
def test_a_block_is_computed_in_memory_that_is_kept():
    """What a block asks for anew, once another was scored, is less than one array of its numbers."""
    import tracemalloc

    draw = np.random.default_rng(0)
    scorer = Detector(config()).fit(draw.normal(size=(400, 32))).scorer
    columns = [pa.array(column) for column in draw.normal(size=(32, BLOCK))]
    batch, buffers = scorer.spec.encode(columns), Buffers()
    scorer.ensemble(batch, buffers)
    tracemalloc.start()
    scorer.ensemble(batch, buffers)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < batch.x_NF.nbytes


@pytest.mark.slow
def test_threads_that_share_a_scorer_do_not_share_its_buffers():
    """Rows scored by two threads at once come out as by one."""
    tables = [rows_of(BLOCK, seed) for seed in (3, 4)]
    alone = [scored(table)["anomaly_score"] for table in tables]
    with ThreadPoolExecutor(2) as threads:
        for _ in range(10):
            together = [found["anomaly_score"] for found in threads.map(scored, tables)]
            assert together == alone
