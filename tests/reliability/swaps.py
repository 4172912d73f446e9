"""Runs that write a Parquet output without an engine, each a process that kills or stops itself at a given moment.

``python -m tests.reliability.swaps kill|pause WAY FOLDER`` does so at each moment there is, and prints what came of it,
a line of JSON a moment. A moment is just before a call that renames, exchanges or removes something.
"""

import json
import os
import signal
import sys
from collections import Counter
from contextlib import suppress
from itertools import count
from pathlib import Path
from unittest.mock import patch

from vae_model.config.tables import Output
from vae_model.errors import VaeAnomalyError
from vae_model.places import files, swap
from vae_model.places.staging import STAMP
from vae_model.runs.stamp import Stamp
from vae_model.spark.engines.engine import Engine
from vae_model.spark.sinks import parquet, sliced, staged_files
from vae_model.spark.sinks.parquet import Parquet
from vae_model.spark.sinks.writing import Writing

FILES = 3
WAYS = ("exchange", "renames", "within", "append")
"""How the rows are put in place: by the system's exchange, by two renames, among the old ones, and as an addition."""
CALLS = ("rename", "replace", "unlink", "remove", "rmdir")


class Frame:
    """As much of a DataFrame as is written: an engine that puts files in a folder, each with a run's name in it."""

    def __init__(self, run, size=0, count=FILES):
        self.run, self.size, self.count = run, size, count
        self.write = self.read = self.sparkSession = self
        self.columns = ["id"]

    def format(self, *_):
        """Of Spark's writer."""
        return self

    mode = option = parquet = load = format

    def select(self, *_):
        """All of its columns."""
        return self

    def save(self, path):
        """Put the files."""
        fs, inner = files.locate(path)
        fs.makedirs(f"{inner}/_temporary")
        for i in range(self.count):
            fs.pipe_file(f"{inner}/part-{i}.parquet", self.run.encode().ljust(self.size, b"."))
        fs.rmdir(f"{inner}/_temporary")
        fs.pipe_file(f"{inner}/_SUCCESS", b"")


def write(path, run, mode="replace", **frame):
    """What a job does with its output: mend it, then write to it."""
    with (
        patch.object(staged_files, "engine_of", lambda _: Engine()),
        patch.object(parquet, "existing", lambda *_: None),  # its columns: there are none to put in order
        patch.object(sliced, "as_folders", lambda frame, _: frame),
    ):
        Parquet().mend(str(path))
        output = Output(path=str(path), format="parquet", mode=mode)
        Parquet().write(Frame(run, **frame), Writing(output, Stamp(run)))


def rows(folder):
    """What a reader finds in a folder: the number of files of each run; None where there is no folder."""
    if not folder.is_dir():
        return None
    data = [p for p in folder.rglob("*") if p.is_file() and not any(n[0] in "_." for n in p.relative_to(folder).parts)]
    return dict(Counter(p.read_text().rstrip(".") for p in data))


def leftovers(folder):
    """What else is in, or beside, an output, that no reader should find."""
    own = [p.name for p in folder.parent.iterdir() if p != folder]
    return own + [p.name for p in folder.iterdir() if p.name[0] in "_." and p.name not in ("_SUCCESS", STAMP)]


def at_moment(moment, act):
    """From now on this process acts at the so-manieth moment."""
    passed = count(1)

    def around(call):
        def counted(*arguments, **options):
            if next(passed) == moment:
                act()
            return call(*arguments, **options)

        return counted

    for name in CALLS:
        setattr(os, name, around(getattr(os, name)))
    swap.Local.exchange = around(swap.Local.exchange)


def prepare(way):
    """Take away what a system may not have, so that the rows go another way."""
    if way == "renames":
        swap._exchanger = lambda: None
    if way == "within":
        swap.is_movable = lambda *_: False


def child(function):
    """Run a function in a process of its own; its id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    with suppress(BaseException):
        try:
            function()
            code = 0
        except VaeAnomalyError as error:
            code = error.exit_code
    os._exit(code)


def ended(pid):
    """How a process ended: its exit code, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kills(way, place):
    """Kill a run at each moment; what is there then, what after the next start, and what after the next run."""
    mode = "append" if way == "append" else "replace"
    for moment in count(1):
        out = place / str(moment) / "out"
        write(out, "old")

        def run(at=moment, to=out):
            at_moment(at, lambda: os.kill(os.getpid(), signal.SIGKILL))
            write(to, "new", mode)

        code = ended(child(run))
        if code == 0:
            return
        seen = {"moment": moment, "code": code, "killed": rows(out)}
        ended(child(lambda to=out: Parquet().mend(str(to))))
        seen |= {"mended": rows(out), "left": leftovers(out)}
        seen |= {"code_after": ended(child(lambda to=out: write(to, "next", mode))), "after": rows(out)}
        print(json.dumps(seen | {"left_after": leftovers(out)}))


def pauses(way, place):
    """Stop a run at each moment, let another run from start to end, then go on with the first."""
    mode = "append" if way == "append" else "replace"
    for moment in count(1):
        for other in ("replace", "append"):
            out = place / f"{moment}-{other}" / "out"
            write(out, "old")

            def run(at=moment, to=out):
                at_moment(at, lambda: os.kill(os.getpid(), signal.SIGSTOP))
                write(to, "first", mode)

            first = child(run)
            _, status = os.waitpid(first, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                return
            second = ended(child(lambda to=out, mode=other: write(to, "second", mode)))
            between = rows(out)
            os.kill(first, signal.SIGCONT)
            seen = {"moment": moment, "other": other, "second": second, "between": between, "first": ended(first)}
            seen |= {"after": rows(out)}
            seen |= {"code_after": ended(child(lambda to=out: write(to, "next"))), "next": rows(out)}
            print(json.dumps(seen | {"left_after": leftovers(out)}))


if __name__ == "__main__":
    what, way, folder = sys.argv[1:]
    prepare(way)
    {"kill": kills, "pause": pauses}[what](way, Path(folder))
