"""Kinds of examples to tune on, made by program or taken from Python's own tables.

A kind returns the pairs that a tuning may see and those held out from it, both shuffled by a fixed seed: the
first n of the former are a data set of n examples, and a larger one contains a smaller. What is held out
differs from what is seen as a user's requests differ from the examples: other numbers and another notation,
other sentences, other words.
"""

from __future__ import annotations

import importlib
import inspect
import json
import random
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from types import ModuleType
from typing import TypeVar

Item = TypeVar("Item", str, tuple[str, str])
Pairs = list[tuple[str, str]]
Kind = Callable[[], tuple[Pairs, Pairs]]
"""Returns the pairs to tune on and the pairs held out."""

HELD_OUT = 24

UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
ROMAN = (
    (100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"),
)  # fmt: skip
# What the tutorial tunes on, and one more; text stands for a number in words.
TUTORIAL = (1, 3, -3, "22", "200", "99", 8, -98, 1_000, 10_100_000, "13", "80", "1", "3", "7", "4")

GOODS = (
    "green tea", "paper", "apples", "red wine", "soap", "nails", "white paint", "rice", "candles",
    "old books", "glass jars", "wool", "coffee", "pencils", "dark chocolate", "batteries",
)  # fmt: skip
ORDERS = (
    "Please send {amount} boxes of {item}.",
    "{amount} boxes, {item}",
    "We need {item}: {amount} boxes.",
    "I would like {amount} boxes of {item} by Friday.",
    "Could we have {amount} boxes of {item}?",
    "order: {item} / {amount}",
)

TOPICS = {
    "mathematics": ("math", "cmath", "statistics", "random", "fractions", "decimal"),
    "files": ("os.path", "shutil", "pathlib", "tempfile", "glob", "zipfile", "tarfile", "filecmp"),
    "text": ("string", "textwrap", "re", "difflib", "unicodedata", "html", "codecs", "gettext"),
    "network": ("socket", "ssl", "ipaddress", "urllib.parse", "urllib.request", "http.client", "smtplib"),
    "time": ("datetime", "time", "calendar", "sched", "zoneinfo"),
    "processes": ("threading", "subprocess", "asyncio", "multiprocessing", "signal", "concurrent.futures"),
}

PICTURES = ((0x1F300, 0x1F650), (0x1F680, 0x1F700), (0x1F900, 0x1F980))


def next_number() -> tuple[Pairs, Pairs]:
    """The number that follows: the tutorial's examples first; Roman numerals are held out whole."""
    tutorial = [_successor(number) for number in TUTORIAL]
    digits = (*range(-300, 300), *range(1_000, 10_000, 30))
    words = map(str, range(1, 999))
    others = _shuffled({_successor(number) for number in (*digits, *words)} - set(tutorial))
    roman = [(in_roman(number), in_roman(number + 1)) for number in range(4, 399)]
    num_roman = HELD_OUT // 4
    held_out = others[: HELD_OUT - num_roman] + _shuffled(roman)[:num_roman]
    return tutorial + others[len(held_out) :], held_out


def topic() -> tuple[Pairs, Pairs]:
    """What a sentence is about: classification. The sentences are those that document Python's library."""
    topics = {text: name for name, modules in TOPICS.items() for text in _sentences(modules)[:70]}
    return _divided(topics.items())


def order() -> tuple[Pairs, Pairs]:
    """An order in a sentence, as JSON. The goods and sentences held out are not seen."""
    return _orders(ORDERS[:4], GOODS[:12], seed=1), _orders(ORDERS[4:], GOODS[12:], seed=2)[:HELD_OUT]


def picture() -> tuple[Pairs, Pairs]:
    """What a pictograph shows, in the words of the Unicode standard: style, and a little knowledge."""
    pictures = [chr(code) for first, end in PICTURES for code in range(first, end)]
    named = ((picture, unicodedata.name(picture, "").lower()) for picture in pictures)
    return _divided((picture, name) for picture, name in named if name and len(name) <= 32)


KINDS: dict[str, Kind] = {
    "next number": next_number, "topic": topic, "order": order, "picture": picture,
}  # fmt: skip


def in_words(number: int) -> str:
    """Write a number below 1,000 in words: 342 is "three hundred forty two"."""
    if number < 20:
        return UNITS[number]
    if number < 100:
        return " ".join((TENS[number // 10 - 2], *_rest(number % 10)))
    return " ".join((UNITS[number // 100], "hundred", *_rest(number % 100)))


def in_roman(number: int) -> str:
    """Write a number below 400 in Roman numerals."""
    text = ""
    for value, letters in ROMAN:
        text += letters * (number // value)
        number %= value
    return text


def _rest(number: int) -> list[str]:
    return [in_words(number)] if number else []


def _successor(number: int | str) -> tuple[str, str]:
    """Return a number and the next one, in words where it comes as text."""
    if isinstance(number, int):
        return f"{number:,}", f"{number + 1:,}"
    return in_words(int(number)), in_words(int(number) + 1)


def _orders(sentences: Iterable[str], goods: Iterable[str], seed: int) -> Pairs:
    draw = random.Random(seed)
    pairs = []
    for sentence, item, _ in product(sentences, goods, range(4)):
        number = draw.randint(2, 40)
        amount = draw.choice((str(number), in_words(number)))
        answer = json.dumps({"item": item, "boxes": number})
        pairs.append((sentence.format(amount=amount, item=item), answer))
    return _shuffled(pairs)


def _sentences(modules: Iterable[str]) -> list[str]:
    """Return the short first sentences of what the modules' classes, methods and functions say of themselves."""
    things = (thing for name in modules for thing in _members(importlib.import_module(name)))
    summaries = {" ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split()) for thing in things}
    return _shuffled(text for text in summaries if 20 <= len(text) <= 80 and text.endswith("."))


def _members(module: ModuleType) -> Iterator[object]:
    public = [value for name, value in inspect.getmembers(module, callable) if not name.startswith("_")]
    yield from public
    for owner in filter(inspect.isclass, public):
        yield from (
            value for name, value in vars(owner).items() if not name.startswith("_") and callable(value)
        )


def _divided(pairs: Iterable[tuple[str, str]]) -> tuple[Pairs, Pairs]:
    shuffled = _shuffled(pairs)
    return shuffled[HELD_OUT:], shuffled[:HELD_OUT]


def _shuffled(items: Iterable[Item]) -> list[Item]:
    """Return the items without repetitions, in an order that depends on nothing else."""
    ordered = sorted(set(items))
    random.Random(0).shuffle(ordered)
    return ordered
