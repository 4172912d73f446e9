"""Versions of a model: numbered files in a folder, and a small file beside them that says which of them is in use.

A version is called by its number and the first digits of its digest, ``000007-2795c7e0127f.vae``, and is never written
over by another. So two trainings at once need no lock on any file system: both versions are there, if with one number,
and ``current.json``, which is written whole, names one of the two.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from vae_model.errors import ConfigError, ModelFileError, OutputError, StorageError, VaeAnomalyError
from vae_model.places import files
from vae_model.printable import printable

log = logging.getLogger(__name__)

CURRENT = "current.json"
"""The name of the file that says which version is in use."""
DIGITS = 12
"""So many digits of a digest are shown, in ``anomaly_model`` too."""
FILE = r"([0-9]{6,9})-([0-9a-f]{12})\.vae"
"""The name of a version's file."""
REMEMBERED = 20
"""So many versions that were in use before can be gone back to, one after the other."""


class Version(NamedTuple):
    """A version of a model. They are in order of their numbers; of one number, of their digits."""

    number: int
    digits: str
    """The first of its digest."""

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.number:06d}-{self.digits}.vae"

    def is_meant_by(self, wanted: int | str | None) -> bool:
        """Whether a number, or at least twelve digits of a digest, stand for this version."""
        return self.number == wanted if isinstance(wanted, int) else (wanted or "")[:DIGITS] == self.digits


class Promotion(BaseModel):
    """That a version came into use, when and why. It is read from a file that anyone may have written."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)

    number: int
    file: Annotated[str, Field(pattern=f"^{FILE}$")]
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    since: AwareDatetime
    by: Annotated[str, Field(max_length=2000)]

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.file != self.version.file:
            raise ValueError("number, file and digest are not of one version")
        return self

    @property
    def version(self) -> Version:
        """The version."""
        return Version(self.number, self.digest[:DIGITS])


class Current(Promotion):
    """The version in use, and those that were before it, the last one first."""

    previous: Annotated[tuple[Promotion, ...], Field(max_length=REMEMBERED, strict=False)] = ()


def named(text: str) -> int | str:
    """A version as a person calls it: by number, or by digest, alone or as in ``anomaly_model``. Raises ConfigError."""
    if re.fullmatch("[0-9]{1,9}", text):
        return int(text)
    digits = text.rpartition("@")[2]
    if not re.fullmatch(f"[0-9a-f]{{{DIGITS},64}}", digits):
        raise ConfigError("That is no version of a model.", "a number (7), or a digest (2795c7e0127f)", text)
    return digits


def place(path: str, wanted: int | str = "current") -> Versions | None:
    """The versions that a ``model.path`` holds; None where it is one model file.

    What ends in / or is a folder holds versions, unless it ends in .vae. Raises ConfigError where a version of one file
    is wanted, InputError where the path cannot be reached.
    """
    if path.endswith("/") or (not path.endswith(".vae") and _is_folder(path)):
        return Versions(path.rstrip("/") or "/")
    if wanted != "current":
        raise ConfigError(
            f"model.version is {wanted}, but model.path is one file.",
            "a folder of versions, such as models/weather/",
            path,
            "Leave model.version out, or give the folder.",
        )
    return None


def _is_folder(path: str) -> bool:
    fs, inner = files.locate(path)
    with files.explained(path):
        return bool(files.ask(fs, "isdir", inner))


@dataclass(frozen=True)
class Versions:
    """A folder of versions. It need not be there before the first is added."""

    folder: str

    def path_of(self, version: Version) -> str:
        """Where a version's file is."""
        return f"{self.folder}/{version.file}"

    def listed(self) -> list[Version]:
        """All versions in order. Raises ModelFileError where the folder cannot be read."""
        with self._read():
            try:
                names = files.names_in(self.folder, FILE)
            except FileNotFoundError:
                return []
        found = (re.fullmatch(FILE, name) for name in names)
        return sorted(Version(int(match[1]), match[2]) for match in found if match)

    def current(self) -> Current | None:
        """The version in use; None where there is none yet. Raises ModelFileError."""
        with self._read():
            try:
                data = files.get(f"{self.folder}/{CURRENT}")
            except FileNotFoundError:
                return None
        try:
            return Current.model_validate_json(data)
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"]))
            raise ModelFileError(
                f"{self.folder}/{CURRENT} does not say which version is in use.",
                "what `vae-anomaly train` writes",
                f"{where}: {problem['msg']}" if where else problem["msg"],
                "`vae-anomaly models --config FILE --promote VERSION` writes it anew.",
            ) from None

    def find(self, wanted: int | str) -> Version:
        """The version that ``model.version`` means: the current one, one by its number, or by its digest.

        Raises ModelFileError where there is none, or several of one number.
        """
        if wanted == "current":
            if (current := self.current()) is None:
                raise ModelFileError(
                    f"A current version of the model does not exist in {self.folder}.",
                    hint="`vae-anomaly train --config FILE` writes the first.",
                )
            return current.version
        listed = self.listed()
        found = [version for version in listed if version.is_meant_by(wanted)]
        if not found or (isinstance(wanted, int) and len(found) > 1):
            raise ModelFileError(
                f"There {'are several versions' if found else 'is no version'} {wanted} in {self.folder}.",
                found=", ".join(version.file for version in found or listed[-5:]) or "no version at all",
                hint="Give the digest." if found else "`vae-anomaly models --config FILE` lists all there are.",
            )
        return found[-1]

    def add(self, data: bytes, digest: str) -> Version:
        """Put a model among the versions; the same model again is the version that it was. Raises OutputError."""
        listed, digits = self.listed(), digest[:DIGITS]
        same = [version for version in listed if version.digits == digits]
        version = same[-1] if same else Version(max((one.number for one in listed), default=0) + 1, digits)
        self._write(version.file, data)
        return version

    def promote(self, version: Version, digest: str, why: str) -> Current:
        """Take a version into use. Nothing changes where it is. Raises OutputError."""
        try:
            before = self.current()
        except ModelFileError as error:
            log.warning("%s It is written anew: what was in use before is not known any more", error.problem)
            before = None
        if before and before.version == version:
            return before
        previous = (_bare(before), *before.previous)[:REMEMBERED] if before else ()
        return self._use(version, digest, why, previous)

    def roll_back(self) -> Current:
        """Take the version that was in use before into use again. Raises ModelFileError where none is left."""
        current = self.current()
        rest = self._left(current)
        if current is None or not rest:
            raise ModelFileError(
                f"There is no version in {self.folder} to go back to.",
                hint="`vae-anomaly models --config FILE` lists all there are; --promote takes one into use.",
            )
        last, *older = rest
        return self._use(last.version, last.digest, f"rolled back from {current.file}", tuple(older))

    def previous(self) -> Promotion | None:
        """The version that ``roll_back`` would go to."""
        return next(iter(self._left(self.current())), None)

    def prune(self, keep: int, pinned: int | str) -> list[Version]:
        """Remove all but the ``keep`` newest versions, and never the current one, the one before it, or one that the
        config pins. What cannot be removed stays, with a warning.
        """
        current, previous = self.current(), self.previous()
        used = {one.version for one in (current, previous) if one}
        removed = []
        for version in self.listed()[:-keep]:
            if version in used or version.is_meant_by(pinned):
                continue
            try:
                fs, inner = files.locate(self.path_of(version))
                with files.explained(self.folder), suppress(FileNotFoundError):  # gone: another training removed it
                    fs.rm_file(inner)
                removed.append(version)
            except (OSError, VaeAnomalyError) as error:
                log.warning("%s is not needed any more, but cannot be removed: %s", self.path_of(version), error)
        return removed

    def written(self, version: Version) -> datetime | None:
        """When a version's file was written; None where the file system does not say."""
        fs, inner = files.locate(self.path_of(version))
        try:
            with self._read():
                when: Any = fs.modified(inner)
        except NotImplementedError:
            return None
        return when if isinstance(when, datetime) else None

    def check_writable(self) -> None:
        """Try, before any work, whether a version can be added. Raises OutputError."""
        fs, inner = files.locate(self.folder)
        with files.explained(self.folder):
            if files.ask(fs, "isfile", inner):
                raise OutputError(f"{self.folder} cannot be written.", "a folder of model versions", "a file")
        files.check_writable(self.folder, folder=True)

    def _left(self, current: Current | None) -> list[Promotion]:
        """Those that were in use before and whose files are there still, the last first."""
        there = set(self.listed())
        return [one for one in current.previous if one.version in there] if current else []

    def _use(self, version: Version, digest: str, why: str, previous: tuple[Promotion, ...]) -> Current:
        now = datetime.now(UTC).replace(microsecond=0)
        others = tuple(one for one in previous if one.version != version)
        why = printable(why)[:2000]
        current = Current(number=version.number, file=version.file, digest=digest, since=now, by=why, previous=others)
        self._write(CURRENT, current.model_dump_json(indent=2).encode())
        return current

    def _write(self, name: str, data: bytes) -> None:
        path = f"{self.folder}/{name}"
        try:
            files.put(path, data)
        except StorageError as error:
            raise error.as_kind(OutputError, f"The model cannot be written to {path}.") from None
        except OSError as error:
            raise OutputError(f"The model cannot be written to {path}.", found=str(error)) from error

    @contextmanager
    def _read(self) -> Iterator[None]:
        try:
            yield
        except StorageError as error:
            raise error.as_kind(ModelFileError, f"The models in {self.folder} cannot be read.") from None
        except OSError as error:
            raise ModelFileError(f"The models in {self.folder} cannot be read.", found=str(error)) from error


def _bare(current: Current) -> Promotion:
    return Promotion.model_validate(current.model_dump(exclude={"previous"}))
