"""The protocol between the API and an engine: small messages over gRPC, and the socket's address.

The service is `overtone.engine.v1.Engine` with two methods: Generate (one request, a stream of events) and
Status. The messages are proto-plus classes, so there is no generated file; nothing here imports torch.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import proto

from overtone.config import Settings

SERVICE = "overtone.engine.v1.Engine"
GENERATE = f"/{SERVICE}/Generate"
STATUS = f"/{SERVICE}/Status"
MAX_CANDIDATES = 8  # of one call
MAX_LOGPROBS = 20  # most likely tokens at a position
MAX_STOPS = 5  # stop sequences of one call
MAX_PENALTY = 2.0
MAX_SOCKET_PATH_BYTES = 100  # macOS allows 103, Linux 107

__protobuf__ = proto.module(
    package="overtone.engine.v1",
    manifest={
        "SamplingOptions", "GenerateRequest", "TopToken", "TokenLogprobs", "GenerateEvent",
        "StatusRequest", "Sample", "Metric", "StatusReply",
    },
)  # fmt: skip


class SamplingOptions(proto.Message):
    """How to sample tokens and when to stop. Nothing is implied: the caller has filled in its defaults."""

    temperature = proto.Field(proto.FLOAT, number=1)  # 0: always the most likely token
    top_p = proto.Field(proto.FLOAT, number=2)  # 0 and 1: off
    top_k = proto.Field(proto.INT32, number=3)  # 0: off
    seed = proto.Field(proto.INT64, number=4, optional=True)
    max_tokens = proto.Field(proto.INT32, number=5)  # 0: up to the end of the context
    min_tokens = proto.Field(proto.INT32, number=6)  # no end-of-turn token before this many tokens
    stop = proto.RepeatedField(proto.STRING, number=7)
    presence_penalty = proto.Field(proto.FLOAT, number=8)
    frequency_penalty = proto.Field(proto.FLOAT, number=9)
    num_candidates = proto.Field(proto.INT32, number=10)  # 0 counts as 1
    logprobs = proto.Field(proto.INT32, number=11, optional=True)  # -1: off; 0: the chosen; n: top n too
    response_schema = proto.Field(proto.STRING, number=12)  # a JSON schema; "": none
    json_mode = proto.Field(proto.BOOL, number=13)  # any JSON value
    choices = proto.RepeatedField(proto.STRING, number=14)  # the answer is one of these texts


class GenerateRequest(proto.Message):
    """One prompt as token ids. `tuned_model` is the key for fairness and metrics; "" is the base."""

    request_id = proto.Field(proto.STRING, number=1)
    tuned_model = proto.Field(proto.STRING, number=2)
    adapter_folder = proto.Field(proto.STRING, number=3)  # "": the base itself
    adapter_digest = proto.Field(proto.STRING, number=4)  # the identity of the weights; needed with a folder
    prompt_ids = proto.RepeatedField(proto.INT32, number=5)
    options = proto.Field(SamplingOptions, number=6)


class TopToken(proto.Message):
    """One of the most likely tokens at a position."""

    token = proto.Field(proto.STRING, number=1)
    token_id = proto.Field(proto.INT32, number=2)
    logprob = proto.Field(proto.FLOAT, number=3)


class TokenLogprobs(proto.Message):
    """The sampled token at a position, with its natural log probability before temperature and filters."""

    token = proto.Field(proto.STRING, number=1)
    token_id = proto.Field(proto.INT32, number=2)
    logprob = proto.Field(proto.FLOAT, number=3)
    top = proto.RepeatedField(TopToken, number=4)


class GenerateEvent(proto.Message):
    """The part of one candidate that became final. Text never ends inside a character or a stop sequence."""

    index = proto.Field(proto.INT32, number=1)
    text = proto.Field(proto.STRING, number=2)
    logprobs = proto.RepeatedField(TokenLogprobs, number=4)
    finish_reason = proto.Field(proto.STRING, number=5)  # "" while it continues, then STOP or MAX_TOKENS
    candidate_tokens = proto.Field(proto.INT32, number=7)  # so far
    avg_logprob = proto.Field(proto.FLOAT, number=8)  # at the finish


class StatusRequest(proto.Message):
    """Has no fields."""


class Sample(proto.Message):
    """One sample of a metric: its suffix (`_bucket`, `_sum`, `_count` or none), labels and value."""

    suffix = proto.Field(proto.STRING, number=1)
    labels = proto.MapField(proto.STRING, proto.STRING, number=2)
    value = proto.Field(proto.DOUBLE, number=3)


class Metric(proto.Message):
    """A metric family in Prometheus' terms; `kind` is counter, gauge or histogram."""

    name = proto.Field(proto.STRING, number=1)
    help = proto.Field(proto.STRING, number=2)
    kind = proto.Field(proto.STRING, number=3)
    samples = proto.RepeatedField(Sample, number=4)


class StatusReply(proto.Message):
    """The engine's status. If the base could not be loaded, `problem` says why."""

    base_id = proto.Field(proto.STRING, number=1)
    device = proto.Field(proto.STRING, number=2)
    ready = proto.Field(proto.BOOL, number=3)
    running = proto.Field(proto.INT32, number=4)
    waiting = proto.Field(proto.INT32, number=5)
    problem = proto.Field(proto.STRING, number=6)
    metrics = proto.RepeatedField(Metric, number=7)


def engine_address(settings: Settings, base_id: str) -> str:
    """Return the gRPC target of a base's engine on this host: a Unix socket in the data folder.

    If its path is too long for a socket, the socket is in this user's own folder under the temporary folder.
    """
    path = settings.run / f"engine-{base_id}.sock"
    if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        name = hashlib.sha256(os.fsencode(path)).hexdigest()[:24]
        path = Path(tempfile.gettempdir()) / f"overtone-{os.getuid()}" / f"{name}.sock"
    return f"unix:{path}"
