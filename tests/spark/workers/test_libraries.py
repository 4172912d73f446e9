"""What the workers must have, and what is said where they lack it."""

import re
import sys
from pathlib import Path

import pytest

from vae_model.errors import EngineError
from vae_model.spark.engines import sail
from vae_model.spark.workers import libraries

ROOT = Path(__file__).parents[3]
GOOD = {"numpy": "2.4.6", "pandas": "2.3.3", "pyarrow": "26.0.1", "vae_model.scoring.scorer": ""}


def test_the_workers_of_every_engine_pass(engine):
    """The workers of each engine have what scoring needs, though none but the embedded engine's has the project."""
    libraries.check_workers(engine)


def test_workers_that_run_this_python_are_not_started_to_be_asked(engine, request, monkeypatch):
    """Local workers of this very Python answer without a job; those of a server do not."""
    if "connect" in request.node.callspec.id:
        pytest.skip("its workers may have another Python")
    if "sail" in request.node.callspec.id:
        monkeypatch.setattr(sail, "is_ours", lambda _: True)  # the fixture's session is not the package's own
    monkeypatch.setattr(type(engine), "range", None)
    libraries.check_workers(engine)


def test_the_oldest_versions_are_the_packages_own():
    """The versions asked of a worker are those that pyproject.toml asks of an installation."""
    text = (ROOT / "pyproject.toml").read_text()
    assert set(libraries.REQUIRED) == {"numpy", "pandas", "pyarrow"}
    for name, oldest in libraries.REQUIRED.items():
        assert re.search(rf'"{name}>={re.escape(oldest)}[",]', text)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"numpy": "1.25.2"}, ["numpy 1.26 or later", "numpy: 1.25.2", "pip install"]),
        ({"pyarrow": "ModuleNotFoundError: No module named 'pyarrow'"}, ["scoring needs: pyarrow", "'pyarrow>=15'"]),
        ({"numpy": "1.9", "pandas": "ImportError: broken"}, ["needs: numpy, pandas", "pandas: ImportError: broken"]),
        (
            {"vae_model.scoring.scorer": "ModuleNotFoundError: No module named 'vae_model'"},
            ["cannot import", "--py-files"],
        ),
    ],
)  # fmt: skip
def test_a_worker_without_a_library_is_told_with_the_remedy(changed, words):
    """A missing, broken or old library is named, with the version that is needed and how to get it."""
    with pytest.raises(EngineError) as error:
        libraries.check_versions(GOOD | changed)
    for word in words:
        assert word in str(error.value)


def test_pillow_is_asked_for_where_there_are_files_of_pictures():
    """By the name that it is installed by, before the job, and when a worker turns out to lack it."""
    needed = libraries.REQUIRED | libraries.OF_PICTURES
    with pytest.raises(EngineError) as told:
        libraries.check_versions(GOOD | {"PIL": "ModuleNotFoundError: No module named 'PIL'"}, needed)
    later = libraries.explain("ModuleNotFoundError: No module named 'PIL'")
    for error in (told.value, later):
        assert "pillow 10 or later" in str(error)
        assert "'pillow>=10'" in str(error)
    libraries.check_versions(GOOD | {"PIL": "12.0.0"}, needed)


def test_good_workers_are_left_in_peace():
    """Versions that are new enough raise nothing."""
    libraries.check_versions(GOOD)


HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
TEXTS = {
    "mismatch": (
        "[PYTHON_VERSION_MISMATCH] Python in worker has different version: (3, 9) than that in driver: 3.12, PySpark",
        ["Python 3.9", f"Python {HERE}", "PYSPARK_PYTHON"],
    ),
    "mismatch in 3.5": (
        "Python in worker has different version (3, 10) than that in driver 3.12, PySpark cannot run",
        ["Python 3.10"],
    ),
    "too old to say so": (
        'Error from python worker:\n  File "/usr/lib/python3.9/site-packages/pyspark/__init__.py", line 1\nTypeError',
        ["Python 3.9", f"Python {HERE}"],
    ),
    "missing": ("ModuleNotFoundError: No module named 'pandas.core'", ["the library pandas", "pandas 2.2 or later"]),
    "too old for Spark": (
        "[PACKAGE_NOT_INSTALLED] PyArrow >= 18.0.0 must be installed; however, it was not found.",
        ["lacks the library pyarrow", "pyarrow 15 or later"],
    ),
    "no interpreter": (
        'java.io.IOException: Cannot run program "/opt/none/python": error=2, No such file or directory',
        ["/opt/none/python", "PYSPARK_PYTHON"],
    ),
    "lost": ("ExecutorLostFailure (executor 1 exited): killed for exceeding memory limits", ["memoryOverhead"]),
}  # fmt: skip


@pytest.mark.parametrize("case", TEXTS)
def test_what_an_engine_says_of_its_workers_is_put_plainly(case):
    """Spark's own words about a worker become a message with what was expected, found and what to do."""
    text, words = TEXTS[case]
    message = str(libraries.explain(f"Job aborted.\n\tat org.apache.spark\n{text}\n\tat org.apache.spark"))
    for word in words:
        assert word in message
    assert "\tat org." not in message


def test_an_error_about_something_else_is_not_explained():
    """Errors that are not about workers are left to others."""
    assert libraries.explain("[TABLE_OR_VIEW_NOT_FOUND] no such table") is None
