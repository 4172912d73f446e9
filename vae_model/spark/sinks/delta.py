"""A Delta output, by path or by name: one commit to the Delta log."""

from __future__ import annotations

import re
from typing import Any

from vae_model.config.sections import Output
from vae_model.places import files, identifiers
from vae_model.spark.engines import jvm
from vae_model.spark.sinks.writer import replacing, writer


def write(frame: Any, output: Output) -> None:
    """Write a DataFrame as the Delta table of ``output``, replacing it or adding to it."""
    saver = replacing(writer(frame, "delta"), output)
    if output.mode == "replace":
        saver = saver.option("overwriteSchema", "true")
    if re.search(r"[ ,;{}()\n\t=]", "".join(frame.columns)):
        saver = saver.option("delta.columnMapping.mode", "name")  # Delta refuses such names without it
    with jvm.cancelling(frame.sparkSession):
        if output.table is not None:
            saver.saveAsTable(identifiers.table(output.table))
        else:
            saver.save(files.for_engine(output.path or ""))
