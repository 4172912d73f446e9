"""Names of a source's columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from vae_model.errors import SchemaError


def check_names(names: Sequence[str]) -> None:
    """Raise SchemaError where two columns have the same name, in any case."""
    folded = Counter(name.lower() for name in names)
    twins = [name for name in names if folded[name.lower()] > 1]
    if twins:
        raise SchemaError(
            f"Columns that differ only in case, or not at all: {', '.join(twins)}.",
            hint="Spark folds case: rename one of each.",
        )
