from __future__ import annotations

from overtone.trainer.fairness import SMALL_JOB_TOKENS, JobAccount, choose, join

LARGE = 100 * SMALL_JOB_TOKENS


def test_all_share_a_pass_that_has_room() -> None:
    assert sorted(
        choose([JobAccount(100), JobAccount(LARGE), JobAccount(200)], [30, 40, 50], budget=120)
    ) == [
        0,
        1,
        2,
    ]


def test_the_least_served_goes_first_and_always_goes() -> None:
    accounts = [JobAccount(LARGE, served=9.0), JobAccount(LARGE, served=1.0)]
    assert choose(accounts, [10, 5000], budget=1000) == [1]


def test_what_does_not_fit_leaves_room_to_what_does() -> None:
    assert choose([JobAccount(100), JobAccount(200), JobAccount(300)], [900, 500, 50], budget=1000) == [0, 2]


def test_of_two_large_jobs_each_gets_half_the_tokens() -> None:
    assert share_of_first([LARGE, LARGE], [1000, 250]) == 0.5


def test_a_small_job_hardly_waits_for_a_large_one() -> None:
    assert 0.8 < share_of_first([1000, LARGE], [50, 1000]) < 0.95


def test_a_newcomer_begins_level_with_the_least_served() -> None:
    newcomer = JobAccount(LARGE)
    join(newcomer, [JobAccount(LARGE, served=70.0), JobAccount(LARGE, served=50.0)])
    assert newcomer.served == 50.0
    join(newcomer, [])
    assert newcomer.served == 0.0


def share_of_first(job_tokens: list[int], pass_tokens: list[int]) -> float:
    """Run many passes with room for one job; return the first one's share of all tokens."""
    accounts, done = [JobAccount(tokens) for tokens in job_tokens], [0] * len(job_tokens)
    for _ in range(2000):
        (chosen,) = choose(accounts, pass_tokens, budget=1)
        done[chosen] += pass_tokens[chosen]
        accounts[chosen].serve(done[chosen])
    return round(done[0] / sum(done), 2)
