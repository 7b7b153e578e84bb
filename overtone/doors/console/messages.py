"""The messages of our own methods. Numbers are 32 bits or doubles: in JSON they are numbers, not texts."""

from __future__ import annotations

import proto
from google.protobuf import struct_pb2

__protobuf__ = proto.module(package="overtone.console.v1")


class DatasetSource(proto.Message):
    """Training data: a file's bytes with its name, or rows."""

    content = proto.Field(proto.BYTES, number=1)
    file_name = proto.Field(proto.STRING, number=2)  # its end says what it is: x.csv, x.jsonl, x.xlsx
    rows = proto.RepeatedField(struct_pb2.Struct, number=3)


class CheckDatasetRequest(proto.Message):
    """What is to be checked, and for which tuning."""

    source = proto.Field(DatasetSource, number=1)
    held_out = proto.Field(DatasetSource, number=2)  # must not have rows of `source`
    input = proto.Field(proto.STRING, number=3)  # a column, or a template over columns
    output = proto.Field(proto.STRING, number=4)
    base_model = proto.Field(proto.STRING, number=5)  # models/ID; the service's own without it
    epoch_count = proto.Field(proto.INT32, number=6)  # for the estimate
    batch_size = proto.Field(proto.INT32, number=7)
    max_problems = proto.Field(proto.INT32, number=8)  # 1,000 without it; all are counted


class ColumnUse(proto.Message):
    """How rows became examples."""

    input = proto.Field(proto.STRING, number=1)  # empty for conversations
    output = proto.Field(proto.STRING, number=2)
    guessed = proto.Field(proto.BOOL, number=3)
    num_rows = proto.Field(proto.INT32, number=4)


class ProblemCount(proto.Message):
    """How many problems there are of one kind."""

    kind = proto.Field(proto.STRING, number=1)
    count = proto.Field(proto.INT32, number=2)


class DatasetProblem(proto.Message):
    """What is wrong, where, and what mends it."""

    row = proto.Field(proto.INT32, number=1, optional=True)  # counted from 0; absent for the whole file
    place = proto.Field(proto.STRING, number=2)  # line 3, example 4, row 5
    kind = proto.Field(proto.STRING, number=3)
    severity = proto.Field(proto.STRING, number=4)  # error: a tuning is refused; warning
    field = proto.Field(proto.STRING, number=5)
    text = proto.Field(proto.STRING, number=6)  # ends the sentence that the field begins
    fix = proto.Field(proto.STRING, number=7)


class HistogramBar(proto.Message):
    """How many sizes are up to a limit and above the one before."""

    limit = proto.Field(proto.INT32, number=1)
    count = proto.Field(proto.INT32, number=2)


class SizeHistogram(proto.Message):
    """Sizes by powers of two."""

    smallest = proto.Field(proto.INT32, number=1)
    median = proto.Field(proto.INT32, number=2)
    largest = proto.Field(proto.INT32, number=3)
    bars = proto.RepeatedField(HistogramBar, number=4)


class LongRow(proto.Message):
    """One of the longest examples."""

    row = proto.Field(proto.INT32, number=1, optional=True)
    place = proto.Field(proto.STRING, number=2)
    size = proto.Field(proto.INT32, number=3)


class LabelCount(proto.Message):
    """An output of a classification, and how many rows have it."""

    text = proto.Field(proto.STRING, number=1)
    count = proto.Field(proto.INT32, number=2)


class DatasetStatistics(proto.Message):
    """What the examples are like; sizes in `unit`."""

    num_examples = proto.Field(proto.INT32, number=1)
    unit = proto.Field(proto.STRING, number=2)  # tokens; characters where these could not be counted
    total = proto.Field(proto.DOUBLE, number=3)
    inputs = proto.Field(SizeHistogram, number=4)
    outputs = proto.Field(SizeHistogram, number=5)
    trained_share = proto.Field(proto.DOUBLE, number=6)
    longest = proto.RepeatedField(LongRow, number=7)
    num_distinct_outputs = proto.Field(proto.INT32, number=8)
    labels = proto.RepeatedField(LabelCount, number=9)


class TuningEstimate(proto.Message):
    """What a tuning takes on this machine; seconds and memory only once a job has been tuned here."""

    epoch_count = proto.Field(proto.INT32, number=1)
    batch_size = proto.Field(proto.INT32, number=2)
    num_steps = proto.Field(proto.DOUBLE, number=3)
    num_tokens = proto.Field(proto.DOUBLE, number=4, optional=True)
    seconds = proto.Field(proto.DOUBLE, number=5, optional=True)
    low_seconds = proto.Field(proto.DOUBLE, number=6, optional=True)
    high_seconds = proto.Field(proto.DOUBLE, number=7, optional=True)
    peak_bytes = proto.Field(proto.DOUBLE, number=8, optional=True)
    num_jobs = proto.Field(proto.INT32, number=9)
    device = proto.Field(proto.STRING, number=10)


class CheckDatasetResponse(proto.Message):
    """Everything that is to be known of training data before a job."""

    name = proto.Field(proto.STRING, number=1)
    format = proto.Field(proto.STRING, number=2)
    encoding = proto.Field(proto.STRING, number=3)
    columns = proto.RepeatedField(ColumnUse, number=4)
    unused_columns = proto.RepeatedField(proto.STRING, number=5)
    num_rows = proto.Field(proto.INT32, number=6)
    base_model = proto.Field(proto.STRING, number=7)
    refused = proto.Field(proto.BOOL, number=8)  # whether a tuning on this data would be
    problem_counts = proto.RepeatedField(ProblemCount, number=9)
    problems = proto.RepeatedField(DatasetProblem, number=10)
    statistics = proto.Field(DatasetStatistics, number=11)
    estimate = proto.Field(TuningEstimate, number=12)
    uncounted = proto.Field(proto.STRING, number=13)  # why tokens could not be counted
