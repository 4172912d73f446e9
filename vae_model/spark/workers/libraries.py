"""What the workers must have: asked before any work, and read out of what they say when a job fails."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

from vae_model.errors import EngineError, JobError, VaeAnomalyError
from vae_model.spark import frames
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.workers import transport

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

REQUIRED = {"numpy": "1.26", "pandas": "2.2", "pyarrow": "15"}
"""The libraries a worker needs, and the oldest version of each."""

OF_PICTURES = {"PIL": "10"}
"""Those that it needs too where a model looks at files of pictures: Pillow, by the name it is imported by."""
_PACKAGES = {"PIL": "pillow"}
"""What a library is installed as, where that is another name."""


def _remedy(needed: Mapping[str, str]) -> str:
    packages = " ".join(f"'{_PACKAGES.get(name, name)}>={version}'" for name, version in needed.items())
    return (
        f"In the workers' environment: pip install {packages}. Which Python they run: PYSPARK_PYTHON or "
        "spark.pyspark.python."
    )


def check_workers(spark: SparkSession, has_pictures: bool = False) -> None:
    """Ask one worker for its libraries, in a job of one row. Raises EngineError naming all that are missing or old.

    Where the workers run this process's Python it is asked instead: to start one takes seconds.
    """
    transport.ship_package(spark)
    needed = {**REQUIRED, **OF_PICTURES} if has_pictures else REQUIRED
    probe = _probe(list(needed))
    if engine_of(spark).workers_run_this_python(spark):
        check_versions(json.loads(probe(0)), needed)
        return
    try:
        row = spark.range(1).select(F.udf(probe, T.StringType(), useArrow=False)("id")).collect()
    except frames.ENGINE_ERRORS as error:
        raise explain(str(error)) or EngineError(
            "The workers cannot run Python.", "", frames.reason(error), _remedy(needed), frames.is_transient(error)
        ) from error
    check_versions(json.loads(row[0][0]), needed)


def _probe(needed: list[str]) -> Callable[[int], str]:
    """A function that travels by value and gives the versions of libraries, or why they cannot be had, as JSON."""

    def probe(_: int) -> str:
        import importlib
        import json
        from importlib.metadata import version

        found = {}
        for name in [*needed, "vae_model.scoring.scorer"]:
            try:
                if name == "pandas":  # only a pandas UDF imports it, for a second and 40 MB
                    found[name] = version(name)
                else:
                    found[name] = str(getattr(importlib.import_module(name), "__version__", ""))
            except Exception as error:  # a broken library is as good as none
                found[name] = f"{type(error).__name__}: {error}"
        return json.dumps(found)

    return probe


def check_versions(found: Mapping[str, str], needed: Mapping[str, str] = REQUIRED) -> None:
    """Hold what a worker found (a version, or an error, by library) against what is needed. Raises EngineError."""
    wrong = {name: found[name] for name, oldest in needed.items() if _version(found[name]) < _version(oldest)}
    if wrong:
        called = {name: _PACKAGES.get(name, name) for name in wrong}
        raise EngineError(
            f"The workers' Python lacks what scoring needs: {', '.join(called.values())}.",
            ", ".join(f"{called[name]} {needed[name]} or later" for name in wrong),
            ", ".join(f"{called[name]}: {text}" for name, text in wrong.items()),
            _remedy(needed),
        )
    if ": " in found["vae_model.scoring.scorer"]:
        raise EngineError(
            "The workers cannot import this package.",
            found=found["vae_model.scoring.scorer"],
            hint="Give it to them: spark-submit --py-files dist/vae_model.zip (made by `make package`), or install it.",
        )


def _version(text: str) -> tuple[int, ...]:
    """The numbers a version begins with; none for a text that is no version."""
    match = re.match(r"\d+(\.\d+)*", text)
    return tuple(map(int, match[0].split("."))) if match else ()


def explain(text: str) -> VaeAnomalyError | None:
    """What an engine's error text says of its workers, in our words; None where it is about something else."""
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    version = re.search(r"Python in worker has different version:? \(?(\d+)[., ]+(\d+)", text)
    if not version and "Error from python worker" in text:  # one so old that it does not come as far as to say so
        version = re.search(r"/lib/python(\d+)\.(\d+)/", text)
    if version and f"{version[1]}.{version[2]}" != ours:
        return EngineError(
            "The workers run another Python than the driver.",
            f"Python {ours}, as here",
            f"Python {version[1]}.{version[2]}",
            f"Point PYSPARK_PYTHON (or spark.pyspark.python) at a Python {ours} with {', '.join(REQUIRED)}.",
        )
    missing = re.search(r"(?:No module named '|PACKAGE_NOT_INSTALLED\] )(\w+)", text)
    if missing:
        module = missing[1] if missing[1] in OF_PICTURES else missing[1].lower()
        known, name = {**REQUIRED, **OF_PICTURES}, _PACKAGES.get(module, module)
        needed = f"{name} {known[module]} or later" if module in known else name
        remedy = _remedy(known if module in OF_PICTURES else REQUIRED)
        return EngineError(f"A worker lacks the library {name}.", needed, "no such module on that worker", remedy)
    if "Cannot run program" in text:
        program = re.search(r'Cannot run program "([^"]+)"', text)
        return EngineError(
            "A worker cannot start its Python.",
            "a Python interpreter at that path on every worker",
            program[1] if program else "",
            "Set PYSPARK_PYTHON (or spark.pyspark.python) to the workers' own path.",
        )
    if re.search(r"Python worker exited unexpectedly|ExecutorLostFailure|OutOfMemory|exceeding memory limits", text):
        return JobError(
            "Workers were lost while scoring, more often than Spark retries. The output is as it was.",
            hint="If memory ran out: raise spark.executor.memoryOverhead (docs/operating.md, Memory), or lower "
            "spark.sql.execution.arrow.maxRecordsPerBatch. Else run the job again.",
            transient=True,
        )
    return None
