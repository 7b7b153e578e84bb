"""The service's settings in one frozen dataclass: from a flag, else an OVERTONE_* variable, else the default."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import platformdirs

LOCAL_OWNER = "owner@localhost"  # every caller of a service that never had a key
DEFAULT_BASE = "smollm2-135m-instruct"
ALLOWED = {
    "device": ("auto|cpu|cuda(:[0-9]+)?", "auto, cpu, cuda or cuda:1 and so on"),
    "weights": ("auto|float32|bfloat16", "auto, float32 or bfloat16"),
    "precision": ("auto|float32|bfloat16", "auto, float32 or bfloat16"),
}  # setting → pattern of its value, and the pattern in words


def default_data() -> Path:
    """Return the default data folder, in the platform's folder for user data."""
    return Path(platformdirs.user_data_dir("overtone", appauthor=False))


@dataclass(frozen=True)
class Settings:
    """The settings of all processes of one service. Children get them through their environment."""

    data: Path = field(default_factory=default_data)  # the data folder: database, tuned models, bases
    database_url: str = ""  # SQLAlchemy URL of the database; empty: SQLite in the data folder
    host: str = "127.0.0.1"  # address to listen on; other than loopback only with keys
    port: int = 8080  # port to listen on; 0 picks a free one
    grpc_port: int = 0  # 0: the HTTP port + 1; -1: no gRPC
    tls_cert: str = ""  # PEM file of a certificate, for REST and gRPC; needs the key too
    tls_key: str = ""  # PEM file of the certificate's key
    cors_origins: str = ""  # comma-separated origins whose web pages may call the API
    base: str = DEFAULT_BASE  # id of the base model that is always loaded, and that the aliases stand for
    extra_bases: int = 2  # other bases that may be in memory at once, loaded when they are used; 0: none
    base_idle_s: float = 600.0  # another base's engine and trainer stop after this long without a call or job
    device: str = "auto"  # cpu, cuda, cuda:1 …; auto: the GPU if there is one
    weights: str = "auto"  # of the engine: auto (4 or 8 bits; bfloat16 on a GPU), float32, bfloat16
    precision: str = "auto"  # of the trainer: auto (the fastest without loss of quality), float32, bfloat16
    threads: int = 0  # compute threads of the engine and of the trainer, each; 0: one per core
    max_body_mb: int = 64  # maximum size of a request; the hosted service took 4 MB of data
    max_queue: int = 256  # calls that may wait for the engine; more are refused with 429
    keep_alive_s: int = 75  # an idle connection is closed after this; clients poll every 5 s
    request_timeout_s: float = 600.0  # a longer generation ends with DEADLINE_EXCEEDED
    rescue_after_s: float = 60.0  # silence after which a worker's jobs return to the queue

    def __post_init__(self) -> None:
        if not self.database_url:
            object.__setattr__(self, "database_url", f"sqlite:///{self.data / 'overtone.db'}")
        for name, (pattern, meaning) in ALLOWED.items():
            text = getattr(self, name)
            if not re.fullmatch(pattern, text):
                raise ValueError(f"OVERTONE_{name.upper()} is {text!r}; it must be {meaning}")

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        return tuple(origin.strip() for origin in self.cors_origins.split(",") if origin.strip())

    @property
    def bases(self) -> Path:
        return self.data / "bases"

    @property
    def tuned(self) -> Path:
        return self.data / "tuned"

    @property
    def run(self) -> Path:
        return self.data / "run"

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ, **flags: Any) -> Settings:
        """Read the settings. A flag that is None was not given. Raises ValueError that names the variable."""
        values: dict[str, Any] = {}
        for spec in fields(cls):
            text = environ.get(f"OVERTONE_{spec.name.upper()}")
            if text is not None:
                values[spec.name] = _parse(spec.name, spec.type, text)
        values.update({name: value for name, value in flags.items() if value is not None})
        values["data"] = Path(values.get("data") or default_data()).expanduser().absolute()
        return cls(**values)

    def to_environ(self) -> dict[str, str]:
        """Return the variables from which `load` reads these settings."""
        return {f"OVERTONE_{spec.name.upper()}": str(getattr(self, spec.name)) for spec in fields(self)}


OTHER_VARIABLES = (
    "OVERTONE_API_KEY",
    "OVERTONE_URL",
    "OVERTONE_COMPLETE",
)  # used by the command line; besides OVERTONE_TEST_…


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Return a sentence for each OVERTONE_ variable that is not a setting, most likely a misspelt one."""
    known = [spec.name.upper() for spec in fields(Settings)]
    sentences = []
    for name in sorted(environ):
        if not name.startswith("OVERTONE_") or name.startswith("OVERTONE_TEST_"):
            continue
        short = name.removeprefix("OVERTONE_")
        if short not in known and name not in OTHER_VARIABLES:
            close = difflib.get_close_matches(short, known, n=1)
            hint = f"Did you mean OVERTONE_{close[0]}?" if close else "See all settings: overtone settings"
            sentences.append(f"{name} is not a setting and has no effect. {hint}")
    return sentences


def hide_password(url: str) -> str:
    """Return a database's URL without its password: `postgresql://me:***@host/name`."""
    url = re.sub(r"(://[^:/@]*):.*@", r"\1:***@", url)
    return re.sub(r"(password=)[^&]*", r"\1***", url)


def _parse(name: str, kind: Any, text: str) -> Any:
    parse = {"Path": Path, "int": int, "float": float}.get(str(kind), str)
    try:
        return parse(text)
    except ValueError:
        raise ValueError(f"OVERTONE_{name.upper()} is {text!r}; it must be {kind}") from None
