"""The release: what is packed, that it runs where nothing of the checkout is, and the licences of what it needs."""

import re
import runpy
import shlex
import shutil
import subprocess
import tarfile
import zipfile
from email import message_from_bytes

import pytest

import vae_model
from tests.conftest import ROOT
from tests.platforms.wheels import environment, outside, released, wheel

pytestmark = pytest.mark.platforms

PERMISSIVE = {"Apache", "MIT", "BSD", "0BSD", "ISC", "PSF", "MPL", "Zlib", "CC0", "BSL"}
"""Families of licences that ask no more than to be named, or (MPL) that changes to their own files be shown."""


def families(licence):
    """The families that a text names."""
    return {re.sub(r"-[\d.]+.*|-CMU|-0$", "", one) for one in re.split(r" (?:AND|OR) | WITH \S+", licence) if one}


def test_the_archives_hold_the_project():
    """`make dist` makes a wheel with the package alone, typed, and a source archive of the project; both are of the
    one version.
    """
    with zipfile.ZipFile(wheel()) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith("/METADATA"))
        told = message_from_bytes(archive.read(metadata))
    assert told["Version"] == vae_model.__version__ and told["License-Expression"] == "Apache-2.0"
    assert {name.partition("/")[0] for name in names} == {"vae_model", metadata.partition("/")[0]}
    package = [path for path in (ROOT / "vae_model").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {path.relative_to(ROOT).as_posix() for path in package} <= set(names)
    (source,) = released().glob("*.tar.gz")
    with tarfile.open(source) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Makefile", "mkdocs.yml", "docs/site_hooks.py", "containers/Dockerfile", "tests/conftest.py"} <= packed


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_demo_runs_by_the_wheel_alone(tmp_path):
    """In an empty environment and an empty folder the wheel runs the commands of `make demo`, with nothing of the
    checkout but conf/ and examples/: the recording error is on top, and the report is there.
    """
    programs = environment(tmp_path / "environment", "--constraint", ROOT / "constraints.txt", f"{wheel()}[demo]")
    folder = tmp_path / "empty"
    for name in ("conf", "examples"):
        shutil.copytree(ROOT / name, folder / name)
    recipe = re.search(r"^demo:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[1]
    commands = [shlex.split(line) for line in recipe.splitlines() if line.startswith("\t.venv/demo/bin/")]
    assert len(commands) == 3
    for program, *arguments in commands:
        command = [programs / program.rpartition("/")[2], *arguments]
        done = subprocess.run(
            command, cwd=folder, env=outside(programs), capture_output=True, text=True, check=False
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
    assert "wind_speed 1048.36" in done.stdout
    assert (folder / "reports" / "weather.html").exists()
    where = "import vae_model; print(vae_model.__file__)"
    asked = subprocess.run(
        [programs / "python", "-c", where],
        cwd=folder,
        env=outside(programs),
        capture_output=True,
        text=True,
        check=True,
    )
    assert asked.stdout.startswith(str(tmp_path))


def test_the_licences_are_listed():
    """docs/licences.md has each package that is brought here, with the kind of its licence, all permissive."""
    page = runpy.run_path(str(ROOT / "docs" / "licences_page.py"))
    rows = re.findall(r"^\| ([\w.-]+) \| ([^|]+) \| ([^|]*)\|$", page["PAGE"].read_text(encoding="utf-8"), re.MULTILINE)
    listed = {name: families(licence.strip()) for name, licence, _ in rows if name != "package"}
    assert set().union(*listed.values()) <= PERMISSIVE
    packages = page["brought"]()
    found = {name: families(licence) for name, licence in page["licences"](list(packages)).items()}
    assert len(found) > 80
    assert {name: own for name, own in found.items() if listed.get(name) != own} == {}, "run: make licences"
