"""The page: facts of a run to one HTML document with its styles and drawings in it. It asks nothing of any server."""

from __future__ import annotations

import html
from importlib.resources import files
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from vae_model import __version__
from vae_model.errors import ConfigError
from vae_model.printable import printable

if TYPE_CHECKING:
    from vae_model.report.facts import Facts


class Page(str):
    """A page of HTML. In a notebook it is shown in a frame of its own, in which nothing runs."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<a page of {len(self.encode()):,} bytes>"

    def _repr_html_(self) -> str:
        style = "width:100%;height:45rem;border:1px solid #8888;resize:vertical;overflow:auto"
        return f'<iframe title="Report" sandbox="" style="{style}" srcdoc="{html.escape(self)}"></iframe>'


def check() -> None:
    """Raise ConfigError where Jinja2 is not installed."""
    if find_spec("jinja2") is None:
        raise ConfigError(
            "A report needs Jinja2.", found="it is not installed", hint="pip install 'spark-vae-anomaly[report]'"
        )


def page(facts: Facts) -> Page:
    """The page of a run as HTML."""
    check()
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    from vae_model.report import verdict
    from vae_model.report.sections import sections
    from vae_model.report.words import short, when

    def shown(value: Any) -> Any:
        """What every value of the templates passes: markup of ours as it is, texts as they may be shown, by lines."""
        if isinstance(value, Markup) or not isinstance(value, str):
            return value
        return "\n".join(map(printable, value.split("\n")))

    environment = Environment(
        loader=FunctionLoader(_text), autoescape=True, finalize=shown, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    tone, status = verdict.status(facts.record)
    text = environment.get_template("page.html").render(
        name=short(facts.record.name or "A run"),
        tone=tone,
        status=status,
        ended=when(facts.record.ended or facts.record.started),
        sentences=list(verdict.sentences(facts)),
        tiles=verdict.tiles(facts.record),
        sections=sections(facts),
        version=__version__,
        style=Markup(_text("page.css")),  # noqa: S704 - a file of this package
    )
    return Page(text)


def _text(name: str) -> str:
    """A file beside this one, also where the package is in a zip."""
    return (files("vae_model.report") / name).read_text(encoding="utf-8")
