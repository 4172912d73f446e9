"""Parameters put into the strings of a config: each as what its key takes, a SQL literal, a name or plain text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vae_model.config import shape
from vae_model.config.config import Config
from vae_model.config.parameters import Parameter
from vae_model.config.section import Holds
from vae_model.config.template import Slot, check_no_statement, pieces
from vae_model.errors import nearest
from vae_model.places import literals

_STEP = re.compile(r"[\w .:+=,-]+")
_PART = re.compile(r"[\w :+=,-]+")
"""What may stand in a part of a path, and of a table's name: no separator, no quote, no pattern for several files."""
_TOUCHES = re.compile(r"""[\w'"`.$@\\]""")
"""What would become one word with a literal beside it: r'…' is another string, 'a''b' another value."""


class Filling:
    """A config's strings filled; every problem and every name that was met on the way."""

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        self.parameters = parameters
        self.names: set[str] = set()
        self.problems: list[str] = []

    def fill(self, value: Any, annotation: Any = Config, dotted: str = "") -> Any:
        """A value with the strings in it filled. Keys are left as they are."""
        if isinstance(value, Mapping):
            return {
                key: self.fill(one, shape.inside(annotation, key), f"{dotted}.{key}".lstrip("."))
                for key, one in value.items()
            }
        if isinstance(value, list):
            within = shape.inside(annotation, 0)
            return [self.fill(one, within, f"{dotted}.{index}") for index, one in enumerate(value)]
        if not isinstance(value, str):
            return value
        try:
            if shape.holds(annotation):  # names of columns may look like anything
                check_no_statement(value)
            return self._filled(pieces(value), annotation)
        except ValueError as problem:
            self.problems.append(f"{dotted}: {problem}")
            return value

    def unused(self) -> list[str]:
        """A problem for each parameter that the config has no place for."""
        return [
            f"parameter {name!r}: nothing in the config has {{{{ {name} }}}}; {nearest(name, self.names)}".rstrip("; ")
            for name in self.parameters
            if name not in self.names
        ]

    def _filled(self, parts: list[str | Slot], annotation: Any) -> Any:
        slots = {part.name for part in parts if isinstance(part, Slot)}
        self.names |= slots
        for name in sorted(slots - set(self.parameters)):
            raise ValueError(f"no value is given for {{{{ {name} }}}}; {self._given(name)}")
        if not slots:
            return "".join(map(str, parts))
        kind = shape.holds(annotation)
        if kind is Holds.SQL:
            return self._sql(parts)
        if kind is not None:
            return self._place(parts, kind)
        texts = [part if isinstance(part, str) else self.parameters[part.name].text for part in parts]
        if len(parts) == 1 and not shape.is_text(annotation):
            (name,) = slots
            return self.parameters[name].number if self.parameters[name].is_number else texts[0]
        return "".join(texts)

    def _given(self, name: str) -> str:
        if not self.parameters:
            return f"add --param {name}=VALUE"
        return f"{nearest(name, self.parameters)} given: {', '.join(sorted(self.parameters))}".strip()

    def _sql(self, parts: list[str | Slot]) -> str:
        """A predicate, each value in it a literal of its own."""
        plain = "".join(part if isinstance(part, str) else "_" for part in parts)
        enclosed = list(literals.enclosed(plain))
        filled, at = "", 0
        for part in parts:
            if isinstance(part, str):
                filled, at = filled + part, at + len(part)
                continue
            shown = f"{{{{ {part.name} }}}}"
            if any(start < at < end for start, end in enclosed):
                raise ValueError(
                    f"{shown} stands within quotes or a comment: write it without quotes, it becomes a SQL literal, "
                    "quotes and all"
                )
            if _TOUCHES.match(plain[at - 1 : at]) or _TOUCHES.match(plain[at + 1 :]):
                raise ValueError(f"{shown} is a value of its own: leave a space between it and its neighbours")
            sql = self.parameters[part.name].sql
            apart = " " if sql.startswith("-") and filled.endswith("-") else ""  # two of them begin a comment
            filled, at = filled + apart + sql, at + 1
        return filled

    def _place(self, parts: list[str | Slot], kind: Holds) -> str:
        """A path or a table's name, each value in it a name. A value is a place of its own where it is all there is, or
        the start of a path.
        """
        root, filled, held = "", "", ""  # held: the same, a mark in place of each value
        for index, part in enumerate(parts):
            if isinstance(part, str):
                filled, held = filled + part, held + part
                continue
            text = self.parameters[part.name].text
            rest = parts[index + 1 : index + 2]
            if index == 0 and (not rest or (kind is Holds.PATH and str(rest[0]).startswith("/"))):
                if not text:
                    raise ValueError(f"the value of {{{{ {part.name} }}}} is empty")
                root = text
                continue
            pattern, more = (_STEP, " .") if kind is Holds.PATH else (_PART, "")
            if not pattern.fullmatch(text):
                raise ValueError(
                    f"the value of {{{{ {part.name} }}}} must be a name here, of letters, digits, spaces and any of "
                    f"- _{more} : + = ,"
                )
            filled, held = filled + text, held + "\0"
        for step, own in zip(filled.split("/"), held.split("/"), strict=True):
            if "\0" in own and not step.strip(". "):
                raise ValueError(f"the values make {step!r} a step of the path, which would lead out of its folder")
        return root + filled
