"""Names, aliases and their limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from overtone.bases.registry import ALIASES, Card, Hyperparameters, Registry, is_base_id
from overtone.errors import OvertoneError
from tests import tiny


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    tiny.make_base(tmp_path)
    return Registry(tmp_path, tiny.BASE_ID)


def test_the_alias_has_the_values_that_were_published(registry: Registry) -> None:
    card = registry.find_card("gemini-1.5-flash-001-tuning")
    assert card is not None
    assert (card.display_name, card.version) == ("Gemini 1.5 Flash 001 Tuning", "001")
    assert (card.input_token_limit, card.output_token_limit) == (16_384, 8_192)
    assert (card.temperature, card.max_temperature, card.top_p, card.top_k) == (1, 2, 0.95, 64)


@pytest.mark.parametrize("alias", [card.id for card in ALIASES])
def test_every_alias_carries_the_documented_limits_and_runs_on_the_default_base(
    registry: Registry, alias: str
) -> None:
    card = registry.find_card(alias)
    assert card is not None and card.is_alias
    assert (card.max_input_chars, card.max_output_chars) == (40_000, 5_000)
    assert not card.json_mode and not card.system_instruction
    assert (card.base_id, card.context_length) == (tiny.BASE_ID, 512)
    assert "createTunedModel" in card.supported_generation_methods


def test_the_open_model_carries_its_own_limits(registry: Registry) -> None:
    card = registry.find_card(tiny.BASE_ID)
    assert card is not None and not card.is_alias
    assert card.max_input_chars is None and card.json_mode and card.system_instruction


@pytest.mark.parametrize(
    ("num_examples", "batch_size", "learning_rate"),
    [
        (1, 4, 0.001),
        (63, 4, 0.001),
        (64, 16, 0.001),
        (499, 16, 0.001),
        (500, 16, 0.0002),
        (50_000, 16, 0.0002),
    ],
)
def test_defaults_depend_on_the_number_of_examples(
    registry: Registry, num_examples: int, batch_size: int, learning_rate: float
) -> None:
    card = registry.find_card(tiny.BASE_ID)
    assert card is not None
    assert card.hyperparameters(num_examples) == Hyperparameters(5, batch_size, learning_rate)


def test_a_notebook_that_picks_the_first_tunable_flash_finds_the_tuning_alias(registry: Registry) -> None:
    tunable = [card.id for card in registry.list_cards() if "flash" in card.id]
    assert tunable[0] == "gemini-1.5-flash-001-tuning"


def test_aliases_stand_before_their_base_has_been_pulled(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "nothing", tiny.BASE_ID)
    assert [card.id for card in registry.list_cards()] == [card.id for card in ALIASES]
    assert registry.find_card(tiny.BASE_ID) is None and not registry.has_base(tiny.BASE_ID)


def test_a_pull_that_died_is_no_model(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / ".other.partial-1").mkdir()
    (tmp_path / ".other.partial-1" / "card.json").write_text("{}")
    assert [card.id for card in registry.list_bases()] == [tiny.BASE_ID]


@pytest.mark.parametrize("model_id", ["..", ".hidden", "a/b", "", "../secret", "ÄÖ", "a" * 65])
def test_a_name_that_is_no_single_segment_finds_nothing(registry: Registry, model_id: str) -> None:
    assert not is_base_id(model_id)
    assert registry.find_card(model_id) is None


def test_a_damaged_card_says_what_to_do(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / tiny.BASE_ID / "card.json").write_text("{")
    with pytest.raises(OvertoneError, match=r"delete .* and pull the model again"):
        registry.find_card(tiny.BASE_ID)


def test_a_card_read_again_is_the_card_that_was_saved(tmp_path: Path) -> None:
    card = Card("x", "X", "An x.", base_id="x", top_k=3, supported_generation_methods=("generateContent",))
    card.save(tmp_path)
    assert Card.load(tmp_path) == card


def test_few_examples_get_small_batches_and_a_high_rate(registry: Registry) -> None:
    card = registry.list_cards()[0]
    few, many = card.hyperparameters(15), card.hyperparameters(1_000)
    assert few.batch_size < many.batch_size and few.learning_rate > many.learning_rate
    assert few.epoch_count == many.epoch_count == 5
