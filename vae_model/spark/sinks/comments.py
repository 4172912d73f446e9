"""What the output columns mean, as comments on the columns of a Delta table: catalogs and BI tools show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vae_model.scoring.output import MEANINGS
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.frames import column

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def commented(frame: DataFrame, prefix: str) -> DataFrame:
    """The rows of a table that is about to be made, the output columns among them with comments. A table that is there
    keeps its own: rows that are added to it bring none. Sail would write them under a name of its own, and has none.
    """
    if not engine_of(frame.sparkSession).can.metadata:
        return frame
    told = {prefix + name: text for name, text in MEANINGS.items()}
    return frame.select(
        *(
            column(name).alias(name, metadata={"comment": told[name]}) if name in told else column(name)
            for name in frame.columns
        )
    )
