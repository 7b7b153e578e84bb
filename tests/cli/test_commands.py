"""The verbs of the command line, as clients of the HTTP API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from overtone.cli.models import id_after
from overtone.cli.tuned import curve
from tests.cli.conftest import FakeService, Run, said

ACTIVE = {
    "name": "tunedModels/qa-1x",
    "displayName": "qa",
    "state": "ACTIVE",
    "createTime": "2026-01-02T03:04:05.000006Z",
    "baseModel": "models/smollm2-135m-instruct",
    "tuningTask": {
        "hyperparameters": {"epochCount": 5},
        "snapshots": [{"step": 1, "meanLoss": 2.0}, {"step": 2, "meanLoss": 1.0}],
    },
}
OPERATION = "tunedModels/qa-1x/operations/op1"
ANSWER = {"candidates": [{"content": {"parts": [{"text": "LX"}, {"text": "IV"}]}}]}


def operation(steps: int, **more: Any) -> dict[str, Any]:
    snapshots = [{"step": step, "meanLoss": 1.0 / step} for step in range(1, steps + 1)]
    metadata = {
        "totalSteps": 2,
        "completedSteps": steps,
        "tunedModel": "tunedModels/qa-1x",
        "snapshots": snapshots,
    }
    return {"name": OPERATION, "metadata": metadata, **more}


@pytest.fixture
def examples(tmp_path: Path) -> str:
    (tmp_path / "qa.jsonl").write_text('{"text_input": "1", "output": "2"}\n')
    return str(tmp_path / "qa.jsonl")


def test_tune_sends_the_examples_and_waits(service: FakeService, run: Run, examples: str) -> None:
    service.answers["POST /v1beta/tunedModels"] = (200, operation(0))
    service.answers[f"GET /v1/{OPERATION}"] = [
        (200, operation(1)),
        (200, operation(2, done=True, response={})),
    ]
    result = run("tune", examples, "--epochs", "3")
    assert result.exit_code == 0, result.output
    assert "overtone generate qa-1x" in result.stdout
    assert "step 2 of 2, loss 0.500" in result.stderr
    assert service.asked[0][2] == {
        "display_name": "qa",
        "base_model": "models/smollm2-135m-instruct",
        "tuning_task": {
            "training_data": {"examples": {"examples": [{"text_input": "1", "output": "2"}]}},
            "hyperparameters": {"epoch_count": 3},
        },
    }


def test_tune_may_return_at_once(service: FakeService, run: Run, examples: str) -> None:
    service.answers["POST /v1beta/tunedModels?tunedModelId=mine"] = (200, operation(0))
    result = run("tune", examples, "--no-wait", "--id", "mine")
    assert "overtone show qa-1x" in result.stdout
    assert len(service.asked) == 1


def test_tune_goes_on_from_a_tuned_model(service: FakeService, run: Run, examples: str) -> None:
    service.answers["POST /v1beta/tunedModels"] = (200, operation(0))
    run("tune", examples, "--no-wait", "--base", "tunedModels/qa-0")
    assert service.asked[0][2]["tuned_model_source"] == {"tuned_model": "tunedModels/qa-0"}
    assert "base_model" not in service.asked[0][2]


def test_a_tuning_that_failed_gives_its_reason(service: FakeService, run: Run, examples: str) -> None:
    failed = operation(1, done=True, error={"code": 13, "message": "The loss ran away."})
    service.answers["POST /v1beta/tunedModels"] = (200, failed)
    assert said(run("tune", examples)) == "tunedModels/qa-1x: The loss ran away."


@pytest.mark.parametrize("model", ["qa-1x", "tunedModels/qa-1x"])
def test_generate_prints_the_answer_and_nothing_else(service: FakeService, run: Run, model: str) -> None:
    service.answers["POST /v1beta/tunedModels/qa-1x:generateContent"] = (200, ANSWER)
    result = run(
        "generate", model, "LXIII", "--temperature", "0", "--max-tokens", "5", "--stop", "x", "--seed", "7"
    )
    assert result.output == "LXIV\n"
    assert service.asked[0][2] == {
        "contents": [{"role": "user", "parts": [{"text": "LXIII"}]}],
        "generationConfig": {"temperature": 0, "maxOutputTokens": 5, "stopSequences": ["x"], "seed": 7},
    }


def test_generate_asks_a_base_and_reads_standard_input(service: FakeService, run: Run) -> None:
    service.answers["POST /v1beta/models/base:generateContent"] = (200, ANSWER)
    result = run("generate", "models/base", "-", "--json", "--system", "Be short.", input="hello")
    assert json.loads(result.output) == ANSWER
    assert service.asked[0][2]["contents"][0]["parts"] == [{"text": "hello"}]
    assert service.asked[0][2]["systemInstruction"] == {"parts": [{"text": "Be short."}]}


def test_list_goes_through_every_page(service: FakeService, run: Run) -> None:
    other = {**ACTIVE, "name": "tunedModels/other", "state": "CREATING"}
    service.answers["GET /v1beta/tunedModels?pageSize=50"] = (
        200,
        {"tunedModels": [ACTIVE], "nextPageToken": "t"},
    )
    service.answers["GET /v1beta/tunedModels?pageSize=50&pageToken=t"] = (200, {"tunedModels": [other]})
    lines = run("list").output.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["qa-1x", "active"], ["other", "creating"]]


def test_an_empty_list_says_how_to_begin(service: FakeService, run: Run) -> None:
    service.answers["GET /v1beta/tunedModels?pageSize=50"] = (200, {})
    assert "overtone tune FILE" in run("list").output


def test_show_tells_the_state_and_the_course_of_the_loss(service: FakeService, run: Run) -> None:
    service.answers["GET /v1beta/tunedModels/qa-1x"] = (200, ACTIVE)
    output = run("show", "qa-1x").output
    assert "█▁ 2.000 to 1.000 in 2 steps" in output
    assert json.loads(run("show", "qa-1x", "--json").output) == ACTIVE


def test_delete_takes_several_names(service: FakeService, run: Run) -> None:
    service.answers["DELETE /v1beta/tunedModels/a"] = service.answers["DELETE /v1beta/tunedModels/b"] = (
        200,
        {},
    )
    assert run("delete", "a", "tunedModels/b").output == "Deleted tunedModels/a.\nDeleted tunedModels/b.\n"


def test_cancel_names_the_model(service: FakeService, run: Run) -> None:
    service.answers["POST /v1beta/tunedModels/qa-1x:cancel"] = (200, {})
    assert run("cancel", "qa-1x").output == "tunedModels/qa-1x is being stopped.\n"


def test_ctrl_c_leaves_the_tuning_to_the_service(
    service: FakeService, run: Run, examples: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.answers["POST /v1beta/tunedModels"] = (200, operation(0))
    monkeypatch.setattr("overtone.cli.progress.time.sleep", _interrupted)
    result = run("tune", examples)
    assert "is being tuned all the same" in result.stdout and "overtone cancel qa-1x" in result.stdout


def _interrupted(seconds: float) -> None:
    raise KeyboardInterrupt


def test_the_servers_sentence_is_what_the_user_reads(service: FakeService, run: Run) -> None:
    message = "Tuned model tunedModels/gone does not exist."
    service.answers["GET /v1beta/tunedModels/gone"] = (404, {"error": {"code": 404, "message": message}})
    assert said(run("show", "gone")) == message


def test_something_else_at_the_address_is_noticed(service: FakeService, run: Run) -> None:
    service.answers["GET /v1beta/tunedModels/x"] = (200, b"<html>")
    assert "is Overtone there?" in said(run("show", "x"))


def test_when_nothing_answers_the_user_hears_how_to_start_it(run: Run) -> None:
    result = run("list", "--url", "http://127.0.0.1:9")
    assert "Start the service with `overtone serve`" in said(result)


def test_a_shell_completes_the_names_of_tuned_models(service: FakeService, run: Run) -> None:
    service.answers["GET /v1beta/tunedModels?pageSize=50"] = (200, {"tunedModels": [ACTIVE]})
    environ = {"_OVERTONE_COMPLETE": "bash_complete", "COMP_WORDS": "overtone show q", "COMP_CWORD": "2"}
    assert run(env=environ, prog_name="overtone").output == "plain,qa-1x\n"


def test_a_shell_is_offered_nothing_when_nothing_answers(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERTONE_URL", "http://127.0.0.1:9")
    environ = {"_OVERTONE_COMPLETE": "bash_complete", "COMP_WORDS": "overtone show q", "COMP_CWORD": "2"}
    assert run(env=environ, prog_name="overtone").output.strip() == ""


def test_a_curve_has_a_bar_for_each_stretch() -> None:
    assert curve([8.0, 7.0, 1.0]) == "█▇▁"
    assert curve([1.0] * 5) == "▁" * 5
    assert len(curve([float(n) for n in range(1000)])) == 60
    assert curve([]) == ""


@pytest.mark.parametrize(
    ("source", "expected"),
    [("Qwen/Qwen2.5-0.5B-Instruct", "qwen2.5-0.5b-instruct"), ("./My Model.gguf", "my-model")],
)
def test_an_id_is_made_from_the_source(source: str, expected: str) -> None:
    assert id_after(source) == expected
