"""The zoo: tables of the kinds that public reports are about, each made by a few lines."""

from decimal import Decimal

import numpy as np
import pyarrow as pa

DAYS, MICROS = 20_000, 86_400_000_000


def gaps(draw, array, share=0.1):
    """An array with a share of its values missing."""
    return pa.compute.if_else(pa.array(draw.random(len(array)) >= share), array, None)


def numbers(draw, rows):
    """Two numbers that hang together."""
    a = draw.normal(size=rows)
    return {"a": a, "b": 2 * a + draw.normal(scale=0.1, size=rows)}


def moments(draw, rows, unit="us", zone=None):
    """Times of fifty years, to the microsecond."""
    micros = pa.array(draw.integers(0, DAYS * MICROS, rows)).cast(pa.timestamp("us"))
    return micros.cast(pa.timestamp(unit)).cast(pa.timestamp(unit, zone))


def mixed(draw, rows):
    """What a business's tables look like: a bit of each, a tenth of it missing."""
    columns = numbers(draw, rows) | {
        "city": draw.choice(["Rome", "Oslo", "São Paulo", "東京"], rows, p=[0.5, 0.3, 0.15, 0.05]),
        "flag": draw.random(rows) < 0.2,
        "day": pa.array(draw.integers(0, DAYS, rows).astype("int32")).cast(pa.date32()),
        "at": moments(draw, rows, zone="UTC"),
        "local": moments(draw, rows),
        "count": draw.poisson(4, rows),
        "vector": pa.array(list(draw.normal(size=(rows, 3)))),
    }
    return {name: gaps(draw, pa.array(column)) for name, column in columns.items()}


def pandas_default(draw, rows):
    """Nanoseconds and categories, as pandas' `to_parquet` leaves them (SPARK-40819)."""
    words = pa.array(draw.choice(["low", "middle", "high"], rows)).dictionary_encode()
    return numbers(draw, rows) | {
        "at": moments(draw, rows, "ns"), "zoned": moments(draw, rows, "ns", "Europe/Berlin"), "word": words,
        "byte": pa.array(draw.integers(0, 256, rows), pa.uint8()),
    }  # fmt: skip


def decimals(draw, rows):
    """38 digits: whole ones that differ in the last six, prices, and numbers of many sizes (SPARK-35841)."""
    last = draw.integers(-(10**6), 10**6, rows).tolist()
    powers = draw.integers(0, 30, rows).tolist()
    return numbers(draw, rows) | {
        "long": pa.array([Decimal(10**37 + one) for one in last], pa.decimal128(38, 0)),
        "price": gaps(draw, pa.array([Decimal(one) / 100 for one in last], pa.decimal128(18, 2))),
        "sizes": pa.array([Decimal(one % 10) * 10**power for one, power in zip(last, powers, strict=True)],
                          pa.decimal128(38, 6)),
    }  # fmt: skip


def odd_names(draw, rows):
    """Names that SQL, paths and we ourselves have a use for (SPARK-20364, github.com/databricks/koalas/issues/217)."""
    names = ["a.b", "a", "`", "``x`.`y``", " ", "two  words ", "größe", "__vae", "__vae_choice", "_c0", "a,b;c={d}(e)",
             "line\nbreak", "'", '"', "\\", "%41", "anomaly", "x0"]  # fmt: skip
    common = draw.normal(size=rows)
    return {name: common * i + draw.normal(size=rows) for i, name in enumerate(names)}


def wild(draw, rows):
    """Numbers that floats can just hold, and those they cannot (github.com/pycaret/pycaret/issues/1048)."""
    a = draw.normal(size=rows)
    odd = np.array([1e200, -1e200, 1.797e308, -1.797e308, 5e-324, np.inf, -np.inf, np.nan, -0.0, 0.0])
    columns = {f"odd{i}": np.where(draw.random(rows) < 0.02, draw.choice(odd, rows), a * i) for i in range(4)}
    return columns | {
        "decades": 10 ** draw.uniform(-300, 300, rows),
        "denormal": draw.integers(1, 2000, rows) * 5e-324,
        "tiny": a * 1e-170,
        "single": pa.array(np.where(draw.random(rows) < 0.01, 3.4e38, a), pa.float32()),
    }


def large_integers(draw, rows):
    """Numbers of accounts and snowflakes near 2**63, where floats have no digits left (SPARK-21766)."""
    step = draw.integers(0, 3000, rows)
    return numbers(draw, rows) | {
        "snowflake": gaps(draw, pa.array(2**63 - 1 - step)),
        "negative": pa.array(-(2**63) + step),
        "both": np.where(draw.random(rows) < 0.5, 2**62, -(2**62)) + step,
    }


def constants(draw, rows):
    """Columns that never change or hold nothing: a third of what sensors send."""
    return numbers(draw, rows) | {
        "zero": np.zeros(rows), "same": np.full(rows, 0.1), "word": pa.array(["a"] * rows),
        "true": np.full(rows, True), "empty": pa.nulls(rows, pa.float64()), "void": pa.nulls(rows, pa.string()),
        "rare": (draw.random(rows) < 0.001).astype(float), "gap": gaps(draw, pa.array(np.full(rows, 7)), 0.5),
    }  # fmt: skip


def wide(draw, rows):
    """Two hundred columns of few factors, a tenth of the cells missing."""
    values = (draw.normal(size=(rows, 3)) @ draw.normal(size=(3, 200))).astype(np.float32)
    values[draw.random(values.shape, np.float32) < 0.1] = np.nan
    return {f"sensor_{i:03d}": column for i, column in enumerate(values.T)}


def many_categories(draw, rows):
    """A category of thousands of values, half of them not in the sample that is learnt from
    (github.com/yandex-research/tabm/issues/13).
    """
    code = draw.zipf(1.3, rows).clip(max=5000)
    return numbers(draw, rows) | {
        "code": np.char.add("c", code.astype(str)),
        "family": np.char.add("f", (code % 4).astype(str)),
        "empty": draw.choice(["", " ", "null", "NaN", "\u202e", "a\nb"], rows),
    }


def one_column(draw, rows):
    """A single feature: the engines give its column bare, not as one of several."""
    return {"x": draw.lognormal(size=rows)}


def one_category(draw, rows):
    """A single feature of texts."""
    return {"x": gaps(draw, pa.array(draw.choice(["a", "b", "c"], rows, p=[0.7, 0.29, 0.01])), 0.01)}


def long_text(draw, rows):
    """Texts of 10 KB that pass beside the features, in one row of forty."""
    return numbers(draw, rows) | {"passed": pa.array([f"{i} ä" * 2000 if i % 40 == 0 else "" for i in range(rows)])}


def nested(draw, rows):
    """Structs and maps that pass beside arrays that do not."""
    return numbers(draw, rows) | {
        "curve": gaps(draw, pa.array(list(draw.normal(size=(rows, 12)).astype(np.float32)))),
        "passed": pa.array([{"x": i, "y.z": [str(i)]} if i % 7 else None for i in range(rows)]),
        "passed_map": pa.array([[("k", i)] for i in range(rows)], pa.map_(pa.string(), pa.int64())),
    }


def mostly_missing(draw, rows):
    """Rows at the limit of what is scored: half of the features missing, one more, one less."""
    columns = {f"x{i}": draw.normal(size=rows) for i in range(6)}
    return {name: gaps(draw, pa.array(column), 0.45) for name, column in columns.items()}


ZOO = [mixed, pandas_default, decimals, odd_names, wild, large_integers, constants, wide, many_categories, one_column,
       one_category, long_text, nested, mostly_missing]  # fmt: skip
PASSED = "passed"
"""How the names of columns begin that are no features."""


def made(make, rows):
    """A table of the zoo, with a key."""
    return pa.table({"id": range(rows)} | make(np.random.default_rng(0), rows))
