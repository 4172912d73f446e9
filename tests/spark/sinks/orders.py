"""What a job does with a frame that is scored, or stands for one: order a sink to write it, as a run with an id."""

from pyspark.sql import functions as F

from vae_model.runs.stamp import Stamp
from vae_model.spark.sinks import sink
from vae_model.spark.sinks.reading import written
from vae_model.spark.sinks.writing import RUN, Writing


def order(output, run="a run", key=("id",), **more):
    """The order of a run."""
    return Writing(output, Stamp(run, list(key), "m@0123456789ab"), **more)


def write(frame, output, run="a run", key=("id",), **more):
    """Write a frame's rows as those of a run; what is there of the run then."""
    rows = frame.drop(output.prefix + RUN).withColumn(output.prefix + RUN, F.lit(run))
    sink.write(rows, order(output, run, key, **more))
    return written(frame.sparkSession, output, run, rows.schema)
