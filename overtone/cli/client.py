"""A small client of the HTTP API for the command line. It uses only what every other client can use."""

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
TIMEOUT_S = 600.0  # a cold engine may take a while to answer; connecting must be quick
CONNECT_TIMEOUT_S = 10.0
EVENT = "data:"  # the prefix of a server-sent event


def connect(url: str | None, key: str | None) -> Client:
    """Return a client of the service at `url`, or without one of the service that uses this data folder."""
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
    """The service has no such resource, or does not show it to this caller."""


class NotAllowed(OvertoneError):
    """The service needs a key, or a different one."""


class Away(OvertoneError):
    """The service does not answer, or the answer broke off."""


class Client:
    """Calls one service as one caller. A failure raises OvertoneError with the server's own message."""

    def __init__(self, url: str, key: str | None = None, certificate: str = ""):
        """Use the service at `url`. Pass its certificate if it is self-signed."""
        if "://" not in url:
            raise OvertoneError(f"The address {url!r} has no scheme; write http://{url}")
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
        """Return the operation that creates (or created) a tuned model; None if the service shows none."""
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
        """Yield the chunks of a streamed answer as they arrive. Raises OvertoneError, also for a late error."""
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
    """Turn connection errors into Away, with a sentence that says what to do."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise Away(
            f"No service answers at {url}. Start one with `{program()} serve`, "
            "or give its address with --url or OVERTONE_URL."
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        is_other_door = isinstance(error, httpx.RemoteProtocolError) and "illegal" in str(error)
        hint = " This may be the gRPC port; the HTTP port is one lower." if is_other_door else ""
        raise Away(
            f"{url} did not answer: {str(error).rstrip('.') or type(error).__name__}.{hint}"
        ) from error


def _part(value: dict[str, Any]) -> dict[str, Any]:
    if "error" in value:
        raise OvertoneError(f"The answer broke off: {in_flags(value['error']['message'])}")
    return value


def _answer(response: httpx.Response, url: str) -> dict[str, Any]:
    try:
        body: dict[str, Any] = response.json()
    except ValueError:
        raise OvertoneError(
            f"{url} answered {response.status_code} with something other than JSON. Is it an Overtone service?"
        ) from None
    if response.is_error:
        message = body.get("error", {}).get("message") or f"The service answered {response.status_code}."
        raise _KINDS.get(response.status_code, OvertoneError)(in_flags(message) + _about_key(response))
    return body


_KINDS = {401: NotAllowed, 403: NotAllowed, 404: NotThere}


def _about_key(response: httpx.Response) -> str:
    """Say where the key came from if it may be the cause, or how to give one."""
    if response.status_code not in (400, 401, 403) or "key" not in response.text.lower():
        return ""
    sent = response.request.headers.get("x-goog-api-key", "")
    if not sent:
        return " This service needs a key: export OVERTONE_API_KEY=KEY, or pass --key KEY."
    source = next((name for name in KEY_VARIABLES if os.environ.get(name) == sent), "")
    return f" (The key came from ${source}.)" if source else ""
