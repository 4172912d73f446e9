"""Two folders change places: in one call, or by renames that never put one folder into another."""

import errno
from pathlib import Path

import fsspec
import pytest

from vae_model.places import marks, swap


@pytest.fixture(params=["exchange", "renames", "remote"])
def folders(request, monkeypatch):
    """A file system with the exchange, without it, and one that moves a folder into another, as HDFS does."""
    if request.param == "renames":
        monkeypatch.setattr(swap, "_exchanger", lambda: None)
    return swap.Remote(fsspec.filesystem("file")) if request.param == "remote" else swap.Local()


@pytest.fixture
def place(tmp_path):
    """Two folders, each with a file that has its name."""
    for name in ("staged", "target"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    return tmp_path


def held(place):
    """What is in each folder."""
    return {folder.name: [path.name for path in folder.iterdir()] for folder in place.iterdir()}


def replace(folders, place):
    """Replace the one by the other."""
    swap.replace(folders, str(place / "staged"), str(place / "target"), str(place / "old"))


def test_what_was_there_is_where_the_new_was(folders, place):
    """After the swap the target has the new files, and the staged folder the old ones."""
    replace(folders, place)
    assert held(place) == {"target": ["staged"], "staged": ["target"]}


def test_where_nothing_was_nothing_is_left(folders, place):
    """A first output is one rename."""
    folders.remove(str(place / "target"))
    replace(folders, place)
    assert held(place) == {"target": ["staged"]}


@pytest.mark.skipif(swap._exchanger() is None, reason="this system has no such call")
def test_the_system_exchanges_in_one_call(place):
    """Where there is such a call, neither folder is away for a moment: nothing is renamed."""
    assert swap.Local().exchange(str(place / "staged"), str(place / "target"))
    assert held(place) == {"target": ["staged"], "staged": ["target"]}
    with pytest.raises(FileNotFoundError):
        swap.Local().exchange(str(place / "staged"), str(place / "nothing"))


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.EPERM])
def test_a_file_system_that_cannot_exchange_has_renames(code, place, monkeypatch):
    """What network file systems and old kernels answer leads to the two renames."""

    def call(*_):
        swap.ctypes.set_errno(code)
        return -1

    monkeypatch.setattr(swap, "_exchanger", lambda: call)
    assert not swap.Local().exchange(str(place / "staged"), str(place / "target"))
    replace(swap.Local(), place)
    assert held(place) == {"target": ["staged"], "staged": ["target"]}


@pytest.mark.parametrize("kind", ["local", "remote"])
def test_a_folder_is_never_moved_into_another(kind, place):
    """Where a folder is there already, a rename is refused, and both are as they were."""
    folders = swap.Local() if kind == "local" else swap.Remote(fsspec.filesystem("file"))
    with pytest.raises(FileExistsError):
        folders.rename(str(place / "staged"), str(place / "target"))
    assert held(place) == {"target": ["target"], "staged": ["staged"]}


def test_a_folder_that_was_moved_into_another_is_taken_out_again(place, monkeypatch):
    """Where HDFS has moved a staged folder into one that had just come there, both are as they were, and it is told."""
    fs = fsspec.filesystem("file")
    staged, target = place / ".target.vae_anomaly.mark.staged", place / "target"
    (place / "staged").rename(staged)
    answers = iter([False])  # to the first question
    monkeypatch.setattr(type(fs), "exists", lambda _, path: next(answers, Path(path).exists()))
    folders = swap.Remote(fs)
    with pytest.raises(FileExistsError):
        folders.rename(str(staged), str(target))
    assert held(place) == {"target": ["target"], staged.name: ["staged"]}


def test_a_swap_gives_up_where_others_always_come_between(place, monkeypatch):
    """A target that is there again before each rename is an error in the end; it is as the others left it."""
    real = swap.Local.rename

    def rename(self, source, target):
        if source.endswith("staged"):
            (place / "target").mkdir()
            (place / "target" / "other").touch()
        real(self, source, target)

    monkeypatch.setattr(swap, "_exchanger", lambda: None)
    monkeypatch.setattr(swap.Local, "rename", rename)
    with pytest.raises(FileExistsError, match="other jobs"):
        replace(swap.Local(), place)
    assert held(place) == {"target": ["other"], "staged": ["staged"]}


def test_a_folder_moves_where_files_beside_it_can_be_renamed_into_it(place):
    """Tried with an empty file, of which nothing is left; a folder that is not there yet can be made anywhere."""
    target = place / "target"
    assert swap.is_movable(str(target), marks.new())
    assert swap.is_movable(str(place / "nothing"), marks.new())
    assert held(place) == {"target": ["target"], "staged": ["staged"]}
    if Path("/proc/self").is_dir():
        assert not swap.is_movable("/proc", marks.new())
    assert held(place)["target"] == ["target"]
