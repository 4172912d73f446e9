"""Charts: whatever the numbers, all that is drawn lies on the drawing."""

import re
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vae_model.report import charts
from vae_model.report.facts import HIGHEST, LOWEST, PER_DECADE, Day, bin_of, binned, start_of

COUNTS = st.dictionaries(st.integers(LOWEST * PER_DECADE, HIGHEST * PER_DECADE), st.integers(1, 10**9), max_size=20)


FLAGGED = st.dictionaries(st.integers(0, 40_000), st.integers(0, 10**6), min_size=1, max_size=40)


DIGIT = 8.4
"""About what a digit takes on a phone, where labels are 15 units high."""
PAPER = 6.7
"""And on paper, where they are 12."""


def labels(svg):
    """The labels of a drawing that stand side by side at its foot: their text, and from where to where they reach."""
    found = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" text-anchor="(\w+)">(.*?)</text>', svg)
    foot = max(float(y) for _, y, _, _ in found)
    back = {"start": 0, "middle": 0.5, "end": 1}
    starts = [(text, float(x) - back[held] * len(text) * DIGIT) for x, y, held, text in found if float(y) == foot]
    return sorted((start, start + len(text) * DIGIT, text) for text, start in starts)


def places(svg):
    """All numbers of the paths of a drawing."""
    found = "".join(re.findall(r' d="(.*?)"', svg))
    return [float(number) for number in re.findall(r"-?[\d.]+", found)]


@given(COUNTS, COUNTS, st.none() | st.floats(1e-9, 1e9) | st.sampled_from([float("-inf"), float("inf"), 0.0]))
def test_scores_of_any_size_are_drawn(run, held_out, cut):
    """One row or a milliard, one bin or many, with a cut among them or far off: in a bounded number of bars."""
    if run or held_out:
        drawn = charts.scores(run, held_out, cut)
        assert all(0 <= place <= charts.WIDTH for place in places(drawn)) and drawn.count("z") <= charts.MOST_BINS + 1


@given(FLAGGED, st.none() | st.floats(0, 1))
def test_days_are_drawn_all(found, rate):
    """Few or many days, with gaps: no flagged row is lost where days are taken together."""
    flagged = {date(1950, 1, 1) + timedelta(days=day): own for day, own in found.items()}
    days = [Day(day, 2 * own, own) for day, own in sorted(flagged.items())]
    start, _, own = charts.together(days)
    assert start == days[0].day and len(own) <= charts.MOST_BARS + 1
    assert sum(one.flagged for one in own) == sum(flagged.values())
    assert all(0 <= place <= charts.WIDTH for place in places(charts.over_time(days, rate)))


@given(FLAGGED | st.integers(1, 200).map(lambda days: dict.fromkeys(range(days), 1)))
def test_the_first_and_the_last_day_are_at_the_ends(found):
    """No label stands twice, or over another."""
    days = [Day(date(1950, 1, 1) + timedelta(days=day), 1, own) for day, own in sorted(found.items())]
    told = labels(charts.over_time(days, 0.5))
    assert (told[0][2], told[-1][2]) == (str(days[0].day), str(days[-1].day))
    assert len({text for *_, text in told}) == len(told)
    assert all(left[1] <= right[0] for left, right in pairwise(told))


@given(st.integers(1, 10**9))
def test_no_label_of_a_share_is_cut_off(rows):
    """Nor is that of one row among many, which has the most letters."""
    drawn = charts.scores({0: rows, 1: 1}, {0: 10}, 1.0)
    starts = [float(x) - len(text) * PAPER for x, text in re.findall(r'<text x="([\d.]+)"[^>]*="end">(.*?)<', drawn)]
    assert len(starts) > 1 and min(starts) >= 0


@given(st.lists(st.floats(1e-9, 1), min_size=1, max_size=6))
def test_no_label_of_a_rate_is_cut_off(values):
    """Paper shows nothing beyond the edge of a drawing."""
    told = labels(charts.rates([charts.Rate("rate", value) for value in values]))
    assert told[0][0] >= 0 and told[-1][1] <= charts.WIDTH + 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_rates_are_drawn(values):
    """Also where nothing was flagged, or everything."""
    found = [charts.Rate(f"rate {i}", value, value / 2, min(2 * value, 1), i == 0) for i, value in enumerate(values)]
    assert all(0 <= place <= charts.WIDTH + 1 for place in places(charts.rates(found)))


def test_scores_are_binned_by_their_size():
    """Ten bins a decade; what is no score of its own lies in the outermost ones."""
    assert (bin_of(1.0), bin_of(9.99), bin_of(10.0), bin_of(0.5)) == (0, 9, 10, -4)
    assert bin_of(0.0) == bin_of(-3.0) == bin_of(1e-300) == LOWEST * PER_DECADE
    assert bin_of(1e300) == HIGHEST * PER_DECADE
    assert start_of(10) == 10.0
    assert binned(np.array([1.0, 1.1, 10.0])) == {0: 2, 10: 1}
