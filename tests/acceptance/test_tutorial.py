"""Google's tutorial, its own commands byte for byte, with only the host replaced."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.patience import HANG_S
from tests.serving import Service

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("curl") and shutil.which("jq")), reason="the tutorial needs curl and jq"
    ),
]

HOST = "https://generativelanguage.googleapis.com"
PUBLISHED = Path(__file__).with_name("published_tutorial.sh").read_text()
MENDED = PUBLISHED.replace('"null"" ]]', '"null" ]]')  # as published, bash refuses the list part
EXAMPLES_SH = Path(__file__).parents[2] / "examples" / "tutorial.sh"


def run_commands(commands: str, url: str, folder: Path) -> str:
    environ = os.environ | {"GOOGLE_API_KEY": "any", "TERM": "xterm"}
    environ.pop("access_token", None)
    script = commands.replace(HOST, url)
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environ, capture_output=True, text=True, timeout=HANG_S
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def answer_at_temperature_0(service: Service, model: str, text: str) -> str:
    body = {"contents": [{"parts": [{"text": text}]}], "generationConfig": {"temperature": 0}}
    reply = service.post(f"{model}:generateContent", body)
    return str(reply["candidates"][0]["content"]["parts"][0]["text"])


def test_our_copy_is_the_published_text_but_for_the_host_and_one_quote():
    assert EXAMPLES_SH.read_text().endswith(MENDED.replace(HOST, "${OVERTONE_URL}"))


def test_the_tutorial_tunes_the_real_model_and_lxiii_becomes_lxiv(real_service, tmp_path):
    ask_and_delete = MENDED[MENDED.index(f"curl -X POST {HOST}/v1beta/$modelname") :]
    tuned = run_commands(MENDED.removesuffix(ask_and_delete), real_service.url, tmp_path)
    assert tuned.rstrip().endswith('"ACTIVE"')
    operation = json.loads((tmp_path / "tuning_operation.json").read_text())
    snapshots = operation["metadata"]["snapshots"]
    assert [snapshot["step"] for snapshot in snapshots] == list(range(1, 39))
    assert snapshots[-1]["epoch"] == 5
    model = operation["metadata"]["tunedModel"]
    assert answer_at_temperature_0(real_service, model, "LXIII") == "LXIV"
    asked = run_commands(f"modelname={model}\n{ask_and_delete}", real_service.url, tmp_path)
    assert '"text": "' in asked, "the tutorial asks at temperature 1: any answer is right"
    assert asked.rstrip().endswith("{}")
    assert real_service.request("GET", model).status_code == 404


def test_the_second_page_takes_the_key_from_inside_the_page_token(service, tmp_path):
    body = {
        "baseModel": "models/gemini-1.5-flash-001-tuning",
        "tuningTask": {
            "hyperparameters": {"epochCount": 1},
            "trainingData": {"examples": {"examples": [{"textInput": "1", "output": "2"}]}},
        },
    }
    for _ in range(6):
        service.post("tunedModels", body)
    listing = MENDED[: MENDED.index("curl -X POST")]
    printed = run_commands(listing, service.url, tmp_path)
    assert len(printed.splitlines()) == 10, "the tutorial prints its first page of five twice"
    second_page = json.loads((tmp_path / "tuned_models2.json").read_text())
    assert len(second_page["tunedModels"]) >= 1
