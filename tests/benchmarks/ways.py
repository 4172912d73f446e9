"""The ways of scoring that ``throughput.py`` sets side by side: each reads a Parquet table and writes a scored one.

Ours are the ``score`` job: all eight columns, summary and checks. The peers use one 64-32-4-32-64 network of random
weights (what it finds does not matter to its speed), mean squared error and a threshold.

- ``loop``: what is left without an engine: two processes of pyarrow and NumPy, file by file; standardise, forward,
  score, p-value, all seven columns
- ``copy on Sail``, ``copy on Spark``: the engine reads and writes the table, nothing else
- ``pandas UDF``: the same network in torch in a pandas UDF, as one would write it; two columns
- ``predict_batch_udf``: Spark's own wrapper around the same torch network; one column
- ``identity UDF``: an Arrow UDF that is given the same columns and returns one of them: the floor of transport; ``as
  rows`` with the setting of Spark's that our job sets for itself
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

WIDTHS = (64, 32, 4, 32, 64)
BLOCK = 1024


def features(table: Path) -> list[str]:
    """The columns a network sees: all numbers but the key."""
    return [field.name for field in pq.read_schema(first_file(table)) if pa.types.is_floating(field.type)]


def first_file(table: Path) -> Path:
    """Of a table's Parquet files."""
    return min(table.glob("*.parquet"))


def network(table: Path) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Weights and biases of the peers' network by turns, and the columns' means and deviations."""
    names = features(table)
    sample = pq.ParquetFile(first_file(table)).read_row_group(0, names).to_pandas()
    draw, layers = np.random.default_rng(0), []
    for inputs, outputs in pairwise([len(names), *WIDTHS, len(names)]):
        layers += [draw.normal(size=(inputs, outputs)).astype(np.float32) / inputs**0.5, np.zeros(outputs, np.float32)]
    return layers, sample.mean().to_numpy(np.float32), sample.std().to_numpy(np.float32)


def torch_network(layers: list[np.ndarray]):
    """The same in torch."""
    import torch
    from torch import nn

    modules = []
    for weight, bias in zip(layers[::2], layers[1::2], strict=True):
        linear = nn.Linear(*weight.shape)
        linear.weight.data, linear.bias.data = torch.from_numpy(weight.T.copy()), torch.from_numpy(bias.copy())
        modules += [linear, nn.ReLU()]
    return nn.Sequential(*modules[:-1]).eval()


# --- Ours


def ours(spark, settings, detector, plain: bool = False) -> dict:
    """The job. ``plain``: neither p-values nor reasons."""
    from vae_model.decisions import calibration
    from vae_model.scoring import scorer
    from vae_model.spark.jobs.prepare import prepare
    from vae_model.spark.jobs.score import score_prepared

    with ExitStack() as stack:
        if plain:
            stack.enter_context(patch.object(scorer.Reasons, "add", lambda *_: None))
            stack.enter_context(patch.object(calibration.Calibration, "p_values", lambda _, scores: scores))
        found = score_prepared(prepare(spark, settings, detector), settings, detector, "a run")
        return {"anomalies": found.summary.anomalies}


# --- Peers on an engine


def copy(spark, source: Path, output: Path) -> None:
    """Read and write."""
    spark.read.parquet(str(source)).write.parquet(str(output))


def pandas_udf(spark, source: Path, output: Path) -> None:
    """The network in torch, broadcast, in a pandas UDF."""
    from pyspark.sql import functions as F

    broadcast = spark.sparkContext.broadcast(network(source))

    def score(batches: Iterator[tuple[pd.Series, ...]]) -> Iterator[pd.DataFrame]:
        import torch

        layers, center, scale = broadcast.value
        model = torch_network(layers)
        with torch.inference_mode():
            for columns in batches:
                x = torch.from_numpy((np.column_stack(columns).astype(np.float32) - center) / scale)
                error = ((model(x) - x) ** 2).mean(dim=1).numpy()
                yield pd.DataFrame({"reconstruction_error": error.astype(float), "is_anomaly": error > 5})

    score.__annotations__ = {"batches": Iterator[tuple[pd.Series, ...]], "return": Iterator[pd.DataFrame]}
    udf = F.pandas_udf(score, "reconstruction_error double, is_anomaly boolean")
    frame = spark.read.parquet(str(source))
    scored = frame.withColumn("scored", udf(*features(source))).select(*frame.columns, "scored.*")
    scored.write.parquet(str(output))


def predict_batch(spark, source: Path, output: Path) -> None:
    """The network in torch by ``predict_batch_udf``, the columns as one array, as its documentation shows."""
    from pyspark.ml.functions import predict_batch_udf
    from pyspark.sql import functions as F
    from pyspark.sql.types import DoubleType

    names, parts = features(source), network(source)

    def make():
        import torch

        layers, center, scale = parts
        model = torch_network(layers)

        def predict(given: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                x = torch.from_numpy((given.astype(np.float32) - center) / scale)
                return ((model(x) - x) ** 2).mean(dim=1).numpy().astype(float)

        return predict

    udf = predict_batch_udf(make, return_type=DoubleType(), batch_size=8192, input_tensor_shapes=[[len(names)]])
    frame = spark.read.parquet(str(source))
    frame.withColumn("reconstruction_error", udf(F.array(*names))).write.parquet(str(output))


def identity_as_rows(spark, source: Path, output: Path) -> None:
    """With columnar input switched off."""
    from vae_model.spark.workers.transport import as_rows

    with as_rows(spark):
        identity(spark, source, output)


def identity(spark, source: Path, output: Path) -> None:
    """The columns to Python, one of them back."""
    from pyspark.sql import functions as F

    def first(batches: Iterator[tuple[pa.Array, ...]]) -> Iterator[pa.Array]:
        for arrays in batches:
            yield arrays[0]

    first.__annotations__ = {"batches": Iterator[tuple[pa.Array, ...]], "return": Iterator[pa.Array]}
    udf = F.arrow_udf(first, "double")
    frame = spark.read.parquet(str(source))
    frame.withColumn("first", udf(*features(source))).write.parquet(str(output))


# --- Without an engine


def loop(source: Path, output: Path) -> None:
    """Two processes share the files."""
    output.mkdir()
    parts = network(source)
    jobs = [(path, output / path.name, features(source), parts) for path in sorted(source.glob("*.parquet"))]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(score_file, jobs, chunksize=1)


def score_file(job) -> None:
    """One file, row group by row group, in blocks that stay in the cache."""
    source, output, names, (layers, center, scale) = job
    held_out = np.sort(np.random.default_rng(1).gamma(2, size=20_000))
    writer, scored = None, pq.ParquetFile(source)
    for batch in scored.iter_batches(65_536, use_threads=False):
        x = np.empty((len(batch), len(names)), np.float32)
        for i, name in enumerate(names):
            x[:, i] = (batch.column(name).to_numpy(zero_copy_only=False) - center[i]) / scale[i]
        error = np.empty(len(batch))
        for start in range(0, len(batch), BLOCK):
            h = block = x[start : start + BLOCK]
            for i in range(0, len(layers), 2):
                h = h @ layers[i]
                h += layers[i + 1]
                if i < len(layers) - 2:
                    np.maximum(h, 0, out=h)
            h -= block
            error[start : start + BLOCK] = np.einsum("ij,ij->i", h, h) / len(names)
        p_value = (1 + len(held_out) - np.searchsorted(held_out, error)) / (1 + len(held_out))
        empty = pa.ListArray.from_arrays(np.zeros(len(batch) + 1, np.int32), pa.array([], pa.string()))
        added = {
            "reconstruction_error": error, "anomaly_score": error, "anomaly_p_value": p_value,
            "is_anomaly": p_value <= 0.001, "anomaly_reasons": empty,
            "anomaly_status": pa.repeat("ok", len(batch)), "anomaly_model": pa.repeat("loop", len(batch)),
        }  # fmt: skip
        table = pa.Table.from_batches([batch])
        for name, values in added.items():
            table = table.append_column(name, pa.array(values))
        writer = writer or pq.ParquetWriter(output, table.schema)
        writer.write_table(table)
    if writer:
        writer.close()
