"""The verbs of the command line, as clients of the HTTP API."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from overtone.cli import cli
from overtone.cli.client import Away, Client, NotAllowed
from overtone.cli.models import id_after
from overtone.cli.options import VERBS, as_typed, data_flag
from overtone.cli.state import describe_state
from overtone.cli.table import format_facts, format_table
from overtone.cli.tuned import curve
from overtone.config import default_data
from tests import tiny
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


def events(*texts: str) -> bytes:
    """Return a streamed answer: one server-sent event for each text, and one that only ends it."""
    parts = [{"candidates": [{"content": {"parts": [{"text": text}]}}]} for text in texts]
    return b"".join(b"data: %s\r\n\r\n" % json.dumps(part).encode() for part in [*parts, {"candidates": []}])


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
    assert "generate qa-1x" in result.stdout
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
    assert "watch qa-1x" in result.stdout
    assert len(service.asked) == 1


def test_tune_goes_on_from_a_tuned_model(service: FakeService, run: Run, examples: str) -> None:
    service.answers["POST /v1beta/tunedModels"] = (200, operation(0))
    run("tune", examples, "--no-wait", "--base", "tunedModels/qa-0")
    assert service.asked[0][2]["tuned_model_source"] == {"tuned_model": "tunedModels/qa-0"}
    assert "base_model" not in service.asked[0][2]


def test_a_tuning_that_failed_gives_its_reason(service: FakeService, run: Run, examples: str) -> None:
    message = "The loss ran away. Try a smaller learning_rate."
    failed = operation(1, done=True, error={"code": 9, "message": message})
    service.answers["POST /v1beta/tunedModels"] = (200, failed)
    assert said(run("tune", examples)) == (
        "tunedModels/qa-1x: The loss ran away. Try a smaller --learning-rate."
    )


@pytest.mark.parametrize("model", ["qa-1x", "tunedModels/qa-1x"])
def test_generate_prints_the_answer_and_nothing_else(service: FakeService, run: Run, model: str) -> None:
    service.answers["GET /v1beta/tunedModels/qa-1x"] = (200, ACTIVE)
    service.answers["POST /v1beta/tunedModels/qa-1x:streamGenerateContent?alt=sse"] = (
        200,
        events("LX", "IV"),
    )
    result = run(
        "generate", model, "LXIII", "--temperature", "0", "--max-tokens", "5", "--stop", "x", "--seed", "7"
    )
    assert result.output == "LXIV\n"
    assert service.asked[-1][2] == {
        "contents": [{"role": "user", "parts": [{"text": "LXIII"}]}],
        "generationConfig": {"temperature": 0, "maxOutputTokens": 5, "stopSequences": ["x"], "seed": 7},
    }


def test_an_answer_is_printed_as_far_as_it_came(service: FakeService, run: Run) -> None:
    fault = b'data: {"error": {"message": "The engine is away."}}\r\n\r\n'
    path = "POST /v1beta/models/base:streamGenerateContent?alt=sse"
    service.answers[path] = (200, events("half of") + fault)
    result = run("generate", "models/base", "hello")
    assert result.output == "half of\n"
    assert said(result) == "The answer broke off: The engine is away."


def test_a_refused_stream_is_told_in_the_servers_words(service: FakeService, run: Run) -> None:
    result = run("generate", "models/base", "hello")
    assert result.output == ""
    assert said(result) == "No /v1beta/models/base:streamGenerateContent?alt=sse here."


def test_a_hint_can_be_pasted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [".venv/bin/overtone"])
    hint = (
        "See `overtone list`, not /opt/overtone list. The overtone service is away: overtone set-aside list"
    )
    assert as_typed(hint) == (
        "See `.venv/bin/overtone list`, not /opt/overtone list. The overtone service is away: "
        ".venv/bin/overtone set-aside list"
    )


def test_a_hint_that_names_the_program_already_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/opt/overtone/__main__.py"])
    hint = f"Start one with `{sys.executable} -m overtone serve`."
    assert as_typed(hint) == hint


def test_every_verb_is_known_to_hints() -> None:
    shown = {name for name, command in cli.commands.items() if not command.hidden}
    assert shown == set(VERBS.split("|"))


def test_a_hint_names_a_data_folder_that_is_not_the_usual_one(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "my data"
    result = run("models", "list", "--data", str(folder))
    assert f"models pull --data '{folder}'" in result.output
    assert data_flag(default_data()) == ""


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
    service.answers["GET /v1beta/operations"] = (200, {"operations": [operation(2, done=True)]})
    lines = run("list").output.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["qa-1x", "active"], ["other", "creating"]]


def test_an_empty_list_says_how_to_begin(service: FakeService, run: Run) -> None:
    service.answers["GET /v1beta/tunedModels?pageSize=50"] = (200, {})
    assert "overtone tune FILE" in run("list").output


def test_an_empty_list_says_why(service: FakeService, run: Run) -> None:
    service.answers["GET /v1beta/tunedModels?pageSize=50&filter=x"] = (200, {})
    assert "No tuned model matches 'x'" in run("list", "--filter", "x").output
    service.answers["GET /v1beta/tunedModels?pageSize=50"] = (200, {})
    assert "This key can see no tuned model" in run("list", "--key", "K").output


def test_show_tells_the_state_and_the_course_of_the_loss(service: FakeService, run: Run) -> None:
    service.answers["GET /v1beta/tunedModels/qa-1x"] = (200, ACTIVE)
    output = run("show", "qa-1x").output
    assert "█▁ 2.000 to 1.000 in 2 steps" in output and "2026-01-02 03:04:05 UTC" in output
    assert json.loads(run("show", "qa-1x", "--json").output) == ACTIVE


FAILED = {"done": True, "error": {"code": 9, "message": "The loss ran away."}}
CANCELLED = {"done": True, "error": {"code": 1, "message": "cancelled"}}
TIMES = [{"step": n, "computeTime": f"2026-01-02T03:0{n}:00Z"} for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("state", "metadata", "more", "words"),
    [
        ("ACTIVE", {"completedSteps": 30}, {"done": True}, "active"),
        ("ACTIVE", {"completedSteps": 9}, {"done": True}, "active, stopped at step 9 of 30"),
        ("CREATING", {}, {}, "waiting for the trainer"),
        ("CREATING", {"completedSteps": 12}, {}, "tuning, step 12 of 30"),
        ("CREATING", {"completedSteps": 12, "snapshots": TIMES}, {}, "tuning, step 12 of 30, 18 min left"),
        ("CREATING", {"completedSteps": 29, "snapshots": TIMES}, {}, "tuning, step 29 of 30, 60 s left"),
        ("FAILED", {"completedSteps": 1}, FAILED, "failed: The loss ran away."),
        ("FAILED", {}, CANCELLED, "cancelled before its first step"),
    ],
)
def test_a_state_comes_with_its_reason(state: str, metadata: Any, more: Any, words: str) -> None:
    told = {"metadata": {"tunedModel": "tunedModels/qa-1x", "totalSteps": 30, **metadata}, **more}
    assert describe_state({"state": state}, told) == words
    assert describe_state({"state": state}, None) == state.lower()


def test_show_and_list_say_the_reason(service: FakeService, run: Run) -> None:
    failed = {**ACTIVE, "state": "FAILED"}
    service.answers["GET /v1beta/tunedModels/qa-1x"] = (200, failed)
    service.answers["GET /v1beta/tunedModels/qa-1x/operations"] = (
        200,
        {"operations": [operation(1, **FAILED)]},
    )
    service.answers["GET /v1beta/tunedModels?pageSize=50"] = (200, {"tunedModels": [failed]})
    service.answers["GET /v1beta/operations"] = [
        (200, {"nextPageToken": "t"}),
        (200, {"operations": [operation(1, **FAILED)]}),
    ]
    service.answers["GET /v1beta/operations?pageToken=t"] = (
        200,
        {"operations": [operation(1, **FAILED)]},
    )
    assert "failed: The loss ran away." in run("show", "qa-1x").output
    assert "failed: The loss ran away." in run("list").output


@pytest.mark.parametrize("typed", ["qa-1", "QA", "@latest"])
def test_a_model_is_found_by_what_people_type(service: FakeService, run: Run, typed: str) -> None:
    older = {
        **ACTIVE,
        "name": "tunedModels/other",
        "displayName": "other",
        "createTime": "2025-01-01T00:00:00Z",
    }
    service.answers["GET /v1beta/tunedModels/qa-1x"] = (200, ACTIVE)
    service.answers["GET /v1beta/tunedModels?pageSize=50"] = (200, {"tunedModels": [ACTIVE, older]})
    assert "tunedModels/qa-1x" in run("show", typed).output


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("qa-", "matches 2 tuned models: qa-1x, qa-2"),
        ("aq-1x", "Did you mean qa-1x"),
        ("zzz", "overtone list"),
    ],
)
def test_what_is_not_clear_is_asked_back(service: FakeService, run: Run, typed: str, sentence: str) -> None:
    second = {**ACTIVE, "name": "tunedModels/qa-2"}
    service.answers["GET /v1beta/tunedModels?pageSize=50"] = (200, {"tunedModels": [ACTIVE, second]})
    assert sentence in said(run("show", typed))


def test_a_base_is_guessed_where_no_tuned_model_has_the_name(service: FakeService, run: Run) -> None:
    service.answers["GET /v1beta/tunedModels?pageSize=50"] = (200, {})
    service.answers["GET /v1beta/models/tiny"] = (200, {"name": "models/tiny"})
    service.answers["POST /v1beta/models/tiny:streamGenerateContent?alt=sse"] = (200, events("LXIV"))
    assert run("generate", "tiny", "x").output == "LXIV\n"


def test_delete_takes_several_names(service: FakeService, run: Run) -> None:
    for name in ("a", "b"):
        service.answers[f"GET /v1beta/tunedModels/{name}"] = (200, ACTIVE)
        service.answers[f"DELETE /v1beta/tunedModels/{name}"] = (200, {})
    done = run("delete", "a", "tunedModels/b", "--yes")
    assert done.output == "Deleted tunedModels/a.\nDeleted tunedModels/b.\n"


def test_delete_never_goes_unasked(service: FakeService, run: Run) -> None:
    service.answers["GET /v1beta/tunedModels/a"] = (200, ACTIVE)
    assert "pass --yes" in said(run("delete", "a", input="y\n"))
    assert not [asked for asked in service.asked if asked[0] == "DELETE"]


def test_delete_deletes_nothing_when_one_is_missing(service: FakeService, run: Run) -> None:
    service.answers["GET /v1beta/tunedModels/a"] = (200, ACTIVE)
    service.answers["GET /v1beta/tunedModels?pageSize=50"] = (200, {"tunedModels": [ACTIVE]})
    assert "Nothing was deleted. Did you mean qa-1x?" in said(run("delete", "a", "qa-1", "--yes"))
    assert not [asked for asked in service.asked if asked[0] == "DELETE"]


def test_cancel_names_the_model(service: FakeService, run: Run) -> None:
    service.answers["GET /v1beta/tunedModels/qa-1x"] = (200, ACTIVE)
    service.answers["POST /v1beta/tunedModels/qa-1x:cancel"] = (200, {})
    assert run("cancel", "qa-1x").output == "tunedModels/qa-1x is being stopped.\n"


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        (operation(2, done=True), "is already ready"),
        (operation(1, done=True), "was already stopped, at step 1 of 2"),
        (operation(1, **FAILED), "has already failed"),
        (operation(1, **CANCELLED), "was already stopped, at step 1 of 2"),
        (operation(0, **CANCELLED), "was already cancelled, before its first step"),
    ],
)
def test_what_has_ended_cannot_be_stopped(service: FakeService, run: Run, ended: Any, words: str) -> None:
    service.answers["GET /v1beta/tunedModels/qa-1x"] = (200, ACTIVE)
    service.answers["GET /v1beta/tunedModels/qa-1x/operations"] = (200, {"operations": [ended]})
    assert run("cancel", "qa-1x").output == f"tunedModels/qa-1x {words}; there is nothing to stop.\n"


def test_watch_takes_up_the_newest_tuning(service: FakeService, run: Run) -> None:
    creating = {**ACTIVE, "state": "CREATING"}
    service.answers["GET /v1beta/tunedModels?pageSize=50"] = (200, {"tunedModels": [creating]})
    service.answers["GET /v1beta/tunedModels/qa-1x/operations"] = (200, {"operations": [operation(1)]})
    service.answers[f"GET /v1/{OPERATION}"] = (200, operation(2, done=True, response={}))
    result = run("watch")
    assert "step 2 of 2" in result.stderr and "tunedModels/qa-1x is ready" in result.stdout
    service.answers["GET /v1beta/tunedModels?pageSize=50"] = (200, {"tunedModels": [ACTIVE]})
    assert "Nothing is being tuned" in said(run("watch"))


def test_a_watcher_outlives_the_service(
    service: FakeService, run: Run, examples: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.answers["POST /v1beta/tunedModels"] = (200, operation(0))
    service.answers[f"GET /v1/{OPERATION}"] = (200, operation(2, done=True, response={}))
    get, left = Client.get, [Away("gone"), Away("gone")]

    def flaky(self: Client, path: str, **params: Any) -> Any:
        if left:
            raise left.pop()
        return get(self, path, **params)

    monkeypatch.setattr(Client, "get", flaky)
    monkeypatch.setattr("overtone.cli.progress.AWAY_POLL_S", 0)
    result = run("tune", examples)
    assert result.exit_code == 0 and result.stderr.count("The service does not answer") == 1


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (Away("Gone."), "when the service is back.*overtone watch qa-1x"),
        (NotAllowed("No."), "overtone watch qa-1x"),
    ],
)
def test_a_watcher_that_gives_up_says_how_to_go_on(
    service: FakeService,
    run: Run,
    examples: str,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    sentence: str,
) -> None:
    def gone(self: Client, path: str, **params: Any) -> Any:
        raise error

    service.answers["POST /v1beta/tunedModels"] = (200, operation(0))
    monkeypatch.setattr(Client, "get", gone)
    monkeypatch.setattr("overtone.cli.progress.PATIENCE_S", -1)
    assert re.search(sentence, said(run("tune", examples)))


def test_a_fault_is_told_by_its_option(service: FakeService, run: Run, examples: str) -> None:
    message = "tuned_model.display_name has 48 characters; the limit is 40."
    service.answers["POST /v1beta/tunedModels"] = (400, {"error": {"message": message}})
    assert said(run("tune", examples)) == "--name has 48 characters; the limit is 40."


def test_a_wrong_key_says_where_it_came_from(
    service: FakeService, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.answers["GET /v1beta/tunedModels?pageSize=50"] = (
        400,
        {"error": {"message": "API key not valid."}},
    )
    monkeypatch.setenv("GEMINI_API_KEY", "G")
    assert "(The key came from $GEMINI_API_KEY.)" in said(run("list"))
    monkeypatch.setenv("OVERTONE_API_KEY", "O")
    assert "(The key came from $OVERTONE_API_KEY.)" in said(run("list"))
    monkeypatch.delenv("OVERTONE_API_KEY")
    monkeypatch.delenv("GEMINI_API_KEY")
    assert "export OVERTONE_API_KEY=KEY" in said(run("list"))


def test_an_address_without_a_scheme_is_told(run: Run) -> None:
    assert "write http://localhost:8080" in said(run("list", "--url", "localhost:8080"))


def test_a_high_learning_rate_is_warned_of(service: FakeService, run: Run, examples: str) -> None:
    service.answers["POST /v1beta/tunedModels"] = (200, operation(0))
    assert "rate of 5 is high" in run("tune", examples, "--no-wait", "--learning-rate", "5").stderr
    assert "is high" not in run("tune", examples, "--no-wait", "--learning-rate", "0.001").stderr


def test_a_table_fits_the_terminal_and_is_whole_elsewhere() -> None:
    rows = [("a" * 30, "b" * 60, "c")]
    assert len(format_table(("x", "y", "z"), rows).splitlines()[1]) == 95
    fitted = format_table(("x", "y", "z"), rows, width=80)
    assert max(map(len, fitted.splitlines())) <= 80 and "…" in fitted and fitted.endswith("c")
    assert format_table(("x", "y"), [("a", "b")], width=80) == "x  y\na  b"


def test_a_narrow_terminal_keeps_the_name_whole_and_drops_what_it_may() -> None:
    headings, row = ("model", "state", "base"), ("m" * 30, "s" * 40, "b" * 28)
    assert (
        format_table(headings, [row], width=80, droppable=["base"]).splitlines()[1] == f"{row[0]}  {row[1]}"
    )
    assert format_table(headings, [row], width=50).splitlines()[1].startswith(f"{row[0]}  s")


def test_a_long_fact_goes_on_below_itself() -> None:
    facts = {"model": "tunedModels/x", "state": "failed: " + "why " * 30}
    lines = format_facts(facts, width=40).splitlines()
    assert lines[0] == "model  tunedModels/x" and lines[1].startswith("state  failed: why")
    assert len(lines) > 3 and all(line.startswith("       why") and len(line) <= 40 for line in lines[2:])


def test_a_rising_loss_is_told_to_who_watches(service: FakeService, run: Run, examples: str) -> None:
    rising = operation(2)
    rising["metadata"]["snapshots"] = [{"step": 1, "meanLoss": 10.0}, {"step": 2, "meanLoss": 30.2}]
    service.answers["POST /v1beta/tunedModels"] = (200, rising)
    service.answers[f"GET /v1/{OPERATION}"] = [
        (200, rising),
        (200, operation(2, done=True, response={})),
    ]
    said_to_watcher = run("tune", examples).stderr
    assert said_to_watcher.count("The loss rose from 10 to 30.2: the learning rate may be too high.") == 1
    assert "cancel qa-1x" in said_to_watcher


def test_what_is_done_is_not_said_to_wait(service: FakeService, run: Run) -> None:
    done = operation(2, done=True, response={})
    del done["metadata"]["snapshots"]  # as the list of operations gives it
    service.answers["GET /v1beta/tunedModels/qa-1x"] = (200, ACTIVE)
    service.answers["GET /v1beta/tunedModels/qa-1x/operations"] = (200, {"operations": [done]})
    result = run("watch", "qa-1x")
    assert "step 2 of 2" in result.stderr and "waiting" not in result.stderr


def test_ctrl_c_leaves_the_tuning_to_the_service(
    service: FakeService, run: Run, examples: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.answers["POST /v1beta/tunedModels"] = (200, operation(0))
    monkeypatch.setattr("overtone.cli.progress.time.sleep", _interrupted)
    result = run("tune", examples)
    assert "The tuning of tunedModels/qa-1x continues" in result.stdout and "cancel qa-1x" in result.stdout


def _interrupted(seconds: float) -> None:
    raise KeyboardInterrupt


def test_the_servers_sentence_is_what_the_user_reads(service: FakeService, run: Run) -> None:
    message = "Tuned model tunedModels/gone does not exist."
    service.answers["GET /v1beta/tunedModels/gone"] = (404, {"error": {"code": 404, "message": message}})
    service.answers["GET /v1beta/tunedModels?pageSize=50"] = (200, {})
    assert said(run("show", "gone")) == f"{message} See them all: overtone list"


def test_something_else_at_the_address_is_noticed(service: FakeService, run: Run) -> None:
    service.answers["GET /v1beta/tunedModels/x"] = (200, b"<html>")
    assert "Is it an Overtone service?" in said(run("show", "x"))


def test_when_nothing_answers_the_user_hears_how_to_start_it(run: Run) -> None:
    result = run("list", "--url", "http://127.0.0.1:9")
    assert re.search("Start one with `.* serve`", said(result))


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
    assert len(curve([float(n) for n in range(1000)])) == 40
    assert curve([]) == ""


@pytest.mark.parametrize(
    ("source", "expected"),
    [("Qwen/Qwen2.5-0.5B-Instruct", "qwen2.5-0.5b-instruct"), ("./My Model.gguf", "my-model")],
)
def test_an_id_is_made_from_the_source(source: str, expected: str) -> None:
    assert id_after(source) == expected


def test_a_base_is_removed_by_its_name(run: Run, tmp_path: Path) -> None:
    tiny.make_base(tmp_path / "bases", "mine")
    assert "there are: mine" in said(run("models", "rm", "other", "--data", str(tmp_path)))
    assert "pass --yes" in said(run("models", "rm", "mine", "--data", str(tmp_path)))
    assert (
        "Removed models/mine." in run("models", "rm", "models/mine", "--yes", "--data", str(tmp_path)).output
    )
    assert not [path for path in (tmp_path / "bases").iterdir() if path.is_dir()]
