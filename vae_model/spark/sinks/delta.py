"""A Delta output, by path or by name: one commit to the Delta log, which says which run made it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING

from pyspark.sql.types import DateType, DecimalType, IntegralType, StringType, TimestampType
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from vae_model.config.tables import Output
from vae_model.errors import JobError
from vae_model.places import files, identifiers, literals, staging
from vae_model.runs.stamp import Stamp
from vae_model.spark import frames
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.sinks import chain, commits, first_commit, merging, staged_files, staged_table
from vae_model.spark.sinks.columns import aligned
from vae_model.spark.sinks.comments import commented
from vae_model.spark.sinks.reading import existing, location, rows_of
from vae_model.spark.sinks.writer import writer
from vae_model.spark.sinks.writing import Mode, Writing, check_config

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, DataFrameWriter, SparkSession

TRIES = 10
"""How often rows of an increment that has lost are taken back, where each time another run's commit comes between."""
BOUNDED = (IntegralType, DecimalType, StringType, DateType, TimestampType)
"""Types of which Delta keeps statistics, and none is NaN."""
METADATA = "spark.databricks.delta.commitInfo.userMetadata"
"""What a session's commits carry, where no writer says it: those of MERGE, and of a table that is made by name."""


class Delta:
    """Delta tables."""

    def modes(self, output: Output) -> Mapping[str, Mode]:
        """All modes, by path and by name: each is one commit."""
        whole = "One commit: a reader finds the previous rows or the new ones."
        return {
            "replace": Mode((), f"{whole} The output is this run's rows."),
            "append": Mode((), f"{whole} A run's rows are there once, however often it is run."),
            "replace_where": Mode(("replace_where",), f"{whole} Rows outside the slice, and nulls, stay as they are."),
            "merge": Mode((), f"{whole} One row a key; run again, it changes nothing."),
        }

    def check(self, frame: DataFrame, output: Output) -> None:
        """Nothing that is not checked for every format."""

    def write(self, frame: DataFrame, writing: Writing) -> None:
        """Write a DataFrame to the table of an output. Raises JobError, ``transient``, where the same run wrote it too
        at the same time, and whatever the engine raises.
        """
        spark, output = frame.sparkSession, writing.output
        with _committing(spark, writing.stamp), engine_of(spark).cancelling(spark):
            there = None if writing.mode == "replace" else existing(spark, output)
            if writing.mode == "replace":
                _save(spark, _made(frame, output).mode("overwrite").option("overwriteSchema", "true"), writing)
                return
            if there is None:  # two that make it at once must not replace each other's rows
                _add(frame, _made(frame, output), writing, is_first=True)
                self._settle(spark, writing)
                return
            rows = aligned(frame, there.schema)
            if writing.mode == "merge":
                _merge(rows, writing)
            elif writing.mode == "replace_where":
                _replace(rows, writing, writing.where or "")
            elif rows_of(there, output, writing.stamp.run).isEmpty():
                _add(rows, writer(rows, "delta"), writing, is_first=False)
            else:
                run = writing.stamp.run
                check_config(next((s for _, s in commits.stamps(spark, output) if s.run == run), None), writing)
                _replace(rows, writing, _own(writing))
            self._settle(spark, writing)

    @contextmanager
    def staged(self, frame: DataFrame, writing: Writing) -> Iterator[DataFrame]:
        """The rows, where a gate is to see them: scored once, into Parquet beside the table. A commit is for all.

        Beside a table by name they are in Delta: Databricks' Unity Catalog manages tables of no other format.
        """
        output = writing.output
        if writing.gate is None:
            yield frame
            return
        with self._beside(frame, output) as rows:
            writing.gate(rows)
            yield rows

    def _beside(self, frame: DataFrame, output: Output) -> AbstractContextManager[DataFrame]:
        if output.path is not None:
            return staged_files.beside(frame, output.path)
        if not engine_of(frame.sparkSession).can.nan_in_delta:
            return staged_table.beside(frame, str(output), writer(frame, "parquet"))
        return staged_table.beside(frame, str(output), _made(frame, output.model_copy(update={"partition_by": []})))

    def stamp(self, spark: SparkSession, output: Output) -> Stamp | None:
        """What the last run left in the output, with its commit."""
        return chain.of(commits.stamps(spark, output)).last

    def mend(self, path: str) -> None:
        """Remove what a run has left that was killed before the table's first commit, or while its rows were staged."""
        first_commit.mend(path)
        staging.mend(path)

    def undo(self, spark: SparkSession, output: Output) -> None:
        """Remove the rows of increments that have lost, and were killed before they did so themselves."""
        found = chain.of(commits.stamps(spark, output))
        for run in found.lost:
            _undo(spark, output, run)

    def _settle(self, spark: SparkSession, writing: Writing) -> None:
        """After an increment was added: remove it again, and raise OvertakenError, where it has lost."""
        if writing.after is None or writing.mode != "append":
            return
        found = chain.of(commits.stamps(spark, writing.output))
        if writing.stamp.run in found.lost:
            _undo(spark, writing.output, writing.stamp.run)
            chain.check(found.last, writing)


def _made(frame: DataFrame, output: Output) -> DataFrameWriter:
    """A writer that makes the table, or makes it anew."""
    saver = writer(commented(frame, output.prefix), "delta")
    if output.partition_by:
        saver = saver.partitionBy(*output.partition_by)
    if re.search(r"[ ,;{}()\n\t=]", "".join(frame.columns)):
        saver = saver.option("delta.columnMapping.mode", "name")  # Delta refuses such names without it
    if not engine_of(frame.sparkSession).can.nan_in_delta:
        # Of a file of one value and NaN both bounds are that value: Sail would read, and write anew, that value alone.
        fields = [field for field in frame.schema.fields if field.name not in output.partition_by]
        counted = [identifiers.quote(field.name) for field in fields if isinstance(field.dataType, BOUNDED)]
        saver = saver.option("delta.dataSkippingStatsColumns", ",".join(counted))
    return saver


def _add(rows: DataFrame, saver: DataFrameWriter, writing: Writing, is_first: bool) -> None:
    """Add rows of a run that has none yet. Two that do so at once must not both have theirs there, if they are tries of
    the same run, or if each found no table and made it.

    Of two on classic Spark one fails: its commit is a transaction of the run, and so is making a table. (Or the second
    is passed over: the rows of the same run are there.) On Sail both land: who finds the other's commit puts it right.
    """
    spark, run = rows.sparkSession, writing.stamp.run
    before = commits.newest(spark, writing.output)
    saver = saver.mode("append")
    if engine_of(spark).can.transactions:
        saver = saver.option("txnAppId", f"vae-anomaly {run}").option("txnVersion", str(before + 1))
        _save(spark, saver, writing)
        return
    _save(spark, saver, writing)
    later = [*takewhile(lambda found: found[0] > before, commits.stamps(spark, writing.output))]
    own = [version for version, stamp in later if stamp.run == run]
    others = [(version, stamp) for version, stamp in later if stamp.run != run]
    if len(own) > 1:
        _replace(rows, writing, _own(writing))
    elif is_first and writing.mode != "append" and own and any(version < own[0] for version, _ in others):
        _replace(rows.limit(0), replace(writing, stamp=others[0][1]), _own(writing))
        raise JobError(
            f"Another run made {writing.output} while this one did.",
            "one that makes it, the other after that",
            "two first commits",
            "This run's rows are not there. Run it again.",
            transient=True,
        )


def _replace(rows: DataFrame, writing: Writing, predicate: str) -> None:
    """Replace the rows that match a predicate, in one commit. Where it is null they do not match: Sail would delete
    them without ``IS TRUE``. A comment in it ends with its line.
    """
    saver = writer(rows, "delta").mode("overwrite").option("replaceWhere", f"({predicate}\n) IS TRUE")
    _save(rows.sparkSession, saver, writing)


def _merge(rows: DataFrame, writing: Writing) -> None:
    """Update rows by their key, and insert others, in one commit: by MERGE, or on Sail by writing the table anew.

    What is written anew is the table of one version. Another run's commit after it makes ours fail, but for one that
    comes in the moment in which Sail looks for the newest version: then ours lacks it, and is done again upon it, right
    after ours. Raises JobError where that cannot be: begun anew, it would be upon a table that lacks the other's rows.
    """
    spark, output = rows.sparkSession, writing.output
    if engine_of(spark).can.merge:
        merging.merge(rows, writing, _target(spark, output))
        return
    version = commits.newest(spark, output)
    own = _rewritten(rows, writing, version)
    if own == version + 1:
        return
    try:
        again, found = _rewritten(rows, writing, own - 1), "another commit between the two"
        if again == own + 1:
            return
    except frames.ENGINE_ERRORS as error:
        found = frames.reason(error)
    raise JobError(
        f"Other runs wrote to {output} just when this one merged its rows into it, and when it did so once more.",
        "one commit after the other",
        found,
        f"Version {own - 1} of the table has rows that it lacks now: restore it, then run again.",
    )


def _rewritten(rows: DataFrame, writing: Writing, version: int) -> int:
    """Write a table anew: its rows at a version with others merged into them. The version that this makes."""
    spark, output = rows.sparkSession, writing.output
    place = files.for_engine(location(spark, output))
    there = spark.read.format("delta").option("versionAsOf", version).load(place)
    _save(spark, writer(merging.merged(there, rows, writing), "delta").mode("overwrite"), writing)
    return next(own for own, stamp in commits.stamps(spark, output) if stamp.run == writing.stamp.run)


def _undo(spark: SparkSession, output: Output, run: str) -> None:
    """Remove the rows of a run, by a commit that says that it has done only that."""
    writing = Writing(output, Stamp(run, position={chain.UNDONE: True}))
    for attempt in Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, Exception) and frames.is_conflict(error)),
        stop=stop_after_attempt(TRIES), wait=wait_random_exponential(max=2), reraise=True,
    ):  # fmt: skip
        with attempt, _committing(spark, writing.stamp):
            there = existing(spark, output)
            if there is not None and not rows_of(there, output, run).isEmpty():  # else another has done it
                _replace(there.limit(0), writing, _own(writing))


def _own(writing: Writing) -> str:
    """The predicate of the rows that this run has written before; the run's id as a literal."""
    return f"{identifiers.quote(writing.run_column)} = {literals.text(writing.stamp.run)}"


def _save(spark: SparkSession, saver: DataFrameWriter, writing: Writing) -> None:
    """Commit what a writer writes, with what the run leaves in the output.

    To a table that is there by name Sail writes by its path: it would pass over ``replaceWhere``.
    """
    saver, output, path = saver.option("userMetadata", writing.stamp.to_text()), writing.output, writing.output.path
    if path is None and writing.mode != "replace" and not engine_of(spark).can.replace_where_by_name:
        path = location(spark, output) if spark.catalog.tableExists(identifiers.table(output.table or "")) else None
    if path is None:
        saver.saveAsTable(identifiers.table(output.table or ""))
        return
    with first_commit.writing(path):
        saver.save(files.for_engine(path))


@contextmanager
def _committing(spark: SparkSession, stamp: Stamp) -> Iterator[None]:
    """The session's commits carry a stamp, where an engine can do so; what it was set to before comes back."""
    if not engine_of(spark).can.commit_metadata:
        yield
        return
    before = None
    with suppress(*frames.ENGINE_ERRORS):  # a platform that lets nobody set it: writers say it themselves
        before = spark.conf.get(METADATA, None)
        spark.conf.set(METADATA, stamp.to_text())
    try:
        yield
    finally:
        with suppress(*frames.ENGINE_ERRORS):
            spark.conf.unset(METADATA) if before is None else spark.conf.set(METADATA, before)


def _target(spark: SparkSession, output: Output) -> str:
    """An output's name in SQL."""
    if output.table is not None and engine_of(spark).can.replace_where_by_name:
        return identifiers.table(output.table)
    return f"delta.{identifiers.quote(files.for_engine(location(spark, output)))}"
