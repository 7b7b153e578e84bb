"""Finds the model that a user means by its id, the start of its id, its display name, or `@latest`."""

from __future__ import annotations

from contextlib import suppress
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from overtone.cli.names import short, tuned_model_name
from overtone.errors import OvertoneError

if TYPE_CHECKING:
    from overtone.cli.client import Client

LATEST = "@latest"
MAX_SHOWN = 5
SEE_ALL = "See them all: overtone list"
OR_BASES = ", overtone models list"


def find_tuned_model(client: Client, typed: str) -> dict[str, Any]:
    """Return a tuned model. Raises OvertoneError that names the candidates."""
    from overtone.cli.client import NotThere

    if typed != LATEST:
        try:
            return client.get(f"/v1beta/{tuned_model_name(typed)}")
        except NotThere as error:
            missing = str(error)
    found = list(client.list_tuned_models())
    if typed == LATEST:
        if not found:
            raise OvertoneError("There is no tuned model yet. Make one with: overtone tune FILE")
        return max(found, key=lambda each: str(each["createTime"]))
    matches = _matches(short(typed), found)
    if len(matches) == 1:
        return matches[0]
    if matches:
        names = ", ".join(short(each["name"]) for each in matches[:MAX_SHOWN])
        more = f" and {len(matches) - MAX_SHOWN} more" if len(matches) > MAX_SHOWN else ""
        raise OvertoneError(
            f"{typed!r} matches {len(matches)} tuned models: {names}{more}. Type more of the id."
        )
    raise OvertoneError(missing + did_you_mean(typed, found))


def did_you_mean(typed: str, found: list[dict[str, Any]]) -> str:
    """Return the last sentence of an error: it suggests similar names, or says how to list them all."""
    ids = {short(each["name"]): short(each["name"]) for each in found}
    ids |= {each["displayName"].casefold(): short(each["name"]) for each in found if each.get("displayName")}
    close = dict.fromkeys(ids[name] for name in get_close_matches(short(typed).casefold(), ids, n=3))
    return f" Did you mean {', '.join(close)}?" if close else f" {SEE_ALL}"


def find_answering(client: Client, typed: str) -> str:
    """Return the resource name of the model to ask: a tuned model, else a base model of that name."""
    from overtone.cli.client import NotThere

    if typed.startswith(("models/", "tunedModels/")):
        return typed
    try:
        return str(find_tuned_model(client, typed)["name"])
    except OvertoneError as error:
        with suppress(NotThere):
            return str(client.get(f"/v1beta/models/{typed}")["name"])
        raise OvertoneError(f"{error}{OR_BASES if str(error).endswith(SEE_ALL) else ''}") from None


def _matches(typed: str, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the models with this display name, else those whose id starts with it."""
    named = [each for each in found if each.get("displayName", "").casefold() == typed.casefold()]
    return named or [each for each in found if short(each["name"]).startswith(typed)]
