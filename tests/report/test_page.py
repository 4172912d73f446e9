"""The page of a run: all of it is there, or why not; and nothing that a table holds is more than text."""

import json
import re
from dataclasses import replace

import pytest

from tests.report.conftest import Page, facts_of
from vae_model.errors import ConfigError
from vae_model.report.evaluation import read
from vae_model.report.facts import Facts
from vae_model.report.page import page
from vae_model.report.sections import SECTIONS
from vae_model.runs.record import RunRecord

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
EVALUATION = {
    "name": "pumps", "command": "evaluate", "status": "succeeded", "evaluation": {
        "model": "pumps@1", "place": "data", "held_out": "held-out rows", "label": None, "notes": ["A note"],
        "verdict": "On this table 57 % of planted errors are found.", "rate": 0.001, "measure": "recall",
        "detectors": [{"name": "this model", "recall": {"value": 0.57, "low": 0.55, "high": 0.6}, "fit_seconds": 1.0}],
        "decided": {"false_alarms": 0.001, "recall": {"value": 0.57, "low": 0.55, "high": 0.6}, "precision": None,
                    "first_reason": 0.9, "by_column": [{"name": "flow", "rows": 9, "recall": 1.0, "first_reason": 1.0}],
                    "by_kind": [{"name": "tail", "rows": 300, "recall": 0.9, "first_reason": None}]},
    },
}  # fmt: skip


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
    assert "EWR, expected EWR." in text["alerts"] and "not flagged" in text["alerts"]
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


def test_an_old_record_without_drift_says_so(facts):
    """The rest of the page is as it would be."""
    old = replace(facts, record=replace(facts.record, drift=None, p_values_moved=None, p_value_distance=None))
    assert "a version that did not compare" in told(old)["drift"]
    assert told(old)["alerts"] == told(facts)["alerts"]


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
