"""What to do about missing training data, for the client that sent the request: several of Google's drop it."""

from __future__ import annotations

import re

from overtone.doors.gemini.errors import TASK

NO_TRAINING_DATA = f"{TASK}.training_data is missing: there is nothing to learn from. "
ADVICE = {
    "python": (
        "If this came from client.tunings.tune() of google-genai: versions 1.47.0 and newer drop training_dataset "
        "before they send the request. Either pin google-genai==1.46.0, or hand the examples over like this:\n"
        'client.tunings.tune(base_model="models/gemini-1.5-flash-001-tuning", '
        "training_dataset=types.TuningDataset(examples=[]), "
        'config={"http_options": {"extra_body": {"tuningTask": {"trainingData": {"examples": {"examples": '
        '[{"textInput": "1", "output": "2"}]}}}}}})'
    ),
    "javascript": (
        "If this came from ai.tunings.tune() of @google/genai, which drops trainingDataset: hand the examples over "
        "like this:\n"
        'ai.tunings.tune({baseModel: "models/gemini-1.5-flash-001-tuning", trainingDataset: {examples: []}, '
        "config: {httpOptions: {extraBody: {tuningTask: {trainingData: {examples: {examples: "
        '[{textInput: "1", output: "2"}]}}}}}}})'
    ),
    "go": (
        "If this came from client.Tunings.Tune() of google.golang.org/genai, which drops TrainingDataset: hand the "
        "examples over in HTTPOptions.ExtraBody:\n"
        'map[string]any{"tuningTask": map[string]any{"trainingData": map[string]any{"examples": map[string]any{'
        '"examples": []map[string]any{{"textInput": "1", "output": "2"}}}}}}'
    ),
    "": (
        'The body is to hold {"tuningTask": {"trainingData": {"examples": {"examples": '
        '[{"textInput": "1", "output": "2"}]}}}}.'
    ),
}  # by the language of the client
LANGUAGES = (
    (r"google-genai-sdk/\S+ gl-(node|js|web)", "javascript"),
    (r"google-genai-sdk/\S+ gl-go", "go"),
    (r"google-genai-sdk/\S+ gl-python", "python"),
)  # of Google's clients that drop the data; any other program writes the body itself


def advise(client: str) -> str:
    """Return what to do about missing training data, for the client that sent the request."""
    found = (language for pattern, language in LANGUAGES if re.search(pattern, client.lower()))
    return NO_TRAINING_DATA + ADVICE[next(found, "")]
