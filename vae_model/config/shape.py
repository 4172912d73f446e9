"""What may stand at each key of the config, read off its sections."""

from __future__ import annotations

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from vae_model.config.section import Holds, Section


def options(annotation: Any) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """The types that a value may have, without None; each with what is annotated to it."""
    metadata: tuple[Any, ...] = ()
    if get_origin(annotation) is Annotated:
        annotation, *metadata_ = get_args(annotation)
        metadata = tuple(metadata_)
    if get_origin(annotation) in (Union, UnionType):
        for option in get_args(annotation):
            yield from ((inner, (*metadata, *more)) for inner, more in options(option))
    elif annotation is not NoneType:
        yield annotation, metadata


def section(annotation: Any) -> type[Section] | None:
    """The section among the types that a value may have."""
    found = (option for option, _ in options(annotation))
    return next((option for option in found if isinstance(option, type) and issubclass(option, Section)), None)


def inside(annotation: Any, key: object) -> Any:
    """What may stand at a key of a section or a mapping, or in a list; None where nothing may."""
    own = section(annotation)
    if own is not None:
        fields = {field.alias or name: field for name, field in own.model_fields.items()}
        return fields[key].rebuild_annotation() if isinstance(key, str) and key in fields else None
    return next((get_args(option)[-1] for option, _ in options(annotation) if get_origin(option) in (list, dict)), None)


def holds(annotation: Any) -> Holds | None:
    """What a string here is to whoever reads it; None for a plain one."""
    return next((one for _, metadata in options(annotation) for one in metadata if isinstance(one, Holds)), None)


def is_text(annotation: Any) -> bool:
    """Whether nothing but a string may stand here."""
    found = (option for option, _ in options(annotation))
    return all(
        all(isinstance(word, str) for word in get_args(option)) if get_origin(option) is Literal else option is str
        for option in found
    )
