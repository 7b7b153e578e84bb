"""What a client asks of a tuned model, read from Google's messages."""

from __future__ import annotations

import re
from typing import Any

import pytest

from overtone.doors.gemini import messages as m
from overtone.doors.gemini.training_advice import advise
from overtone.doors.gemini.tuning_requests import WRITABLE, masked, read_tuning_request
from overtone.errors import InvalidArgument


@pytest.mark.parametrize(
    ("client", "way"),
    [
        ("google-genai-sdk/1.50.0 gl-python/3.13.1", r"google-genai==1\.46\.0(.|\n)*extra_body"),
        ("google-genai-sdk/1.30.0 gl-node/v22.1.0", r"ai\.tunings\.tune\((.|\n)*extraBody"),
        ("google-genai-sdk/1.30.0 gl-node/web", r"ai\.tunings\.tune\((.|\n)*extraBody"),
        ("google-genai-sdk/1.20.0 gl-go/go1.24", r"HTTPOptions\.ExtraBody"),
        ("python-requests/2.32.3", r'The body is to hold \{"tuningTask"'),
        ("curl/8.5.0", r'The body is to hold \{"tuningTask"'),
        ("", r'The body is to hold \{"tuningTask"'),
    ],
)
def test_missing_training_data_shows_the_way_for_newer_clients(client: str, way: str) -> None:
    assert read_tuning_request(m.CreateTunedModelRequest()).dataset is None
    assert re.search(way, advise(client))


def test_examples_of_several_turns_are_refused_by_name_over_grpc_too() -> None:
    from google.ai.generativelanguage_v1alpha import types as v1alpha

    turns = v1alpha.TuningMultiturnExample()
    data = v1alpha.Dataset(examples=v1alpha.TuningExamples(multiturn_examples=[turns]))
    sent = v1alpha.TuningTask.serialize(v1alpha.TuningTask(training_data=data))
    with pytest.raises(InvalidArgument, match="multiturnExamples are not supported yet"):
        model = m.TunedModel(tuning_task=m.TuningTask.deserialize(sent))
        read_tuning_request(m.CreateTunedModelRequest(tuned_model=model))


@pytest.mark.parametrize(
    ("paths", "fields", "expected"),
    [
        (["description"], {"display_name": "d"}, ["description"]),
        ([], {"display_name": "d", "state": "ACTIVE"}, ["display_name"]),
        (["*"], {}, list(WRITABLE)),
    ],
)
def test_a_mask_chooses_writable_fields(
    paths: list[str], fields: dict[str, Any], expected: list[str]
) -> None:
    assert masked(paths, m.TunedModel(fields)) == expected


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("base_model", "cannot be changed"),
        ("tuning_task.snapshots", "cannot be changed"),
        ("state", "cannot be changed"),
        ("nonsense", "is not a field"),
        ("", "is not a field"),
    ],
)
def test_a_mask_of_other_fields_is_refused(path: str, problem: str) -> None:
    with pytest.raises(InvalidArgument, match=problem):
        masked([path], m.TunedModel())
