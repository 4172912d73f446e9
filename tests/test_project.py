"""The project around the package: what is made, what is removed, and what is packed."""

import re
import shutil
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import vae_model

ROOT = Path(__file__).parents[1]


def make(folder, *arguments):
    """What make says in a folder."""
    return subprocess.run(["make", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def checkout(tmp_path):
    """A folder with the Makefile alone."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    return tmp_path


def test_help_names_every_target(checkout):
    """Each target that is no file has a line of help, and `make help` prints them all."""
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    told = re.findall(r"^make (\S+) +\S", make(checkout, "help"), re.MULTILINE)
    assert sorted(told) == sorted(phony[1].split())


def test_clean_removes_nothing_of_anyones(checkout):
    """`make clean` takes environments, builds and caches, and leaves tables, models and what it does not know."""
    made = [".venv/demo", ".venv/test", "build", "dist", "site", ".mypy_cache"]
    kept = ["data", "models", "scored", "spark-warehouse", "metastore_db", ".venv/mine", "conf"]
    for name in made + kept:
        (checkout / name).mkdir(parents=True)
        (checkout / name / "file").touch()
    make(checkout, "clean")
    assert [name for name in made if (checkout / name).exists()] == []
    assert [name for name in kept if not (checkout / name / "file").exists()] == []


def test_clean_leaves_the_environments_of_another_checkout(checkout):
    """A .venv that is a link is not followed."""
    (checkout / "theirs" / "test").mkdir(parents=True)
    (checkout / ".venv").symlink_to("theirs")
    make(checkout, "clean")
    assert (checkout / "theirs" / "test").exists()


def test_the_version_stands_in_one_place():
    """The installed package has the version that its source says."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert project["tool"]["hatch"]["version"]["path"] == "vae_model/__init__.py"
    assert version("spark-vae-anomaly") == vae_model.__version__


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="git knows the repository's files")
def test_the_source_archive_is_the_repository():
    """Every file under version control is in the sdist: its tests need the Makefile, the docs and the examples."""
    include = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["sdist"][
        "include"
    ]
    known = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    always = {"pyproject.toml", ".gitignore"}  # hatchling's own choice
    assert len(known) > 100
    assert [name for name in known if name not in always and f"/{name.partition('/')[0]}" not in include] == []
