"""A group of keys of the config file, and the types that several of them share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum, auto
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from vae_model.places import credentials

Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
"""A number of rows or parts that an engine is asked for: it holds them in 32 bits."""


def as_text(value: Any) -> Any:
    """A number as text, where a key takes either."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


class Holds(Enum):
    """What a string is to whoever reads it, where a value that is put into it must not change what it says."""

    SQL = auto()
    PATH = auto()
    TABLE = auto()


def _without_credentials(name: str) -> str:
    if credentials.within(name):
        raise ValueError(f"credentials do not belong here. {credentials.HINT}")
    return name


def _known_kind(name: Any) -> Any:
    from vae_model.features.kinds import KINDS  # brings pyarrow, which `vae-anomaly --help` need not wait for

    if isinstance(name, str) and name in KINDS:
        return name
    *others, last = map(repr, KINDS)
    raise PydanticCustomError("kind", "Input should be {expected}", {"expected": f"{', '.join(others)} or {last}"})


def _known_version(name: Any) -> Any:
    if name == "current" or (type(name) is int and 0 < name < 10**9):
        return name
    if isinstance(name, str) and re.fullmatch("[0-9a-f]{12,64}", name):
        return name
    raise PydanticCustomError("version", "Input should be 'current', a number such as 7, or a digest in quotes")


TypeName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_(),<>: ]*$")]
"""The name of a type of Spark's, such as ``decimal(10,2)`` or ``array<double>``."""
KindName = Annotated[str, BeforeValidator(_known_kind)]
"""The name of a kind of feature."""
VersionName = Annotated[
    Literal["current"] | Annotated[int, Field(ge=1)] | Annotated[str, Field(pattern="^[0-9a-f]{12,64}$")],
    BeforeValidator(_known_version),
]
"""What a version of the model is called."""
Name = Annotated[str, Field(min_length=1), AfterValidator(_without_credentials)]
"""A path or a table's name."""
PathName = Annotated[Name, Holds.PATH]
TableName = Annotated[Name, Holds.TABLE]
Predicate = Annotated[str, Holds.SQL]
"""A SQL condition over the columns of a table."""


class Section(BaseModel):
    """A group of keys: frozen, unknown keys refused, the line under each field is its documentation."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,  # pydantic's own text would show what may be a password
        serialize_by_alias=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_default(cls, values: Any) -> Any:
        """A key with nothing after it (`features:`) is as good as left out."""
        if not isinstance(values, Mapping):
            return values
        return {key: value for key, value in values.items() if value is not None or key not in cls.known_keys()}

    @classmethod
    def known_keys(cls) -> list[str]:
        """The keys of the section, as a config has them."""
        return [field.alias or name for name, field in cls.model_fields.items()]
