"""The verdict on a model in sentences: what it finds, what the others find, and whether a simpler one would do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vae_model.evaluation.baselines import Z
from vae_model.evaluation.metrics import Interval


def sentences(found: Mapping[str, tuple[float, Interval | None]], rate: float | None) -> str:
    """``found``: of each detector, the model first, its figure and by how much the model is ahead. ``rate``: the
    false-alarm rate at which planted errors are found; None where the figures are AUC-PR by a label.
    """
    ours, others = next(iter(found.values()))[0], dict(list(found.items())[1:])
    best = max(others, key=lambda name: others[name][0])
    verb = "finds" if rate else "has"
    peers = [f"{_named(name)} {verb if name == best else ''} {_figure(others[name][0], rate)}" for name in (best, Z)]
    beside = ", ".join(dict.fromkeys(" ".join(peer.split()) for peer in peers))
    if rate:
        first = (
            f"On this table {_figure(ours, rate)} of planted errors are found at 1 in {round(1 / rate):,}; {beside}."
        )
    else:
        first = f"By the label this model has an AUC-PR of {_figure(ours, rate)}; {beside}."
    ahead = {name: interval for name, (_, interval) in others.items() if interval is not None}
    better = [name for name, own in ahead.items() if own.high < 0]
    equal = [name for name, own in ahead.items() if own.low <= 0 <= own.high]
    more = [_told(better, "better on this table")] if better else []
    more += [_told(equal, "as good, within chance: the simpler one will do")] if equal else []
    return " ".join([first, *more])


def _told(names: Sequence[str], what: str) -> str:
    *rest, last = map(_named, names)
    text = f"{', '.join(rest)} and {last}" if rest else last
    return f"{text.replace('a ', 'A ', 1) if text.startswith('a ') else text} {'are' if rest else 'is'} {what}."


def _named(name: str) -> str:
    return f"a {name}" if name == Z else name


def _figure(value: float, rate: float | None) -> str:
    return f"{100 * value:.0f} %" if rate else f"{value:.3f}"
