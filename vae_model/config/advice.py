"""What to make of a column, by its name, its type, and what was counted of its values: key, feature, or left out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from vae_model.features.families import FAMILIES
from vae_model.features.kinds import default_kind
from vae_model.features.schema import Column

UNIQUE = 0.9
"""Values that are distinct in more than this share of the rows name the rows."""
SOME = 20
"""Of so few rows, distinct values say nothing; and so few whole numbers may be a category."""
REPEATS = 5
"""A category's values come so often in the mean: of one seen less often nothing is learnt."""
MANY = 1000
"""With more distinct values than this a column is no category that a model can learn."""
LONGEST = 1000
"""Bytes of the longest value that a category may have."""
RARE = 0.2
"""What at most this share of the rows has is rare."""
MOSTLY = 0.9
"""A form that this share of a column's texts has is the column's form."""

_ID = {"id", "ids", "uuid", "guid", "key", "pk"}
_LABELS = {
    *("anomalous", "anomaly", "abnormal", "attack", "churn", "churned", "class", "default", "defaulted", "defect"),
    *("defective", "failure", "fraud", "fraudulent", "intrusion", "label", "labels", "malicious", "outlier", "target"),
    *("spam", "y"),
}
_FILLERS = {"is", "has", "was", "flag", "the", "true", "binary", "ground", "truth", "found", "col"}
"""Words that leave a label's name a label's name."""


@dataclass(frozen=True)
class Counted:
    """A column, and what was counted of it over some rows."""

    column: Column
    rows: int
    present: int = 0
    """Rows with a value; NaN is none."""
    distinct: int = 0
    """Distinct values; of arrays, distinct lengths."""
    longest: int = 0
    """Bytes of the longest text."""
    letters: int = 0
    """Letters of the longest text."""
    mean: float = 0.0
    """Letters of a text in the mean."""
    spaced: int = 0
    """Texts of several words."""
    numbers: int = 0
    """Texts that are a number."""
    times: int = 0
    """Texts that are a date or a time as SQL writes them."""
    zeros: int = 0
    """Texts of digits with a zero before them, as codes have it."""
    rarer: int = 0
    """Of two values, rows with the rarer; counted where the column may be a label."""

    @property
    def words(self) -> list[str]:
        """The words of the column's name."""
        return words(self.column.name)

    @property
    def is_unique(self) -> bool:
        """Whether each row has a value of its own."""
        return self.distinct == self.present == self.rows

    @property
    def is_named_id(self) -> bool:
        """Whether the column's name says that it names something."""
        return self.words[-1:] != [] and self.words[-1] in _ID

    @property
    def is_whole(self) -> bool:
        """Whether the column's type holds whole numbers alone."""
        return self.column.family == "integer" or bool(re.fullmatch(r"decimal\(\d+,0\)", self.column.type))


class Advice(NamedTuple):
    """What to make of a column."""

    counted: Counted
    kind: str | None
    """The kind of feature; None for a column that is left out."""
    reason: str
    """Why it is left out, or what a person should know of it."""
    is_key: bool = False
    """Whether its values identify rows."""


def words(name: str) -> list[str]:
    """The words of a name, in small letters: of ``isFraud``, ``is_fraud`` and ``Is Fraud`` the same two."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return [word.lower() for word in re.findall(r"[^\W_]+", parted)]


def is_like_label(name: str) -> bool:
    """Whether a column of this name, if it has two values, may say which rows are anomalies."""
    return not _LABELS.isdisjoint(words(name))


def advise(table: Sequence[Counted], output: Sequence[str]) -> list[Advice]:
    """What to make of each column of a table, in its order; ``output`` names the columns that scoring adds."""
    earlier = earlier_scores([counted.column.name for counted in table], output)
    return [Advice(counted, None, earlier[counted.column.name]) if counted.column.name in earlier else _of(counted)
            for counted in table]  # fmt: skip


def earlier_scores(names: Sequence[str], output: Sequence[str]) -> dict[str, str]:
    """The columns that an earlier run of scoring seems to have added, with any prefix, and why it seems so."""
    ends = "|".join(map(re.escape, output))
    prefixes = {name: found[1].lower() for name in names if (found := re.fullmatch(rf"(?i)(.*?)(?:{ends})", name))}
    several = {prefix for prefix, count in Counter(prefixes.values()).items() if count >= 3}
    return {
        name: "a score of an earlier run"
        for name, prefix in prefixes.items()
        if prefix in several or (not prefix and words(name)[0] != "is")  # a lone is_anomaly is a label of theirs
    }


def _of(counted: Counted) -> Advice:
    family = counted.column.family
    if family is None:
        return Advice(counted, None, f"type {counted.column.type} cannot be a feature")
    if family == "binary":
        return Advice(counted, None, "files? Pictures: kinds: {…: image}, image: {height: 64, width: 64}")
    if counted.present == 0:
        return Advice(counted, None, "all null")
    if reason := _label(counted):
        return Advice(counted, None, reason)
    if FAMILIES[family].is_nested:
        varied = "arrays of different lengths" if counted.distinct > 1 else ""
        return Advice(counted, None if varied else default_kind(family), varied or counted.column.type)
    if counted.distinct <= 1:
        return Advice(counted, None, "constant")
    if reason := _long(counted):
        return Advice(counted, None, reason)
    form = _form(counted)
    if form and counted.distinct > min(MANY, UNIQUE * counted.present):
        return Advice(counted, None, form)
    if reason := _identifier(counted):
        return Advice(counted, None, reason, is_key=counted.is_unique)
    if family == "string" and counted.distinct > MANY:
        return Advice(counted, None, f"{counted.distinct:,} distinct strings: too many for a category")
    names_few = counted.is_named_id and counted.column.family == "integer"
    return Advice(counted, "categorical" if names_few else default_kind(family), _note(counted, form))


def _label(counted: Counted) -> str:
    """Why the column seems to say which rows are anomalies; empty where it does not."""
    if counted.distinct != 2 or not is_like_label(counted.column.name):
        return ""
    share = counted.rarer / counted.present
    is_its_name = len(set(counted.words) - _FILLERS) == 1
    if share > RARE and not is_its_name:
        return ""
    return f"looks like a label: two values, one of them in {share:.2%} of the rows; training must not see it"


def _long(counted: Counted) -> str:
    """Why the column's texts are too long for a category; empty where they are not, or are no texts."""
    is_prose = counted.mean > 50 or (counted.letters > 200 and 2 * counted.spaced > counted.present)
    if is_prose and 2 * counted.distinct > counted.present:
        return f"free text: up to {counted.letters:,} letters"
    if counted.longest > LONGEST:
        return f"texts of up to {counted.longest:,} bytes: too long for a category"
    return ""


def _form(counted: Counted) -> str:
    """What the column's texts are, where they are numbers or times; empty where they are not."""
    for what, count, type_ in (("numbers", counted.numbers, "double"), ("times", counted.times, "timestamp")):
        is_name = what == "numbers" and (counted.zeros or counted.is_named_id)
        if count >= MOSTLY * counted.present and not is_name:
            share = "all" if count == counted.present else f"{count / counted.present:.1%}"
            return f"{what} written as text: {share} of the values; source.schema with {type_} for it makes them {what}"
    return ""


def _identifier(counted: Counted) -> str:
    """Why the column seems to name rows, or to name something else; empty where it does not."""
    family, distinct = counted.column.family, f"{counted.distinct:,} distinct values in {counted.present:,} rows"
    if family not in ("string", "integer", "float", "decimal"):
        return ""
    is_many = counted.distinct > UNIQUE * counted.present and counted.present > SOME
    if counted.is_named_id:
        if is_many or counted.is_unique:
            return f"looks like an identifier: {distinct}"
        if counted.distinct > MANY or REPEATS * counted.distinct > counted.present:
            return f"an identifier of something else: {distinct}, too many for a category"
        return ""
    measured = counted.distinct < counted.present  # whole numbers that are almost unique are as a rule measured
    if (family == "string" and is_many) or (counted.is_whole and is_many and not measured):
        return f"looks like an identifier: {distinct}"
    return ""


def _note(counted: Counted, form: str) -> str:
    family, missing = counted.column.family, 1 - counted.present / counted.rows
    notes = [counted.column.type, f"{counted.distinct:,} distinct values"]
    if missing:
        notes.append("under 0.1% missing" if missing < 0.001 else f"{missing:.1%} missing")
    if form:
        notes.append(form)
    if counted.zeros:
        notes.append("codes with leading zeros")
    if counted.is_named_id and family in ("integer", "string"):
        notes.append("names something that many rows share")
    elif family == "integer" and counted.distinct <= SOME:
        notes.append("perhaps a category?")
    elif counted.is_named_id:
        notes.append("an identifier? As a bigint (source.schema) it could be a category")
    if counted.distinct == 2 and is_like_label(counted.column.name):
        notes.append("if it is a label, exclude it")
    return ", ".join(notes)
