"""Increments of an output as a chain: each names the run that it goes on from. Of two that go on from the same one the
later has lost: it would have the other's rows once more.

Delta's appends never meet a conflict, so that both may be committed. What counts is their order in the log: a commit
that has lost says nothing to any run that reads the log, and its rows are removed by itself, or by the next run where
it was killed before that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from vae_model.errors import OvertakenError
from vae_model.runs.stamp import Stamp
from vae_model.spark.sinks.writing import Writing

AFTER = "after"
"""In a position: the run that an increment goes on from, empty for the first."""
UNDONE = "undone"
"""In a position: the commit has only removed what a run had added that had lost."""


class Chain(NamedTuple):
    """What stamps say, one with another."""

    last: Stamp | None
    """The stamp that counts."""
    version: int
    """Of the commit that it belongs to."""
    lost: set[str]
    """Runs that have lost, and may have rows in the output."""


def of(stamps: Iterable[tuple[int, Stamp]]) -> Chain:
    """The chain that stamps make, the newest of them first. No more are looked at than need be."""
    seen: list[tuple[int, Stamp]] = []
    undone: set[str] = set()
    for version, stamp in stamps:
        if (stamp.position or {}).get(UNDONE):
            undone.add(stamp.run)
            continue
        goes_on = bool(seen) and _after(seen[-1][1]) == stamp.run
        seen.append((version, stamp))
        if goes_on or _after(stamp) is None:  # who went on from it knew that it counts
            break
    last: tuple[int, Stamp | None] = (-1, None)
    lost: set[str] = set()
    for version, stamp in reversed(seen):
        before = last[1]
        follows = before is None or _after(stamp) in (None, before.run)
        again = before is not None and before.run == stamp.run and _after(before) == _after(stamp)
        if follows or again:
            last = version, stamp
            lost.discard(stamp.run)  # its rows of then were replaced
        elif stamp.run not in undone:
            lost.add(stamp.run)
    return Chain(last[1], last[0], lost)


def _after(stamp: Stamp) -> str | None:
    """The run that an increment goes on from; None where it goes on from none."""
    found = (stamp.position or {}).get(AFTER)
    return found if isinstance(found, str) else None


def check(last: Stamp | None, writing: Writing) -> None:
    """Raise OvertakenError where the last stamp is not the one that an increment goes on from."""
    after, run = writing.after, last.run if last else ""
    if after is None or run == after or (run == writing.stamp.run and last and _after(last) == after):
        return
    raise OvertakenError(
        f"Another run wrote what is new to {writing.output} while this one did.",
        f"the run {after} as the last one" if after else "no run before this one",
        f"the run {run}",
        "Run it again: it goes on from there.",
        transient=True,
    )
