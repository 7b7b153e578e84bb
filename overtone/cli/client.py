"""A small client of the HTTP API for the command line. It knows nothing that others could not know."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from overtone.cli.flags import in_flags
from overtone.cli.options import KEY_VARIABLES, load_settings, program
from overtone.dataset.examples import Dataset
from overtone.errors import OvertoneError
from overtone.lock import Note

DEFAULT_URL = "http://127.0.0.1:8080"
TIMEOUT_S = 600.0  # an answer of a cold engine may take a while; connecting may not
CONNECT_TIMEOUT_S = 10.0
EVENT = "data:"  # how a server-sent event begins


def connect(url: str | None, key: str | None) -> Client:
    """Return a client of the service at `url`, else of the one that runs on this machine's data folder."""
    try:
        note = Note.load(load_settings().run)
    except (OSError, ValueError):
        note = Note(0, DEFAULT_URL)
    same = url is None or url.rstrip("/") == note.url
    return Client(url or note.url, key, note.certificate if same else "")


def to_training_data(dataset: Dataset) -> dict[str, Any]:
    """Return pairs as the tuning API takes them."""
    pairs = [{"text_input": each.text_input, "output": each.output} for each in dataset.examples]
    return {"examples": {"examples": pairs}}


class NotThere(OvertoneError):
    """The service knows no such thing, or does not show it to this caller."""


class NotAllowed(OvertoneError):
    """The service wants a key, or another one."""


class Away(OvertoneError):
    """Nothing answers, or not to the end."""


class Client:
    """Speaks to one service as one caller. A failure is an OvertoneError in the server's own words."""

    def __init__(self, url: str, key: str | None = None, certificate: str = ""):
        """Speak to the service at `url`; a certificate that signs itself must be given to be trusted."""
        if "://" not in url:
            raise OvertoneError(f"The address {url!r} lacks its scheme; write http://{url}")
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url,
            verify=ssl.create_default_context(cafile=certificate) if certificate else True,
            headers={"x-goog-api-key": key} if key else {},
            timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
        )

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        return self._send("GET", path, params=params)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._send("POST", path, json=body)

    def create(self, tuned_model: dict[str, Any], tuned_model_id: str | None = None) -> dict[str, Any]:
        """Create a tuned model and return its operation."""
        params = {"tunedModelId": tuned_model_id} if tuned_model_id is not None else {}
        return self._send("POST", "/v1beta/tunedModels", json=tuned_model, params=params)

    def list_tuned_models(self, page_size: int = 50, filter_: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield every tuned model that the caller may see, page by page."""
        params = {"pageSize": page_size, **({"filter": filter_} if filter_ else {})}
        token = ""
        while True:
            page = self.get("/v1beta/tunedModels", **params, **({"pageToken": token} if token else {}))
            yield from page.get("tunedModels", [])
            token = page.get("nextPageToken", "")
            if not token:
                return

    def operation_of(self, name: str) -> dict[str, Any] | None:
        """Return the operation that makes, or made, a tuned model; None where the service shows none."""
        try:
            found = self.get(f"/v1beta/{name}/operations").get("operations", [])
        except NotThere:
            return None
        return found[0] if found else None

    def operations(self) -> dict[str, dict[str, Any]]:
        """Return the operations of every tuned model that the caller may see, by the model's name."""
        found: dict[str, dict[str, Any]] = {}
        token = ""
        while True:
            page = self.get("/v1beta/operations", **({"pageToken": token} if token else {}))
            found.update({each["metadata"]["tunedModel"]: each for each in page.get("operations", [])})
            token = page.get("nextPageToken", "")
            if not token:
                return found

    def delete(self, path: str) -> dict[str, Any]:
        return self._send("DELETE", path)

    def close(self) -> None:
        self._http.close()

    def stream(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the parts of a streamed answer as they come. Raises OvertoneError also for a fault on the way."""
        with (
            _told(self.url),
            self._http.stream("POST", path, json=body, params={"alt": "sse"}) as response,
        ):
            if response.is_error:
                response.read()
                _answer(response, self.url)
            for line in response.iter_lines():
                if line.startswith(EVENT):
                    yield _part(json.loads(line.removeprefix(EVENT)))

    def _send(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        with _told(self.url):
            response = self._http.request(method, path, **options)
        return _answer(response, self.url)


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Turn what keeps a call from its answer into Away, in a sentence."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise Away(
            f"Nothing answers at {url}. Start the service with `{program()} serve`, "
            "or say where it is with --url or OVERTONE_URL."
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        is_other_door = isinstance(error, httpx.RemoteProtocolError) and "illegal" in str(error)
        hint = " That may be the gRPC port; HTTP is the one before it." if is_other_door else ""
        raise Away(
            f"{url} did not answer: {str(error).rstrip('.') or type(error).__name__}.{hint}"
        ) from error


def _part(value: dict[str, Any]) -> dict[str, Any]:
    if "error" in value:
        raise OvertoneError(f"The answer ends here: {in_flags(value['error']['message'])}")
    return value


def _answer(response: httpx.Response, url: str) -> dict[str, Any]:
    try:
        body: dict[str, Any] = response.json()
    except ValueError:
        raise OvertoneError(
            f"{url} answered {response.status_code} with something that is not JSON; is Overtone there?"
        ) from None
    if response.is_error:
        message = body.get("error", {}).get("message") or f"The service answered {response.status_code}."
        raise _KINDS.get(response.status_code, OvertoneError)(in_flags(message) + _about_key(response))
    return body


_KINDS = {401: NotAllowed, 403: NotAllowed, 404: NotThere}


def _about_key(response: httpx.Response) -> str:
    """Say where the key came from when it may be the fault, or how to give one."""
    if response.status_code not in (400, 401, 403) or "key" not in response.text.lower():
        return ""
    sent = response.request.headers.get("x-goog-api-key", "")
    if not sent:
        return " This service wants a key: export OVERTONE_API_KEY=KEY, or say --key KEY."
    source = next((name for name in KEY_VARIABLES if os.environ.get(name) == sent), "")
    return f" (The key came from ${source}.)" if source else ""
