"""A Parquet output, whatever happens to the run that writes it: killed, stopped while another runs, or out of space."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest

from tests.conftest import clean_environment
from tests.reliability.swaps import WAYS, leftovers, prepare, rows, write
from tests.test_cli import CONFIG, pumps
from vae_model.errors import JobError
from vae_model.places import swap
from vae_model.spark.sinks import staged_files
from vae_model.spark.sinks.parquet import Parquet

pytestmark = pytest.mark.slow


def moments(what, way, folder):
    """What came of a run that was killed, or stopped, at each moment."""
    command = [sys.executable, "-m", "tests.reliability.swaps", what, way, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def count(title, seen):
    """Print how often each outcome was seen."""
    counted = Counter(json.dumps(outcome, sort_keys=True) for outcome in seen)
    print(f"\n{title}: " + ", ".join(f"{times} {outcome}" for outcome, times in counted.items()))


OLD, NEW = {"old": 3}, {"new": 3}


@pytest.mark.parametrize("way", WAYS)
def test_a_run_killed_at_any_rename_or_removal_leaves_whole_rows(way, tmp_path):
    """Just before each call: the previous rows whole or the new ones, at the latest when the next run has begun; that
    run goes well and leaves nothing behind.
    """
    seen = moments("kill", way, tmp_path)
    count(f"{way}: killed at {len(seen)} moments, a reader finds", [s["killed"] for s in seen])
    count("once the next run has begun", [s["mended"] for s in seen])
    assert len(seen) > 7
    assert {s["code"] for s in seen} == {-signal.SIGKILL}
    new = OLD | NEW if way == "append" else NEW
    assert [s for s in seen if s["mended"] not in (OLD, new)] == []
    assert [seen[0]["mended"], seen[-1]["mended"]] == [OLD, new]
    assert [s for s in seen if s["left"] or s["left_after"] or s["code_after"]] == []
    for s in seen:
        assert s["after"] == {"next": 3} | (s["mended"] if way == "append" else {})
        if way == "exchange":
            assert s["killed"] in (OLD, NEW)
        elif way == "renames":
            assert s["killed"] in (OLD, NEW, None)
        elif way == "within":  # rows of both, never too few
            assert OLD.items() <= s["killed"].items() or NEW.items() <= s["killed"].items()


@pytest.mark.heavy
@pytest.mark.parametrize("way", WAYS)
def test_two_runs_at_once_give_one_runs_rows_or_an_error(way, tmp_path):
    """A run is stopped at each moment while another replaces or adds to the output from start to end: whatever was said
    to be written is there whole, what was refused is not, and never are the rows of a run there in part or twice.
    """
    seen = moments("pause", way, tmp_path)
    count(f"{way}: stopped at {len(seen)} moments", [[s["other"], s["second"], s["first"], s["after"]] for s in seen])
    assert len(seen) > 14
    for s in seen:
        assert {s["first"], s["second"]} <= {0, 4} and 0 in (s["first"], s["second"])
        assert set(s["after"].values()) == {3}
        refused = {name for name in ("first", "second") if s[name] == 4}
        assert not refused & set(s["after"])
        replacing = {"second": s["other"], "first": "append" if way == "append" else "replace"}
        if any(replacing[name] == "replace" and name not in refused for name in replacing):
            assert "old" not in s["after"]
        if "append" not in replacing.values():
            assert len(s["after"]) == 1
        assert (s["code_after"], s["next"], s["left_after"]) == (0, {"next": 3}, [])


def test_a_link_remains_and_its_folder_is_replaced(tmp_path):
    """An output that is a symbolic link stays one, and the rows lie where it leads to."""
    (tmp_path / "far").mkdir()
    link = tmp_path / "near" / "out"
    link.parent.mkdir()
    link.symlink_to(tmp_path / "far" / "real")
    for run in ("old", "new"):  # the first time it leads to nothing yet
        write(link, run)
        assert link.is_symlink()
        assert rows(tmp_path / "far" / "real") == rows(link) == {run: 3}
    write(link, "more", "append")
    assert rows(link) == {"new": 3, "more": 3}
    assert leftovers(tmp_path / "far" / "real") == leftovers(link) == []


@pytest.fixture
def mounted(tmp_path):
    """Mount something at a folder for the test: what, and further options."""
    mounts = []

    def mount(what, folder, *options):
        folder.mkdir(exist_ok=True, parents=True)
        done = subprocess.run(["mount", *options, str(what), str(folder)], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
        mounts.append(folder)
        return folder

    try:
        yield mount
    finally:
        for folder in reversed(mounts):
            subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts as Linux does")
@pytest.mark.parametrize("kind", ["another file system", "the same file system"])
def test_a_mount_point_is_written_within(kind, mounted, tmp_path):
    """An output that is a volume of a container is replaced and added to within, and nothing else is left of it."""
    (tmp_path / "volume").mkdir()
    how = ("tmpfs", "-t", "tmpfs") if kind == "another file system" else (tmp_path / "volume", "--bind")
    out = mounted(how[0], tmp_path / "place" / "out", *how[1:])
    for run in ("old", "new"):
        write(out, run)
        assert rows(out) == {run: 3}
    write(out, "more", "append")
    assert rows(out) == {"new": 3, "more": 3}
    assert leftovers(out) == []


AS_NOBODY = """
import os, sys
from pathlib import Path
from tests.reliability.swaps import leftovers, rows, write
out = Path(sys.argv[1], "out")
write(out, "old")
for path in (out, *out.iterdir()):
    os.chown(path, 65534, 65534)
os.setuid(65534)
write(out, "new")
print(rows(out), leftovers(out))
"""


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="becomes another user")
def test_rights_on_the_folder_alone_are_enough():
    """Where nothing can be made beside the output it is written within."""
    with TemporaryDirectory() as place:  # others may pass through it, other than through pytest's
        Path(place).chmod(0o755)
        done = subprocess.run([sys.executable, "-c", AS_NOBODY, place], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "{'new': 3} []", done.stderr


@pytest.mark.parametrize("way", WAYS)
def test_a_full_disk_changes_nothing(way, mounted, tmp_path, monkeypatch):
    """A run that runs out of space leaves the previous rows, and nothing that takes space; a smaller one then fits."""
    monkeypatch.setattr(swap, "is_movable", swap.is_movable)
    monkeypatch.setattr(swap, "_exchanger", swap._exchanger)
    monkeypatch.setattr(staged_files, "LINGER", 0.3)
    prepare(way)
    out = mounted("tmpfs", tmp_path / "disk", "-t", "tmpfs", "-o", "size=2m") / "out"
    mode = "append" if way == "append" else "replace"
    write(out, "old", size=300_000)
    with pytest.raises(OSError, match="No space left"):
        write(out, "new", mode, size=700_000)
    assert rows(out) == OLD
    assert leftovers(out) == []
    write(out, "new", mode, size=200_000)
    assert rows(out) == (OLD | NEW if way == "append" else NEW)


def test_a_folder_that_does_not_move_is_written_within(tmp_path, monkeypatch):
    """Where renames of the folder itself are refused, and could not be known to be, its files are replaced."""

    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")  # EXDEV: a folder of a container's image

    write(tmp_path / "out", "old")
    monkeypatch.setattr(swap.Local, "exchange", refuse)
    write(tmp_path / "out", "new")
    assert rows(tmp_path / "out") == NEW
    assert leftovers(tmp_path / "out") == []


def test_previous_rows_that_cannot_be_put_back_are_named_and_come_back(tmp_path, monkeypatch):
    """Where neither the new rows nor the old ones can be renamed, the message says where these are, and the next run
    puts them back.
    """
    out, real = tmp_path / "out", swap.Local.rename

    def broken(self, source, target):
        if target == str(out):
            raise OSError(5, "Input/output error")
        real(self, source, target)

    write(out, "old")
    monkeypatch.setattr(swap, "_exchanger", lambda: None)
    monkeypatch.setattr(swap.Local, "rename", broken)
    with pytest.raises(JobError, match="Input/output error") as caught:
        write(out, "new")
    (kept,) = tmp_path.iterdir()
    assert f"The previous rows are in {kept}" in str(caught.value)
    assert rows(kept) == OLD
    monkeypatch.setattr(swap.Local, "rename", real)
    Parquet().mend(str(out))
    assert rows(out) == OLD


@pytest.mark.parametrize("way", ["exchange", "renames"])
def test_an_interrupted_swap_is_undone(way, tmp_path, monkeypatch):
    """Ctrl-C in the middle of the renames leaves the previous rows, and nothing staged."""
    out, real, called = tmp_path / "out", swap.Local.rename, []

    def interrupted(self, source, target):
        called.append(target)
        if target == str(out) and len(called) < 3:
            raise KeyboardInterrupt
        real(self, source, target)

    write(out, "old")
    if way == "exchange":
        monkeypatch.setattr(swap.Local, "exchange", lambda *_: interrupted(None, "", str(out)))
    else:
        monkeypatch.setattr(swap, "_exchanger", lambda: None)
        monkeypatch.setattr(swap.Local, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(out, "new")
    assert called
    assert rows(out) == OLD
    assert leftovers(out) == []


# --- The command line on the embedded engine


@pytest.fixture
def scoring(tmp_path):
    """A model, a table and an output of another size; start `score` with the first lines of a program before it."""
    pytest.importorskip("pysail")
    pumps().to_parquet(tmp_path / "pumps.parquet", index=False)
    pumps(250).to_parquet(tmp_path / "few.parquet", index=False)
    (tmp_path / "pumps.yaml").write_text(CONFIG.format(tmp=tmp_path))

    def start(*more, before="", job="score"):
        code = f"import sys\n{before}\nfrom vae_model.cli import main\nmain(sys.argv[1:])"
        command = [sys.executable, "-c", code, job, "--config", str(tmp_path / "pumps.yaml"), *more]
        return subprocess.Popen(
            command, cwd=tmp_path, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    assert ended(start("--set", f"source.path={tmp_path}/few.parquet", "--set", "model.steps=20", job="run"))[0] == 0
    return start


def ended(job):
    """The exit code of a job, and what it said."""
    said, _ = job.communicate(timeout=120)
    return job.returncode, said


def scored(folder):
    """How many rows a reader finds."""
    return len(pd.read_parquet(folder / "scored")) if (folder / "scored").exists() else 0


KILLED_IN_THE_GAP = """
import os, signal
from vae_model.places import swap
swap._exchanger = lambda: None
real = swap.Local.rename
def rename(self, source, target):
    real(self, source, target)
    if target.endswith(".old"):
        os.kill(os.getpid(), signal.SIGKILL)
swap.Local.rename = rename
"""


@pytest.mark.heavy
def test_the_next_job_puts_back_what_a_killed_one_moved_away(scoring, tmp_path):
    """Killed between the two renames, a real job leaves no output; `validate` writes nothing, but the next job brings
    the previous rows back, even if it then finds that it cannot be done.
    """
    code, said = ended(scoring(before=KILLED_IN_THE_GAP))
    assert code == -signal.SIGKILL, said
    assert not (tmp_path / "scored").exists()
    assert ended(scoring(job="validate"))[0] == 0
    assert not (tmp_path / "scored").exists()
    code, said = ended(scoring("--set", "source.path=nowhere"))
    assert code == 2, said
    assert "The previous rows are back" in said
    assert scored(tmp_path) == 250
    assert sorted(p.name for p in tmp_path.iterdir() if "scored" in p.name) == ["scored", "scored_runs"]


@pytest.mark.heavy
def test_twenty_kills_at_random_moments_leave_old_or_new_rows(scoring, tmp_path):
    """A real `score` is killed at random while it works: its output has the rows of before or of it, and the last run
    leaves nothing of the others.
    """
    began = time.monotonic()
    assert ended(scoring())[0] == 0
    whole, found = time.monotonic() - began, Counter()
    draw = random.Random(0)
    for _ in range(20):
        few = ("--set", f"source.path={tmp_path}/few.parquet")
        before = scored(tmp_path)
        job = scoring(*(few if before == 600 else ()))
        try:
            job.wait(draw.uniform(0.5, 1.05) * whole)
        except subprocess.TimeoutExpired:
            job.kill()
        job.communicate()
        after = scored(tmp_path)
        found["old" if after == before else "new" if after == 850 - before else "mixed"] += 1
    print(f"\n20 kills: {found['old']} old, {found['new']} new, {found['mixed']} mixed")
    assert not found["mixed"] and found["old"]
    assert ended(scoring())[0] == 0
    assert scored(tmp_path) == 600
    assert sorted(p.name for p in tmp_path.iterdir() if "scored" in p.name) == ["scored", "scored_runs"]


@pytest.mark.heavy
def test_the_engines_full_disk_changes_nothing(scoring, mounted, tmp_path):
    """The embedded engine runs out of space while it writes: exit code 1, the previous rows, and nothing else."""
    disk = mounted("tmpfs", tmp_path / "disk", "-t", "tmpfs", "-o", "size=1m")
    few = scoring("--set", f"output.path={disk}/out", "--set", f"source.path={tmp_path}/few.parquet")
    assert ended(few)[0] == 0
    pumps(60_000).to_parquet(tmp_path / "many.parquet", index=False)
    many = scoring("--set", f"output.path={disk}/out", "--set", f"source.path={tmp_path}/many.parquet")
    code, said = ended(many)
    assert code == 1, said
    assert "No space left" in said
    assert len(pd.read_parquet(disk / "out")) == 250
    assert sorted(p.name for p in disk.iterdir()) == ["out", "out_runs"]
