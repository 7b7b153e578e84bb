"""What the API and an engine say to each other: small messages over gRPC, and the address where they meet.

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
MAX_LOGPROBS = 20  # of the likeliest tokens at a place
MAX_STOPS = 5  # stop sequences of one call
MAX_PENALTY = 2.0
MAX_SOCKET_PATH_BYTES = 100  # the kernel's limit is 107, and gRPC wants a little of it

__protobuf__ = proto.module(
    package="overtone.engine.v1",
    manifest={
        "SamplingOptions", "GenerateRequest", "TopToken", "TokenLogprobs", "GenerateEvent",
        "StatusRequest", "Sample", "Metric", "StatusReply",
    },
)  # fmt: skip


class SamplingOptions(proto.Message):
    """How to choose tokens and when to stop. All explicit: the caller has filled in its defaults."""

    temperature = proto.Field(proto.FLOAT, number=1)  # 0: always the likeliest token
    top_p = proto.Field(proto.FLOAT, number=2)  # 0 and 1: off
    top_k = proto.Field(proto.INT32, number=3)  # 0: off
    seed = proto.Field(proto.INT64, number=4, optional=True)
    max_tokens = proto.Field(proto.INT32, number=5)  # 0: as far as the context reaches
    min_tokens = proto.Field(proto.INT32, number=6)  # no end-of-turn token before this many
    stop = proto.RepeatedField(proto.STRING, number=7)
    presence_penalty = proto.Field(proto.FLOAT, number=8)
    frequency_penalty = proto.Field(proto.FLOAT, number=9)
    num_candidates = proto.Field(proto.INT32, number=10)  # 0 counts as 1
    logprobs = proto.Field(proto.INT32, number=11, optional=True)  # -1: off; 0: the chosen; n: top n too
    response_schema = proto.Field(proto.STRING, number=12)  # a JSON schema; "": none
    json_mode = proto.Field(proto.BOOL, number=13)  # any JSON value
    choices = proto.RepeatedField(proto.STRING, number=14)  # the answer is one of these texts


class GenerateRequest(proto.Message):
    """One prompt, already token ids. `tuned_model` is the key of fairness and of metrics; "" is the base."""

    request_id = proto.Field(proto.STRING, number=1)
    tuned_model = proto.Field(proto.STRING, number=2)
    adapter_folder = proto.Field(proto.STRING, number=3)  # "": the base itself
    adapter_digest = proto.Field(proto.STRING, number=4)  # the identity of the weights; needed with a folder
    prompt_ids = proto.RepeatedField(proto.INT32, number=5)
    options = proto.Field(SamplingOptions, number=6)


class TopToken(proto.Message):
    """One of the likeliest tokens at a place."""

    token = proto.Field(proto.STRING, number=1)
    token_id = proto.Field(proto.INT32, number=2)
    logprob = proto.Field(proto.FLOAT, number=3)


class TokenLogprobs(proto.Message):
    """The chosen token at a place, with its natural log probability before temperature and filters."""

    token = proto.Field(proto.STRING, number=1)
    token_id = proto.Field(proto.INT32, number=2)
    logprob = proto.Field(proto.FLOAT, number=3)
    top = proto.RepeatedField(TopToken, number=4)


class GenerateEvent(proto.Message):
    """What became final of one candidate. Text never ends inside a character nor inside a stop sequence."""

    index = proto.Field(proto.INT32, number=1)
    text = proto.Field(proto.STRING, number=2)
    logprobs = proto.RepeatedField(TokenLogprobs, number=4)
    finish_reason = proto.Field(proto.STRING, number=5)  # "" while it goes on, then STOP or MAX_TOKENS
    candidate_tokens = proto.Field(proto.INT32, number=7)  # so far
    avg_logprob = proto.Field(proto.FLOAT, number=8)  # at the finish


class StatusRequest(proto.Message):
    """Asks for nothing in particular."""


class Sample(proto.Message):
    """One line of a metric: its suffix (`_bucket`, `_sum`, `_count` or nothing), labels and value."""

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
    """How the engine is. `problem` is a sentence when the base could not be loaded."""

    base_id = proto.Field(proto.STRING, number=1)
    device = proto.Field(proto.STRING, number=2)
    ready = proto.Field(proto.BOOL, number=3)
    running = proto.Field(proto.INT32, number=4)
    waiting = proto.Field(proto.INT32, number=5)
    problem = proto.Field(proto.STRING, number=6)
    metrics = proto.RepeatedField(Metric, number=7)


def engine_address(settings: Settings, base_id: str) -> str:
    """Return the gRPC target of a base's engine on this host: a Unix socket under the data folder.

    A path too long for a socket becomes a short one in a folder of this user below the temporary one.
    """
    path = settings.run / f"engine-{base_id}.sock"
    if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        name = hashlib.sha256(os.fsencode(path)).hexdigest()[:24]
        path = Path(tempfile.gettempdir()) / f"overtone-{os.getuid()}" / f"{name}.sock"
    return f"unix:{path}"
