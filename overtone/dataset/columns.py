"""Which parts of a row make an example: two columns, templates over columns, or the turns of a conversation.

Columns are those that a user names; else those of the tuning API; else, where a row leaves no choice, guessed from
the names that people give them. Forms of conversations: OpenAI's `messages`, Gemini's and Vertex' `contents` with
`systemInstruction`, ShareGPT's `conversations`. What a turn holds besides text is refused, never dropped.
"""

from __future__ import annotations

import json
import shlex
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from overtone.dataset.examples import Example, Problem, ProblemKind, Role, Turn

INPUT_NAMES = (
    "text_input", "textinput", "prompt", "question", "query", "input", "input_text", "instruction", "text", "message",
    "source", "user",
)  # fmt: skip
OUTPUT_NAMES = (
    "output", "completion", "answer", "response", "reply", "output_text", "label", "category", "class", "target",
    "assistant",
)  # fmt: skip
CERTAIN = (("text_input", "output"), ("textinput", "output"), ("prompt", "completion"))
CHAT_NAMES = ("messages", "contents", "conversations")
SYSTEM_NAMES = ("systemInstruction", "system_instruction", "system")
ROLES: Mapping[str, Role] = {
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "model": "assistant",
    "gpt": "assistant",
    "system": "system",
    "developer": "system",
}
TEXT_KEYS = ("content", "parts", "value", "text")
ROLE_KEYS = ("role", "from")
AS_TEXT = "It is written as text."
JSON_TYPES = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}

Read = Callable[[Mapping[str, Any]], tuple[Example | None, list[Problem]]]


@dataclass(frozen=True)
class Columns:
    """Which column, or template over columns, is what. None: it is found by the names of the columns."""

    text_input: str | None = None
    output: str | None = None


@dataclass(frozen=True)
class Shape:
    """How rows with the same names become examples. `read` returns an example as well as it can, and its problems."""

    text_input: str  # the column or template that is asked; "" for a conversation
    output: str  # the one that is answered; for a conversation, where its turns stand
    is_guessed: bool
    used: frozenset[str]
    read: Read


class NoShape(Exception):
    """It cannot be told which part of a row is what."""


class BadTurn(Exception):
    """What is wrong with one turn of a conversation."""

    def __init__(self, text: str, kind: ProblemKind = ProblemKind.UNREADABLE):
        super().__init__(text)
        self.text = text
        self.kind = kind


class Shapes:
    """The shape of each row of a file, found once for all rows that have the same names."""

    def __init__(self, columns: Columns):
        self._columns = columns
        self._found: dict[tuple[str, ...], Shape | NoShape] = {}

    def of(self, row: Mapping[str, Any]) -> Shape:
        """Return how a row is read. Raises NoShape."""
        names = tuple(row)
        if names not in self._found:
            self._found[names] = self._find(names)
        found = self._found[names]
        if isinstance(found, NoShape):
            raise found
        return found

    def _find(self, names: Sequence[str]) -> Shape | NoShape:
        try:
            return find_shape(names, self._columns)
        except NoShape as error:
            return error


def find_shape(names: Sequence[str], columns: Columns) -> Shape:
    """Return how a row with these names is read. Raises NoShape that says what there is."""
    guessed = _guess(names)
    if columns == Columns() and not _is_certain(guessed):
        special = _find_chat(names) or _find_alpaca(names)
        if special is not None:
            return special
    text_input = columns.text_input or guessed.text_input
    output = columns.output or guessed.output
    if text_input is None or output is None:
        raise NoShape(_unclear(names, "--input" if text_input is None else "--output"))
    is_named = columns.text_input is not None and columns.output is not None
    is_guessed = not is_named and not _is_certain(Columns(text_input, output))
    return pair_shape(text_input, output, names, is_guessed)


def pair_shape(text_input: str, output: str, names: Sequence[str], is_guessed: bool = False) -> Shape:
    """Return the shape of two columns or templates. Raises NoShape for a column that is not there."""
    asked = _parse_template(text_input, names)
    answered = _parse_template(output, names)
    used = frozenset(part.name for part in (*asked, *answered) if isinstance(part, _Name))
    return Shape(text_input, output, is_guessed, used, partial(_read_pair, asked, answered))


def _plain(name: str) -> str:
    return name.strip().casefold().replace(" ", "_").replace("-", "_")


def _guess(names: Sequence[str]) -> Columns:
    """Return the one column that is called like an input, and the one that is called like an output."""
    plain = {_plain(name): name for name in names}
    for text_input, output in CERTAIN:
        if text_input in plain and output in plain:
            return Columns(plain[text_input], plain[output])
    inputs = [plain[name] for name in INPUT_NAMES if name in plain]
    outputs = [plain[name] for name in OUTPUT_NAMES if name in plain]
    return Columns(inputs[0] if len(inputs) == 1 else None, outputs[0] if len(outputs) == 1 else None)


def _is_certain(columns: Columns) -> bool:
    return (_plain(columns.text_input or ""), _plain(columns.output or "")) in CERTAIN


def _find_alpaca(names: Sequence[str]) -> Shape | None:
    """Return the shape of instruction, input and output: the input, if there is one, stands below the instruction."""
    if not {"instruction", "input", "output"} <= set(names):
        return None
    used = frozenset(("instruction", "input", "output"))
    return Shape("{instruction}\n\n{input}", "output", False, used, _read_alpaca)


def _read_alpaca(row: Mapping[str, Any]) -> tuple[Example | None, list[Problem]]:
    asked: list[_Name | str] = [_Name("instruction")]
    if row["input"] not in ("", None):
        asked += ["\n\n", _Name("input")]
    return _read_pair(asked, [_Name("output")], row)


def _unclear(names: Sequence[str], missing: str) -> str:
    found = ", ".join(map(repr, names)) or "nothing"
    side = "input" if missing == "--input" else "output"
    return (
        f"no column is clearly the {side}; there are only {found}. "
        f"Say which are the two: {_suggestion(names)}"
    )


def _suggestion(names: Sequence[str]) -> str:
    if len(names) != 2:
        return "--input COLUMN --output COLUMN"
    text_input, output = map(shlex.quote, names)
    return f"--input {text_input} --output {output}"


@dataclass(frozen=True)
class _Name:
    """The place of a column in a template."""

    name: str


def _parse_template(text: str, names: Sequence[str]) -> list[_Name | str]:
    """Return the parts of `{category}: {reply}`, or the one column of this name. Raises NoShape."""
    if text in names:
        return [_Name(text)]
    parts: list[_Name | str] = []
    try:
        for literal, name, spec, conversion in string.Formatter().parse(text):
            parts += [literal] if literal else []
            if name is not None:
                parts.append(
                    _Name(name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else ""))
                )
    except ValueError as error:
        raise NoShape(f"the template {text!r} cannot be read ({error}); write {{{{ for a brace.") from None
    wanted = [part.name for part in parts if isinstance(part, _Name)] or [text]
    for name in wanted:
        if name not in names:
            found = ", ".join(map(repr, names)) or "nothing"
            raise NoShape(
                f"there is no {name!r}, only {found}. Say which are the two: --input COLUMN --output COLUMN"
            )
    return parts


def _read_pair(
    asked: Sequence[_Name | str], answered: Sequence[_Name | str], row: Mapping[str, Any]
) -> tuple[Example | None, list[Problem]]:
    text_input, problem = _fill(asked, row, "text_input")
    output, other = _fill(answered, row, "output")
    return Example.pair(text_input, output), [*problem, *other]


def _fill(parts: Sequence[_Name | str], row: Mapping[str, Any], field: str) -> tuple[str, list[Problem]]:
    if len(parts) == 1 and isinstance(parts[0], _Name):  # nearly every file's case
        value = row[parts[0].name]
        if isinstance(value, str):
            return value, []
    texts = []
    problems = []
    for part in parts:
        value = row[part.name] if isinstance(part, _Name) else part
        if not isinstance(value, str):
            assert isinstance(part, _Name)
            problems.append(_not_text(value, part.name, field))
            value = _as_text(value)
        texts.append(value)
    return "".join(texts), problems


def _not_text(value: Any, name: str, field: str) -> Problem:
    what = JSON_TYPES.get(type(value), "null")
    named = f" in {name!r}" if name != field else ""
    fix = AS_TEXT if isinstance(value, bool | int | float) else ""
    return Problem(
        None, field, f"is not text{named} but {what}; put it in quotes.", ProblemKind.NOT_TEXT, fix
    )


def _as_text(value: Any) -> str:
    """Return what a value that should have been text says; "" for one that says nothing."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, bool | int | float) else ""


def _find_chat(names: Sequence[str]) -> Shape | None:
    """Return the shape of a conversation, if a column holds its turns."""
    name = next((each for each in CHAT_NAMES if each in names), None)
    if name is None:
        return None
    system = next((each for each in SYSTEM_NAMES if each in names), None)
    used = frozenset(each for each in (name, system, "tools", "functions") if each)
    return Shape("", name, False, used, partial(_read_chat, name, system))


def _read_chat(name: str, system: str | None, row: Mapping[str, Any]) -> tuple[Example | None, list[Problem]]:
    try:
        return Example(tuple(_turns(name, system, row))), []
    except BadTurn as bad:
        return None, [Problem(None, "", bad.text, bad.kind)]


def _turns(name: str, system: str | None, row: Mapping[str, Any]) -> Iterator[Turn]:
    """Yield the turns of a row. Raises BadTurn for what is no turn of text."""
    tools = next((each for each in ("tools", "functions") if row.get(each)), None)
    if tools:
        raise BadTurn(f"has {tools}, which cannot be trained.")
    if system is not None and row[system]:
        yield Turn("system", _text_of(row[system], system))
    if not isinstance(row[name], list):
        raise BadTurn(f"has {name} that are not a list of turns.")
    for index, message in enumerate(row[name]):
        yield _to_turn(message, f"{name}[{index}]")


def _to_turn(message: Any, where: str) -> Turn:
    if not isinstance(message, dict):
        raise BadTurn(f"has no turn at {where} but {JSON_TYPES.get(type(message), 'text')}.")
    default = "user" if where.startswith("contents") else None  # Gemini's contents may leave it out
    given = next((message[key] for key in ROLE_KEYS if key in message), default)
    role = ROLES.get(given) if isinstance(given, str) else None
    if role is None:
        raise BadTurn(
            f"has the role {given!r} at {where}; roles are user, assistant (or model) and system.",
            ProblemKind.ROLE,
        )
    if message.get("weight") == 0:
        raise BadTurn(
            f"says with weight 0 that {where} is not trained; every answer is. Split the conversation."
        )
    known = (*ROLE_KEYS, *TEXT_KEYS, "weight")
    extra = next((key for key, value in message.items() if key not in known and value), None)
    if extra is not None:
        raise BadTurn(f"has {extra!r} at {where}; only text can be trained.")
    return Turn(role, _text_of(message, where))


def _text_of(value: Any, where: str) -> str:
    """Return the text of a turn: bare, in `content`, `value` or `text`, or as a list of parts with text alone."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(_text_of_part(part, where) for part in value)
    if isinstance(value, dict):
        inner = next((value[key] for key in TEXT_KEYS if value.get(key) is not None), None)
        if isinstance(inner, str | list):
            return _text_of(inner, where)
    raise BadTurn(f"has no text at {where}.", ProblemKind.NOT_TEXT)


def _text_of_part(part: Any, where: str) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        extra = next((key for key, value in part.items() if key not in ("text", "type") and value), None)
        if extra is None:
            return str(part["text"])
    else:
        extra = next((key for key in part if key != "type"), None) if isinstance(part, dict) else None
    raise BadTurn(f"has {extra or 'no text'} in a part of {where}; only text can be trained.")
