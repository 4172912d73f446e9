"""Planted anomalies: by the default settings each ranks above all normal rows, and its first reason names it."""

from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest

from vae_model import Config, Detector
from vae_model.features.feature import Feature, Words
from vae_model.scoring.reasons import TYPE, Explained, Reason, clause, sentence


def normal(rows, seed):
    """Normal rows of a machine: a number of every kind of relation, a category of two, times within working hours."""
    draw = np.random.default_rng(seed)
    load, temperature = draw.normal(50, 10, rows), draw.normal(15, 5, rows)
    city = draw.choice(["Lyon", "Nice", "Turin", "Milan"], rows)
    seconds = draw.integers(0, 365, rows) * 86_400 + np.clip(draw.normal(13, 1.5, rows), 8, 18) * 3600
    return pa.table(
        {
            "load": load,
            "power": 2 * load + draw.normal(0, 2, rows),
            "city": city,
            "country": np.where(np.isin(city, ["Lyon", "Nice"]), "France", "Italy"),
            "temperature": temperature,
            "heating": temperature < 15,
            "at": pa.array(np.datetime64("2023-01-01", "us") + (seconds * 1e6).astype("timedelta64[us]")),
            "spectrum": pa.array(list(draw.normal([1, 2, 3], [0.1, 0.2, 0.3], (rows, 3)))),
            "version": np.full(rows, 3),
        }
    )


TYPICAL = {
    "load": 50.0, "power": 100.0, "city": "Turin", "country": "Italy", "temperature": 5.0, "heating": True,
    "at": datetime(2023, 5, 10, 13), "spectrum": [1.0, 2.0, 3.0], "version": 3,
}  # fmt: skip

PLANTED = {
    "a number": ({"temperature": -60.0}, {"temperature"}, "-60"),
    "a broken relation": ({"load": 70.0, "power": 60.0}, {"load", "power"}, None),
    "an unseen category": ({"city": "Oslo"}, {"city"}, "Oslo"),
    "an impossible pair": ({"country": "France"}, {"city", "country"}, None),
    "a boolean": ({"heating": False}, {"heating"}, "false"),
    "a time of day": ({"at": datetime(2023, 5, 10, 3)}, {"at"}, "2023-05-10T03:00:00"),
    "an element of an array": ({"spectrum": [1.0, 9.0, 3.0]}, {"spectrum"}, "[1]: 9"),
    "a changed constant": ({"version": 4}, {"version"}, "4"),
    "an infinity": ({"load": float("inf")}, {"load"}, "inf"),
    "an element gone missing": ({"spectrum": [1.0, None, 3.0]}, {"spectrum"}, "[1]: missing"),
    **{f"no {name}": ({name: None}, {name}, "missing") for name in TYPICAL},
}


@pytest.fixture(scope="module")
def detector():
    """Trained by the default settings, but for a rate that its held-out rows can reach, and a seed by which its codes
    tell the countries apart: by one in three they do not, and the pair drowns.
    """
    settings = {"decision": {"false_alarm_rate": 0.01}, "train": {"seed": 3}}
    return Detector(Config.model_validate(settings)).fit(normal(2500, 0))


@pytest.fixture(scope="module")
def normal_scores(detector):
    """The scores of 1,500 normal rows that were not trained on."""
    return detector.score(normal(1500, 1))


@pytest.fixture(scope="module")
def planted(detector):
    """Each planted anomaly, scored."""
    rows = [TYPICAL | change for change, _, _ in PLANTED.values()]
    scored = detector.score(pa.Table.from_pylist(rows, schema=normal(1, 0).schema))
    return dict(zip(PLANTED, scored.to_pylist(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_anomaly_ranks_first(planted, normal_scores, kind):
    """Among 1,500 normal rows none scores as high as the planted one (one may, where each value by itself is common),
    and it is flagged.
    """
    scores = normal_scores["anomaly_score"].to_numpy()
    assert int((scores >= planted[kind]["anomaly_score"]).sum()) <= (kind == "an impossible pair")
    assert planted[kind]["is_anomaly"] is True


@pytest.mark.parametrize("kind", PLANTED)
def test_the_first_reason_names_the_planted_column(planted, kind):
    """The column that was changed stands first, with what was observed."""
    _, columns, observed = PLANTED[kind]
    first = planted[kind]["anomaly_reasons"][0]
    assert first["feature"] in columns
    if observed is not None:
        assert first["observed"] == observed


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("a boolean", "true"), ("a changed constant", "3"), ("an unseen category", {"Turin", "Milan"})],
)
def test_the_first_reason_says_what_was_expected(planted, kind, expected):
    """What the model expects of a flag, a constant and a city is what such rows have."""
    found = planted[kind]["anomaly_reasons"][0]["expected"]
    assert found == expected if isinstance(expected, str) else found in expected


def test_an_impossible_pair_is_told_from_either_side(planted):
    """The first reason of a pair that cannot be says what would have fitted the other column."""
    first = planted["an impossible pair"]["anomaly_reasons"][0]
    fitting = {"country": {"Italy"}, "city": {"Lyon", "Nice"}}
    assert first["observed"] == {"country": "France", "city": "Turin"}[first["feature"]]
    assert first["expected"] in fitting[first["feature"]]


def test_a_broken_relation_expects_a_number_nearer_to_the_others(planted):
    """The first reason of a broken relation expects the column nearer to where its partner puts it."""
    first = planted["a broken relation"]["anomaly_reasons"][0]
    if first["feature"] == "power":
        assert first["observed"] == "60"
        assert float(first["expected"]) > 75
    else:
        assert first["observed"] == "70"
        assert float(first["expected"]) < 60


def test_a_time_of_day_is_as_kind_one(planted):
    """A night in a column of working hours is answered with an hour of the day."""
    expected = planted["a time of day"]["anomaly_reasons"][0]["expected"]
    part, _, clock = expected.rpartition(": ")
    assert part == "time of day"
    assert "06:00" < clock < "20:00"


def test_an_array_is_told_by_its_element(planted):
    """The element that deviates most is named on both sides."""
    first = planted["an element of an array"]["anomaly_reasons"][0]
    assert first["expected"].startswith("[1]: ")
    assert float(first["expected"].removeprefix("[1]: ")) < 9


def test_only_what_is_no_usual_value_has_another_status(planted):
    """A category that was not in training is a status, and so is an infinity; the other anomalies, a value gone missing
    among them, are ok rows.
    """
    statuses = {kind: row["anomaly_status"] for kind, row in planted.items()}
    others = {"an unseen category": "unseen_category", "an infinity": "non_finite"}
    assert statuses == dict.fromkeys(PLANTED, "ok") | others


def test_a_typical_row_is_not_flagged(detector):
    """The row the anomalies were planted in is itself nothing special, and has no reasons."""
    (row,) = detector.score(pa.Table.from_pylist([TYPICAL], schema=normal(1, 0).schema)).to_pylist()
    assert row["is_anomaly"] is False
    assert row["anomaly_p_value"] > 0.1
    assert row["anomaly_reasons"] == []


def test_normal_rows_are_flagged_at_about_the_rate(normal_scores):
    """Of 1,500 normal rows about 1 % are flagged."""
    flagged = sum(normal_scores["is_anomaly"].to_pylist())
    assert 1 <= flagged <= 45


def test_shares_are_ordered_and_sum_to_at_most_one(planted, normal_scores):
    """Reasons come most first; their shares are positive and add up to no more than the whole."""
    flagged = [row["anomaly_reasons"] for row in [*planted.values(), *normal_scores.to_pylist()] if row["is_anomaly"]]
    assert len(flagged) > len(PLANTED)
    for reasons in flagged:
        shares = [reason["share"] for reason in reasons]
        assert 1 <= len(shares) <= 5
        assert shares == sorted(shares, reverse=True)
        assert min(shares) > 0
        assert sum(shares) <= 1 + 1e-9
        assert len({reason["feature"] for reason in reasons}) == len(reasons)


def test_reasons_are_given_for_flagged_rows_only(normal_scores):
    """A row has reasons if and only if it is flagged."""
    rows = normal_scores.to_pylist()
    assert [bool(row["anomaly_reasons"]) for row in rows] == [row["is_anomaly"] for row in rows]


WRONG = {"temperature": -60.0, "spectrum": [9.0, 9.0, 9.0], "load": 500.0, "at": datetime(2023, 5, 10, 3), "version": 4}


@pytest.mark.parametrize("most", [0, 1, 2, 3, 9])
def test_as_many_reasons_as_there_are_or_the_decision_says(detector, most):
    """A row of five wrong columns has them for its reasons, the worst first, and ``decision.reasons`` limits them."""
    row = pa.Table.from_pylist([TYPICAL | WRONG], schema=normal(1, 0).schema)
    decision = detector.config.decision.model_copy(update={"reasons": most})
    (found,) = detector.with_decision(decision).score(row)["anomaly_reasons"].to_pylist()
    features = {reason["feature"] for reason in found}
    assert len(found) == most if most < 5 else WRONG.keys() <= features


def test_an_ordinary_rest_has_no_part_in_the_reasons(detector):
    """A row that is ordinary but for one number has that one reason, with almost all of the score."""
    row = pa.Table.from_pylist([TYPICAL | {"temperature": -60.0}], schema=normal(1, 0).schema)
    ((reason,),) = detector.score(row)["anomaly_reasons"].to_pylist()
    assert reason["feature"] == "temperature" and reason["share"] > 0.9


@pytest.mark.parametrize("gap", [None, float("nan"), float("inf")])
def test_of_the_gaps_only_the_least_usual_is_a_reason(detector, gap):
    """Of several gaps one is named, whatever else is wrong, and the wilder value comes before it."""
    row = TYPICAL | {"temperature": -600.0, "power": gap, "city": None}
    wide = detector.with_decision(detector.config.decision.model_copy(update={"reasons": 9}))
    table = pa.Table.from_pylist([row], schema=normal(1, 0).schema.set(1, pa.field("power", pa.float64())))
    (reasons,) = wide.score(table)["anomaly_reasons"].to_pylist()
    assert reasons[0]["feature"] == "temperature"
    (own,) = [reason for reason in reasons if reason["feature"] in ("power", "city")]
    assert own["observed"] == ("inf" if own["feature"] == "power" and gap == float("inf") else "missing")


def test_a_usual_gap_is_no_reason():
    """What a fifth of the training rows miss is not named where it is missing in a flagged row."""
    draw = np.random.default_rng(0)
    gaps = draw.random((2, 800)) < 0.2
    rows = pa.table({name: pa.array(draw.normal(size=800), mask=own) for name, own in zip("ab", gaps, strict=True)})
    rows = rows.append_column("c", pa.array(draw.normal(size=800)))
    detector = Detector(Config.model_validate({"model": {"steps": 50}})).fit(rows)
    (reasons,) = detector.score(pa.table({"a": pa.nulls(1), "b": [0.0], "c": [1000.0]}))["anomaly_reasons"].to_pylist()
    assert reasons[0]["feature"] == "c"
    assert "a" not in {reason["feature"] for reason in reasons}


def test_a_moment_beyond_pythons_calendar_is_no_obstacle(detector):
    """A flagged row with a timestamp in the year 33658 is explained, not a crash."""
    table = pa.Table.from_pylist([TYPICAL | {"temperature": -60.0}], schema=normal(1, 0).schema)
    far = table.set_column(table.column_names.index("at"), "at", pa.array([10**18], pa.timestamp("us")))
    (reasons,) = detector.score(far)["anomaly_reasons"].to_pylist()
    observed = {reason["feature"]: reason["observed"] for reason in reasons}
    assert observed["temperature"] == "-60"
    assert observed["at"] == f"{10**18} us since 1970"


def test_a_moment_is_told_in_utc_whatever_its_zone(detector):
    """The same instant in another zone has the same reason: Spark hands instants over in its session's zone."""
    index, told = normal(1, 0).column_names.index("at"), []
    for zone in ("UTC", "America/New_York"):
        table = pa.Table.from_pylist([TYPICAL | {"temperature": -60.0}], schema=normal(1, 0).schema)
        at = pa.array([datetime(2023, 5, 10, 3)], pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))
        table = table.set_column(index, "at", at.cast(pa.timestamp("us", zone)))
        told.append(detector.score(table)["anomaly_reasons"].to_pylist())
    assert told[0] == told[1]
    assert "2023-05-10T03:00:00+00:00" in [reason["observed"] for reason in told[0][0]]


def test_the_expected_constant_is_written_in_full():
    """A constant integer is expected digit by digit, as it was observed."""
    rows = pa.table({"x": np.random.default_rng(0).normal(size=100), "version": np.full(100, 20240101)})
    settings = {"model": {"steps": 20}, "decision": {"false_alarm_rate": 0.2}}
    detector = Detector(Config.model_validate(settings)).fit(rows)
    (reasons,) = detector.score(pa.table({"x": [0.0], "version": [99999999]}))["anomaly_reasons"].to_pylist()
    first = reasons[0]
    assert (first["feature"], first["observed"], first["expected"]) == ("version", "99999999", "20240101")


def test_the_type_of_reasons():
    """The contract: a list of structs of feature, share, observed and expected."""
    fields = [(f.name, f.type) for f in TYPE.value_type]
    assert fields == [
        ("feature", pa.string()), ("share", pa.float64()), ("observed", pa.string()), ("expected", pa.string())
    ]  # fmt: skip


WIND = ("wind_speed", 0.9, "wind_speed 1048.36, expected about 9.7 (3 to 22)")
CARRIER = ("carrier", 0.06, "carrier 'ZZ' (never seen in training), expected 'DL'")
GAP = ("visib", 0.02, "visib is missing, expected about 10.0 (4 to 10)")
HALF = ("a", 0.6, "a 1, expected 2")
NOTHING = ("a", 0.003, "a 1, expected 2")
SENTENCES = {
    "one": ((WIND,), True, True, f"{WIND[-1]}; without it the row is ordinary."),
    "two": ((WIND, CARRIER), True, True, f"{WIND[-1]}; {CARRIER[-1]}; without both the row is ordinary."),
    "three": ((GAP, CARRIER, WIND), True, True, "without them the row is ordinary."),
    "more": ((GAP, WIND, WIND, WIND, WIND), True, True, "; and 2 more columns; without them the row is ordinary."),
    "almost all": ((WIND, CARRIER), False, True, "they make up 96% of its score."),
    "most": (
        (HALF,), False, True,
        f"{HALF[-1]}; it makes up 60% of its score, and no other column alone explains the rest.",
    ),
    "most of those asked for": ((HALF,), False, False, f"{HALF[-1]}; it makes up 60% of its score."),
    "none": ((GAP, CARRIER), False, True, "no column alone explains it (they make up 8% of its score)."),
    "next to nothing": (
        (NOTHING,), False, True,
        f"{NOTHING[-1]}; no column alone explains it (it makes up less than 1% of its score).",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SENTENCES)
def test_a_sentence_says_what_was_observed_and_expected_and_what_is_left(case):
    """The columns with what is expected of them, and whether the row would be ordinary without them."""
    told, is_ordinary, is_all, text = SENTENCES[case]
    reasons = [Reason(name, share, Words("", ""), clause) for name, share, clause in told]
    found = sentence(Explained(0, reasons, is_ordinary, is_all))
    assert found == text if text.startswith(reasons[0].clause) else found.endswith(text)


CLAUSES = {
    "a number": (("numeric", "float"), True, ("1048.36", "9.7"), "3 to 22", "c 1048.36, expected about 9.7 (3 to 22)"),
    "no range": (("numeric", "float"), True, ("1048.36", "9.7"), "", "c 1048.36, expected about 9.7"),
    "a gap": (("numeric", "float"), False, ("missing", "9.7"), "3 to 22", "c is missing, expected about 9.7 (3 to 22)"),
    "a text": (("categorical", "string"), True, ("missing", "a\nb"), "", r"c 'missing', expected 'a\nb'"),
    "no text": (("categorical", "string"), False, ("missing", "b"), "", "c is missing, expected 'b'"),
    "a rare value": (("categorical", "string"), True, ("x", "(a rare value)"), "", "c 'x', expected (a rare value)"),
    "a whole number as a category": (("categorical", "integer"), True, ("7", "8"), "", "c 7, expected 8"),
    "an element": (("vector", "array"), True, ("[1]: 9", "[1]: 2.0"), "1 to 3", "c[1] 9, expected about 2.0 (1 to 3)"),
    "a gap in an array": (
        ("vector", "array"), True, ("[1]: missing", "[1]: 2"), "", "c[1] is missing, expected about 2"
    ),
    "no array": (("vector", "array"), False, ("missing", "3 numbers"), "", "c is missing, expected 3 numbers"),
    "a moment": (("datetime", "date"), True, ("2024-01-07", "month: May"), "", "c 2024-01-07, expected month: May"),
}  # fmt: skip


@pytest.mark.parametrize("case", CLAUSES)
def test_a_reason_in_a_sentence(case):
    """Texts stand in quotes and are printable; elements of arrays are named; of numbers the range is told."""
    (kind, family), is_there, words, interval, text = CLAUSES[case]
    feature = Feature("c", kind, family, scale=(1.0,))
    assert clause(feature, is_there, Words(*words), interval, is_unseen=False) == text


def test_what_is_new_and_what_is_constant_in_a_sentence():
    """A value that was never seen is told; of a constant what is expected is no estimate."""
    new = clause(Feature("c", "categorical", "string"), True, Words("x", "a"), "", is_unseen=True)
    assert new == "c 'x' (never seen in training), expected 'a'"
    constant = Feature("v", "numeric", "integer", scale=(0.0,))
    assert clause(constant, True, Words("4", "3"), "", is_unseen=False) == "v 4, expected 3"
