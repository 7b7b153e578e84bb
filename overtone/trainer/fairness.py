"""Chooses which running jobs share the next pass over the base. Integers only.

Fairness is by tokens: the job that was served least comes first. Someone is likely waiting for a small job (one
that ends within a minute or so), so its tokens count only a fraction. Small jobs hardly wait for large ones, and
large ones still get their share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SMALL_JOB_TOKENS = 50_000  # in all steps together
SMALL_JOB_WEIGHT = 8


@dataclass
class JobAccount:
    """A job's account. `served` counts the tokens of its passes; for a small job only a fraction of them."""

    job_tokens: int  # in all steps together
    served: float = 0.0
    num_tokens: int = 0  # the last value passed to `serve`

    @property
    def weight(self) -> int:
        return SMALL_JOB_WEIGHT if self.job_tokens <= SMALL_JOB_TOKENS else 1

    def serve(self, num_tokens: int) -> None:
        """Record how many tokens the job has run since it was claimed."""
        self.served += (num_tokens - self.num_tokens) / self.weight
        self.num_tokens = num_tokens


def join(account: JobAccount, others: Sequence[JobAccount]) -> None:
    """Start a job level with the least served job: it neither waits for the others nor catches up on the past."""
    account.served = min((other.served for other in others), default=0.0)


def choose(accounts: Sequence[JobAccount], next_tokens: Sequence[int], budget: int) -> list[int]:
    """Return the numbers of the jobs that share the next pass, least served first.

    `next_tokens` is the minimum that each job needs. The first job is always chosen, others while there is room.
    """
    order = sorted(range(len(accounts)), key=lambda i: (accounts[i].served, accounts[i].job_tokens))
    chosen: list[int] = []
    for i in order:
        if not chosen or next_tokens[i] <= budget:
            chosen.append(i)
            budget -= next_tokens[i]
    return chosen
