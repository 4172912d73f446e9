"""Names of leftovers: whose they are, and whether their run has certainly ended."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_model.places import files, marks, staging

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0\n"), min_size=1, max_size=300)


def other(mark, **parts):
    """A mark with some of its parts changed."""
    given = dict(zip(("began", "space", "pid", "number"), mark.split("_"), strict=True))
    return "_".join((given | parts).values())


@given(name=NAMES, kind=st.sampled_from(["staged", "old", "tmp"]))
def test_a_name_tells_its_mark_and_nobody_elses(name, kind):
    """What is named beside a place is known again as its own, whatever the place is called, and fits a file system."""
    mark = marks.new()
    found = marks.beside(f"/lake/{name}", mark, kind).rpartition("/")[2]
    assert found.startswith(".") and len(os.fsencode(found)) < 256
    assert marks.of(f"/lake/{name}", found, "staged|old|tmp") == mark
    assert marks.of(f"/lake/{name}x", found, "staged|old|tmp") is None
    assert marks.of(f"/lake/{name}", found, "other") is None


@pytest.mark.parametrize("name", ["out.20231231.old", "out.0123abcd.staged", ".out.old", "out.parquet"])
def test_what_a_person_has_laid_beside_it_is_no_leftover(name):
    """A backup with a date, say."""
    assert marks.of("/lake/out", name, "staged|old") is None


def test_a_mark_is_a_part_of_a_tables_name():
    """No engine needs quotes for it, nor folds its case."""
    mark = marks.new()
    assert mark == mark.lower() and mark.isascii() and mark.replace("_", "").isalnum()


def test_a_run_of_this_machine_is_dead_when_its_process_is_gone():
    """However old, a run whose process lives is live; however young, one whose process is gone is dead."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not marks.is_dead(marks.new(), 0.0)
    assert marks.is_dead(other(marks.new(), pid=str(ended.pid)), time.time())


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_run_is_dead_when_another_process_has_its_id():
    """A container that is started again has the ids of before; a mark of an earlier version has no start to compare."""
    mark = marks.new()
    pid = str(os.getpid())
    assert not marks.is_dead(mark, time.time())
    assert marks.is_dead(other(mark, pid=f"{pid}s1"), time.time())
    assert not marks.is_dead(other(mark, pid=pid), time.time())


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_killed_run_is_dead_before_its_parent_has_taken_note():
    """In a container nobody may ever do so."""
    killed = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    mark = other(marks.new(), pid=str(killed.pid))
    assert not marks.is_dead(mark, time.time())
    killed.kill()
    os.waitid(os.P_PID, killed.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays a zombie
    assert marks.is_dead(mark, time.time())
    killed.communicate()


@pytest.mark.parametrize(("age", "dead"), [(60, False), (23 * 3600, False), (25 * 3600, True)])
def test_a_run_of_another_machine_is_dead_when_nothing_was_written_for_a_day(age, dead):
    """Its process cannot be looked at; what it wrote tells, and not when it began."""
    elsewhere = other(marks.new(), space="00000000", pid="1", began="20200101t000000")
    assert marks.is_dead(elsewhere, time.time() - age) == dead


@pytest.mark.parametrize(("days", "dead"), [(0, False), (6, False), (8, True)])
def test_where_nothing_but_the_name_tells_it_takes_a_week(days, dead):
    """A table's last write is not known."""
    began = time.strftime("%Y%m%dt%H%M%S", time.gmtime(time.time() - days * 86_400))
    assert marks.is_dead(other(marks.new(), space="00000000", began=began), None) == dead


@pytest.mark.parametrize(
    "content", ['["../precious"]', '["/precious"]', '["link/precious"]', "{", "7", '{"a": 1}', "[7]"]
)
def test_what_a_note_says_is_no_order(tmp_path, content):
    """Whoever may write to the output's folder does not decide what else is removed, nor stops the job."""
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    for folder in (out, elsewhere):
        folder.mkdir()
    (out / "link").symlink_to(elsewhere)
    for kept in (tmp_path / "precious", elsewhere / "precious", out / "a.parquet"):
        kept.write_text("x")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    staged = out / (staging.STAGED + other(marks.new(), pid=str(ended.pid)))
    staged.mkdir()
    (staged / staging.ADDED).write_text(content)
    staging.mend(str(out))
    assert all(kept.exists() for kept in (tmp_path / "precious", elsewhere / "precious", out / "a.parquet"))


def test_a_file_that_a_killed_run_was_writing_goes_with_the_next_write(tmp_path):
    """Only a dead run's: another's that is being written stays. A link stays a link."""
    (tmp_path / "real.vae").touch()
    (tmp_path / "m.vae").symlink_to("real.vae")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    real = str(tmp_path / "real.vae")
    dead = marks.beside(real, other(marks.new(), pid=str(ended.pid)), "tmp")
    live = marks.beside(real, marks.new(), "tmp")
    for path in (dead, live):
        files.put(path, b"")
    files.put(str(tmp_path / "m.vae"), b"new")
    assert (tmp_path / "m.vae").is_symlink() and (tmp_path / "real.vae").read_bytes() == b"new"
    assert {p.name for p in tmp_path.iterdir()} == {"m.vae", "real.vae", Path(live).name}
