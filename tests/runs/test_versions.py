"""Versions of a model: none is lost or written over, and one file says which is in use, however it is written to."""

import hashlib
import json
from pathlib import Path

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.s3 import BUCKET
from vae_model.errors import ConfigError, ModelFileError, OutputError, VaeAnomalyError
from vae_model.places import files
from vae_model.runs.versions import CURRENT, REMEMBERED, Version, Versions, named, place


def digest_of(data):
    """What stands for a model's digest here."""
    return hashlib.sha256(data).hexdigest()


def added(kept, data):
    """A model put among the versions."""
    return kept.add(data, digest_of(data))


def promoted(kept, data):
    """The same, taken into use."""
    version = added(kept, data)
    kept.promote(version, digest_of(data), "a test")
    return version


@pytest.fixture(params=["local", "memory", "s3"])
def kept(request, tmp_path):
    """An empty folder of versions: where files are renamed, where they are not, and over HTTP."""
    if request.param == "s3":
        request.getfixturevalue("s3")
        return Versions(f"s3://{BUCKET}/models/weather")
    if request.param == "local":
        return Versions(str(tmp_path / "models"))
    fsspec.filesystem("memory").store.clear()
    return Versions("memory://models/weather")


@pytest.mark.parametrize(
    ("path", "holds"),
    [
        ("m.vae", False),
        ("models/", True),
        ("none", False),
        ("folder", True),
        ("folder/", True),
        ("file", False),
        ("folder.vae", False),
        ("folder.vae/", True),
        ("memory://nowhere/m", False),
        ("memory://nowhere/", True),
    ],
)
def test_a_path_is_a_file_or_a_folder_of_versions(tmp_path, monkeypatch, path, holds):
    """What ends in / or is a folder holds versions, unless it ends in .vae: then it is one file, as it always was."""
    monkeypatch.chdir(tmp_path)
    for folder in ("folder", "folder.vae"):
        Path(folder).mkdir()
    Path("file").touch()
    assert (place(path) is not None) is holds


def test_a_file_has_no_versions(tmp_path):
    """A config that pins a version of what is one file is told so."""
    with pytest.raises(ConfigError, match=r"model.version is 7, but model.path is one file"):
        place(str(tmp_path / "m.vae"), 7)


@pytest.mark.slow
def test_versions_are_numbered_and_the_same_model_is_one(kept):
    """Each model gets the next number; the same bytes again, as of a job that is run again, make no other version."""
    first, second, again = (added(kept, data) for data in (b"one", b"two", b"one"))
    assert [first.number, second.number, again] == [1, 2, first]
    assert kept.listed() == [first, second]
    assert first.file == f"000001-{digest_of(b'one')[:12]}.vae"
    assert files.get(kept.path_of(first)) == b"one"
    assert kept.written(first).tzinfo is not None


@pytest.mark.slow
def test_a_training_that_died_before_its_version_was_used_is_made_up_for(kept):
    """The version lies there unused, and the same training run again takes that one into use."""
    first, dead = promoted(kept, b"one"), added(kept, b"two")
    assert kept.current().version == first
    assert promoted(kept, b"two") == dead == kept.current().version
    assert kept.listed() == [first, dead]


@pytest.mark.slow
def test_two_trainings_at_once_leave_both_versions(kept, monkeypatch):
    """Neither sees the other's version: both are there, under one number, and one is in use. The digest tells them."""
    promoted(kept, b"before")
    stale = kept.listed()
    with monkeypatch.context() as patch:
        patch.setattr(Versions, "listed", lambda self: stale)
        versions = [added(kept, data) for data in (b"one", b"two")]
    for version, data in zip(versions, (b"one", b"two"), strict=True):
        kept.promote(version, digest_of(data), "a test")
        assert files.get(kept.path_of(version)) == data
        assert kept.find(version.digits) == version
    assert {version.number for version in versions} == {2}
    assert kept.current().version == versions[1]
    with pytest.raises(ModelFileError, match="several versions 2"):
        kept.find(2)
    assert added(kept, b"three").number == 3


@pytest.mark.slow
def test_a_version_is_found_by_number_by_digest_or_as_the_current_one(kept):
    """A pinned version is found whichever is in use, and what is not there is told with what is."""
    first, second = promoted(kept, b"one"), promoted(kept, b"two")
    assert kept.find("current") == second
    assert kept.find(1) == kept.find(digest_of(b"one")) == kept.find(digest_of(b"one")[:12]) == first
    with pytest.raises(ModelFileError, match="no version 3") as caught:
        kept.find(3)
    assert caught.value.found == f"{first.file}, {second.file}"


def test_nothing_is_current_before_the_first(kept):
    """An empty folder, or none, is told as a model that does not exist yet."""
    assert (kept.listed(), kept.current(), kept.previous()) == ([], None, None)
    with pytest.raises(ModelFileError, match="does not exist in"):
        kept.find("current")
    with pytest.raises(ModelFileError, match="to go back to"):
        kept.roll_back()


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("train"), st.integers(0, 5)),
        st.tuples(st.just("refuse"), st.integers(0, 5)),
        st.tuples(st.just("roll back"), st.just(0)),
        st.tuples(st.just("prune"), st.integers(2, 4)),
    ),
    max_size=25,
)


@pytest.mark.slow
@given(ACTIONS, st.integers(1, 6))
def test_what_is_in_use_is_what_was_promoted_last_and_is_always_there(actions, pinned):
    """Over any trainings, refusals, rollbacks and removals: the current version, the one before it and a pinned one are
    never removed, and a rollback goes to the last one that was in use and is there still.
    """
    fsspec.filesystem("memory").store.clear()
    kept, used = Versions("memory://models"), []
    for action, number in actions:
        model = f"model {number}".encode()
        if action == "train":
            version = promoted(kept, model)
            if used[:1] != [version]:
                used = [version, *(one for one in used if one != version)]
        elif action == "refuse":
            added(kept, model)
        elif action == "prune":
            there = kept.listed()
            last = kept.previous()
            removed = kept.prune(number, pinned)
            assert not last or last.version not in removed
            assert kept.listed() == [version for version in there if version not in removed]
            assert not {version.number for version in removed} & {pinned}
            assert not set(removed) & set(there[-number:])
        elif any(version in kept.listed() for version in used[1:]):
            used = [version for version in used[1:] if version in kept.listed()]
            kept.roll_back()
        current = kept.current()
        assert (current and current.version) == (used[0] if used else None)
        left = [version for version in used[1:] if version in kept.listed()]
        before = current.previous if current else ()
        assert [one.version for one in before if one.version in kept.listed()] == left
        assert not current or current.version in kept.listed()
        assert [one.version for one in [kept.previous()] if one] == left[:1]


@pytest.mark.slow
def test_the_one_before_the_current_one_is_kept_behind_any_number_of_refused_ones(kept):
    """However many newer versions there are that were never used, there is one to go back to."""
    first, second = promoted(kept, b"one"), promoted(kept, b"two")
    refused = [added(kept, str(number).encode()) for number in range(4)]
    assert kept.prune(2, "current") == refused[:2]
    kept.roll_back()
    assert kept.current().version == first and kept.listed()[:2] == [first, second]


@pytest.mark.slow
def test_what_was_removed_is_not_gone_back_to(kept):
    """A rollback ends where the versions do: what is not there any more never comes into use."""
    versions = [promoted(kept, str(number).encode()) for number in range(5)]
    assert kept.prune(2, "current") == versions[:3]
    kept.roll_back()
    assert kept.current().version == versions[3]
    with pytest.raises(ModelFileError, match="to go back to"):
        kept.roll_back()
    assert kept.current().version == versions[3]


@pytest.mark.slow
def test_only_so_many_are_remembered(kept):
    """The file stays small, however often a model is trained."""
    for number in range(REMEMBERED + 3):
        promoted(kept, str(number).encode())
    assert [one.number for one in kept.current().previous] == list(range(REMEMBERED + 2, 2, -1))


GOOD = {
    "number": 1, "file": f"000001-{digest_of(b'one')[:12]}.vae", "digest": digest_of(b"one"),
    "since": "2026-01-01T00:00:00Z", "by": "trained",
}  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b"null",
        json.dumps({**GOOD, "file": "../../other.vae"}).encode(),
        json.dumps({**GOOD, "file": GOOD["file"] + "\n"}).encode(),
        json.dumps({**GOOD, "file": "000002-" + GOOD["file"][7:]}).encode(),
        json.dumps({**GOOD, "digest": "0" * 64}).encode(),
        json.dumps({**GOOD, "number": -1}).encode(),
        json.dumps({**GOOD, "number": "1"}).encode(),
        json.dumps({**GOOD, "since": "yesterday"}).encode(),
        json.dumps({**GOOD, "by": "x" * 10_000}).encode(),
        json.dumps({**GOOD, "previous": [{**GOOD, "file": "/etc/passwd"}]}).encode(),
        json.dumps({**GOOD, "previous": [GOOD] * 1000}).encode(),
    ],
)
def test_what_cannot_be_is_refused_and_promoting_writes_it_anew(tmp_path, content):
    """A damaged or forged current.json is an error that says how to mend it; no path in it is ever followed."""
    kept = Versions(str(tmp_path))
    version = added(kept, b"one")
    (tmp_path / CURRENT).write_bytes(content)
    with pytest.raises(ModelFileError, match="does not say which version is in use") as caught:
        kept.find("current")
    assert "--promote" in caught.value.hint and len(str(caught.value)) < 1000
    kept.promote(version, digest_of(b"one"), "mended")
    assert kept.find("current") == version


def test_what_a_newer_version_may_add_is_no_fault(tmp_path):
    """Keys that are not known are left alone: the folder may be shared with another version of this package."""
    (tmp_path / CURRENT).write_text(json.dumps({**GOOD, "colour": "blue"}))
    assert Versions(str(tmp_path)).current().version == Version(1, digest_of(b"one")[:12])


def test_a_failed_write_leaves_the_version_in_use(tmp_path, monkeypatch):
    """Where current.json cannot be written, it says what it said: a reader finds it whole."""
    kept = Versions(str(tmp_path))
    first, second = promoted(kept, b"one"), added(kept, b"two")

    def fail(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OutputError, match=r"current.json"):
        kept.promote(second, digest_of(b"two"), "a test")
    monkeypatch.undo()
    assert kept.current().version == first


def test_other_files_are_no_versions(kept):
    """What others, or a write that was killed, have left in the folder is neither listed nor removed."""
    version = promoted(kept, b"one")
    others = ["1-2795c7e0127f.vae", "000001-2795C7E0127F.vae", "000001-2795c7e0127f.vae.tmp", "notes.txt"]
    for name in others:
        files.put(f"{kept.folder}/{name}", b"")
    assert kept.listed() == [version]
    kept.prune(2, "current")
    assert all(files.exists(f"{kept.folder}/{name}") for name in others)


def test_what_cannot_be_removed_stays(tmp_path, monkeypatch, caplog):
    """An old version that cannot be removed is no reason to fail: the new one is in use already."""
    kept = Versions(str(tmp_path))
    for number in range(5):
        promoted(kept, str(number).encode())

    def fail(self, path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(fsspec.implementations.local.LocalFileSystem, "rm_file", fail)
    assert kept.prune(2, "current") == []
    assert len(kept.listed()) == 5 and caplog.text.count("cannot be removed") == 3


def test_a_file_is_no_folder(tmp_path):
    """A path that ends in / where a file is: an error before any training."""
    (tmp_path / "models").write_bytes(b"")
    with pytest.raises(VaeAnomalyError, match="cannot be written"):
        place(f"{tmp_path}/models/").check_writable()


@pytest.mark.parametrize(
    ("text", "meant"),
    [("7", 7), ("000007", 7), ("2795c7e0127f", "2795c7e0127f"), ("weather@2795c7e0127f", "2795c7e0127f")],
)
def test_a_version_is_called_as_the_output_calls_it(text, meant):
    """By its number, or by its digest as ``anomaly_model`` has it."""
    assert named(text) == meant


@pytest.mark.parametrize("text", ["", "2795c7", "../m", "000007-2795c7e0127f.vae", "-1"])
def test_what_is_no_version_is_refused(text):
    """Anything else is an error that shows how a version is called."""
    with pytest.raises(ConfigError, match="no version"):
        named(text)
