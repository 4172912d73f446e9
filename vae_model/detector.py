"""The detector: fit, score, save and load on pandas, Arrow or NumPy, without Spark."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Sequence as Listed
from copy import copy
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self, cast, overload

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from vae_model.config.config import Config
from vae_model.config.load import parse_config
from vae_model.config.sections import Decision
from vae_model.decisions.calibration import Alerts, Calibration, Rule
from vae_model.drift.comparison import Comparison
from vae_model.drift.reference import Reference
from vae_model.errors import ConfigError, ModelFileError, OutputError, SchemaError, StorageError, TrainingError
from vae_model.features import schema
from vae_model.features.feature import Chosen
from vae_model.features.fields import Fields
from vae_model.features.frames import as_table
from vae_model.features.kinds import KINDS
from vae_model.features.sequence import PLACE, Sequence, arrange, held_out, stretches_of
from vae_model.features.sequence import check_columns as check_order
from vae_model.features.spec import FeatureSpec, combine
from vae_model.places import files
from vae_model.printable import printable
from vae_model.runs import versions
from vae_model.scoring import model_file
from vae_model.scoring.output import COMPUTED, SCORED
from vae_model.scoring.scorer import Scorer
from vae_model.scoring.segments import check_columns
from vae_model.scoring.set_aside import SetAside
from vae_model.scoring.windows import Windows
from vae_model.training.model import trained

if TYPE_CHECKING:
    from vae_model.training.loop import TrainingProgress

FEW_PICTURES = 30
"""Of fewer held-out pictures there is no telling how odd one is."""
MANY_TRIMMED = 0.02
"""Of a table without anomalies hardly ever more training rows than this are left out for lying far from the others."""


class Detector:
    """A VAE anomaly detector.

    ``Detector(config).fit(normal_rows).score(rows)``. A frame is a pandas DataFrame, an Arrow table (or anything with
    the Arrow C stream interface) or a NumPy matrix (N, F), whose columns are called x0, x1, ….
    """

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()
        self._bytes: bytes | None = None
        self._header: dict[str, Any] = {}
        self._scorer: Scorer | None = None
        self._set_aside = SetAside()
        self._reference: Reference | None = None

    def fit(
        self, frame: Any, calibration: Any = None, progress: Callable[[TrainingProgress], None] | None = None
    ) -> Self:
        """Train on normal rows.

        ``calibration`` are rows kept out of training, to turn scores into p-values; without it, the share
        ``train.calibration`` of ``frame`` is drawn by the seed, or, of few rows, each serves for both in turn
        (``fit.cross_fit``). Columns are chosen by ``features`` of the config.
        Raises SchemaError where a column does not fit the config, TrainingError where the rows are too few or hold
        nothing to learn from, and ImportError where torch is not installed.
        """
        rows, settings = as_table(frame), self.config.train
        chosen = choose(schema.arrow_columns(rows.schema), self.config)
        if self.config.features.sequence:
            return self._fit_series(rows, calibration, chosen, progress)
        if calibration is not None:
            held_out = as_table(calibration)
            found = schema.arrow_columns(held_out.schema)
            schema.check_fits_model(found, chosen)
            check_columns(found, self.config.decision.by)
            return self.fit_columns(rows, held_out, chosen, progress, cross=False)
        order = np.random.default_rng(settings.seed).permutation(len(rows))
        held_out_rows = round(settings.calibration * len(rows))
        rows, held_out = (rows.take(np.sort(part)) for part in (order[held_out_rows:], order[:held_out_rows]))
        return self.fit_columns(rows, held_out, chosen, progress)

    def _fit_series(self, rows: pa.Table, calibration: Any, chosen: Mapping[str, Chosen], progress: Any) -> Self:
        """``fit`` on rows that come one after the other; held out are whole stretches of them."""
        sequence = self._sequence(rows)
        table, _ = arrange(rows, sequence, self.config.key)
        if calibration is not None:
            others = as_table(calibration)
            schema.check_fits_model(schema.arrow_columns(others.schema), chosen)
            apart, _ = arrange(others, self._sequence(others), self.config.key, begin=len(table))
            return self.fit_columns(table, apart, chosen, progress, cross=False)
        stretch_N = stretches_of(table.column(PLACE).to_numpy(), sequence.length)
        is_held_out_N = held_out(stretch_N, self.config.train.calibration)
        training, others = (table.filter(pa.array(own_N)) for own_N in (~is_held_out_N, is_held_out_N))
        return self.fit_columns(training, others, chosen, progress)

    def _sequence(self, rows: pa.Table) -> Sequence:
        """How the rows of a table follow each other. Raises SchemaError where a column does not fit."""
        own = self.config.features.sequence
        if own is None:
            raise ValueError("the config has no features.sequence")
        return own.of(schema.arrow_columns(rows.schema))

    def fit_columns(
        self,
        rows: pa.Table,
        held_out: pa.Table,
        chosen: Mapping[str, Chosen],
        progress: Callable[[TrainingProgress], None] | None = None,
        cross: bool = True,
        source_rows: int | None = None,
    ) -> Self:
        """``fit`` on the chosen columns; those of ``decision.by`` are beside them. Where ``cross`` allows, few rows are
        cross-fitted. ``source_rows``: so many normal rows there are in the table that the sample is of.
        """
        config = self.config
        self._adopt(trained(rows, held_out, chosen, config, progress, cross, source_rows))
        self.config = config
        return self

    @overload
    def score(self, frame: pd.DataFrame | NDArray[Any]) -> pd.DataFrame: ...

    @overload
    def score(self, frame: Any) -> pa.Table: ...

    def score(self, frame: Any) -> pd.DataFrame | pa.Table:
        """Score rows: the seven output columns, one row for each row, as pandas (with the index) or as Arrow.

        Raises SchemaError where a feature column is missing or of another type than in training.
        """
        scorer, table = self.scorer, as_table(frame)
        found = schema.arrow_columns(table.schema)
        schema.check_fits_model(found, scorer.spec.trained)
        check_columns(found, scorer.rule.by)
        if scorer.windows:
            return self._of_series(frame, table)
        batches = table.select(scorer.names).combine_chunks().to_batches()
        structs = [scorer(batch.columns) for batch in batches]
        flat = [pa.Table.from_struct_array(struct) for struct in structs] or [COMPUTED.empty_table()]
        return self._like(frame, pa.concat_tables(flat))

    def _of_series(self, frame: Any, table: pa.Table) -> pd.DataFrame | pa.Table:
        """Score rows that come one after the other; they come back in the order in which they were given."""
        sequence = cast(Windows, self.scorer.windows).sequence
        check_order(schema.arrow_columns(table.schema), sequence)
        arranged, row_N = arrange(table, sequence, self.config.key)
        scored = pa.Table.from_struct_array(self.scorer.of_table(arranged)) if len(table) else COMPUTED.empty_table()
        return self._like(frame, scored.take(pa.array(np.argsort(row_N, kind="stable"))))

    def _like(self, frame: Any, scored: pa.Table) -> pd.DataFrame | pa.Table:
        """The output columns, as Arrow or as pandas, as the frame came."""
        name = self.scorer.name
        scored = scored.append_column(SCORED.field(len(SCORED) - 1), pa.repeat(name, len(scored)))
        if isinstance(frame, (pd.DataFrame, np.ndarray)):
            out = scored.to_pandas()
            return out.set_index(frame.index) if isinstance(frame, pd.DataFrame) else out
        return scored

    def drift(self, frame: Any) -> Comparison:
        """The rows of a frame, at least one, held against those that the model learnt from, column by column.

        Raises SchemaError where a feature column is missing or of another type than in training.
        """
        table = as_table(frame)
        schema.check_fits_model(schema.arrow_columns(table.schema), self.spec.trained)
        if not len(table):
            raise SchemaError("There is no row to compare.", "at least one", "none")
        return Comparison.of(self.reference, self.reference.counts(table))

    def heat_map(self, frame: Any, column: str | None = None) -> NDArray[np.float32]:
        """(N, H, W) how odd the surroundings of each pixel of the rows' pictures are; above 1 few ordinary ones reach.
        NaN where there is no picture that can be read. ``column`` is needed where the model has several of pictures.

        Raises SchemaError where the model, or the frame, has no such column.
        """
        known = {own.look.feature.name: own for own in self.scorer.pictures.columns} if self.scorer.pictures else {}
        name = column or (next(iter(known)) if len(known) == 1 else None)
        if name not in known:
            hint = f"Give column={next(iter(known))!r}." if known else "A model has them where features.kinds says so."
            raise SchemaError(
                "Which column the heat map is of is not clear." if known else "The model has no column of pictures.",
                f"column: one of {', '.join(known)}" if known else "", column or "none", hint,
            )  # fmt: skip
        table = as_table(frame)
        schema.check_fits_model(schema.arrow_columns(table.schema), {name: self.spec.trained[name]})
        return known[name].heat_map(combine(table.column(name)))

    def save(self, path: str) -> None:
        """Write the model file, whole or not at all. Raises OutputError; to a folder of versions, ``train`` adds."""
        if str(path).endswith("/"):
            raise OutputError(f"The model cannot be written to {path}.", "a file's path, models/m.vae", "a folder's")
        try:
            files.put(str(path), self.to_bytes())
        except StorageError as error:
            raise error.as_kind(OutputError, f"The model cannot be written to {path}.") from None
        except OSError as error:
            raise OutputError(f"The model cannot be written to {path}.", found=str(error)) from error

    @classmethod
    def load(cls, path: str, version: int | str = "current") -> Self:
        """Read a model file or, of a folder of versions, one of them: the current one, or one by number or digest.

        Raises ModelFileError where it is missing, truncated, altered or of a newer format.
        """
        kept = versions.place(str(path), version)
        if kept is None:
            return cls._read(str(path))
        found = kept.find(version)
        detector = cls._read(kept.path_of(found))
        if not detector.header["sha256"].startswith(found.digits):
            digest = detector.header["sha256"]
            raise ModelFileError(f"{kept.path_of(found)} holds another model than its name says.", found.digits, digest)
        return detector

    @classmethod
    def _read(cls, path: str) -> Self:
        try:
            data = files.get(path)
        except StorageError as error:
            raise error.as_kind(ModelFileError, f"Model file {path} cannot be read.") from None
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            raise ModelFileError(
                f"Model file {path} " + ("does not exist." if missing else "cannot be read."),
                found="" if missing else str(error),
                hint="`vae-anomaly train --config FILE` writes it.",
            ) from None
        return cls.from_bytes(data, f"Model file {path}")

    @classmethod
    def from_bytes(cls, data: bytes, origin: str = "The model") -> Self:
        """A detector from a model file's bytes. Raises ModelFileError."""
        detector = cls()
        detector._adopt(data, origin)
        return detector

    def to_bytes(self) -> bytes:
        """The model file's bytes."""
        if self._bytes is None:
            raise TrainingError("This detector is not trained.", hint="Call fit, or Detector.load.")
        return self._bytes

    def with_decision(self, decision: Decision) -> Self:
        """The same model, by its bytes and its name, deciding otherwise. Its file keeps the decision of training.

        Raises ConfigError for a decision by segments that the model does not know.
        """
        trained = self.scorer.segments.by if self.scorer.segments else ()
        if decision.by and set(decision.by) != set(trained):
            raise ConfigError(
                f"The model {self.scorer.name} was not trained to decide by {', '.join(decision.by)}.",
                f"decision.by: [{', '.join(trained)}], or none" if trained else "no decision.by",
                f"decision.by: [{', '.join(decision.by)}]",
                "Train the model again with this decision.by, or leave it out.",
            )
        alerts = decision.expected_alerts
        rule = Rule(
            decision.rate, decision.threshold, decision.reasons, decision.max_missing,
            (alerts.alerts, alerts.rows) if alerts else None, trained if decision.by else (),
        )  # fmt: skip
        other = copy(self)
        other.config = self.config.model_copy(update={"decision": decision})
        other._scorer = self.scorer.deciding(rule)
        return other

    @property
    def scorer(self) -> Scorer:
        """The NumPy scorer of the trained model."""
        self.to_bytes()
        assert self._scorer is not None  # noqa: S101 - to_bytes has raised otherwise
        return self._scorer

    @property
    def header(self) -> dict[str, Any]:
        """The model file's header: config, spec, training summary, versions, digest."""
        self.to_bytes()
        return self._header

    @property
    def spec(self) -> FeatureSpec:
        """The fitted feature spec."""
        return self.scorer.spec

    @property
    def reference(self) -> Reference:
        """How the values of each column are spread in the sample that the model learnt from."""
        self.to_bytes()
        return cast(Reference, self._reference)

    @property
    def members(self) -> list[str]:
        """What looks at the rows, each in words."""
        return [
            f"a codebook of {one.get('codes')}" if one.get("kind") == "codebook"
            else f"a VAE {one.get('hidden')} with {one.get('latent')} latent dimensions"
            for one in self.header["training"]["members"]
        ] + [f"VAEs of {feature.name}, whole and in patches" for feature in self.spec.pictures]  # fmt: skip

    @property
    def calibration(self) -> Calibration:
        """The held-out scores and the decision."""
        return self.scorer.calibration

    @property
    def alerts(self) -> Alerts | None:
        """How many alerts to expect of the table that the training sample is of; None where its size is not known."""
        rows: int | None = self.header["training"].get("source_rows")
        return None if rows is None else self.calibration.alerts(rows)

    @property
    def warnings(self) -> list[str]:
        """What a person should know before relying on the model."""
        notes = [f"{name}: not used, {reason}" for name, reason in self.spec.unused.items()] + list(self.spec.notes)
        training, calibration = self.header["training"], self.calibration
        if set_aside := self._set_aside.describe():
            notes.append(set_aside)
        share = training["trimmed"] / training["rows"]
        if share > MANY_TRIMMED:
            notes.append(
                f"train.trim: {training['trimmed']:,} training rows ({share:.1%}) lie far from most others, left out"
            )
        for picture in training.get("pictures", ()):
            if picture["held_out"] < FEW_PICTURES:
                notes.append(f"{picture['column']}: {picture['held_out']} held-out pictures hardly tell what is usual")
        if self.scorer.rule.by and self.scorer.segments and (note := self.scorer.segments.note()):
            notes.append(note)
        if calibration.is_too_small:
            needed = round(1 / calibration.false_alarm_rate) - 1
            asked = "expected_alerts, a rate of" if calibration.expected_alerts else "false_alarm_rate"
            notes.append(
                f"decision.{asked} {calibration.false_alarm_rate:g} needs {needed:,} held-out rows and has "
                f"{len(calibration.scores):,}: rows that score above all of them are flagged, about "
                f"{calibration.finest_rate:.2g} of the normal rows"
            )
        return notes

    def _adopt(self, data: bytes, origin: str = "The model") -> None:
        header, arrays = model_file.loads(data, origin)
        scorer = Scorer.from_parts(header, arrays, origin)
        try:
            self.config, self._set_aside = parse_config(header["config"]), SetAside.of(header["training"])
            reference = Reference.from_json(Fields(header["drift"], "drift"), scorer.spec).with_arrays(arrays)
        except (ConfigError, ModelFileError) as error:
            raise error.as_kind(ModelFileError, f"{origin} does not make sense. {_on_one_line(error)}") from None
        self._scorer, self._bytes, self._header, self._reference = scorer, data, header, reference


def choose(columns: Listed[schema.Column], config: Config) -> dict[str, Chosen]:
    """The feature columns the config takes from a table, and what for. Raises SchemaError, also where the columns of
    ``decision.by`` do not fit.
    """
    features, key = config.features, list(config.key)
    if features.sequence:  # when a row is, and of which series, is no feature unless the config says so
        features.sequence.of(columns)
        own = [*features.sequence.by, features.sequence.order]
        key += [name for name in own if name not in (*key, *(features.include or ()), *features.kinds)]
    chosen = schema.select(columns, key, features.include, features.exclude, features.kinds)
    limits = config.train.accept_if
    if limits.max_score_loss is not None and all(KINDS[own.kind].is_picture for own in chosen.values()):
        raise ConfigError(
            "train.accept_if.max_score_loss compares how likely values are, and there are pictures alone.",
            "train.accept_if.max_share_flagged, or none",
            f"max_score_loss: {limits.max_score_loss:g}",
        )
    if schema.has_picture_files(chosen):
        import_module("PIL")  # where it is not installed, the error comes before any work
    check_columns(columns, config.decision.by)
    return chosen


def _on_one_line(error: ConfigError | ModelFileError) -> str:
    return printable(error.problem.replace("\n  - ", " "))
