"""docs/clients.md, block by block: what is printed there is what runs here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.contract.environments import ROOT, node_folder, python_in, run
from tests.serving import Service

pytestmark = pytest.mark.slow

BLOCKS = re.findall(
    r"```(bash|python|javascript)\n(.*?)```", (ROOT / "docs/clients.md").read_text(), re.DOTALL
)
PYTHON_BLOCKS = [text for language, text in BLOCKS if language == "python"]


def one_block(language: str) -> str:
    (text,) = [text for kind, text in BLOCKS if kind == language]
    return text


def states(service: Service) -> dict[str, str]:
    """The state of every tuned model, by name."""
    models = service.get("tunedModels?pageSize=1000").get("tunedModels", [])
    return {model["name"]: model["state"] for model in models}


@pytest.mark.parametrize("text", PYTHON_BLOCKS, ids=[text.splitlines()[0][2:] for text in PYTHON_BLOCKS])
def test_python_block_runs_as_printed(text, service, tls_service, tmp_path: Path):
    environment, _, tls = text.splitlines()[0].removeprefix("# environment: ").partition(", ")
    text = text.replace("localhost:8081", f"localhost:{tls_service.port + 1}")
    program = tmp_path / "block.py"
    program.write_text(text.replace("http://localhost:8080", service.url))
    roots = {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(tls_service.certificate)} if tls else {}
    asked = tls_service if tls else service
    before = states(asked)  # earlier tests may have left jobs that are still running
    run([python_in(environment), program], **roots)  # ends with 0, or fails; a random base may answer a space
    made = [state for name, state in states(asked).items() if name not in before]
    assert made == ["ACTIVE"]


def test_curl_block_runs_as_printed(service, tmp_path: Path):
    script = f"cd {tmp_path}\n" + one_block("bash").replace("http://localhost:8080", service.url)
    assert '"finishReason"' in run(["bash", "-ec", script])


def test_javascript_block_runs_as_printed(service):
    program = node_folder() / "block.mjs"
    program.write_text(one_block("javascript").replace("http://localhost:8080", service.url))
    assert run(["node", program])
