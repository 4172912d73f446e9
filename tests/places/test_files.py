"""Files on any file system: whole or not at all, one spelling for one place, and failures told within seconds."""

import os
import re
import socket
import string
import time
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.s3 import BUCKET, KEY_ID, SECRET, forget_clients
from vae_model import Detector, load_config
from vae_model.errors import ConfigError, InputError, ModelFileError, OutputError, StorageError
from vae_model.places import credentials, files

SECONDS = 15
"""Within so many a person is told."""


@pytest.fixture
def memory():
    """The file system in memory of fsspec, empty: like an object store it has no renames."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    return fs


def told(kind, function, *arguments):
    """The message a call is refused with, in time and without a secret in it."""
    started = time.monotonic()
    with pytest.raises(kind) as caught:
        function(*arguments)
    message = str(caught.value)
    assert time.monotonic() - started < SECONDS
    for secret in (KEY_ID, SECRET, os.environ.get("AWS_SECRET_ACCESS_KEY") or SECRET):
        assert secret not in message
    assert caught.value.__suppress_context__ or caught.value.__context__ is None  # nor in a stack that is printed
    return message


# --- Paths


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("models/m.vae", "file"),
        ("/Volumes/main/raw/m.vae", "file"),
        ("file:/x", "file"),
        ("file:///x", "file"),
        ("a:b/c", "file"),
        ("s3://b/x", "s3"),
        ("s3a://b/x", "s3"),
        ("abfss://c@account.dfs.core.windows.net/x", "abfs"),
        ("gs://b/x", "gs"),
        ("hdfs://host:8020/x", "hdfs"),
        ("hdfs:///x", "hdfs"),
    ],
)
def test_the_kind_of_file_system_follows_from_the_path(path, kind):
    """Every spelling of a path names its file system; what names none is local."""
    assert files.protocol(path) == kind
    assert files.renames(path) == (kind in ("file", "hdfs"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/a/b", "/a/b/"),
        ("/a/b", "file:/a/b"),
        ("/a/b", "file:///a/x/../b"),
        ("s3://b/x", "s3a://b/x/"),
        ("s3://b/x", "s3n://b//x"),
        ("gs://b/x", "gcs://b/x"),
        ("abfss://c@a.dfs.core.windows.net/x", "abfs://c@a.dfs.core.windows.net/x/"),
    ],
)
def test_one_place_has_one_canonical_spelling(one, other):
    """However a place is spelled, it compares equal, and no library for it is needed."""
    assert files.canonical(one) == files.canonical(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("s3://b/x", "s3://b/y"),
        ("s3://b/x", "gs://b/x"),
        ("/b/x", "s3://b/x"),
        ("abfss://c@one.dfs.core.windows.net/x", "abfss://c@two.dfs.core.windows.net/x"),
    ],
)
def test_two_places_have_two(one, other):
    """Other buckets, accounts and file systems are other places."""
    assert files.canonical(one) != files.canonical(other)


def test_a_relative_path_is_a_place_in_the_working_directory(tmp_path, monkeypatch):
    """A plain relative path is the same place as its absolute form."""
    monkeypatch.chdir(tmp_path)
    assert files.canonical("x/y") == files.canonical(f"file:{tmp_path}/x/y")


@pytest.mark.parametrize(("path", "given"), [("file:/a/b", "file:///a/b"), ("file:///a", "file:///a"), ("/a/b", "/a/b"),
                                             ("s3a://b/x", "s3a://b/x")])  # fmt: skip
def test_engines_are_given_paths_as_they_are_written(path, given):
    """Only the slashes of a file URI are made up for."""
    assert files.for_engine(path) == given


def test_engines_are_given_relative_paths_from_this_process_working_directory(tmp_path, monkeypatch):
    """An engine's own working directory may be another."""
    monkeypatch.chdir(tmp_path)
    assert files.for_engine("a/b") == f"{tmp_path}/a/b"


# --- Written whole or not at all


@pytest.mark.parametrize("spelling", ["{}", "file:{}", "file://{}"])
def test_local_files_are_read_back_however_they_are_spelled(tmp_path, spelling):
    """A plain path and a file URI name the same file; parents are made."""
    path = spelling.format(tmp_path / "new" / "m.vae")
    files.put(path, b"one")
    files.put(path, b"two")
    assert files.get(path) == (tmp_path / "new" / "m.vae").read_bytes() == b"two"
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["m.vae"]


@given(name=st.text(string.ascii_letters + "äé%+ #@=,'", min_size=1, max_size=20), data=st.binary())
def test_any_bytes_under_any_name(name, data):
    """What is written is what is read, whatever the name and the bytes, on a store without renames."""
    files.put(f"memory://folder/{name}", data)
    assert files.get(f"memory://folder/{name}") == data


def test_a_failed_local_write_leaves_the_old_bytes(tmp_path, monkeypatch):
    """Where the new bytes cannot be put in place the old ones stay, and nothing else does."""
    path = str(tmp_path / "m.vae")
    files.put(path, b"old")

    def broken(source, target):
        raise OSError("the disk is gone")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="the disk is gone"):
        files.put(path, b"new")
    assert files.get(path) == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["m.vae"]


def test_an_object_is_written_by_one_request(memory, monkeypatch):
    """On a store without renames nothing is staged: an object appears whole."""
    names = []
    real = type(memory).pipe_file

    def pipe_file(self, path, *more, **options):
        names.append(path)
        return real(self, path, *more, **options)

    monkeypatch.setattr(type(memory), "pipe_file", pipe_file)
    files.put("memory://b/m.vae", b"data")
    assert names == ["/b/m.vae"]
    assert memory.find("/") == ["/b/m.vae"]


def test_a_folder_is_no_file(tmp_path):
    """A folder where a model should go is found before any work, and not written over."""
    assert "is a folder" in told(OutputError, files.check_writable, str(tmp_path))
    with pytest.raises(IsADirectoryError):
        files.put(str(tmp_path), b"")
    files.check_writable(str(tmp_path), folder=True)


def test_what_lies_below_a_file_does_not_exist(tmp_path):
    """A local path through a file is nothing, as in the shell."""
    (tmp_path / "file").touch()
    assert files.exists(str(tmp_path / "file"))
    assert not files.exists(str(tmp_path / "file" / "x"))
    assert "cannot be written" in told(OutputError, files.check_writable, str(tmp_path / "file" / "x"))


@pytest.mark.slow
def test_s3_objects_are_read_back(s3):
    """An object is put, replaced and read under both spellings; what others write behind fsspec's back is seen."""
    path = f"s3://{BUCKET}/models/m.vae"
    assert not files.exists(path)
    with pytest.raises(FileNotFoundError):
        files.get(path)
    files.check_writable(path)
    assert s3.keys() == []
    files.put(path, b"one")
    files.put(path.replace("s3:", "s3a:"), b"two")
    assert files.get(path) == s3.get("models/m.vae") == b"two"
    assert files.exists(f"s3://{BUCKET}/models") and files.exists(f"s3a://{BUCKET}")
    s3.put("models/m.vae", b"three")
    s3.put("other/new.parquet", b"")
    assert files.get(path) == b"three"
    assert files.exists(f"s3://{BUCKET}/other")
    s3.s3.delete_object(Bucket=BUCKET, Key="models/m.vae")
    assert not files.exists(path)


@pytest.mark.slow
def test_configs_and_models_lie_on_s3(s3):
    """A config file is read from s3://, a missing one is said to be missing, and so is a missing model."""
    s3.put("job.yaml", b"name: far\n")
    assert load_config(f"s3a://{BUCKET}/job.yaml").name == "far"
    assert f"Config file s3://{BUCKET}/none.yaml does not exist." in told(
        ConfigError, load_config, f"s3://{BUCKET}/none.yaml"
    )
    assert "does not exist" in told(ModelFileError, Detector.load, f"s3://{BUCKET}/none.vae")


# --- What goes wrong


@pytest.mark.slow
def test_a_bucket_that_is_missing(s3):
    """Reading, writing and looking name the bucket and say that it is not there; none is made."""
    assert "there is no bucket attic" in told(ModelFileError, Detector.load, "s3://attic/m.vae")
    assert "there is no bucket attic" in told(ConfigError, load_config, "s3://attic/job.yaml")
    assert "there is no bucket attic" in told(StorageError, files.exists, "s3a://attic/rows")
    assert "there is no bucket attic" in told(StorageError, files.put, "s3://attic/m.vae", b"")
    message = told(OutputError, files.check_writable, "s3://attic/m.vae")
    assert message == (
        "s3://attic/m.vae cannot be written.\n  found: there is no bucket attic\n"
        "  to do: Create it, or check its name. Check AWS_ENDPOINT_URL, AWS_REGION and the network."
    )
    assert [b["Name"] for b in s3.s3.list_buckets()["Buckets"]] == [BUCKET]


@pytest.mark.slow
def test_a_bucket_is_no_file(s3):
    """A model's path that names a bucket alone is refused before training."""
    assert "found: the bucket itself" in told(OutputError, files.check_writable, f"s3://{BUCKET}")


@contextmanager
def only_allowed(s3, *actions, **change):
    """Act as someone who may do these actions alone, with some variables changed."""
    with s3.user(*actions) as variables, pytest.MonkeyPatch.context() as patch:
        for name, value in (variables | change).items():
            patch.setenv(name, value)
        forget_clients()
        yield
    forget_clients()


@pytest.mark.slow
def test_someone_without_rights(s3):
    """Who may do nothing is told that access is denied, by reading, looking and writing alike."""
    s3.put("m.vae", b"data")
    with only_allowed(s3):
        for kind, function in (
            (ModelFileError, Detector.load),
            (ConfigError, load_config),
            (StorageError, files.exists),
            (OutputError, files.check_writable),
        ):
            message = told(kind, function, f"s3://{BUCKET}/m.vae")
            assert f"found: access to the bucket {BUCKET} is denied: Access Denied" in message
            assert "to do: Use credentials that may list, read, write and delete there." in message


def test_someone_who_may_only_read(s3):
    """Reading goes well, and that nothing can be written is found before any work."""
    s3.put("m.vae", b"data")
    with only_allowed(s3, "s3:GetObject", "s3:ListBucket"):
        assert files.get(f"s3://{BUCKET}/m.vae") == b"data"
        assert "is denied" in told(OutputError, files.check_writable, f"s3://{BUCKET}/m.vae")
        assert "is denied" in told(OutputError, files.check_writable, f"s3://{BUCKET}/out", True)
    assert s3.keys() == ["m.vae"]


def test_someone_who_may_not_delete(s3):
    """Rights to write without those to delete are not enough, and that is found before any work."""
    with only_allowed(s3, "s3:GetObject", "s3:ListBucket", "s3:PutObject"):
        assert "is denied" in told(OutputError, files.check_writable, f"s3://{BUCKET}/out", True)
    assert s3.keys() == [f"out/{files.PROBE}"]  # what could not be removed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"AWS_ACCESS_KEY_ID": "AKIAUNKNOWN000000000"}, "InvalidAccessKeyId"),
        ({"AWS_SECRET_ACCESS_KEY": "mistyped-secret"}, "SignatureDoesNotMatch"),
    ],
)
def test_credentials_that_are_wrong(s3, change, code):
    """A key that is not known, or a secret that does not fit it, is told from a lack of rights."""
    with only_allowed(s3, "s3:GetObject", **change):
        message = told(ModelFileError, Detector.load, f"s3://{BUCKET}/m.vae")
        assert f"the credentials are not accepted ({code})" in message
        assert "AKIAUNKNOWN" not in message and "mistyped" not in message


@pytest.mark.slow
def test_no_credentials(s3, monkeypatch):
    """Without credentials the message says which variables to set."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    message = told(OutputError, files.check_writable, f"s3://{BUCKET}/m.vae")
    assert f"there are no credentials for the bucket {BUCKET}" in message
    assert "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in message


@pytest.mark.slow
def test_a_server_that_is_not_there(s3, monkeypatch):
    """Nobody at the address is told within seconds, with the variable that holds it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    message = told(ModelFileError, Detector.load, f"s3://{BUCKET}/m.vae")
    assert f"the bucket {BUCKET} does not answer" in message and "127.0.0.1:9" in message
    assert "AWS_ENDPOINT_URL" in message


@pytest.mark.slow
def test_a_server_that_says_nothing(s3, monkeypatch):
    """A server that takes a connection and never answers is given up within seconds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setattr(files, "ANSWER_WITHIN", 2)
        assert f"the bucket {BUCKET} does not answer" in told(OutputError, files.check_writable, f"s3://{BUCKET}/x")


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (TimeoutError("read timed out"), True),
        (type("EndpointConnectionError", (Exception,), {})("Could not connect"), True),
        (type("ClientError", (Exception,), {"response": {"Error": {"Code": "SlowDown"}}})("reduce your rate"), True),
        (type("HttpError", (Exception,), {"code": 503})("backend error"), True),
        (type("ClientError", (Exception,), {"response": {"Error": {"Code": "NoSuchBucket"}}})("none"), False),
        (type("ClientError", (Exception,), {"response": {"Error": {"Code": "ExpiredToken"}}})("old"), False),
        (PermissionError("Forbidden"), False),
        (ValueError("Invalid endpoint"), False),
    ],
    ids=lambda value: getattr(value, "args", [value])[0] if isinstance(value, Exception) else str(value),
)
def test_what_is_worth_another_try(error, transient):
    """A store that is silent or busy may answer the next time; a missing bucket or a denied one will not."""
    with pytest.raises(StorageError) as caught, files.explained("s3://b/x"):
        raise error
    assert caught.value.transient is transient
    assert caught.value.exit_code == (4 if transient else 2)


@pytest.mark.slow
def test_an_address_that_is_none(s3, monkeypatch):
    """An endpoint without http:// is shown as the library found it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "minio.internal")
    assert "Invalid endpoint: minio.internal" in told(StorageError, files.exists, f"s3://{BUCKET}/x")


@pytest.mark.parametrize(("path", "extra"), [("s3://b/m", "s3"), ("gs://b/m", "gcs"), ("abfss://c@a/m", "azure")])
def test_a_library_that_is_not_installed(monkeypatch, path, extra):
    """A store whose library is missing is answered with the extra that brings it."""

    def missing(protocol):
        raise ImportError("Install it to access it")

    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    message = told(InputError, files.get, path)
    assert message == (
        f"The place {path} cannot be reached.\n  found: Install it to access it\n"
        f"  to do: pip install 'spark-vae-anomaly[{extra}]'"
    )


def test_a_file_system_nobody_knows():
    """An unknown protocol is an error about the place."""
    assert "The place nowhere://b/m cannot be reached" in told(InputError, files.get, "nowhere://b/m")


# --- Credentials

SECRETS = st.text(string.ascii_letters + string.digits + "+/=_-", min_size=8, max_size=40)


@pytest.mark.parametrize(
    "path",
    [
        f"s3://{KEY_ID}:{SECRET}@lake/x",
        f"s3a://{KEY_ID}:{SECRET}@lake/x",
        "hdfs://user:password@host:8020/x",
        "https://account.blob.core.windows.net/c/x?sv=1&sig=abc%3D",
        "https://lake.s3.amazonaws.com/x?X-Amz-Security-Token=abc",
        "simplecache::s3://key:secret@lake/x",
    ],
)
def test_a_path_with_credentials_is_refused_without_showing_them(path):
    """Passwords and signatures in a path are found wherever a path is given, and not repeated."""
    assert credentials.within(path)
    for function in (files.get, files.exists, files.check_writable, Detector.load, load_config):
        message = told(InputError, function, path)
        assert message.startswith("A path holds credentials.\n  to do: Give credentials by the environment")
        assert path not in message


@pytest.mark.parametrize(
    "path",
    [
        "s3://lake/a:b/c@d",
        "hdfs://host:8020/a@b",
        "abfss://container@account.dfs.core.windows.net/x",
        "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/lake/a@b",
        "/data/a:b@c",
        "main.scored",
    ],
)
def test_a_path_without_credentials_is_left_alone(path):
    """Ports, containers, access points and odd names are no credentials."""
    assert not credentials.within(path)
    assert credentials.redact(path) == path


@given(key=SECRETS.filter(lambda text: "/" not in text), secret=SECRETS)
def test_any_password_in_a_url_is_found_and_cut_out(key, secret):
    """Whatever a password is made of, it is recognised in a URL and does not survive in a message."""
    path = f"s3://{key}:{secret}@lake/x"
    assert credentials.within(path)
    assert credentials.redact(f"at {path}.") == "at s3://***@lake/x."


@given(before=st.text(), after=st.text())
def test_the_environments_credentials_are_cut_out_of_any_text(before, after):
    """A message that repeats the secret, or the key's name, loses it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        cleaned = credentials.redact(f"{before}{SECRET} {KEY_ID}{after}")
    assert SECRET not in cleaned and KEY_ID not in cleaned


def test_a_files_name_is_no_secret(monkeypatch):
    """Variables that say where credentials lie are not cut out of messages about that file."""
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/home/me/.aws/credentials")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/home/me/key.json")
    text = "cannot read /home/me/.aws/credentials nor /home/me/key.json"
    assert credentials.redact(text) == text


def test_no_file_is_opened_past_this_module():
    """What opens a file by itself does so for the package's own files, the engine's or MLflow's, not for a config's."""
    package = Path(files.__file__).parents[1]
    opened = re.compile(r"(?<![\w.])open\(|\.(read|write)_(text|bytes)\(")
    found = {str(p.relative_to(package)) for p in package.rglob("*.py") if opened.search(p.read_text(encoding="utf-8"))}
    engines = {"spark/workers/transport.py", "spark/engines/engine.py", "spark/engines/jvm.py"}
    assert found == {"places/marks.py", "report/page.py", "platforms/mlflow.py"} | engines
