"""Install the build of PyTorch that this machine can use: the CPU build if there is no NVIDIA GPU.

    .venv/bin/python tools/install_torch.py 2.13.0 constraints.txt

The package index has only the CUDA build for Linux on x86-64: 5.5 GB on the disk, of which one without a GPU uses a
tenth. The CPU build comes from a local wheel (PIP_FIND_LINKS), else from PyTorch's own index (TORCH_CPU_INDEX names a
mirror). If neither is available, the CUDA build is installed, and its size is printed first.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import unquote

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
TIMEOUT_S = 10.0
CUDA_BUILD = "the CUDA build from the package index: about 3 GB to download, 5.5 GB on the disk"
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


def main(wanted: str, constraints: str) -> int:
    if installed() == wanted:
        print(f"PyTorch {wanted} is already installed.")
        return 0
    arguments, build = choose(wanted, os.environ)
    print(f"PyTorch {wanted}: {build}", flush=True)
    return subprocess.call([*PIP, "install", "-c", constraints, *arguments, f"torch=={wanted}"])


def choose(wanted: str, environ: Mapping[str, str]) -> tuple[Sequence[str], str]:
    """Return pip's additional arguments, and in words which build they install and from where."""
    if sys.platform != "linux":
        return [], "the package index's build for this system, about 100 MB to download"
    if has_nvidia_gpu():
        return [], f"{CUDA_BUILD}, for this machine's GPU"
    wheel = local_wheel(wanted)
    if wheel:
        return [], f"from {wheel}"
    index = environ.get("TORCH_CPU_INDEX", CPU_INDEX)
    if answers(f"{index}/torch/"):
        # Its dependencies are installed with our own libraries: that index has few versions of other packages.
        return ["--no-deps", "--index-url", index], f"the CPU build from {index}, about 200 MB to download"
    return [], (
        f"{CUDA_BUILD}. There is no NVIDIA GPU here, but {index} does not answer. To avoid it, stop now (Ctrl-C), "
        "copy a CPU wheel here and run `PIP_FIND_LINKS=FOLDER make setup`"
    )


def installed() -> str | None:
    """Return the version of PyTorch in this environment, without its build tag (`+cpu`)."""
    try:
        return version("torch").partition("+")[0]
    except PackageNotFoundError:
        return None


def has_nvidia_gpu() -> bool:
    """Tell whether the NVIDIA driver finds a GPU."""
    if shutil.which("nvidia-smi") is None:
        return False
    found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return found.returncode == 0 and "GPU" in found.stdout


def local_wheel(wanted: str) -> str | None:
    """Return the name of the wheel that pip would take from this machine's disk, or None."""
    dry = ["install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet", "--report", "-"]
    report = subprocess.run([*PIP, *dry, f"torch=={wanted}"], capture_output=True, text=True, check=False)
    if report.returncode != 0:
        return None
    url = json.loads(report.stdout)["install"][0]["download_info"]["url"]
    return unquote(Path(url).name) if url.startswith("file:") else None


def answers(url: str) -> bool:
    """Tell whether a URL answers."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
            return response.status == 200
    except (OSError, ValueError, urllib.error.URLError):
        return False


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
