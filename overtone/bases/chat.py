"""Messages to token ids and back, through the base model's own chat template.

The template is untrusted code from the model's publisher, so it runs in a sandbox. It is rendered as transformers'
`apply_chat_template` renders it, with one difference: a user's text never becomes a control token. A user who
types `<|im_end|>` sends those ten characters, not the end of the turn. No torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from tokenizers import Tokenizer

from overtone import json_file
from overtone.bases.chat_template import compile_chat_template
from overtone.dataset.examples import Example
from overtone.errors import InvalidArgument, OvertoneError

Span = tuple[int, int]  # start and end of a run of ids
Message = Mapping[str, str]  # {"role": "user" | "assistant" | "system", "content": …}

ESCAPE = "\U0010fffe"  # a noncharacter; with the next character it encodes a user's control token
SEPARATORS = dict.fromkeys(range(0x1C, 0x20))  # white space to Python, not to Unicode
WHITE = "".join(filter(str.isspace, map(chr, range(0x3001)))).translate(SEPARATORS)
BATCH_TEXTS = 1000  # tokenised in one go: more are not faster, and all their tokens are in memory
FIRST_INDEX = 0xF0000  # private use: ESCAPE + chr(FIRST_INDEX + n) is the n-th of `_spellings`


class Chat:
    """A base model's tokenizer and chat template. Safe to call from several threads."""

    def __init__(self, base_folder: Path):
        """Read tokenizer.json, chat_template.jinja and config.json from a base folder, in about 0.1 s.

        Raises OvertoneError if one is missing or damaged, or if the tokenizer has tokens that the model lacks.
        """
        self._folder = base_folder
        self._tokenizer = self._load_tokenizer()
        template = (base_folder / "chat_template.jinja").read_text(encoding="utf-8")
        self._chat_template = compile_chat_template(template, _date_of(base_folder))
        added = self._tokenizer.get_added_tokens_decoder()
        self._require_rows(added)
        self._special = {token.content: token_id for token_id, token in added.items() if token.special}
        self._strips_left = {token.content for token in added.values() if token.lstrip}
        self._strips_right = {token.content for token in added.values() if token.rstrip}
        self._names = self._token_names()
        self._spell({})
        plain = {token.content: token_id for token_id, token in added.items() if not token.special}
        self._spell({name: plain[name] for name in self._find_markers(template, plain)})

    def _spell(self, markers: Mapping[str, int]) -> None:
        """Collect the control tokens: the special ones, and those that the template puts between turns."""
        self._markers = markers
        self._control_ids = {**self._special, **markers}
        self._spellings = [ESCAPE, *self._control_ids]
        self._control = _any_of(self._control_ids)
        self._unsafe = _any_of(self._spellings)
        self._unsafe_in_answers = _any_of([ESCAPE, *self._special])  # a model may learn to write a <think>

    def _find_markers(self, template: str, plain: Mapping[str, int]) -> list[str]:
        """Return the added tokens that are not special but that the template writes by itself."""
        turns = [{"role": role, "content": ""} for role in ("user", "assistant", "user")]
        with suppress(InvalidArgument):
            template += self._render(turns, add_generation_prompt=True)
        return [name for name in plain if name in template and name.strip()]

    def _require_rows(self, added: Mapping[int, Any]) -> None:
        """Raise unless every token of the tokenizer has a row in the model's embedding."""
        rows = self._read_json("config.json").get("vocab_size")
        reachable = [token_id for token_id, token in added.items() if not token.special]
        last = max([self._tokenizer.get_vocab_size(with_added_tokens=False) - 1, *reachable])
        if isinstance(rows, int) and last >= rows:
            raise OvertoneError(
                f"The tokenizer has {last + 1} tokens, the model {rows}: its embedding was not resized when tokens "
                "were added, or tokenizer.json belongs to another model."
            )

    def prompt_ids(self, messages: Sequence[Message], system: str | None = None) -> list[int]:
        """Return the ids of a conversation, up to the start of the model's answer.

        Raises InvalidArgument if the template refuses it, for example a system message or an order of roles.
        """
        first = [{"role": "system", "content": system}] if system else []
        return self._encode(self._render([*first, *messages], add_generation_prompt=True))

    def encode_example(self, example: Example) -> tuple[list[int], list[Span]]:
        """Return the ids of a training example, and the span of ids of each answer in it.

        A span begins after the prompt of its answer and ends with the turn. The last answer is encoded separately from
        its prompt, as it will be generated. Earlier answers are encoded as the template renders history, which may trim
        them. Raises InvalidArgument if the template refuses the turns, or changes earlier ones when later ones follow.
        """
        messages = [{"role": turn.role, "content": turn.text} for turn in example.turns]
        if not messages or messages[-1]["role"] != "assistant":
            raise InvalidArgument("A training example must end with an answer.")
        prompt, spans = self._encode_history(messages[:-1])
        ids = [*prompt, *self._encode(self._escape_turn(messages[-1])), self.end_of_turn_id]
        return ids, [*spans, (len(prompt), len(ids))]

    def count(self, text: str) -> int:
        """Return how many tokens a text has by itself."""
        return len(self._encode(self._escape(text)))

    def count_all(self, texts: Sequence[str]) -> list[int]:
        """Return what `count` says of each text; many together are counted faster."""
        escaped = [self._escape(text) for text in texts]
        plain = [text for text in escaped if ESCAPE not in text]
        counts = (
            len(encoding)
            for start in range(0, len(plain), BATCH_TEXTS)
            for encoding in self._tokenizer.encode_batch_fast(
                plain[start : start + BATCH_TEXTS], add_special_tokens=False
            )
        )
        return [next(counts) if ESCAPE not in text else len(self._encode(text)) for text in escaped]

    @property
    def control_tokens(self) -> list[str]:
        """The texts that are control tokens when the template writes them."""
        return list(self._control_ids)

    @property
    def special_tokens(self) -> list[str]:
        """Those of the control tokens that not even an answer may teach."""
        return list(self._special)

    @cached_property
    def roles(self) -> frozenset[str]:
        """The roles whose turns the template writes into a prompt."""
        text = "\ue000"  # private use: no template spells it
        asked = {"role": "user", "content": "?"}
        tried = {
            "system": [{"role": "system", "content": text}, asked],
            "assistant": [asked, {"role": "assistant", "content": text}, asked],
        }
        return frozenset(
            ["user", *(role for role, messages in tried.items() if self._writes(messages, text))]
        )

    def _writes(self, messages: Sequence[Message], text: str) -> bool:
        try:
            return text in self._render(messages, add_generation_prompt=True)
        except InvalidArgument:
            return False

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of the ids, without control tokens."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    @cached_property
    def end_of_turn_id(self) -> int:
        """The control token that the template puts after an answer, else the end-of-text token."""
        question, answer = "\ue000", "\ue001"  # private use: no template spells them
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        _, _, rest = self._render(messages, add_generation_prompt=False).rpartition(answer)
        found = self._control.search(rest)
        if found is not None:
            return self._control_ids[found.group()]
        if not self._config_eos_ids:
            raise OvertoneError(f"{self._folder} defines no token that ends an answer.")
        named = self._tokenizer.token_to_id(self._names.get("eos_token", ""))
        return min(self._config_eos_ids) if named is None else int(named)

    @cached_property
    def eos_ids(self) -> frozenset[int]:
        """Every id that ends an answer."""
        return self._config_eos_ids | {self.end_of_turn_id}

    @cached_property
    def _config_eos_ids(self) -> frozenset[int]:
        given = (
            self._read_json(name).get("eos_token_id") for name in ("config.json", "generation_config.json")
        )
        return frozenset(token_id for ids in given for token_id in _as_list(ids) if isinstance(token_id, int))

    def _token_names(self) -> dict[str, str]:
        """Return the template's `bos_token` and `eos_token`: tokenizer_config.json's, else by config.json's ids."""
        bos, eos = _as_list(self._read_json("config.json").get("bos_token_id")), sorted(self._config_eos_ids)
        first = {"bos_token": bos[:1], "eos_token": eos[:1]}
        by_id = {name: self._tokenizer.id_to_token(ids[0]) or "" for name, ids in first.items() if ids}
        published = self._read_json("tokenizer_config.json")
        named = {name: _content_of(published.get(name)) for name in first}
        return {**by_id, **{name: text for name, text in named.items() if text}}

    def _read_json(self, name: str) -> dict[str, Any]:
        return json_file.read_if_there(self._folder / name)

    def _render(self, messages: Sequence[Message], add_generation_prompt: bool) -> str:
        """Return the rendered text. Its control tokens are the template's own; those in users' texts are escaped."""
        safe = [{**message, "content": self._escape_turn(message)} for message in messages]
        try:
            return self._chat_template.render(
                messages=safe, add_generation_prompt=add_generation_prompt, **self._names
            )
        except TemplateError as error:
            raise InvalidArgument(
                f"The base model's chat template refuses these contents: {error}"
            ) from error

    def _encode_history(self, messages: Sequence[Message]) -> tuple[list[int], list[Span]]:
        """Return the ids of a prompt, and the spans of the answers in it, including the ends of their turns.

        The ids are those of `prompt_ids`, with one exception: if an answer begins with white space that the tokenizer
        would join with the template's, the two are encoded separately, because the answer is generated that way.
        """
        rendered = self._render(messages, add_generation_prompt=True)
        ids: list[int] = []
        spans = []
        begin = 0  # start of the part not yet encoded: a control token, which never merges with text
        for index, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            prompt = self._render(messages[:index], add_generation_prompt=True)
            end_of_turn = self._find_end_of_turn(rendered, prompt, message, index)
            head = self._encode(prompt[begin:])
            whole = self._encode(rendered[begin : end_of_turn.end()])
            if whole[: len(head)] != head:
                whole = [*head, *self._encode(rendered[len(prompt) : end_of_turn.end()])]
            spans.append((len(ids) + len(head), len(ids) + len(whole)))
            ids += whole[:-1]
            begin = end_of_turn.start()
        return [*ids, *self._encode(rendered[begin:])], spans

    def _find_end_of_turn(self, rendered: str, prompt: str, answer: Message, index: int) -> re.Match[str]:
        """Return where an answer's turn ends in a conversation that continues after it.

        White space around the answer may be trimmed, or be the template's. Raises InvalidArgument if there is
        anything but the answer, or if no token ends the turn.
        """
        text = self._escape_turn(answer).strip()
        start = _skip_white(rendered, len(prompt))
        found = self._control.match(rendered, _skip_white(rendered, start + len(text)))
        is_same = rendered.startswith(prompt) and rendered.startswith(text, start)
        if not is_same or found is None or self._control_ids[found.group()] != self.end_of_turn_id:
            raise InvalidArgument(
                f"The base model's chat template changes turns[{index}] when later turns follow, so this answer "
                "cannot be trained inside its conversation. Split the conversation into pairs."
            )
        return found

    def _encode(self, rendered: str) -> list[int]:
        if ESCAPE not in rendered:
            ids: list[int] = self._tokenizer.encode(rendered, add_special_tokens=False).ids
            return ids
        pieces = re.split(f"({self._control.pattern})", rendered)
        self._swallow(pieces)
        return [token_id for piece in pieces for token_id in self._piece_ids(piece)]

    def _swallow(self, pieces: list[str]) -> None:
        """Remove the white space that a control token absorbs: Phi-3's tokens absorb what follows them."""
        for i in range(1, len(pieces), 2):  # text and control tokens alternate
            if pieces[i] in self._strips_left:
                pieces[i - 1] = pieces[i - 1].rstrip(WHITE)
            if pieces[i] in self._strips_right:
                pieces[i + 1] = pieces[i + 1].lstrip(WHITE)

    def _piece_ids(self, piece: str) -> list[int]:
        """Encode one control token, or the text between two of them."""
        if piece in self._control_ids:
            return [self._control_ids[piece]]
        ids: list[int] = self._plain_tokenizer.encode(self._unescape(piece), add_special_tokens=False).ids
        return ids

    def _escape_turn(self, message: Message) -> str:
        is_answer = message["role"] == "assistant"
        return self._escape(message["content"], self._unsafe_in_answers if is_answer else None)

    def _escape(self, text: str, unsafe: re.Pattern[str] | None = None) -> str:
        """Return a text with its control tokens escaped: all of them, or those that match a pattern."""
        return (unsafe or self._unsafe).sub(
            lambda found: ESCAPE + chr(FIRST_INDEX + self._spellings.index(found.group())), text
        )

    def _unescape(self, text: str) -> str:
        return re.sub(f"{ESCAPE}(.)", lambda found: self._spellings[ord(found.group(1)) - FIRST_INDEX], text)

    def _load_tokenizer(self, without: Container[str] = ()) -> Tokenizer:
        path = self._folder / "tokenizer.json"
        try:
            tokenizer = Tokenizer.from_file(str(path)) if not without else _read_without(path, without)
        except Exception as error:  # the library raises nothing narrower
            raise OvertoneError(f"{path} is missing or damaged ({error}); pull the base again.") from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    @cached_property
    def _plain_tokenizer(self) -> Tokenizer:
        """A second copy of the tokenizer that reads control tokens as ordinary text; it is rarely needed."""
        tokenizer = self._load_tokenizer(without=self._markers)
        tokenizer.encode_special_tokens = True
        return tokenizer


def _any_of(texts: Sequence[str] | Mapping[str, int]) -> re.Pattern[str]:
    longest_first = sorted(texts, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def _skip_white(text: str, start: int) -> int:
    """Return the position of the first character from `start` that is not white space."""
    return len(text) - len(text[start:].lstrip())


def _read_without(path: Path, names: Container[str]) -> Tokenizer:
    """Read a tokenizer that treats these added tokens as ordinary text."""
    value = json_file.read(path)
    value["added_tokens"] = [token for token in value["added_tokens"] if token["content"] not in names]
    return Tokenizer.from_str(json.dumps(value))


def _content_of(token: Any) -> str:
    """Return a token's text from tokenizer_config.json, which stores it as a string or as an object."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else ""


def _date_of(base_folder: Path) -> datetime:
    """Return the date on which the base was pulled, for templates that print a date."""
    pulled_on = json_file.read_if_there(base_folder / "card.json").get("pulled_on", "")
    if pulled_on:
        return datetime.fromisoformat(pulled_on)
    return datetime.fromtimestamp((base_folder / "chat_template.jinja").stat().st_mtime, UTC)


def _as_list(ids: int | list[int] | None) -> list[int]:
    return ids if isinstance(ids, list) else [] if ids is None else [ids]
