"""What makes a run the same run as another: digests of what it reads and does."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any

from vae_model.errors import ConfigError
from vae_model.printable import printable

LONGEST = 250
"""Characters in a run's id; Airflow's have as many."""


def digest(value: Any) -> str:
    """SHA-256 of a value as canonical JSON, 64 hexadecimal digits. Raises TypeError for what JSON has not."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def derived_id(name: str, parts: Iterable[str | None]) -> str:
    """A run's id from its config digest, model digest, source version and slice: the same of the same run."""
    return f"{name}-{digest(list(parts))[:16]}"


def file_name(run_id: str) -> str:
    """What stands for a run's id, which may have any letters, in the names of files: 16 hexadecimal digits."""
    return hashlib.sha256(run_id.encode()).hexdigest()[:16]


def checked_id(run_id: str) -> str:
    """An id as a scheduler gave it. Raises ConfigError where it is empty, too long, or has letters that do not show."""
    if not run_id.strip() or len(run_id) > LONGEST or printable(run_id) != run_id or re.search(r"^\s|\s$", run_id):
        raise ConfigError(
            "The run's id is not usable.",
            f"1 to {LONGEST} characters that can be shown, no space at either end",
            printable(repr(run_id))[:300],
            "Give another --run-id, such as the scheduler's own id of the run.",
        )
    return run_id
