"""What the API offers, said three ways from one table: discovery document, OpenAPI, a page to read.

A method that exists only to say that it is not supported is in none of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from overtone.doors.gemini.bindings import Binding, list_bindings
from overtone.doors.gemini.discovery import discovery_document
from overtone.doors.gemini.messages import descriptor_of
from overtone.doors.gemini.openapi import openapi_document
from overtone.doors.gemini.rpcs import GEMINI, RPCS, VERSIONS
from overtone.doors.method import Method
from overtone.errors import NotFound, shown

TITLE = "Overtone: tuning by the Gemini API"
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title> <style> :root {{ color-scheme: light dark }} body {{ font: 16px/1.5 system-ui, sans-serif;
max-width: 60rem; margin: 2rem auto; padding: 0 1rem }} code {{ font: 0.9em ui-monospace, monospace }} h2 {{
margin-top: 2.5rem }} article {{ border-top: 1px solid #8884; padding: 0.5rem 0 }} dt {{ float: left; clear:
left; width: 6rem }} </style> <h1>{title}</h1> <p>The Gemini API's paths stand under each of {versions}. The same
methods answer over gRPC. For programs: <a href="/openapi.json">OpenAPI</a>, <a
href="/$discovery/rest?version=v1beta">discovery</a>.</p> {services} </html>
"""
WELCOME = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Overtone</title> <style> :root {{ color-scheme: light dark }} body {{ font: 16px/1.5 system-ui, sans-serif;
max-width: 44rem; margin: 3rem auto; padding: 0 1rem }} pre {{ background: #8882; padding: 0.8rem; overflow-x: auto }}
</style> <h1>Overtone</h1> <p>The Gemini API's tuning service, on your own machine. It answers here: point your code at
<code>{url}</code> and change nothing else.</p>
<pre>overtone tune support.csv --input message --output category
overtone watch
overtone generate support "Where is my parcel?"</pre>
<pre>curl "{url}/v1beta/tunedModels?key=KEY"</pre>
<p><a href="/reference">Every method</a> · <a href="/openapi.json">OpenAPI</a> · <a href="/healthz">state of the
service</a> · <a href="/v1beta/models">base models</a> · <a href="/v1beta/tunedModels">tuned models</a></p> </html>
"""


def routes(servicers: Mapping[str, object], rpcs: Sequence[Method] = RPCS) -> list[Route]:
    """Return the routes of the three documents, and of the page at the address itself."""
    bindings = list_bindings(rpcs, servicers)
    of_gemini = [binding for binding in bindings if binding.rpc.family == GEMINI]

    async def discovery(request: Request) -> Response:
        version = request.query_params.get("version", "v1beta")
        if version not in VERSIONS:
            raise NotFound(f"There is no version {shown(version)}; there are {', '.join(VERSIONS)}.")
        return JSONResponse(discovery_document(of_gemini, version, str(request.base_url), TITLE))

    async def openapi(request: Request) -> Response:
        return JSONResponse(openapi_document(bindings, TITLE))

    async def welcome(request: Request) -> Response:
        return HTMLResponse(WELCOME.format(url=escape(str(request.base_url).rstrip("/"))))

    async def page(request: Request) -> Response:
        return HTMLResponse(reference_page(bindings))

    return [
        Route("/", welcome),
        Route("/$discovery/rest", discovery),
        Route("/openapi.json", openapi),
        Route("/reference", page),
    ]


def reference_page(bindings: Sequence[Binding]) -> str:
    """Return the methods by service, as a page for people."""
    services: dict[str, list[str]] = {}
    for binding in bindings:
        services.setdefault(binding.rpc.service, []).append(_article(binding))
    parts = (f"<h2>{escape(name)}</h2>\n{''.join(articles)}" for name, articles in services.items())
    return PAGE.format(title=TITLE, versions=", ".join(VERSIONS), services="\n".join(parts))


def _article(binding: Binding) -> str:
    rpc = binding.rpc
    fields = ", ".join(spec.json_name for spec in binding.query_fields) or "none"
    body = binding.body.name if binding.body is not None else "none"
    rows = {"Query": fields, "Body": body, "Answer": descriptor_of(rpc.reply).name, "gRPC": rpc.method}
    items = "".join(f"<dt>{name}</dt><dd><code>{escape(text)}</code></dd>" for name, text in rows.items())
    head = f"<h3><code>{rpc.verb} {escape(binding.path)}</code></h3>"
    return f"<article>{head}<p>{escape(binding.description)}</p><dl>{items}</dl></article>\n"
