"""Messages to token ids and back, in the words of the base model's own chat template.

The template comes from the model's publisher, hence from a stranger: it runs in a sandbox. It is rendered as
transformers' `apply_chat_template` renders it, with one difference: what a user writes never becomes a
control token. Who types `<|im_end|>` sends those ten characters, not the end of the turn. No torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from tokenizers import Tokenizer

from overtone.errors import InvalidArgument, OvertoneError
from overtone.model.template import compile_template

Message = Mapping[str, str]  # {"role": "user" | "assistant" | "system", "content": …}

ESCAPE = "\U0010fffe"  # a noncharacter; with the character after it, a control token that a user has spelled
FIRST_INDEX = 0xF0000  # private use: ESCAPE + chr(FIRST_INDEX + n) is the n-th of `_spellings`


class Chat:
    """A base model's tokenizer and chat template. Safe to call from several threads."""

    def __init__(self, base_folder: Path):
        """Read tokenizer.json, chat_template.jinja and config.json from a base folder, in about 0.1 s."""
        self._folder = base_folder
        self._tokenizer = self._load_tokenizer()
        self._template = compile_template((base_folder / "chat_template.jinja").read_text(encoding="utf-8"))
        added = self._tokenizer.get_added_tokens_decoder()
        self._control_ids = {token.content: token_id for token_id, token in added.items() if token.special}
        self._spellings = [ESCAPE, *self._control_ids]
        self._control = _any_of(self._control_ids)
        self._unsafe = _any_of(self._spellings)
        self._names = self._token_names()

    def prompt_ids(self, messages: Sequence[Message], system: str | None = None) -> list[int]:
        """Return the ids of a conversation, up to where the model's answer begins.

        Raises InvalidArgument when the template refuses it: a system message perhaps, or an order of roles.
        """
        first = [{"role": "system", "content": system}] if system else []
        return self._encode(self._render([*first, *messages], add_generation_prompt=True))

    def example_ids(self, text_input: str, output: str) -> tuple[list[int], int]:
        """Return the ids of a training example, and how many of them are prompt.

        The output is encoded apart from the prompt, as it will be generated, and closes the turn.
        """
        prompt = self.prompt_ids([{"role": "user", "content": text_input}])
        return [*prompt, *self._encode(self._escape(output)), self.end_of_turn_id], len(prompt)

    def count(self, text: str) -> int:
        """Return how many tokens a text has by itself."""
        return len(self._encode(self._escape(text)))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of the ids, without control tokens."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    @cached_property
    def end_of_turn_id(self) -> int:
        """The control token that the template puts behind an answer, else the one that ends a text."""
        question, answer = "\ue000", "\ue001"  # private use: no template spells them
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        _, _, rest = self._render(messages, add_generation_prompt=False).rpartition(answer)
        found = self._control.search(rest)
        if found is None and not self._config_eos_ids:
            raise OvertoneError(f"{self._folder} does not say which token ends an answer.")
        return self._control_ids[found.group()] if found else min(self._config_eos_ids)

    @cached_property
    def eos_ids(self) -> frozenset[int]:
        """Every id that ends an answer."""
        return self._config_eos_ids | {self.end_of_turn_id}

    @cached_property
    def _config_eos_ids(self) -> frozenset[int]:
        given = (
            self._read_json(name).get("eos_token_id") for name in ("config.json", "generation_config.json")
        )
        return frozenset(token_id for ids in given for token_id in _as_list(ids))

    def _token_names(self) -> dict[str, str]:
        """Return what the template may call `bos_token` and `eos_token`."""
        bos, eos = _as_list(self._read_json("config.json").get("bos_token_id")), sorted(self._config_eos_ids)
        first = {"bos_token": bos[:1], "eos_token": eos[:1]}
        return {name: self._tokenizer.id_to_token(ids[0]) or "" for name, ids in first.items() if ids}

    def _read_json(self, name: str) -> dict[str, Any]:
        path = self._folder / name
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def _render(self, messages: Sequence[Message], add_generation_prompt: bool) -> str:
        """Return the template's text. Control tokens in it are the template's own; users' are escaped."""
        safe = [{**message, "content": self._escape(message["content"])} for message in messages]
        try:
            return self._template.render(
                messages=safe, add_generation_prompt=add_generation_prompt, **self._names
            )
        except TemplateError as error:
            raise InvalidArgument(
                f"The base model's chat template refuses these contents: {error}"
            ) from error

    def _encode(self, rendered: str) -> list[int]:
        if ESCAPE not in rendered:
            ids: list[int] = self._tokenizer.encode(rendered, add_special_tokens=False).ids
            return ids
        pieces = re.split(f"({self._control.pattern})", rendered)
        return [token_id for piece in pieces for token_id in self._piece_ids(piece)]

    def _piece_ids(self, piece: str) -> list[int]:
        """Encode one control token, or a stretch of text between two of them."""
        if piece in self._control_ids:
            return [self._control_ids[piece]]
        ids: list[int] = self._plain_tokenizer.encode(self._unescape(piece), add_special_tokens=False).ids
        return ids

    def _escape(self, text: str) -> str:
        return self._unsafe.sub(
            lambda found: ESCAPE + chr(FIRST_INDEX + self._spellings.index(found.group())), text
        )

    def _unescape(self, text: str) -> str:
        return re.sub(f"{ESCAPE}(.)", lambda found: self._spellings[ord(found.group(1)) - FIRST_INDEX], text)

    def _load_tokenizer(self) -> Tokenizer:
        path = self._folder / "tokenizer.json"
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing narrower
            raise OvertoneError(f"{path} is missing or damaged ({error}); pull the base again.") from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    @cached_property
    def _plain_tokenizer(self) -> Tokenizer:
        """A second copy that reads control tokens as ordinary text; few users ever spell one."""
        tokenizer = self._load_tokenizer()
        tokenizer.encode_special_tokens = True
        return tokenizer


def _any_of(texts: Sequence[str] | Mapping[str, int]) -> re.Pattern[str]:
    longest_first = sorted(texts, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def _as_list(ids: int | list[int] | None) -> list[int]:
    return ids if isinstance(ids, list) else [] if ids is None else [ids]
