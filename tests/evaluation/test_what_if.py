"""What other decisions would flag, from counts alone."""

import json
from collections import Counter
from dataclasses import replace
from statistics import median

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_model.decisions.calibration import Calibration
from vae_model.evaluation.what_if import SHOWN, Subject, Tallies, Tally, WhatIf, ladder

SIZES = st.one_of(st.integers(1, 60), st.sampled_from([99, 999, 1000, 5159, 20_000]))
"""Held-out rows: few, round numbers, and as many as real tables have."""
RATES = st.one_of(st.floats(1e-6, 0.999), st.sampled_from([0.001, 0.01, 0.03, 0.1]))


@st.composite
def calibrations(draw):
    """Held-out scores with or without ties, and a rate or a threshold."""
    size, step = draw(SIZES), draw(st.sampled_from([0.0, 1.0, 7.0]))
    scores = np.arange(size, dtype=float)
    scores = np.floor(scores / step) * step if step else scores
    if draw(st.booleans()):
        return Calibration(scores, 1.0, draw(st.floats(-5, size + 5)))
    return Calibration(scores, draw(RATES))


@pytest.mark.parametrize(
    ("held_out", "rate", "expected"),
    [
        (5159, 0.001, [1 / 5160, 0.001, 0.003, 0.01, 0.03, 0.1]),  # the weather: 0.0003 flags what 1 / 5160 does
        (999, 0.05, [0.001, 0.003, 0.01, 0.03, 0.05, 0.1]),
        (999, 0.3, [0.001, 0.003, 0.01, 0.03, 0.1, 0.3]),
        (99, 0.0001, [0.0001, 0.03, 0.1]),  # finer than can be had: it stands for what it flags
        (4, 0.5, [1 / 5, 0.5]),
    ],
)
def test_the_rates_that_are_looked_at(held_out, rate, expected):
    """From the finest that the held-out rows support up to 10 %, and the configured one."""
    cuts = ladder(Calibration(np.arange(held_out, dtype=float), rate))
    assert [cut.rate for cut in cuts] == expected
    assert [cut.rate for cut in cuts if cut.is_configured] == [rate]


@settings(max_examples=100)
@given(calibrations())
def test_a_ladder_has_no_two_steps_alike(calibration):
    """Rarest first, each rate another cut, none beyond what the held-out rows support, the configured one marked."""
    cuts = ladder(calibration)
    assert [cut.effective_rate for cut in cuts] == sorted(cut.effective_rate for cut in cuts)
    by_rate = [cut for cut in cuts if cut.rate is not None]
    assert len({cut.score for cut in by_rate}) == len(by_rate)
    (configured,) = (cut for cut in cuts if cut.is_configured)
    assert configured.score == calibration.cut and configured.effective_rate == calibration.resulting_rate
    others = [cut.rate for cut in cuts if not cut.is_configured]
    assert all(calibration.finest_rate <= rate <= max(0.1, calibration.finest_rate) for rate in others)


@settings(max_examples=100)
@given(calibrations(), st.lists(st.floats(-10, 30_000), max_size=20))
def test_a_cut_flags_what_the_decision_would(calibration, drawn):
    """By a rate, or by a threshold: the rows that scoring would flag."""
    scores = np.array([*drawn, *calibration.scores[-5:], *calibration.scores[:5]])
    for cut in ladder(calibration):
        rate = {} if cut.rate is None else {"false_alarm_rate": cut.rate, "threshold": None}
        np.testing.assert_array_equal(cut.flags(scores), replace(calibration, **rate).decide(scores))


def counted(flagged, names):
    """What an engine would count of rows, of which so many cuts flag each, by the part that a row belongs to."""
    parts = {}
    for name in sorted(set(names), key=str):
        own = [cuts for cuts, other in zip(flagged, names, strict=True) if other == name]
        parts[name] = Tally(len(own), len(own), tuple(sum(cuts > i for cuts in own) for i in range(8)))
    return parts


def found(flagged, days=(), runs=(), segments=()):
    """What would be said of rows, at 999 held-out ones and a rate of 0.01, of which each cut flags some more."""
    calibration = Calibration(np.arange(999.0), 0.01)
    names = (runs, days, segments)
    parts = (counted(flagged, one) if one else {} for one in names)
    subject = Subject("m@0", "scored", True, "day" if days else None, ("s",) if segments else ())
    whole = counted(flagged, ["all"] * len(flagged))["all"]
    return WhatIf.of(subject, calibration, ladder(calibration), Tallies(whole, *parts))


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["2026-01-01", "2026-01-02", "2026-01-03"])), min_size=1))
def test_days_are_told_by_their_median_and_the_busiest(rows):
    """The busiest has as many as any, days without alerts count in the median, and all expect what the table does."""
    told = found([cuts for cuts, _ in rows], days=[day for _, day in rows])
    assert told.days == len({day for _, day in rows})
    for i, one in enumerate(told.estimates):
        alerts = Counter({day: 0 for _, day in rows})
        alerts.update(day for cuts, day in rows if cuts > i)
        assert one.alerts == sum(alerts.values())
        assert one.by_day.median == median(alerts.values())
        assert one.by_day.most == max(alerts.values()) == alerts[one.by_day.most_in]
        assert one.by_day.expected * told.days == pytest.approx(one.expected) == len(rows) * one.cut.effective_rate


@pytest.mark.parametrize(("runs", "is_told"), [(["a"] * 4, False), (["a", "a", "b", "b"], True), ((), False)])
def test_runs_are_told_where_there_are_several(runs, is_told):
    """One run is the table itself."""
    told = found([0, 1, 2, 3], runs=runs)
    assert {one.by_run is not None for one in told.estimates} == {is_told}


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([None, *map(str, range(3 * SHOWN))])), min_size=1))
def test_the_noisiest_segments_are_shown_and_the_rest_is_summed(rows):
    """No alert and no row is lost, and none that is not shown has more alerts than one that is."""
    told = found([cuts for cuts, _ in rows], segments=[(value,) for _, value in rows])
    shown, rest = told.shown()
    assert len(shown) == min(SHOWN, len({value for _, value in rows}))
    everything = [*shown, *([rest] if rest else [])]
    configured = next(one for one in told.estimates if one.cut.is_configured)
    assert sum(one.rows for one in everything) == len(rows)
    assert sum(one.alerts for one in everything) == configured.alerts
    assert sum(one.expected for one in everything) == pytest.approx(configured.expected)
    hidden = told.segments[len(shown) :]
    assert min(one.alerts for one in shown) >= max((one.alerts for one in hidden), default=0)


def test_all_of_it_is_json():
    """Every cut, the segments that are not shown too; what flags every row has no cut to tell."""
    flagged = [i % 6 for i in range(60)]
    told = found(flagged, days=["2026-01-01"] * 60, segments=[(str(i),) for i in range(60)])
    document = json.loads(json.dumps(told.to_json(), allow_nan=False))
    assert (document["rows"], document["days"], len(document["segments"])) == (60, 1, 60)
    assert [cut["alerts"] for cut in document["cuts"]] == [one.alerts for one in told.estimates]
    assert document["cuts"][0]["by_day"]["most_in"] == "2026-01-01" and document["cuts"][0]["by_run"] is None
    everything = Calibration(np.arange(9.0), 1 - 1e-12)
    last = WhatIf.of(told.subject, everything, ladder(everything), Tallies(Tally(1, 1, (1,) * 8), {}, {}, {}))
    assert json.loads(json.dumps(last.to_json(), allow_nan=False))["cuts"][-1]["cut"] is None
