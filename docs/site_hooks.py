"""What `mkdocs build` does beside: the site holds all that its pages link to, also what lies outside docs/.

On GitHub, and in a checkout, a link such as ``../conf/weather.yaml`` leads to a file of the repository. The site has no
address of a repository to send a reader to, so it takes such files along:

- README.md, CONTRIBUTING.md, CHANGELOG.md and SECURITY.md are pages of the site, README.md its first;
- any other file or folder that a page links to becomes a page that shows it, under ``repository/``.

Links are written anew for it, pages stay as they are. Mermaid's pictures are drawn as boxes of HTML: its script would
come from another host. A link that leads nowhere, or a picture that cannot be drawn so, fails the build.
"""

from __future__ import annotations

import os
import re
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
"""Pages from outside docs/, and what they are called in the site."""
LINK = re.compile(
    r"""(?P<before>\[(?P<text>[^\[\]]*)\]\(|<img [^>]*?src=")"""
    r"""(?P<path>(?![a-z]+:|\#|/)[^)\s"#]+)(?P<anchor>\#[^)\s"]*)?"""
)
FENCE = re.compile(r"^(```.*?^```$)", re.MULTILINE | re.DOTALL)
MERMAID = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BOX = re.compile(r'^ +[\w.]+\["(?P<name>[^"<]*)<br/>(?P<text>[^"<]*)"\]$')
LANGUAGES = {".yaml": "yaml", ".yml": "yaml", ".py": "python", ".sh": "bash", ".json": "json", ".toml": "toml"}


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages from outside docs/, and those that show the files which pages link to."""
    sources = {ROOT / name: page for name, page in PAGES.items()}
    sources |= {Path(config.docs_dir) / file.src_uri: file.src_uri for file in files.documentation_pages()}
    for source, page in sources.items():
        text = source.read_text(encoding="utf-8")
        if source.parent == ROOT:
            files.append(File.generated(config, page, content=rewritten(text, source)))
        for path in links(text):
            target = (source.parent / path).resolve()
            if not is_ours(target):
                continue  # the strict build names it
            shown = page_of(target)
            if shown.startswith("repository/") and shown not in files.src_uris:
                files.append(File.generated(config, shown, content=view(target), inclusion=InclusionLevel.NOT_IN_NAV))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Draw the pictures; write the links of docs/ anew (those of generated pages are already)."""
    if page.file.generated_by is None:
        markdown = rewritten(markdown, Path(page.file.abs_src_path))
    return MERMAID.sub(lambda found: boxes(found[1], page.file.src_uri), markdown)


def links(text: str) -> list[str]:
    """The relative links of a page, outside its blocks of code, without their anchors."""
    return [unquote(found["path"]) for part in FENCE.split(text)[::2] for found in LINK.finditer(part)]


def rewritten(text: str, source: Path) -> str:
    """The page with each relative link as the site has it."""
    here = Path(page_of(source)).parent

    def anew(found: re.Match[str]) -> str:
        target = (source.parent / unquote(found["path"])).resolve()
        if not is_ours(target):
            return found[0]
        leads = Path(os.path.relpath(page_of(target), here)).as_posix() + (found["anchor"] or "")
        if found["text"] == found["path"] and target.suffix == ".md":  # the name of a file says less than its title
            return f"[{title(target)}]({leads}"
        return found["before"] + leads

    parts = FENCE.split(text)  # text and blocks of code in turn
    return "".join(part if number % 2 else LINK.sub(anew, part) for number, part in enumerate(parts))


def title(page: Path) -> str:
    """The first heading of a page."""
    return page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def is_ours(target: Path) -> bool:
    """Whether there is such a file or folder in the repository."""
    return target.exists() and target.is_relative_to(ROOT)


def page_of(target: Path) -> str:
    """Where the site has a file or folder of the repository."""
    path = target.relative_to(ROOT).as_posix()
    if path in PAGES:
        return PAGES[path]
    inside = path.removeprefix("docs/")
    return inside if path != inside and target.is_file() else f"repository/{path}.md"


def view(target: Path) -> str:
    """A page that shows a file, or each file of a folder."""
    name = target.relative_to(ROOT).as_posix()
    if target.is_file():
        return f"# {name}\n\n{block(target)}"
    shown = [one for one in sorted(target.iterdir()) if one.is_file() and not one.name.startswith(".")]
    return f"# {name}\n\n" + "\n".join(f"## {one.name}\n\n{block(one)}" for one in shown)


def block(file: Path) -> str:
    """A file as a block of code."""
    return f"````{LANGUAGES.get(file.suffix, 'text')}\n{file.read_text(encoding='utf-8').rstrip()}\n````\n"


def boxes(text: str, page: str) -> str:
    """A flowchart of lines of boxes, each line standing on the next, as HTML."""
    lines: list[list[str]] = []
    for line in text.splitlines():
        if line.strip().startswith("subgraph "):
            lines.append([])
        elif box := BOX.match(line):
            name, says = (escape(part) for part in (box["name"], box["text"]))
            lines[-1].append(f"<div><strong>{name}</strong><br>{says}</div>")
        elif not re.fullmatch(r"flowchart BT| +end| +\w+( --> \w+)+", line):
            raise PluginError(f"{page}: a line of its picture is none that docs/site_hooks.py can draw: {line!r}")
    rows = "".join(f'<div class="line">{"".join(line)}</div>' for line in lines)
    return f'<div class="rooms" role="img" aria-label="Lines of boxes, each standing on the next">{rows}</div>'
