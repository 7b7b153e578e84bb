"""The pieces of an answer as the responses that clients see: piece by piece, or put together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from overtone.domain.generation import Piece, TokenLogprobs
from overtone.doors.gemini import messages as m


@dataclass
class CandidateSoFar:
    """One candidate as far as it has come."""

    text: list[str] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    num_tokens: int = 0
    finish_reason: str = ""
    avg_logprob: float = 0.0

    def add(self, piece: Piece) -> None:
        self.text.append(piece.text)
        self.logprobs.extend(piece.logprobs)
        self.num_tokens = piece.num_tokens
        self.finish_reason = piece.finish_reason
        self.avg_logprob = piece.avg_logprob


@dataclass
class Answer:
    """All candidates of one call."""

    model_version: str
    response_id: str
    prompt_tokens: int
    candidates: dict[int, CandidateSoFar] = field(default_factory=dict)

    def add(self, piece: Piece) -> CandidateSoFar:
        """Take in a piece and return the candidate that it belongs to."""
        candidate = self.candidates.setdefault(piece.index, CandidateSoFar())
        candidate.add(piece)
        return candidate

    def texts(self) -> list[str]:
        """Return the candidates' texts so far, in order."""
        return ["".join(candidate.text) for _, candidate in sorted(self.candidates.items())]

    def whole(self) -> m.GenerateContentResponse:
        """Return everything so far as one response."""
        response, bare = self._response()
        for index, candidate in sorted(self.candidates.items()):
            _fill(bare.candidates.add(), index, candidate, "".join(candidate.text), candidate.logprobs)
        return response

    def next(self, piece: Piece) -> m.GenerateContentResponse:
        """Take in a piece and return it as one response of a stream."""
        candidate = self.add(piece)
        response, bare = self._response()
        _fill(bare.candidates.add(), piece.index, candidate, piece.text, piece.logprobs)
        return response

    def _response(self) -> tuple[m.GenerateContentResponse, Any]:
        response = m.GenerateContentResponse()
        bare: Any = m.GenerateContentResponse.pb(response)
        bare.model_version, bare.response_id = self.model_version, self.response_id
        usage, num_tokens = bare.usage_metadata, sum(c.num_tokens for c in self.candidates.values())
        usage.prompt_token_count = self.prompt_tokens
        usage.candidates_token_count = num_tokens
        usage.total_token_count = self.prompt_tokens + num_tokens
        return response, bare


def _fill(
    message: Any, index: int, candidate: CandidateSoFar, text: str, logprobs: Iterable[TokenLogprobs]
) -> None:
    message.index = index
    message.content.role = "model"
    message.content.parts.add(text=text)  # even when empty: clients fail on a candidate without parts
    if candidate.finish_reason:
        message.finish_reason = candidate.finish_reason
        message.token_count = candidate.num_tokens
        message.avg_logprobs = candidate.avg_logprob
    for place in logprobs:
        _add_logprobs(message.logprobs_result, place)


def _add_logprobs(result: Any, place: TokenLogprobs) -> None:
    result.chosen_candidates.add(token=place.token, token_id=place.token_id, log_probability=place.logprob)
    if place.top:
        top = result.top_candidates.add()
        for other in place.top:
            top.candidates.add(token=other.token, token_id=other.token_id, log_probability=other.logprob)
