"""The files of a table, as the engines find them."""

import pytest

from tests.s3 import BUCKET
from vae_model.errors import StorageError
from vae_model.places.listing import data_files


@pytest.fixture
def table(tmp_path):
    """A folder of Hive's kind, with what is no data in it."""
    for name in ("year=2023/city=New%20York/a.parquet", "year=__HIVE_DEFAULT_PARTITION__/city=x/b.parquet", "_SUCCESS",
                 ".hidden/c.parquet", "_temporary/0/d.parquet", "_k=1/e.parquet"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    return tmp_path


def test_what_readers_read_is_listed(table):
    """Hidden files and folders are left out, but for a partition whose column's name begins with an underscore."""
    assert [file.inside.rpartition("/")[2] for file in data_files(str(table)).files] == ["e.parquet", "a.parquet",
                                                                                          "b.parquet"]  # fmt: skip


def test_folders_names_are_values(table):
    """Escapes are undone, and Hive's null is one."""
    listing = data_files(str(table))
    assert [file.partition for file in listing.files] == [
        {"_k": "1"}, {"year": "2023", "city": "New York"}, {"year": None, "city": "x"},
    ]  # fmt: skip
    assert listing.partition_columns == ["_k", "year", "city"]


@pytest.mark.parametrize("spelled", ["{tmp}", "{tmp}/", "file:{tmp}", "file://{tmp}"])
def test_a_files_path_is_as_engines_take_it(tmp_path, spelled):
    """However the folder is spelled."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.csv").write_text("x")
    listing = data_files(spelled.format(tmp=tmp_path))
    assert [listing.url(file).removeprefix("file://") for file in listing.files] == [f"{tmp_path}/sub/a.csv"]


@pytest.mark.parametrize("pattern", ["*.csv", "a*", "[a-b].csv", "{a,b}.csv", "{a.csv,b.csv}"])
def test_a_pattern_lists_what_it_names(tmp_path, pattern):
    """The engines' patterns, braces among them."""
    for name in ("a.csv", "b.csv", "c.txt"):
        (tmp_path / name).write_text("x")
    listing = data_files(f"{tmp_path}/{pattern}")
    assert {file.inside for file in listing.files} <= {"a.csv", "b.csv"}
    assert [listing.url(file) for file in listing.files] == [f"{tmp_path}/{file.inside}" for file in listing.files]
    assert listing.partition_columns == []


def test_nothing_is_none(tmp_path):
    """An empty folder, a path where nothing is, and a place that no library knows: there is no listing."""
    assert data_files(str(tmp_path)) is None
    assert data_files(str(tmp_path / "nowhere")) is None
    assert data_files("nosuchprotocol://x/y") is None


def test_a_store_that_does_not_answer_is_an_error(monkeypatch):
    """Nothing is taken for nothing there that could not be asked for."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StorageError):
        data_files("s3://bucket/table")


def test_files_on_object_stores_are_listed(s3):
    """The path is the store's, whichever of its protocols the config names."""
    s3.put("t/year=2023/a.csv", b"x")
    for protocol in ("s3", "s3a"):
        (file,) = (listing := data_files(f"{protocol}://{BUCKET}/t")).files
        assert (listing.url(file), file.partition) == (f"{protocol}://{BUCKET}/t/year=2023/a.csv", {"year": "2023"})
        with listing.opened(file) as opened:
            assert opened.read() == b"x"
