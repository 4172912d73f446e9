"""Charts as SVG, drawn here: no library, no script. Each has a title and a description for those who cannot see it.

All text goes through ``markupsafe``: what stands in a name or a value is never markup. Sizes are those of a drawing
480 units wide, which a phone shows at three quarters and a screen a little larger.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import NamedTuple

from markupsafe import Markup

from vae_model.printable import printable
from vae_model.report.facts import PER_DECADE, Day, start_of
from vae_model.report.words import count, counted, figure, percent

WIDTH = 480
LEFT, RIGHT = 62, 10
"""Room for the labels of the axis, and at the other end."""
LABEL = 34
"""Half of what a short label takes on a phone."""
MOST_BINS = 100
"""Bins of scores on the drawing; more are taken together."""
MOST_BARS = 80
"""Bars of a chart over time; more days are taken together."""


class Rate(NamedTuple):
    """A rate on the chart of rates, with the range in which it may lie by chance."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    is_ours: bool = False
    """Whether it is what the run has found."""


def on_axis(cut: float | None) -> float | None:
    """The cut, where it has a place on a logarithmic axis."""
    return cut if cut is not None and math.isfinite(cut) and cut > 0 else None


def scores(run: Mapping[int, int], held_out: Mapping[int, int], cut: float | None) -> Markup:
    """The shares of a run's scores and of the held-out ones by size, both axes logarithmic, and the cut."""
    height, top, bottom = 250, 24, 40
    places, highest, cut = [*run, *held_out], max(run, default=None), on_axis(cut)
    wide = -(-(max(places) + 1 - min(places)) // MOST_BINS)
    run, held_out = _wider(run, wide), _wider(held_out, wide)
    first, last = min([*run, *held_out]), max([*run, *held_out]) + wide
    if cut is not None:
        place = math.log10(cut) * PER_DECADE
        first, last = min(first, math.floor(place)), max(last, math.ceil(place) + 1)
    totals = [sum(own.values()) or 1 for own in (run, held_out)]
    least = min(1 / total for total, own in zip(totals, (run, held_out), strict=True) if own) * 0.7
    x = _Scale(first, last, LEFT, WIDTH - RIGHT)
    y = _Scale(math.log10(least), 0.0, height - bottom, top)
    parts = [*_decades_up(least, y), *_decades_along(first, last, x, height - bottom)]
    floor = height - bottom
    bars = [
        f"M{x(place):.1f} {floor}V{y(math.log10(own / totals[0])):.1f}H{x(place + wide):.1f}V{floor}z"
        for place, own in sorted(run.items())
    ]
    parts += [_path("run", bars)] if bars else []
    parts += _outline(_steps(held_out, totals[1], wide, x, y, floor)) if held_out else []
    told = [f"{count(sum(run.values()))} scores of the run", f"{count(sum(held_out.values()))} held-out ones"]
    if cut is not None:
        at = x(math.log10(cut) * PER_DECADE)
        side, anchor = (at - 4, "end") if at > WIDTH * 0.7 else (at + 4, "start")
        parts += _outline([f"M{at:.1f} {top - 10}V{floor}"], "cut")
        parts.append(_text(side, top - 2, f"cut {figure(cut)}", anchor))
        told.append(f"the cut is at {figure(cut)}")
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, height - 6, "score, logarithmic", "middle"))
    words = "" if highest is None else f" The highest score of the run is about {figure(start_of(highest + 1))}."
    return _svg(height, "Scores of the run beside those of held-out rows", f"{'; '.join(told)}.{words}", parts)


def rates(found: Sequence[Rate]) -> Markup:
    """Rates on one logarithmic axis, a line each."""
    step, top, bottom = 40, 8, 34
    height = top + step * len(found) + bottom
    ends = [_power(value) for one in found for value in (one.value, one.low, one.high) if value] or [-3.0]
    first, last = math.floor(min(ends)), max(math.ceil(max(ends) + 1e-9), math.floor(min(ends)) + 1)
    x = _Scale(first, last, 16, WIDTH - 24)
    parts = [part for power in range(first, last + 1, -(-(last - first) // 6)) for part in (
        Markup('<path class="grid" d="M{} {}V{}"/>').format(f"{x(power):.1f}", top, height - bottom),
        _text(x(power), height - bottom + 16, percent(10.0**power), _anchor(x(power))),
    )]  # fmt: skip
    for number, one in enumerate(found):
        middle = top + step * number + 27
        if one.low is not None and one.high:
            low = x(max(_power(one.low), first))
            parts.append(Markup('<path class="range" d="M{} {}H{}"/>').format(
                f"{low:.1f}", middle, f"{x(_power(one.high)):.1f}"))  # fmt: skip
        if one.value > 0:
            at = x(_power(one.value))
            if one.is_ours:
                shape = Markup('<rect class="run" x="{}" y="{}" width="10" height="10"/>').format(
                    f"{at - 5:.1f}", middle - 5
                )
            else:
                shape = Markup('<circle class="then" cx="{}" cy="{}" r="5"/>').format(f"{at:.1f}", middle)
            parts.append(shape)
        parts.append(_text(21, middle - 11, f"{one.name}: {percent(one.value)}", "start"))
    told = "; ".join(f"{one.name} {percent(one.value)}" for one in found)
    return _svg(height, "The rate of flagged rows that was asked for, and the one found", f"{told}.", parts)


def over_time(days: Sequence[Day], rate: float | None) -> Markup:
    """Flagged rows by day, or by several days where there are many, and how many were to be expected."""
    height, top, bottom = 220, 24, 30
    start, width, own = together(days)
    most = max(*(one.flagged for one in own), *((rate or 0) * one.rows for one in own), 1)
    x, y = _Scale(0, len(own), LEFT, WIDTH - RIGHT), _Scale(0, most, height - bottom, top)
    floor = height - bottom
    ticks = _round_steps(most)
    parts = [part for tick in ticks for part in (
        Markup('<path class="grid" d="M{} {}H{}"/>').format(LEFT, f"{y(tick):.1f}", WIDTH - RIGHT),
        _text(LEFT - 6, y(tick) + 4, f"{tick:,}", "end"),
    )]  # fmt: skip
    gap = 0.12 if len(own) < 40 else 0.04
    bars = [
        f"M{x(i + gap):.1f} {floor}V{y(one.flagged):.1f}H{x(i + 1 - gap):.1f}V{floor}z"
        for i, one in enumerate(own) if one.flagged
    ]  # fmt: skip
    parts += [_path("run", bars)] if bars else []
    if rate:
        line = [f"{'M' if i == 0 else 'L'}{x(i):.1f} {y(rate * one.rows):.1f}H{x(i + 1):.1f}"
                for i, one in enumerate(own)]  # fmt: skip
        parts.append(_path("then", line))  # no halo: it would cut bars of one row in two
    last, middle = days[-1].day, len(own) // 2
    labels = [(0.0, start, "start")]
    labels += [(middle + 0.5, own[middle].day, "middle")] if len(own) > 2 else []
    labels += [(len(own), last, "end")] if last > start else []
    parts += [_text(x(at), height - 10, str(day), anchor) for at, day, anchor in labels]
    worst = max(range(len(own)), key=lambda i: own[i].flagged)
    period = "day" if width == 1 else f"{width} days"
    told = f"{counted(sum(one.flagged for one in own), 'flagged row')} over {counted((last - start).days + 1, 'day')}; "
    told += f"the most, {count(own[worst].flagged)}, from {own[worst].day} on."
    return _svg(height, f"Flagged rows by {period}", told, parts)


def together(days: Sequence[Day]) -> tuple[date, int, list[Day]]:
    """Days by so many at a time that at most ``MOST_BARS`` are left: the first day, how many, and the counts."""
    start = days[0].day
    span = (days[-1].day - start).days + 1
    width = next((one for one in (1, 7, 14, 28, 91) if span <= one * MOST_BARS), -(-span // MOST_BARS))
    own = [Day(start + timedelta(days=i * width), 0, 0) for i in range(-(-span // width))]
    for one in days:
        i = (one.day - start).days // width
        own[i] = own[i]._replace(rows=own[i].rows + one.rows, flagged=own[i].flagged + one.flagged)
    return start, width, own


def pair(name: str, then: Sequence[float], now: Sequence[float]) -> Markup:
    """A column's shares by bin in the sample, as a line, and in the run, as bars. The last bin is of missing values."""
    width, height = 220, 70
    most = max(*then, *now, 1e-9)
    x, y = _Scale(0, len(now), 2, width - 2), _Scale(0, most, height - 4, 4)
    floor = height - 4
    bars = [f"M{x(i + 0.1):.1f} {floor}V{y(own):.1f}H{x(i + 0.9):.1f}V{floor}z" for i, own in enumerate(now) if own > 0]
    steps = [f"M{x(0):.1f} {floor}", *(f"V{y(own):.1f}H{x(i + 1):.1f}" for i, own in enumerate(then)), f"V{floor}"]
    told = "; ".join(
        f"{what}: {', '.join(percent(own) for own in shares)}" for what, shares in (("Sample", then), ("run", now))
    )
    return _svg(height, f"{name}: share of rows by range or value, the last one missing", f"{told}.",
                [_path("run", bars), *_outline(steps)], width)  # fmt: skip


def curve(points: Sequence[tuple[float, float]]) -> Markup:
    """How the loss fell in training."""
    height, top, bottom = 200, 12, 40
    losses = [loss for _, loss in points]
    low, high = min(losses), max(losses)
    x = _Scale(0, points[-1][0], LEFT, WIDTH - RIGHT)
    y = _Scale(low, high if high > low else low + 1, height - bottom, top)
    parts = [part for value in (low, high) for part in (
        Markup('<path class="grid" d="M{} {}H{}"/>').format(LEFT, f"{y(value):.1f}", WIDTH - RIGHT),
        _text(LEFT - 6, y(value) + 4, figure(value), "end"),
    )]  # fmt: skip
    line = [f"{'M' if i == 0 else 'L'}{x(step):.1f} {y(loss):.1f}" for i, (step, loss) in enumerate(points)]
    parts += [_path("line", line)]
    parts += [_text(at, height - bottom + 16, f"{step:,.0f}", anchor) for at, step, anchor in
              ((x(0), 0, "start"), (x(points[-1][0]), points[-1][0], "end"))]  # fmt: skip
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, height - 6, "steps of training", "middle"))
    told = f"From {figure(losses[0])} at step {points[0][0]:,.0f} to {figure(losses[-1])} at step {points[-1][0]:,.0f}."
    return _svg(height, "The loss in training", told, parts)


def bar(share: float, kind: str = "run") -> Markup:
    """A bar within a table, whose figure stands beside it."""
    width = f"{100 * min(max(share, 0.0), 1.0):.1f}%"
    return Markup('<svg class="bar" aria-hidden="true"><rect class="{}" width="{}" height="100%"/></svg>').format(
        kind, width
    )


class _Scale:
    """From values to places on the drawing."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self._low, self._start = low, start
        self._factor = (end - start) / ((high - low) or 1)

    def __call__(self, value: float) -> float:
        return self._start + (value - self._low) * self._factor


def _power(rate: float) -> float:
    """The power of ten of a rate; there is none of interest that is smaller than one row in a billion."""
    return math.log10(max(rate, 1e-9))


def _wider(counts: Mapping[int, int], wide: int) -> dict[int, int]:
    """The counts of bins, so many of them taken together."""
    own: Counter[int] = Counter()
    for place, count_ in counts.items():
        own[place // wide * wide] += count_
    return dict(own)


def _steps(counts: Mapping[int, int], total: int, wide: int, x: _Scale, y: _Scale, floor: float) -> list[str]:
    """The outline of a histogram."""
    first, last = min(counts), max(counts)
    places = range(first, last + 1, wide)
    heights = [y(math.log10(counts[place] / total)) if place in counts else floor for place in places]
    steps = [f"V{up:.1f}H{x(place + wide):.1f}" for place, up in zip(places, heights, strict=True)]
    return [f"M{x(first):.1f} {floor}", *steps, f"V{floor}"]


def _decades_up(least: float, y: _Scale) -> Iterable[Markup]:
    lowest = math.ceil(math.log10(least))
    for power in range(lowest, 1, max(1, -lowest // 5)):
        yield Markup('<path class="grid" d="M{} {}H{}"/>').format(LEFT, f"{y(power):.1f}", WIDTH - RIGHT)
        yield _text(LEFT - 6, y(power) + 4, percent(10.0**power), "end")


def _decades_along(first: int, last: int, x: _Scale, floor: float) -> Iterable[Markup]:
    """Labels at powers of ten and, where these are few, at twice and five times them."""
    powers = range(math.floor(first / PER_DECADE), math.ceil(last / PER_DECADE) + 1)
    factors = (1, 2, 5) if last - first < 30 else (1,)
    places = [PER_DECADE * (power + math.log10(factor)) for power in powers for factor in factors]
    shown = [place for place in places if first - 1e-9 <= place <= last + 1e-9]
    for place in shown[:: max(1, -(-len(shown) // 8))]:
        yield Markup('<path class="tick" d="M{} {}v4"/>').format(f"{x(place):.1f}", floor)
        yield _text(x(place), floor + 17, figure(10 ** (place / PER_DECADE)), _anchor(x(place)))


def _round_steps(most: float) -> list[int]:
    """Three or so whole numbers up to one, for an axis."""
    steps = [factor * 10**power for power in range(12) for factor in (1, 2, 5)]
    step = next((one for one in steps if most / one <= 4), steps[-1])
    return list(range(0, int(most) + 1, step))


def _path(kind: str, parts: Iterable[str]) -> Markup:
    return Markup('<path class="{}" d="{}"/>').format(kind, "".join(parts))


def _outline(parts: Sequence[str], kind: str = "then") -> list[Markup]:
    """A line that may cross bars: on a wider one of the paper's colour, which parts it from theirs."""
    return [_path("halo", parts), _path(kind, parts)]


def _anchor(at: float) -> str:
    """Where a label of an axis is held, so that it ends within the drawing."""
    return "start" if at < LABEL else "end" if at > WIDTH - LABEL else "middle"


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(
        f"{x:.1f}", f"{y:.1f}", anchor, printable(text)
    )


def _svg(height: int, title: str, told: str, parts: Iterable[Markup], width: int = WIDTH) -> Markup:
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img"><title>{}</title><desc>{}</desc>{}</svg>').format(
        width, height, printable(title), printable(told), Markup("").join(parts)
    )
