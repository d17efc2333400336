"""The model card in a real browser: it asks for nothing, and fits a phone."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from include.evidence import card_html, draw
from tests.evidence.packs import CLASSES, pack_of

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
PHONE = 390
# Shows the card as a phone would, then notes how wide it became and whether its plots were drawn.
PROBE = f"""<!doctype html><title>probe</title><iframe id=card src=/card style="width:{PHONE}px;height:800px"></iframe>
<pre id=found></pre><script>
document.getElementById("card").onload = event => {{
  const page = event.target.contentDocument, root = page.documentElement;
  const plots = [...page.querySelectorAll("figure svg")].filter(each => each.getBoundingClientRect().height > 100);
  const small = [...page.querySelectorAll("p, td, th, dd, figcaption")].map(
    each => parseFloat(page.defaultView.getComputedStyle(each).fontSize));
  document.getElementById("found").textContent =
    `width=${{root.scrollWidth}} plots=${{plots.length}} smallest=${{Math.min(...small)}}`;
}};
</script>"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> str:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        said = "SKIPPED: no chromium: the model card was NOT looked at in a browser. apt-get install chromium"
        warnings.warn(said, stacklevel=1)
        pytest.skip(said)
    return found


class Server:
    """Serves the card and the probe, and notes whatever it is asked for."""

    def __init__(self, card: bytes) -> None:
        pages = {"/card": card, "/probe": PROBE.encode()}
        asked = self.asked = []

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                body = pages.get(self.path)
                self.send_response(200 if body else 404)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def looked_at(browser: str, card: bytes, folder: Path) -> tuple[str, list[str]]:
    """Return what the probe found and what was asked for, of this server or, by proxy, of any other."""
    server = Server(card)
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"]
    flags += ["--disable-features=NetworkTimeServiceQuerying,OptimizationHints,MediaRouter"]
    flags += [f"--user-data-dir={folder}", "--virtual-time-budget=10000", "--window-size=1000,1000"]
    # Whatever the page asks of another host ends at our server, too.
    flags += [f"--host-resolver-rules=MAP * 127.0.0.1:{server.port}"]
    try:
        done = subprocess.run(
            [browser, *flags, "--dump-dom", f"http://127.0.0.1:{server.port}/probe"],
            capture_output=True, text=True, timeout=180, check=True,
        )  # fmt: skip
    finally:
        server.close()
    found = re.search(r'id="found">([^<]*)<', done.stdout)
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    return found[1], [path for path in server.asked if path != "/favicon.ico"]


def figures(found: str) -> dict[str, float]:
    return {name: float(value) for name, _, value in (each.partition("=") for each in found.split())}


@pytest.mark.parametrize("task", CLASSES)
def test_a_card_asks_for_nothing_and_fits_a_phone(browser: str, tmp_path: Path, task: str) -> None:
    pack = pack_of(task)
    plots = draw(pack.card, task)
    found, asked = looked_at(browser, card_html(pack, plots), tmp_path)
    assert asked == ["/probe", "/card"]
    seen = figures(found)
    assert seen["width"] <= PHONE, "the page must not scroll sideways"
    assert seen["plots"] == len(plots)
    assert seen["smallest"] >= 13


def test_the_probe_would_see_a_request_and_a_page_that_is_too_wide(browser: str, tmp_path: Path) -> None:
    bad = b"<!doctype html><img src=http://elsewhere.test/pixel.png><div style='width:900px'>wide</div><p>x</p>"
    found, asked = looked_at(browser, bad, tmp_path)
    assert "/pixel.png" in asked
    assert figures(found)["width"] > PHONE
