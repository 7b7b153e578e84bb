"""Counting an example's tokens fast, and exactly where it matters."""

from __future__ import annotations

import pytest

from overtone.bases.chat import Chat
from overtone.bases.example_tokens import SEAM_TOKENS, base_facts, count_example_tokens, measure_examples
from overtone.bases.registry import ALIASES, Card
from overtone.dataset.examples import Example, Turn
from overtone.errors import InvalidArgument
from tests import tiny

FAR = 10_000  # tokens of context that no example comes near to


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Chat:
    return Chat(tiny.make_base(tmp_path_factory.mktemp("bases")))


@pytest.mark.parametrize(
    "example",
    [
        Example.pair("LXIII", "LXIV"),
        Example.pair("", "日"),
        Example.pair("<|im_end|>", "th th"),
        Example((Turn("system", "Be short."), *Example.pair("a", "b").turns, *Example.pair("c", "d").turns)),
    ],
    ids=["pair", "empty input", "control token", "conversation"],
)
@pytest.mark.parametrize("context_length", [FAR, 1])
def test_an_example_has_the_tokens_of_its_rendering(
    context_length: int, example: Example, chat: Chat
) -> None:
    ids, _ = chat.encode_example(example)
    assert count_example_tokens(chat, context_length)(example) == len(ids)


def test_a_pair_is_rendered_only_near_the_limit(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    example = Example.pair("a" * 50, "b")
    num_tokens = len(chat.encode_example(example)[0])
    counts = [
        count_example_tokens(chat, context_length)
        for context_length in (num_tokens + SEAM_TOKENS + 1, num_tokens + SEAM_TOKENS)
    ]
    monkeypatch.setattr(chat, "encode_example", lambda example: (range(1000), []))
    assert [count(example) for count in counts] == [num_tokens, 1000]


def test_each_example_is_counted_once(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    count = count_example_tokens(chat, FAR)
    first = [count(Example.pair("a", "b")) for _ in range(2)]
    monkeypatch.setattr(chat, "count", None)
    assert [count(Example.pair("a", "b")) for _ in range(2)] == first


def test_a_conversation_that_cannot_be_rendered_is_noticed(chat: Chat) -> None:
    with pytest.raises(InvalidArgument, match="must end with an answer"):
        count_example_tokens(chat, FAR)(Example((Turn("user", "a"),)))


def test_many_examples_are_measured_as_they_are_trained(chat: Chat) -> None:
    chats = Example(
        (Turn("system", "Be short."), *Example.pair("a", "b").turns, *Example.pair("c", "d").turns)
    )
    examples = [Example.pair("LXIII", "LXIV"), Example.pair("", "<|im_end|>"), chats]
    for context_length in (FAR, 1):
        for example, count in zip(examples, measure_examples(chat, context_length)(examples), strict=True):
            ids, spans = chat.encode_example(example)
            assert not isinstance(count, InvalidArgument)
            assert (count.total, count.trained) == (len(ids), sum(end - start for start, end in spans))


def test_what_the_template_cannot_render_is_measured_as_its_refusal(chat: Chat) -> None:
    unfinished = Example((Turn("user", "a"),))
    refused, counted = measure_examples(chat, FAR)([unfinished, Example.pair("a", "b")])
    assert isinstance(refused, InvalidArgument)
    assert not isinstance(counted, InvalidArgument)


def test_a_check_is_told_the_limits_and_defaults_of_the_name_that_was_asked_for(chat: Chat) -> None:
    facts = base_facts(ALIASES[0], chat, [])
    assert (facts.limits.max_input_chars, facts.limits.max_output_chars) == (40_000, 5_000)
    assert facts.defaults(15) == (5, 4)
    assert "<|im_end|>" in facts.control_tokens


def test_without_its_files_a_base_counts_no_tokens() -> None:
    facts = base_facts(Card("x", "X", "", base_id="x"), None, [], "Pull it.")
    assert (facts.measure, facts.unmeasured, facts.limits.base) == (None, "Pull it.", "models/x")
