"""Facts of a run as the page gets them, of a small model; and the page taken apart."""

from dataclasses import replace
from datetime import date, timedelta
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from vae_model import Config, Detector
from vae_model.report.facts import Blamed, Day, Facts, Reason, Rows, Segment, Top, binned
from vae_model.runs.record import RunRecord, Stage

NAMES = ("flow", "pressure", "valve")
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


class Page(HTMLParser):
    """A page taken apart: its elements with their attributes, and its text by section."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.by_section = [], "", {}
        self._section = "head"
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        """Note an element."""
        self.tags.append((tag, dict(attrs)))
        if tag == "section":
            self._section = dict(attrs)["id"]

    def handle_data(self, data):
        """Note text; that a space is not to be broken at matters to the eye alone."""
        data = data.replace("\N{NO-BREAK SPACE}", " ")
        self.text += data
        self.by_section[self._section] = self.by_section.get(self._section, "") + data


def table(names=NAMES, rows=400, seed=0):
    """Three columns of any names, of which two hang together."""
    draw = np.random.default_rng(seed)
    flow = draw.normal(10, 2, rows)
    return pd.DataFrame(dict(zip(names, (flow, 3 * flow, draw.choice(["open", "shut"], rows)), strict=True)))


def facts_of(names=NAMES, text="EWR", **changes):
    """Facts of a run on columns of some names, in whose every other text stands ``text``."""
    settings = {"name": "pumps", "model": {"steps": 20}, "decision": {"false_alarm_rate": 0.02}}
    detector = Detector(Config.model_validate(settings)).fit(table(names))
    drift = detector.drift(table(names, 300, 1).assign(**{names[0]: np.nan}))
    record = RunRecord(
        run_id=text, name="pumps", command="run", source=text, source_version="files:1", output=text, mode="replace",
        model=detector.scorer.name, model_digest=detector.header["sha256"], config_digest="c" * 64, slice=text,
        decision_digest=detector.config.decision.digest, rows_read=300, rows_scored=299, anomalies=12, alerts=10,
        statuses={"ok": 299, "unseen_category": 1}, threshold=detector.calibration.cut,
        effective_rate=detector.calibration.resulting_rate, finest_rate=detector.calibration.finest_rate,
        expected_alerts=5.0, drift=list(drift.columns), drift_rows=300, drift_small=False, largest_drift=drift.drift,
        p_value_distance=0.2, p_values_moved=True, stages=[Stage("scoring", 1.5, 300)], engine="Sail",
        alerts_output=text, versions={"pyspark": "4.2.0"},
    ).ending("succeeded")  # fmt: skip
    why = tuple(Reason(name, 0.4, text, text) for name in names)
    rows = Rows(
        text, 300, binned(np.abs(np.random.default_rng(2).normal(3, 1, 300))),
        tuple(Top({names[2]: text}, 9.5 - i, 0.01, i < 12, why, f"{text}, expected {text}.") for i in range(15)),
        tuple(Blamed(name, 4, 8, 2.5) for name in names), names[0],
        tuple(Day(date(2024, 1, 1) + timedelta(days=i), 10, i % 3) for i in range(30)), (names[2],),
        (Segment((text,), 200, 9), Segment((None,), 100, 3)),
    )  # fmt: skip
    return replace(Facts(record, detector.config, detector, rows, None, {}, f"vae-anomaly run {text}"), **changes)


@pytest.fixture(scope="session")
def facts():
    """Of a run that went well."""
    return facts_of()
