"""The page of a run: all of it is there, or why not; and nothing that a table holds is more than text."""

import json
import re
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from tests.report.conftest import EVALUATION, Page, facts_of
from vae_model import Config, Detector
from vae_model.errors import ConfigError
from vae_model.report.evaluation import read
from vae_model.report.facts import HIGHEST, LOWEST, PER_DECADE, Blamed, Day, Facts, Reason, Segment, Top
from vae_model.report.page import page
from vae_model.report.sections import SECTIONS
from vae_model.runs.record import RunRecord, Stage

pytestmark = pytest.mark.slow

LIMIT = 200_000
"""Bytes of a page, at most."""
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=https://example.org/x.png onerror=alert(1)>',
    "</style></title></svg></pre><iframe src='//example.org'>",
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% include 'page.css' %}",
    "&lt;b&gt; &amp; &#x3C;",
    "\u202egnp.exe\u2066\u200b",
    "\x1b[2J\x00\x07 two\r\nlines",
    "👩‍🔬 Ünïcödé 数据",
    "x" * 10_000,
    "<" * 10_000,
]


def told(facts):
    """The text of a page by section."""
    return Page(page(facts)).by_section


def test_every_section_is_there(facts):
    """Each has its heading, and what the facts say: nothing is lacking but the evaluation."""
    html = page(facts)
    found = Page(html)
    assert [attrs["id"] for tag, attrs in found.tags if tag == "section"] == [anchor for anchor, *_ in SECTIONS]
    assert [attrs["class"] for tag, attrs in found.tags if attrs.get("class") == "lack"] == ["lack"]
    text = found.by_section
    assert "12 are flagged" in text["head"] and "flow: missing 0 % -> 100 %" in text["head"]
    assert facts.model.calibration.describe() in text["run"]
    assert "asked for: 2 %" in text["rates"] and "found in this run: 4 %" in text["rates"]
    assert "2024-01-01" in text["time"] and "null" in text["time"]
    assert "EWR, expected EWR." in text["alerts"] and "p is the share of held-out" in text["alerts"]
    assert "unseen_category" in text["quality"] and "PSI" in text["drift"] and "0 % → 100 %" in text["drift"]
    assert "held-out rows that calibrate it400" in text["training"] and facts.record.model_digest in text["again"]
    assert len(html.encode()) < 80_000


def test_charts_have_words(facts):
    """Each drawing has a title and a description; a bar in a table has its figure beside it."""
    html = page(facts)
    drawings = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(drawings) > 20
    for drawing in drawings:
        told = re.search(r'role="img"><title>.+?</title><desc>.+?</desc>', drawing)
        assert told or 'aria-hidden="true"' in drawing, drawing[:200]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_whatever_a_table_holds_is_text(text):
    """In names, values, ids and messages: no element, attribute or style comes of it, and the page stays small."""
    names = tuple(f"{text} {i}" for i in range(3))
    hostile = facts_of(names, text, lacks={"time": text, "config": text})
    hostile = replace(hostile, record=replace(hostile.record, status="gated", message=text, gate=text, rejected=text))
    html, plain = page(hostile), page(facts_of(lacks={"time": "x", "config": "x"}))
    assert len(html.encode()) < LIMIT
    found = Page(html)
    assert {tag for tag, _ in found.tags} <= {tag for tag, _ in Page(plain).tags} | {"pre"}
    assert not re.search(r"[\u202e\u2066\u200b\x00\x07\x1b]", html)
    for tag, attrs in found.tags:
        assert tag not in ("script", "img", "iframe", "object", "embed", "base", "form")
        assert not [name for name in attrs if name.startswith("on") or name in ("src", "style", "srcdoc")]
        assert attrs.get("href", "#").startswith("#") or attrs["href"] == "data:,"
    assert html.count("<style>") == html.count("</style>") == 1 and "url(" not in html
    if text.isprintable() and len(text) < 50:
        assert text in found.text


@pytest.mark.parametrize(
    ("status", "words"),
    [("failed", "failed"), ("gated", "stopped by a gate"), ("skipped", "nothing to score"), ("running", "but gone")],
)
def test_a_run_that_came_to_nothing_has_a_page_that_says_why(status, words):
    """From its record alone: with every section, each of which says what it lacks."""
    record = RunRecord("r1", "pumps", "run", process="20200101t000000_00000000_1s1_0000")
    message = "The source is broken.\n  expected: rows\n  found: none"
    gate = {"gate": "gates.max_drift", "gate_limit": 0.25, "gate_found": 3.1} if status == "gated" else {}
    if status != "running":
        record = replace(record.ending(status, message), **gate)
    else:
        record = replace(record, heartbeat=record.started.replace(year=2020), host="elsewhere")
    text = told(Facts(record, lacks=dict.fromkeys(("rows", "model"), "The run has not come to it.")))
    assert words in text["head"]
    if status != "running":
        assert "The source is broken. expected: rows found: none" in text["head"] and message in text["run"]
    if gate:
        assert "gates.max_drift kept the rows from being published: found 3.1, the limit is 0.25" in text["head"]
    for anchor in ("scores", "time", "alerts", "reasons", "training"):
        assert "The run has not come to it." in text[anchor]
    assert "Drift is not in the record" in text["drift"] and "Statuses are not in the record" in text["quality"]


@pytest.mark.parametrize(
    ("changes", "settings", "why"),
    [
        ({}, {}, "a version that did not compare"),
        ({}, {"drift": {"rows": 0}}, "drift.rows is 0."),
        ({"command": "train"}, {}, "a run that only trains"),
        ({"status": "running"}, {}, "the run has not come to it"),
        ({"status": "gated", "gate": "train.accept_if.max_score_loss"}, {}, "the run has not come to it"),
        ({"rows_read": 0}, {}, "it had no row to compare"),
    ],
)
def test_a_record_without_drift_says_why(facts, changes, settings, why):
    """As far as it tells. The rest of the page is as it would be."""
    record = replace(facts.record, drift=None, p_values_moved=None, p_value_distance=None, **changes)
    old = replace(facts, record=record, config=Config.model_validate({"name": "pumps", **settings}))
    assert f"{why}" in told(old)["drift"] and told(old)["alerts"] == told(facts)["alerts"]


@pytest.mark.parametrize(
    ("alerts", "words", "cards"),
    [
        (None, "The highest scores:", 15),
        (0, "The alerts table has no row of the run. The highest scores:", 15),
        (1, "The alerts table has 1 row of the run, by rank:", 1),
        (11, "The alerts table has 11 rows of the run, by rank:", 11),
        (15, "The alerts table has 15 rows of the run, by rank:", 15),
        (40, "The alerts table has 40 rows of the run. Its worst 15, by rank:", 15),
    ],
)
def test_no_more_rows_are_called_alerts_than_there_are(facts, alerts, words, cards):
    """Where the run has none, the highest scores are told, and called that."""
    text = told(replace(facts, record=replace(facts.record, alerts=alerts)))["alerts"]
    assert words in text and text.count(" · p ") == cards


def test_rows_without_a_day_are_told(facts):
    """So many of them as the bars have not; also where no row has one."""
    assert "Not drawn" not in told(facts)["time"]
    some = replace(facts.rows, rows=facts.rows.rows + 1)
    assert "Not drawn: 1 row that has no day" in told(replace(facts, rows=some))["time"]
    assert "No row has a day in flow." in told(replace(facts, rows=replace(facts.rows, days=())))["time"]


def test_bars_of_several_days_are_told(facts):
    """Below the drawing; its last label is the last day."""
    days = tuple(Day(date(2013, 1, 1) + timedelta(days=i), 1, 0) for i in range(300))
    text = told(replace(facts, rows=replace(facts.rows, days=days)))["time"]
    assert "Each bar is 7 days." in text and "2013-10-27" in text
    assert "Each bar" not in told(facts)["time"]


def test_what_later_runs_have_replaced_is_told_of_all_that_is_counted(facts):
    """Beside what else there is to say of days."""
    text = told(replace(facts, lacks={"replaced": "Later runs have replaced 9.", "time": "No days are told."}))
    assert {anchor for anchor, own in text.items() if "replaced 9." in own} == {"scores", "time", "alerts", "reasons"}
    assert "No days are told." in text["time"]


def test_legends_name_what_is_drawn(facts):
    """The cut, and the rate found: only where there is one."""
    full, bare = told(facts), told(replace(facts, record=replace(facts.record, threshold=None, anomalies=None)))
    assert "the cut: beyond it" in full["scores"] and "the cut: beyond it" not in bare["scores"]
    assert "found" in full["rates"].split("chance's range")[0][-60:]
    assert "found" not in bare["rates"].partition("to be expected")[2].split("The held-out")[0]
    endless = replace(facts, record=replace(facts.record, threshold=float("inf")))
    assert "the cut" not in told(endless)["scores"]


def test_a_run_of_no_rows(facts):
    """Its head says so, and so do its data."""
    record = replace(facts.record, rows_read=0, rows_scored=0, anomalies=0, statuses={}, alerts=0, drift=None)
    text = told(replace(facts, record=record, rows=None, lacks={"rows": "There is no row of the run."}))
    assert "The run had no row." in text["head"] and "There was no row." in text["quality"]


def test_no_section_is_a_bare_heading():
    """Also of a run of which no more is known than that it was begun, and of one whose command is all that is known."""
    record = RunRecord("", "", "run").ending("failed", "no config")
    text = told(Facts(record, command="vae-anomaly run --config FILE"))
    assert "vae-anomaly run --config FILE" in text["again"]
    for anchor, title, _ in SECTIONS:
        assert len(text[anchor].strip()) > len(title), anchor
        assert len(told(Facts(record))[anchor].strip()) > len(title), anchor


@pytest.mark.parametrize(
    ("distance", "moved", "words"),
    [
        (0.0, False, "the rows score no higher than the held-out ones"),
        (
            0.00133,
            False,
            "of 100 rows, at most 0.13 more lie above a score than of 100 of those. More than 10 would be told",
        ),
        (0.2, True, "at most 20 more lie above a score than of 100 of those. That is more than chance explains"),
    ],
)
def test_whether_rows_in_general_score_higher(facts, distance, moved, words):
    """In words that need no statistics."""
    record = replace(facts.record, p_value_distance=distance, p_values_moved=moved)
    assert words in told(replace(facts, record=record))["drift"]


@pytest.mark.parametrize("letter", ['"', "👩", "<"])
def test_a_page_has_an_end(monkeypatch, letter):
    """However many columns, keys, segments and reasons there are, and however their names are written."""
    long = letter * 300
    names = tuple(f"{letter * 70}{i}" for i in range(120))
    draw = np.random.default_rng(0)
    table = pd.DataFrame({name: draw.normal(size=300) for name in names})
    settings = {"name": "wide", "model": {"steps": 2}, "decision": {"false_alarm_rate": 0.02, "reasons": 100}}
    detector = Detector(Config.model_validate(settings)).fit(table)
    config = Config.model_validate({**settings, "key": [f"{long}{i}" for i in range(200)]})
    drift = detector.drift(table + 3)
    own = facts_of(text=long)
    why = tuple(Reason(name, 0.01, long, long) for name in names[:100])
    tops = (Top({f"{long}{i}": long for i in range(20)}, 9.5, 0.01, True, why, long * 3) for _ in range(15))
    rows = replace(
        own.rows, by=tuple(f"{long}{i}" for i in range(7)), top=tuple(tops), time=long,
        segments=tuple(Segment((long,) * 7, 9, 9) for _ in range(20)), are_all_segments=False,
        blamed=tuple(Blamed(name, 1, 1, 1.0) for name in names),
        scores=dict.fromkeys(range(LOWEST * PER_DECADE, HIGHEST * PER_DECADE), 3),
        days=tuple(Day(date(1950, 1, 1) + timedelta(days=199 * i), 3 + i % 2, 1 + i % 2) for i in range(80)),
    )  # fmt: skip
    moved = [replace(one, moved=long * 3) for one in drift.columns]
    record = replace(
        own.record, drift=moved, status="gated", gate=long, gate_limit=1.0, gate_found=2.0, message=long * 20,
        statuses={f"{long}{i}": 3 for i in range(30)}, stages=[Stage(long, 1.0, 3)] * 30, alerts=100,
        versions={f"{long}{i}": long for i in range(30)}, rejected=long, config_digest=long,
    )  # fmt: skip
    kinds = [{"name": long, "rows": 10, "recall": 0.5, "first_reason": 0.5}] * 50
    known = EVALUATION["evaluation"]
    found = known | {
        "model": long, "place": long, "held_out": long * 3, "notes": [long * 3] * 30, "verdict": long * 3,
        "detectors": [known["detectors"][0] | {"name": long}] * 30,
        "decided": known["decided"] | {"by_kind": kinds, "by_column": kinds},
    }  # fmt: skip
    lacks = dict.fromkeys(("replaced", "time", "config", "decision"), long * 3)
    facts = Facts(
        record, config, detector, rows, read(json.dumps({"evaluation": found}).encode(), "e"), lacks, long * 20
    )
    monkeypatch.setattr(Detector, "warnings", [long] * 30)
    assert len(page(facts).encode()) < LIMIT


def test_an_evaluation_is_told(facts):
    """Its verdict, its detectors and what is found by kind; and that it is of another model."""
    text = told(replace(facts, evaluation=read(json.dumps(EVALUATION).encode(), "e.json")))["evaluation"]
    for words in (
        "57 % of planted errors",
        "57 % (55 % to 60 %)",
        "tail",
        "90 %",
        "flow",
        "another model, pumps@1",
        "A note.",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"rate": 5e-324}, None),
        ({"rate": float("nan")}, "evaluation.rate: Input should be a finite number"),
        ({"rate": float("inf")}, "evaluation.rate: Input should be a finite number"),
        ({"rate": 0}, "evaluation.rate: Input should be greater than 0"),
        ({"decided": {"false_alarms": 0, "recall": {"value": 7.5, "low": 0, "high": 1}}}, "decided.recall.value"),
        ({"decided": {"false_alarms": -1, "recall": {"value": 1, "low": 0, "high": 1}}}, "decided.false_alarms"),
        (
            {"decided": EVALUATION["evaluation"]["decided"] | {"by_kind": [{"name": "a", "rows": -1, "recall": 1}]}},
            "rows",
        ),
    ],
)
def test_figures_that_cannot_be_are_refused(facts, changes, found):
    """Where they can, however odd, the page has them."""
    data = json.dumps({"evaluation": EVALUATION["evaluation"] | changes}).encode()
    if found is None:
        assert "recall at 4.9e-322 %" in told(replace(facts, evaluation=read(data, "e.json")))["evaluation"]
        return
    with pytest.raises(ConfigError, match="is no evaluation") as error:
        read(data, "e.json")
    assert found in str(error.value)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "no JSON"),
        (b"[1, 2]", "the document"),
        (b'{"evaluation": {"model": 3}}', "evaluation.model"),
        (json.dumps({"run_id": "a"}).encode(), "evaluation: Field required"),
        (b"[" * 100_000, "no JSON"),
    ],
)
def test_what_is_no_evaluation_is_refused(data, found):
    """The record of a run, another document, no document at all."""
    with pytest.raises(ConfigError, match=r"e\.json is no evaluation") as error:
        read(data, "e.json")
    assert found in str(error.value)


def test_a_run_that_flags_nothing(facts):
    """The highest scores are told all the same, as not flagged."""
    rows = replace(facts.rows, top=tuple(one._replace(is_flagged=False) for one in facts.rows.top), blamed=())
    text = told(replace(facts, rows=rows, record=replace(facts.record, alerts=None, anomalies=0)))
    assert "No row is flagged. The highest scores" in text["alerts"]
    assert "No flagged row has a reason" in text["reasons"]
    assert "fewer than chance explains" in text["head"] or "chance explains as many" in text["head"]


@pytest.mark.parametrize(
    ("curve", "is_drawn"),
    [
        ([[50, 3.5], [100, 2.5]], True),
        ([[50, 3.5]], False),
        ([[50, "<script>"], [100, 2.5]], False),
        ([[0, 1e300], [0, -1e300]], False),
        ("abc", False),
        ([[50]] * 3, False),
        ([[50, float("inf")], [100, 1.0]], False),
    ],
)
def test_the_curve_of_training(facts, monkeypatch, curve, is_drawn):
    """It is drawn, unless the model file has none that makes sense: it is checked nowhere else."""
    monkeypatch.setitem(facts.model.header["training"], "curve", curve)
    assert ("The loss in training" in told(facts)["training"]) is is_drawn


def test_no_secret_of_a_url_is_shown(facts):
    """What a message or a config has of credentials is left out."""
    record = replace(facts.record, status="failed", message="s3://bucket/x?sig=abcdefgh is denied")
    assert "abcdefgh" not in page(replace(facts, record=record))


def test_a_notebook_shows_the_page_in_a_frame(facts):
    """The frame has the whole page as text and lets nothing in it run; the page is still a text, shown in a word."""
    made = page(facts_of(text=HOSTILE[1]))
    frame = Page(made._repr_html_())
    ((tag, attributes),) = frame.tags
    assert (tag, attributes["sandbox"], attributes["srcdoc"]) == ("iframe", "", str(made))
    assert made.startswith("<!DOCTYPE html>") and len(repr(made)) < 40
