"""Rewords the API's errors for the command line: field names become the options that set them."""

from __future__ import annotations

FLAGS = {
    "tuned_model.display_name": "--name",
    "tuned_model.description": "--description",
    "tuned_model_id": "--id",
    "tuned_model.tuning_task.hyperparameters.epoch_count": "--epochs",
    "tuned_model.tuning_task.hyperparameters.batch_size": "--batch-size",
    "tuned_model.tuning_task.hyperparameters.learning_rate": "--learning-rate",
    "generation_config.temperature": "--temperature",
    "generation_config.max_output_tokens": "--max-tokens",
    "generation_config.stop_sequences": "--stop",
    "generation_config.seed": "--seed",
    "system_instruction": "--system",
    "Try a smaller learning_rate.": "Try a smaller --learning-rate.",
    "Call ListModels to see the list of available models and their supported methods.": (
        "See them all: overtone list, overtone models list"
    ),
}  # a text that contains another one stands before it


def in_flags(message: str) -> str:
    """Return an error of the API with the command line's options in place of the API's fields."""
    for field, flag in FLAGS.items():
        message = message.replace(field, flag)
    return message
