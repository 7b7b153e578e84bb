"""Google's JavaScript client in real browsers, on a page of another origin than the service's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from tests.contract.browsers import PROGRAMS as BROWSERS
from tests.contract.browsers import find_browser, open_page
from tests.contract.environments import PROGRAMS, node_folder
from tests.patience import HANG_S
from tests.serving import Service, running_service
from tests.tiny import make_base

pytestmark = pytest.mark.slow

COMMONJS = {"p-retry": "p-retry/index.js", "retry": "retry/index.js", "./lib/retry": "retry/lib/retry.js",
            "./retry_operation": "retry/lib/retry_operation.js"}  # what the client needs besides itself  # fmt: skip
AS_A_MODULE = """
const found = {};
const require = (name) => {
  if (!found[name]) (sources[name])(found[name] = {exports: {}}, found[name].exports, require);
  return found[name].exports;
};
export default require('p-retry');
"""


def p_retry(modules: Path) -> str:
    """Return p-retry, which is published for node alone, as a module for browsers."""
    sources = (
        f"{json.dumps(name)}: (module, exports, require) => {{\n{(modules / path).read_text()}\n}}"
        for name, path in COMMONJS.items()
    )
    return f"const sources = {{{','.join(sources)}}};{AS_A_MODULE}"


class Site:
    """A web site that serves the page and hears what came of it."""

    def __init__(self, files: dict[str, tuple[str, str]]):
        site = self
        self.result: Any = None
        self.heard = Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                kind, text = files.get(self.path.partition("?")[0], ("", ""))
                self.send_response(200 if kind else 404)
                self.send_header("content-type", kind or "text/plain")
                self.end_headers()
                self.wfile.write(text.encode())

            def do_POST(self) -> None:
                site.result = json.loads(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(204)
                self.end_headers()
                site.heard.set()

            def log_message(self, *words: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def running_site() -> Iterator[Site]:
    modules = node_folder() / "node_modules"
    script = "text/javascript"
    site = Site(
        {
            "/": ("text/html", (PROGRAMS / "browser.html").read_text()),
            "/genai.mjs": (script, (modules / "@google/genai/dist/web/index.mjs").read_text()),
            "/p-retry.mjs": (script, p_retry(modules)),
        }
    )
    thread = Thread(target=site.server.serve_forever)
    thread.start()
    try:
        yield site
    finally:
        site.server.shutdown()
        site.server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def named_site() -> Iterator[Site]:
    with running_site() as site:
        yield site


@pytest.fixture(scope="module")
def lab(named_site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that pages of the named site may call."""
    data = tmp_path_factory.mktemp("lab") / "data"
    make_base(data / "bases")
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("OVERTONE_CORS_ORIGINS", named_site.origin)
        with running_service(data) as service:
            yield service


def visit(browser: str, site: Site, service: Service, profile: Path) -> Any:
    """Show the site's page in a browser and return what it posted."""
    site.heard.clear()
    with open_page(browser, f"{site.origin}/?service={service.url}", profile):
        log = profile / "output.log"
        assert site.heard.wait(HANG_S), f"{browser} said nothing:\n{log.read_text(errors='replace')[-2000:]}"
    return site.result


@pytest.mark.parametrize("browser", BROWSERS)
def test_a_page_of_a_named_origin_may_call(
    browser: str, named_site: Site, lab: Service, tmp_path: Path
) -> None:
    find_browser(browser)
    result = visit(browser, named_site, lab, tmp_path / "profile")
    assert "error" not in result, result
    assert (result["streamed"], result["status"]) == (result["text"], 404)
    assert result["totalTokens"] > 0


@pytest.mark.parametrize("browser", BROWSERS)
def test_a_page_of_any_other_origin_may_not(browser: str, lab: Service, tmp_path: Path) -> None:
    find_browser(browser)
    with running_site() as foreign:
        result = visit(browser, foreign, lab, tmp_path / "profile")
    assert "fetch" in result["error"].lower() or "network" in result["error"].lower(), result
