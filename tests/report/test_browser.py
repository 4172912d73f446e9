"""The page in a real browser, where there is one: it fits, and asks for nothing."""

import json
import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.report.conftest import EVALUATION, facts_of
from vae_model.report.evaluation import read
from vae_model.report.page import page

BROWSER = shutil.which("chromium-headless-shell") or shutil.which("chromium")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium (Debian: apt-get install chromium-headless-shell)")
TELLING = """<script>setTimeout(() => parent.postMessage({
  width: document.documentElement.scrollWidth,
  aside: [...document.querySelectorAll('.wide')].filter(one => one.scrollWidth > one.clientWidth).map(
    one => one.closest('section').id).join(' '),
}, '*'), 500)</script>"""
HEARING = "<script>addEventListener('message', told => Object.assign(document.body.dataset, told.data))</script>"


def without_policy(html):
    """The page without the rule by which it forbids itself to load anything: what is held to hold without it."""
    bare = re.sub(r"<meta http-equiv=[^>]*>", "", html)
    assert bare != html
    return bare


@pytest.fixture
def asked():
    """A server on loopback, its address, and the paths that it was asked for."""
    paths = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            """Note what was asked for."""
            paths.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", paths
        server.shutdown()
        thread.join()


def opened(file, folder, width=1280, dark=False):
    """The document as the browser has it in the end."""
    options = ["--no-sandbox", "--disable-gpu", f"--window-size={width},900", f"--user-data-dir={folder}/browser"]
    theme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    command = [BROWSER, *options, theme, "--virtual-time-budget=2000", "--dump-dom", f"file://{file}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.mark.slow
def test_nothing_is_asked_of_a_server(tmp_path, asked):
    """Markup in names and values loads nothing and runs nothing; in a page of one's own it would."""
    address, paths = asked
    text = f'"><img src={address}/image><script src={address}/script></script><svg onload="location=\'{address}/on\'">'
    html = without_policy(page(facts_of(tuple(f"{text}{i}" for i in range(3)), text)))
    (tmp_path / "page.html").write_text(html, encoding="utf-8")
    dom = opened(tmp_path / "page.html", tmp_path)
    assert paths == [] and "<img" not in dom and "<script" not in dom
    (tmp_path / "own.html").write_text(f"<p>{text}</p>", encoding="utf-8")
    opened(tmp_path / "own.html", tmp_path)
    assert "/image" in paths


def seen(html, folder, width):
    """How wide the page is on a screen of some width, and which sections have tables that are pushed aside to read."""
    (folder / "inner.html").write_text(without_policy(html.replace("</body>", f"{TELLING}</body>")), encoding="utf-8")
    frame = f'<iframe src="inner.html" width="{width}" height="900"></iframe>'  # a window is at least 500 wide
    (folder / "page.html").write_text(f"{frame}{HEARING}", encoding="utf-8")
    found = re.search(r'<body data-width="(\d+)" data-aside="([a-z ]*)"', opened(folder / "page.html", folder))
    assert found
    return int(found[1]), found[2].split()


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("text", ["EWR", "x" * 200, "1 " * 100], ids=["short", "one long word", "many words"])
def test_the_page_is_no_wider_than_the_screen(tmp_path, width, text):
    """Nothing has to be pushed aside to be read, on a screen or a phone, whatever the length of names and values."""
    html = page(facts_of(tuple(f"{text}{i}" for i in range(3)), text))
    found, _ = seen(html, tmp_path, width)
    assert found <= width


@pytest.mark.slow
@pytest.mark.parametrize(
    "word", ["average_minutes_of_delay_at_departure_us", "averageminutesofdelayatdepartureuscarrier"]
)
def test_no_table_is_wider_than_a_phone(tmp_path, word):
    """With columns whose names are 40 letters, which break anywhere: the numbers beside them are what counts."""
    evaluated = read(json.dumps(EVALUATION).encode(), "e.json")
    html = page(facts_of(tuple(f"{word}{i}" for i in range(3)), evaluation=evaluated))
    found, aside = seen(html, tmp_path, 390)
    assert found <= 390 and aside == []
