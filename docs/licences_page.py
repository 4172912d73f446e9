"""Write docs/licences.md: what the package and its extras bring with them, and under which licences.

    python docs/licences_page.py

It reads what is installed (the extra `platforms` has all of it) by pip-licenses. Versions are left out, so that the
page stays true from one to the next; a test holds names and kinds of licence against it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

OURS = "spark-vae-anomaly"
PAGE = Path(__file__).with_name("licences.md")
EXTRAS = ("train", "spark", "sail", "s3", "gcs", "azure", "evaluate", "report", "mlflow", "openlineage", "image")
"""What users install; the other extras are for work on the project."""
FOR_GPUS = re.compile("nvidia-|cuda-|triton$")
STANDS_FOR = {"pyspark-client": "pyspark"}
"""A package that cannot be beside another which has the same files, and that other."""
SPDX = {
    r"Apache Software License|Apache License,? (Version )?2\.0|Apache 2\.0": "Apache-2.0",
    r"MIT License": "MIT",
    r"3-Clause BSD License": "BSD-3-Clause",
    r"BSD License": "BSD",
    r"Mozilla Public License 2\.0 \(MPL 2\.0\)": "MPL-2.0",
    r"ISC License \(ISCL\)": "ISC",
    r"Python Software Foundation License": "PSF-2.0",
    r"; ": " OR ",
}
"""Old names of licences, and the ones that are used now."""
OPENING = """\
# Licences

spark-vae-anomaly is under the Apache License 2.0. It contains nothing of others; `pip` installs what it needs beside
it. This page lists that, with the licence that each package states, and which extras bring it (none: the package itself
does). It is written by `make licences`, with pip-licenses; versions are in `constraints.txt`.

torch as the package index has it for Linux is the build for NVIDIA's GPUs, which brings NVIDIA's own libraries, under
NVIDIA's own terms, and triton (MIT). Its [build for CPUs](containers.md) brings none of them. `pyspark` stands for
`pyspark-client` too, whose files it has. Java and Delta's jars belong to Spark's surroundings, and are not listed.

| package | licence | extras |
|---|---|---|
"""


def brought() -> dict[str, set[str]]:
    """Every package that ours, or one of its extras, brings here, and by which extras."""
    found: dict[str, set[str]] = defaultdict(set)
    for extra in ("", *EXTRAS):
        seen: set[tuple[str, str]] = set()
        todo = [(OURS, extra)]
        while todo:
            name, own = todo.pop()
            if (name, own) in seen:
                continue
            seen.add((name, own))
            for text in distribution(name).requires or ():
                needed = Requirement(text)
                given = {"extra": own}
                if needed.marker and not needed.marker.evaluate(given):
                    continue
                other = canonicalize_name(needed.name)
                other = STANDS_FOR.get(other, other)
                if FOR_GPUS.match(other):
                    continue
                if not is_here(other):
                    sys.exit(f"{other}, which {name} needs, is not installed: run this in .venv/platforms")
                todo += [(other, one) for one in ("", *needed.extras)]
        for name in {name for name, _ in seen} - {OURS}:
            found[name].add(extra)
    return {name: set() if "" in extras else extras for name, extras in sorted(found.items())}


def is_here(name: str) -> bool:
    """Whether a package is installed."""
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def licences(names: list[str]) -> dict[str, str]:
    """The licence that each package states."""
    tool = Path(sys.executable).with_name("pip-licenses")
    command = [tool, "--python", sys.executable, "--format=json", "--from=mixed", "--with-system", "--packages", *names]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603
    found = {canonicalize_name(one["Name"]): one["License"] for one in told}
    for old, new in SPDX.items():
        found = {name: re.sub(old, new, licence) for name, licence in found.items()}
    return {name: " ".join(found[name].split()) for name in names}


def page() -> str:
    """The whole page."""
    packages = brought()
    stated = licences(list(packages))
    rows = (f"| {name} | {stated[name]} | {', '.join(sorted(extras))} |\n" for name, extras in packages.items())
    return OPENING + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
