"""What CI holds its run to: a test that was skipped, or a file of them, fails it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SKIPPED = {
    "a test": "import pytest\ndef test_a() -> None: pytest.skip('no reason')\ndef test_b() -> None: pass\n",
    "a file": "import pytest\npytest.importorskip('no_such_library')\n",
}


def run_pytest(folder: Path, source: str, **environ: str) -> tuple[int, str]:
    (folder / "test_it.py").write_text(source)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-c", str(ROOT / "pyproject.toml")]
    command += ["--rootdir", str(folder), "-p", "no:cacheprovider", str(folder / "test_it.py")]
    environment = {name: value for name, value in os.environ.items() if name != "OVERTONE_TEST_NO_SKIPS"}
    done = subprocess.run(command, cwd=ROOT, env=environment | environ, capture_output=True, text=True)
    return done.returncode, done.stdout


@pytest.mark.parametrize("source", SKIPPED.values(), ids=SKIPPED)
def test_a_skip_fails_the_run_where_nothing_may_be_skipped(source: str, tmp_path: Path) -> None:
    code, output = run_pytest(tmp_path, source, OVERTONE_TEST_NO_SKIPS="1")
    assert code == 1
    assert "nothing may be skipped here" in output and "test_it.py" in output


def test_what_needs_a_gpu_may_be_skipped(tmp_path: Path) -> None:
    source = "import pytest\n@pytest.mark.gpu\ndef test_a() -> None: pytest.skip('no CUDA device')\n"
    assert run_pytest(tmp_path, source, OVERTONE_TEST_NO_SKIPS="1")[0] == 0


def test_elsewhere_a_skip_is_only_a_skip(tmp_path: Path) -> None:
    assert run_pytest(tmp_path, SKIPPED["a test"])[0] == 0
