"""The messages cross as bytes, and the address always fits into a socket."""

from pathlib import Path

from overtone.config import Settings
from overtone.engine import protocol
from overtone.engine.protocol import GenerateRequest, SamplingOptions


def test_a_request_crosses_as_bytes() -> None:
    options = SamplingOptions(temperature=0.5, seed=0, stop=["\n"], max_tokens=7)
    request = GenerateRequest(tuned_model="a", prompt_ids=[1, 2, 3], options=options)
    assert GenerateRequest.deserialize(GenerateRequest.serialize(request)) == request


def test_an_unset_seed_differs_from_zero() -> None:
    assert "seed" not in SamplingOptions()
    assert "seed" in SamplingOptions(seed=0)


def test_the_address_lies_under_the_data_folder() -> None:
    settings = Settings(data=Path("/srv/o"))
    assert protocol.engine_address(settings, "tiny") == "unix:/srv/o/run/engine-tiny.sock"


def test_a_deep_data_folder_still_gets_a_socket_that_fits() -> None:
    one, two = (Settings(data=Path("/srv") / name / ("d" * 120)) for name in "ab")
    assert len(protocol.engine_address(one, "tiny")) < protocol.MAX_SOCKET_PATH_BYTES
    assert protocol.engine_address(one, "tiny") != protocol.engine_address(two, "tiny")
