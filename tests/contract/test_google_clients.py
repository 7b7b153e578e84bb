"""Google's own clients, unpatched, against a running service: whole programs, as their users wrote them."""

from __future__ import annotations

import pytest

from tests.contract.environments import PROGRAMS, node_folder, python_in, run

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("version", ["1.0", "1.46", "newest"])
def test_google_genai_tunes_generates_and_deletes(service, version):
    python = python_in(f"google-genai-{version}")
    assert "ok" in run([python, PROGRAMS / "google_genai.py", service.url])


def test_google_generativeai_runs_its_notebook_over_rest(service):
    python = python_in("google-generativeai")
    assert "ok" in run([python, PROGRAMS / "google_generativeai.py", "rest", service.url])


def test_google_generativeai_runs_its_notebook_over_grpc_with_tls(tls_service):
    python = python_in("google-generativeai")
    roots = {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(tls_service.certificate)}
    target = f"localhost:{tls_service.port + 1}"
    assert "ok" in run([python, PROGRAMS / "google_generativeai.py", "grpc", target], **roots)


def test_google_genai_for_javascript_tunes_generates_and_deletes(service):
    folder = node_folder()
    program = folder / "google_genai.mjs"  # beside node_modules: that is where node looks
    program.write_text((PROGRAMS / "google_genai.mjs").read_text())
    assert "ok" in run(["node", program, service.url])
