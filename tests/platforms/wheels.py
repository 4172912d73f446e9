"""The wheel of this checkout, and environments that have it and nothing of the checkout."""

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conftest import ROOT, clean_environment

UV = Path(sys.executable).with_name("uv")
"""As the tests' own environments are made: its cache makes a second torch a matter of seconds."""


@functools.cache
def released():
    """The folder with source archive and wheel that `make dist` makes."""
    folder = Path(tempfile.mkdtemp(prefix="vae-anomaly-dist-"))
    atexit.register(shutil.rmtree, folder, True)
    python = f"PLATFORMS={sys.executable}"  # this environment, as it is: it is not made anew
    command = ["make", "-o", ".venv/platforms/ready", "dist", f"DIST={folder}", python]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def wheel():
    """The wheel's file."""
    (file,) = released().glob("*.whl")
    return file


def environment(folder, *arguments):
    """A new virtual environment with what `pip install` is given: its folder of programs."""
    for command in (["venv", "--python", sys.executable, folder], ["pip", "install", "--python", folder, *arguments]):
        done = subprocess.run([UV, *command, "--quiet"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
    return folder / "bin"


def outside(programs, **more):
    """The variables of a process that sees those programs and nothing of this checkout."""
    found = clean_environment(PATH=f"{programs}{os.pathsep}{os.environ['PATH']}", **more)
    return {name: value for name, value in found.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
