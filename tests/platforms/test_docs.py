"""The documentation as a site: it is whole, it asks nobody for anything, and its tutorials do what they say."""

import re
import runpy
import shlex
import shutil
import subprocess
import sys
import threading
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.conftest import ROOT
from tests.test_readme import blocks
from vae_model.cli import app, guarded

pytestmark = pytest.mark.platforms

BROWSER = shutil.which("chromium-headless-shell") or shutil.which("chromium")
TUTORIALS = [ROOT / "docs" / name for name in ("ten-minutes.md", "own-table.md")]
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href", "object": "data"}
"""What a browser fetches by itself, and the attribute that says from where."""


class Silent(SimpleHTTPRequestHandler):
    """A server of files that says nothing."""

    def log_message(self, *_):
        """Say nothing."""


class Page(HTMLParser):
    """The links, the anchors and the things to be loaded of a page."""

    def __init__(self, file):
        super().__init__()
        self.links, self.anchors, self.loads = [], set(), []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        """Note what a tag leads to, is called, or loads."""
        own = dict(attrs)
        self.anchors |= {own[name] for name in ("id", "name") if own.get(name)}
        if tag == "a" and own.get("href"):
            self.links.append(own["href"])
        if tag in LOADS and own.get(LOADS[tag]) and own.get("rel") != "canonical":
            self.loads.append(own[LOADS[tag]])


def built(folder, root=ROOT):
    """How the strict build of the site ends; with --quiet no warning would count."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    done = built(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    """Every page of the site, by its file."""
    return {file: Page(file) for file in site.rglob("*.html")}


def test_every_page_of_the_docs_is_in_the_nav():
    """mkdocs.yml names each page of docs/ once, and beside them only those that the hooks make."""
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2].partition("\n\n")[0]
    named = re.findall(r"^ +- [^#\n]+: (\S+\.md)$", text, re.MULTILINE)
    made = set(runpy.run_path(str(ROOT / "docs" / "site_hooks.py"))["PAGES"].values())
    assert sorted(named) == sorted({path.name for path in (ROOT / "docs").glob("*.md")} | made)


def test_the_api_reference_has_what_is_public(pages, site):
    """Each name that the package, the room of Spark, its errors and Spark ML give has an entry with a docstring."""
    import vae_model.errors
    import vae_model.spark

    known = pages[site / "api.html"].anchors
    kinds = {name for name, one in vars(vae_model.errors).items() if isinstance(one, type) and name.endswith("Error")}
    wanted = {f"vae_model.spark.{name}" for name in vae_model.spark.__all__} | {f"vae_model.errors.{k}" for k in kinds}
    wanted |= {f"vae_model.detector.Detector.{name}" for name in ("fit", "score", "save", "load", "warnings")}
    wanted |= {f"vae_model.platforms.spark_ml.VAEAnomaly{name}" for name in ("Detector", "Model")}
    assert len(kinds) > 8
    assert wanted - known == set()


def test_nothing_is_loaded_from_another_host(pages, site):
    """Whatever a page or a style sheet loads by itself lies in the site; no script of a picture's is asked for."""
    loads = [one for page in pages.values() for one in page.loads]
    loads += re.findall(r"url\(['\"]?([^'\")]+)", "".join(f.read_text(encoding="utf-8") for f in site.rglob("*.css")))
    assert len(loads) > 100
    assert [one for one in loads if urlsplit(one).netloc and not one.startswith("data:")] == []
    assert not any('class="mermaid"' in file.read_text(encoding="utf-8") for file in pages)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium (Debian: apt-get install chromium-headless-shell)")
@pytest.mark.parametrize("page", ["index.html", "architecture.html"])
def test_a_browser_asks_no_other_host(site, tmp_path, page):
    """A browser that shows a page asks for files of the site, scripts and search among them, and for nothing else."""
    handler = partial(Silent, directory=site)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        here, log = f"http://127.0.0.1:{server.server_address[1]}/", tmp_path / "net.json"
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--virtual-time-budget=4000"]
        own = [f"--user-data-dir={tmp_path}/browser", f"--log-net-log={log}"]
        command = [BROWSER, *options, *own, "--dump-dom", here + page]
        done = subprocess.run(command, capture_output=True, timeout=120, check=False)
        server.shutdown()
        thread.join()
    assert done.returncode == 0
    asked = set(re.findall(r'"url":"([^"]+)"', log.read_text(encoding="utf-8")))
    assert any("/javascripts/" in one for one in asked) and any("/search/" in one for one in asked)
    assert {one for one in asked if not one.startswith(here)} == set()


def test_every_link_within_the_site_leads_somewhere(pages, site):
    """A link's file is in the site, and has the anchor that the link names."""
    checked = 0
    for file, page in pages.items():
        if file.name == "404.html":  # its links start at the server's root
            continue
        for link in [*page.links, *page.loads]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            target = target / "index.html" if target.is_dir() else target
            assert target.exists(), (file.relative_to(site), link)
            if parts.fragment and target in pages:
                known = pages[target].anchors | {"__top", "__toc"}
                assert unquote(parts.fragment) in known, (file.relative_to(site), link)
            checked += 1
    assert checked > 1000


def test_what_leads_nowhere_fails_the_build(tmp_path):
    """A link to a file or a heading that is not there is named, in a page of docs/ and in one from outside."""
    for one in ("mkdocs.yml", "docs", "conf", "examples", "vae_model", *(path.name for path in ROOT.glob("*.md"))):
        copy = shutil.copytree if (ROOT / one).is_dir() else shutil.copy
        copy(ROOT / one, tmp_path / one)
    wrong = {"docs/sql.md": "[x](../conf/none.yaml) [x](#none)", "SECURITY.md": "[x](docs/none.md)"}
    for name, text in wrong.items():
        with (tmp_path / name).open("a", encoding="utf-8") as page:
            page.write(f"\n{text}\n")
    done = built(tmp_path / "site", tmp_path)
    assert done.returncode != 0
    assert [one for one in ("../conf/none.yaml", "#none", "docs/none.md") if f"'{one}'" not in done.stderr] == []


@pytest.mark.slow
def test_the_tutorials(tmp_path, monkeypatch, capsys, no_session):
    """Every command and every block of Python of the two pages ends well, one after the other in one folder; the four
    errors are the first four rows, in words and in the table; with more rows of the kind the last command goes on.
    """
    monkeypatch.chdir(tmp_path)
    said = {page.name: follow(page, capsys) for page in TUTORIALS}
    shown = blocks(TUTORIALS[0], "text", "Scored")[0]
    pattern = re.escape(" ".join(shown.split())).replace("\\ ", " ").replace("…", ".*?")
    first = said["ten-minutes.md"]
    assert re.search(pattern, " ".join(first.split()))
    assert Path("pumps.html").stat().st_size > 10_000
    reasons = dict(re.findall(r"^\| (\d{4}) \| `(\w+)`", TUTORIALS[0].read_text(encoding="utf-8"), re.MULTILINE))
    for run in first.split("The 10 highest scores:")[1:]:
        top = re.findall(r"^ +(\d+) +[\d.,]+ +(yes|no) +(\w+)", run, re.MULTILINE)[:4]
        assert {(row, "yes", reason) for row, reason in reasons.items()} == set(top)
    assert "Verdict: On this table" in said["own-table.md"]
    assert "1.000" in re.search(r"^ this model .*$", said["own-table.md"], re.MULTILINE)[0]
    text = Path("own.yaml").read_text(encoding="utf-8")
    assert all(f"    - {name}" in text for name in ("firmware", "site", "note", "failure", "at"))


def follow(page, capsys):
    """Do what a page says, and give back what was said. Installing is left out: that is what this environment is."""
    text = page.read_text(encoding="utf-8")
    for language, block in re.findall(r"^```(sh|python)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if language == "python":
            exec(compile(block, page.name, "exec"), {})
            continue
        for line in block.splitlines():
            if "next.csv" in line:  # what has come in since
                Path("next.csv").write_text(Path("pumps.csv").read_text(encoding="utf-8"), encoding="utf-8")
            command, *arguments = shlex.split(line)
            if command == "vae-anomaly":
                assert guarded(lambda given=arguments: app(given)) == 0, (line, capsys.readouterr())
            elif command == "sed":
                subprocess.run(["sed", *arguments], check=True)
            else:
                assert line.startswith("pip install 'spark-vae-anomaly["), line
    return capsys.readouterr().out
