"""Whose turn it is: which of the running jobs share the next pass over the base. Integers only.

Fair by tokens: who has been served least comes first. A job that a person is likely waiting for (small
enough to end within a minute or so) counts its tokens at a fraction, so it hardly waits for large ones, and
these still get their share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SMALL_JOB_TOKENS = 50_000  # of all steps together
SMALL_JOB_WEIGHT = 8


@dataclass
class Turn:
    """A job's account: `served` are the tokens of its passes, of which a small job pays a fraction."""

    job_tokens: int  # of all steps together
    served: float = 0.0
    num_tokens: int = 0  # as last told to `serve`

    @property
    def weight(self) -> int:
        return SMALL_JOB_WEIGHT if self.job_tokens <= SMALL_JOB_TOKENS else 1

    def serve(self, num_tokens: int) -> None:
        """Note how many tokens the job has run since it was claimed."""
        self.served += (num_tokens - self.num_tokens) / self.weight
        self.num_tokens = num_tokens


def join(turn: Turn, others: Sequence[Turn]) -> None:
    """Let a job begin level with the least served: it neither waits for them nor makes up for its absence."""
    turn.served = min((other.served for other in others), default=0.0)


def choose(turns: Sequence[Turn], next_tokens: Sequence[int], budget: int) -> list[int]:
    """Return the numbers of the jobs that share the next pass, least served first.

    `next_tokens` says what each needs at least. The first always gets its turn; others while there is room.
    """
    order = sorted(range(len(turns)), key=lambda i: (turns[i].served, turns[i].job_tokens))
    chosen: list[int] = []
    for i in order:
        if not chosen or next_tokens[i] <= budget:
            chosen.append(i)
            budget -= next_tokens[i]
    return chosen
