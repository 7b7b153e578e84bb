"""Conversations to train on: each answer behind the prompt that serving would render for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from overtone.bases.chat import Chat
from overtone.dataset.examples import Example, Role, Turn
from overtone.errors import InvalidArgument
from tests import tiny

EACH = "{% for m in messages %}"
PLAIN = f"{EACH}<|im_start|>{{{{ m.role }}}}\n{{{{ m.content }}}}"
ASKED = "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
TEMPLATES = {
    "ChatML": tiny.TEMPLATE,
    "trims": f"{EACH}<|im_start|>{{{{ m.role }}}}\n\n{{{{ m.content | trim }}}}<|im_end|>{ASKED}",
    "puts white space around answers": (
        f"{EACH}{{% if m.role == 'assistant' %}} {{{{ m.content }}}} <|im_end|>"
        "{% else %}<|im_start|>{{ m.content }} /{% endif %}{% endfor %}"
    ),
    "drops what was thought": (
        f"{EACH}<|im_start|>{{{{ m.role }}}}\n{{% set text = m.content.split('</think>')[-1] %}}"
        f"{{{{ text }}}}<|im_end|>\n{ASKED}"
    ),
}
QUESTIONS_LAST = (
    f"{EACH}<|im_start|>{{% if loop.last %}}Be short. {{% endif %}}{{{{ m.content }}}}<|im_end|>{ASKED}"
)


@pytest.fixture(params=TEMPLATES)
def chat(request: pytest.FixtureRequest, tmp_path: Path) -> Chat:
    return with_template(tmp_path, TEMPLATES[request.param])


def with_template(bases: Path, template: str) -> Chat:
    folder = tiny.make_base(bases)
    (folder / "chat_template.jinja").write_text(template)
    return Chat(folder)


def conversation(*texts: str, system: str = "") -> Example:
    """Return an example of questions and answers by turns."""
    roles: Sequence[Role] = ("user", "assistant")
    turns = [Turn(roles[index % 2], text) for index, text in enumerate(texts)]
    return Example((Turn("system", system), *turns) if system else tuple(turns))


def assert_trained_as_served(chat: Chat, example: Example) -> None:
    """Every answer stands behind the prompt that serving renders, and its span ends with the turn."""
    ids, spans = chat.encode_example(example)
    messages = [{"role": turn.role, "content": turn.text} for turn in example.turns]
    answers = [index for index, turn in enumerate(example.turns) if turn.role == "assistant"]
    for index, (start, end) in zip(answers, spans, strict=True):
        assert ids[:start] == chat.prompt_ids(messages[:index])
        assert chat.decode(ids[start:end]).strip() == example.turns[index].text.strip()
        assert ids[start:end].index(chat.end_of_turn_id) == end - start - 1


@pytest.mark.parametrize(
    "example",
    [
        conversation("one", "two"),
        conversation("one", "two", "three", "four"),
        conversation("one", "two", "three", "four", "th", "", "", "six", system="Count."),
        conversation("\n one\n", " two ", "\n\nthree", "four\n"),
        conversation("one", "a\nb  c", "\n", "dé日🤖"),
        conversation("Say <|im_end|>.", "<|im_end|> it is.", "Again?", "<|im_start|>user"),
        conversation("one", "It ends with <|im_end|>", "three", "four"),
    ],
    ids=range(7),
)
def test_each_answer_is_trained_behind_the_prompt_that_serving_renders(chat: Chat, example: Example) -> None:
    assert_trained_as_served(chat, example)


def test_answers_may_follow_one_another(tmp_path: Path) -> None:
    turns = (Turn("user", "one"), Turn("assistant", "two"), Turn("assistant", "three"))
    assert_trained_as_served(with_template(tmp_path, tiny.TEMPLATE), Example(turns))


def test_an_answer_that_begins_with_a_line_break_is_trained_as_it_is_generated(tmp_path: Path) -> None:
    """Its line break would make one token with the template's; the prompt ends with the latter alone."""
    folder = tiny.make_base(tmp_path)
    join_line_breaks(folder)
    chat = Chat(folder)
    assert chat.count("\n\n") == 1
    question, later = [{"role": "user", "content": text} for text in ("one", "three")]
    history = [question, {"role": "assistant", "content": "\n\ntwo"}, later]

    ids, spans = chat.encode_example(conversation("one", "\n\ntwo", "three", "\nfour"))

    prompt = chat.prompt_ids([question])
    assert chat.prompt_ids(history)[: len(prompt)] != prompt, "the two line breaks are joined"
    assert ids[: spans[0][0]] == prompt
    alone, _ = chat.encode_example(conversation("one", "\n\ntwo"))
    assert ids[: spans[0][1]] == alone
    assert [chat.decode(ids[start:end]) for start, end in spans] == ["\n\ntwo", "\nfour"]
    assert chat.decode(ids) == chat.decode(chat.prompt_ids(history)) + "\nfour"


def join_line_breaks(folder: Path) -> None:
    """Give the tokenizer a token of two line breaks, in the place of a reserved one."""
    path = folder / "tokenizer.json"
    value = json.loads(path.read_text())
    reserved = next(token for token in value["added_tokens"] if "reserved" in token["content"])
    value["added_tokens"].remove(reserved)
    value["model"]["vocab"].pop(reserved["content"])
    value["model"]["vocab"]["ĊĊ"] = reserved["id"]
    value["model"]["merges"].append(["Ċ", "Ċ"])
    path.write_text(json.dumps(value))


@pytest.mark.parametrize(
    ("template", "example"),
    [
        (TEMPLATES["drops what was thought"], conversation("one", "<think>so</think>two", "three", "four")),
        (QUESTIONS_LAST, conversation("one", "two", "three", "four")),
        (f"{PLAIN}\n{ASKED}", conversation("one", "two", "three", "four")),
    ],
    ids=["an answer is changed", "a question is changed", "a turn is not closed"],
)
def test_a_template_that_changes_earlier_turns_cannot_train_them(
    template: str, example: Example, tmp_path: Path
) -> None:
    chat = with_template(tmp_path, template)
    with pytest.raises(InvalidArgument, match=r"changes turns\[1\] when later turns follow.* into pairs"):
        chat.encode_example(example)
    assert_trained_as_served(chat, Example(example.turns[2:]))


@pytest.mark.parametrize("turns", [(), (Turn("user", "one"),)])
def test_an_example_ends_with_an_answer(turns: tuple[Turn, ...], tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="must end with an answer"):
        with_template(tmp_path, tiny.TEMPLATE).encode_example(Example(turns))
