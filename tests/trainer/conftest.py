"""A store in a folder of its own, as the tests of the queue have it."""

from tests.jobs.conftest import store

__all__ = ["store"]
