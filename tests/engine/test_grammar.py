"""What may come next, by a schema or a list of texts, on a base whose tokens are bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from overtone.engine.grammar import Grammar, Grammars
from overtone.errors import InvalidArgument
from tests.tiny import VOCABULARY

END = 2  # <|im_end|>
OBJECT = '{"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": false}'


@pytest.fixture(scope="module")
def grammars(base: Path) -> Grammars:
    return Grammars(base, VOCABULARY, END)


@pytest.fixture(scope="module")
def tokenizer(base: Path) -> Tokenizer:
    return Tokenizer.from_file(str(base / "tokenizer.json"))


def takes(grammar: Grammar, tokenizer: Tokenizer, text: str) -> bool:
    """Feed a text as far as it is allowed; tell whether all of it was, and whether it may end there."""
    for token_id in tokenizer.encode(text, add_special_tokens=False).ids:
        if not grammar.allowed()[token_id]:
            return False
        grammar.consume(token_id)
    return grammar.is_complete or bool(grammar.allowed()[END])


@pytest.mark.parametrize(
    "text", ['{"a": 1}', '{"a":1}', '{\n  "a": 1\n}', "{\n" + " " * 40 + '"a": 1}', "{}"]
)
def test_json_is_laid_out_as_the_model_likes(grammars: Grammars, tokenizer: Tokenizer, text: str) -> None:
    assert takes(grammars.start(OBJECT), tokenizer, text)


@pytest.mark.parametrize("space", [" " * 41, "\n\n", "\t" * 41, "\n" * 500])
def test_white_space_has_an_end(grammars: Grammars, tokenizer: Tokenizer, space: str) -> None:
    assert not takes(grammars.start(OBJECT), tokenizer, "{" + space + '"a": 1}')


@pytest.mark.parametrize(
    "text", ["yes", 'he said "no"', "back\\slash", "line\nbreak", "é", "😀", "/x/", "yes, but"]
)
def test_one_of_several_texts_stands_without_quotes(
    grammars: Grammars, tokenizer: Tokenizer, text: str
) -> None:
    texts = ["yes", 'he said "no"', "back\\slash", "line\nbreak", "é", "😀", "/x/", "yes, but"]
    assert takes(grammars.start_choice(texts), tokenizer, text)
    assert not takes(grammars.start_choice(texts), tokenizer, f"{text}!")


@pytest.mark.parametrize("schema", ['{"type": "strin"}', '{"type": "number", "minimum": "NaN"}', "5", "{"])
def test_a_schema_that_cannot_be_followed_is_refused(grammars: Grammars, schema: str) -> None:
    with pytest.raises(InvalidArgument, match="The response schema cannot be used: "):
        grammars.start(schema)
