"""A small client of the HTTP API for the command line. It knows nothing that others could not know."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

import httpx

from overtone.cli.options import load_settings
from overtone.errors import OvertoneError
from overtone.supervisor import Note

DEFAULT_URL = "http://127.0.0.1:8080"
TIMEOUT_S = 600.0  # an answer of a cold engine may take a while; connecting may not
CONNECT_TIMEOUT_S = 10.0


def connect(url: str | None, key: str | None) -> Client:
    """Return a client of the service at `url`, else of the one that runs on this machine's data folder."""
    try:
        note = Note.load(load_settings().run)
    except (OSError, ValueError):
        note = Note(0, DEFAULT_URL)
    same = url is None or url.rstrip("/") == note.url
    return Client(url or note.url, key, note.certificate if same else "")


class Client:
    """Speaks to one service as one caller. A failure is an OvertoneError in the server's own words."""

    def __init__(self, url: str, key: str | None = None, certificate: str = ""):
        """Speak to the service at `url`; a certificate that signs itself must be given to be trusted."""
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

    def delete(self, path: str) -> dict[str, Any]:
        return self._send("DELETE", path)

    def close(self) -> None:
        self._http.close()

    def _send(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        try:
            response = self._http.request(method, path, **options)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise OvertoneError(
                f"Nothing answers at {self.url}. Start the service with `overtone serve`, "
                "or say where it is with --url or OVERTONE_URL."
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise OvertoneError(f"{self.url} did not answer: {error or type(error).__name__}.") from error
        return _answer(response, self.url)


def _answer(response: httpx.Response, url: str) -> dict[str, Any]:
    try:
        body: dict[str, Any] = response.json()
    except ValueError:
        raise OvertoneError(
            f"{url} answered {response.status_code} with something that is not JSON; is Overtone there?"
        ) from None
    if response.is_error:
        raise OvertoneError(
            body.get("error", {}).get("message") or f"The service answered {response.status_code}."
        )
    return body
