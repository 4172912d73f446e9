"""The engine of a session, looked up once."""

from __future__ import annotations

import re
import weakref
from typing import TYPE_CHECKING

from vae_model.spark.engines.connect import is_remote
from vae_model.spark.engines.engine import Engine
from vae_model.spark.engines.jvm import Classic
from vae_model.spark.engines.own import is_ours
from vae_model.spark.engines.sail import Sail

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_found: weakref.WeakKeyDictionary[SparkSession, Engine] = weakref.WeakKeyDictionary()


def engine_of(spark: SparkSession) -> Engine:
    """The engine of a session."""
    engine = _found.get(spark)
    if engine is None:
        engine = _found[spark] = _find(spark)
    return engine


def _find(spark: SparkSession) -> Engine:
    if not is_remote(spark):
        return Classic()
    if is_ours(spark):  # of the remote ones, only Sail's are started here
        return Sail()
    # Sail answers as the Spark that it stands for, but for this: it says its own version, such as 0.7.2, where Spark
    # says "4.2.0" and a commit.
    answer = str(spark.sql("SELECT version()").collect()[0][0])
    return Sail() if re.fullmatch(r"\d+\.\d+\.\d+", answer) and answer != spark.version else Engine()
