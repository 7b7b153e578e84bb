from __future__ import annotations

import pytest

from overtone.dataset.examples import Example
from overtone.train.data import BatchOrder, Document, encode_examples
from tests.train.texts import END, PAIRS, TEMPLATE, ByteChat, documents, encode


def test_an_example_is_prompt_output_and_end() -> None:
    document = documents()[0]
    assert document.ids == (*TEMPLATE, *encode("one"), 59, *encode("two"), END)
    assert (document.num_prompt, document.num_trained) == (len(TEMPLATE) + 4, 4)
    assert len(documents()) == len(PAIRS)


def test_a_conversation_is_one_document_with_a_span_for_each_answer() -> None:
    opening = Example.pair("one", "two")
    example = Example((*opening.turns, *Example.pair("three", "four").turns))
    [document] = encode_examples(ByteChat(), [example])
    trained = [document.ids[start:end] for start, end in document.spans]
    assert trained == [(*encode("two"), END), (*encode("four"), END)]
    assert document.num_prompt == len(TEMPLATE) + 4
    assert document.ids[: document.spans[0][1]] == encode_examples(ByteChat(), [opening])[0].ids


@pytest.mark.parametrize(
    ("examples", "epochs", "batch", "steps"), [(15, 5, 2, 38), (15, 1, 4, 4), (1, 1, 64, 1), (3, 7, 3, 7)]
)
def test_total_steps_are_the_examples_seen_over_the_batch_rounded_up(
    examples: int, epochs: int, batch: int, steps: int
) -> None:
    order = BatchOrder(examples, epochs, batch, seed=1)
    assert order.total_steps == steps
    assert sum(len(order.batch(step)) for step in range(steps)) == examples * epochs


def test_every_epoch_takes_every_example_once_in_an_order_of_its_own() -> None:
    order = BatchOrder(num_examples=7, epoch_count=3, batch_size=2, seed=5)
    row = [number for step in range(order.total_steps) for number in order.batch(step)]
    epochs = [row[:7], row[7:14], row[14:]]
    assert [sorted(epoch) for epoch in epochs] == [list(range(7))] * 3
    assert epochs[0] != epochs[1] != epochs[2]


def test_a_batch_runs_across_the_border_of_two_epochs() -> None:
    order = BatchOrder(num_examples=3, epoch_count=2, batch_size=2, seed=5)
    assert [order.epochs_complete(num_steps) for num_steps in range(1, 4)] == [0, 1, 2]
    assert len(order.batch(1)) == 2


def test_the_seed_decides_the_order() -> None:
    assert BatchOrder(50, 1, 50, seed=1).batch(0) == BatchOrder(50, 1, 50, seed=1).batch(0)
    assert BatchOrder(50, 1, 50, seed=1).batch(0) != BatchOrder(50, 1, 50, seed=2).batch(0)


@pytest.mark.parametrize("spans", [(), ((0, 3),), ((4, 4),), ((2, 5), (5, 7)), ((5, 7), (2, 3)), ((2, 21),)])
def test_spans_that_cannot_be_are_noticed(spans: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(AssertionError):
        Document(tuple(range(20)), spans)
