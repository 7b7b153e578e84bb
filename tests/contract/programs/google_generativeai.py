"""Google's tuning notebook and samples, with google-generativeai as published. Run in its own environment.

usage: google_generativeai.py rest http://localhost:PORT   |   google_generativeai.py grpc localhost:PORT
"""

import sys
import time

import google.api_core.exceptions as google_exceptions
import google.generativeai as genai
import pandas as pd

transport, endpoint = sys.argv[1:]
over_grpc = transport == "grpc"
genai.configure(api_key="any", transport=transport, client_options={"api_endpoint": endpoint})

EXAMPLES = [
    {"text_input": "1", "output": "2"},
    {"text_input": "3", "output": "4"},
    {"text_input": "-3", "output": "-2"},
    {"text_input": "twenty two", "output": "twenty three"},
    {"text_input": "two hundred", "output": "two hundred one"},
    {"text_input": "ninety nine", "output": "one hundred"},
    {"text_input": "8", "output": "9"},
]
ENDLESS = 100_000  # epochs: nobody waits for the end of such a job


def raises(expected, call):
    try:
        call()
    except expected as error:
        return str(error)
    raise AssertionError(f"no {expected.__name__}")


# The notebook: choose a base, tune, wait, plot.
tunable = [m for m in genai.list_models() if "createTunedModel" in m.supported_generation_methods]
base = next(m for m in tunable if "flash" in m.name)
name = f"generate-num-{transport}"
operation = genai.create_tuned_model(
    source_model=base.name,
    training_data=EXAMPLES,
    id=name,
    display_name="increment",
    epoch_count=4,
    batch_size=2,
    learning_rate=0.001,
)
assert operation.metadata.total_steps == 14, operation.metadata
assert operation.metadata.tuned_model == f"tunedModels/{name}"
model = genai.get_tuned_model(f"tunedModels/{name}")
assert model.state.name in ("CREATING", "ACTIVE"), model.state
assert (model.temperature, round(model.top_p, 6), model.top_k) == (1.0, 0.95, 64), model
seen = []
for status in operation.wait_bar():
    seen.append(status.completed_steps)
    time.sleep(0.05)
assert seen == sorted(seen), seen
model = operation.result()
assert operation.done() and not operation.cancelled()
assert operation.metadata.completed_percent == 100, operation.metadata
assert model.state.name == "ACTIVE" and model.base_model == base.name, model
assert model.tuning_task.hyperparameters.epoch_count == 4
snapshots = pd.DataFrame(model.tuning_task.snapshots)
assert list(snapshots["step"]) == list(range(1, 15)), snapshots
assert snapshots["epoch"].dropna().iloc[-1] == 4, snapshots
assert (snapshots["mean_loss"] > 0).all(), snapshots
assert model.update_time >= model.create_time

# Ask it.
tuned = genai.GenerativeModel(model_name=f"tunedModels/{name}")
answer = tuned.generate_content("55", generation_config={"max_output_tokens": 8, "temperature": 0})
assert isinstance(answer.text, str) and answer.usage_metadata.prompt_token_count > 0, answer
pieces = list(
    tuned.generate_content("55", stream=True, generation_config={"max_output_tokens": 8, "temperature": 0})
)
assert "".join(piece.text for piece in pieces) == answer.text, pieces
two = tuned.generate_content(
    ["input: 7", "output: "], generation_config={"candidate_count": 2, "max_output_tokens": 4}
)
assert len(two.candidates) == 2, two
chat = tuned.start_chat(history=[{"role": "user", "parts": ["1"]}, {"role": "model", "parts": ["2"]}])
chat.send_message("3", generation_config={"max_output_tokens": 4})
if over_grpc:  # over REST the client itself refuses this on tuned models
    assert tuned.count_tokens("55").total_tokens > 0
plain = genai.GenerativeModel(base.name)
assert plain.count_tokens(chat.history).total_tokens > plain.count_tokens("55").total_tokens > 0
if not over_grpc:  # an error where the client reads an array
    refused = raises(
        google_exceptions.BadRequest, lambda: list(plain.generate_content("x" * 50_000, stream=True))
    )
    assert "has 50000 characters" in refused, refused

# Manage it.
assert f"tunedModels/{name}" in [m.name for m in genai.list_tuned_models(page_size=1)]
updated = genai.update_tuned_model(f"tunedModels/{name}", {"description": "This is my model."})
assert updated.description == "This is my model.", updated
model = genai.get_tuned_model(f"tunedModels/{name}")
assert model.description == "This is my model." and model.display_name == "increment"

# Share it, as samples/tuned_models.py does.
everyone = model.permissions.create(role="READER", grantee_type="EVERYONE")
group = model.permissions.create(role="READER", grantee_type="GROUP", email_address="x@googlegroups.com")
user = model.permissions.create(role="READER", grantee_type="USER", email_address="u@example.com")
user.update({"role": "WRITER"})  # the client keeps what it sent and ignores the answer
assert genai.types.Permission.get(user.name).role.name == "WRITER"
assert {p.role.name for p in model.permissions.list(page_size=2)} == {"OWNER", "READER", "WRITER"}
assert genai.types.Permission.get(user.name).email_address == "u@example.com"
for permission in model.permissions.list():
    if permission.role.name != "OWNER":
        permission.delete()
assert [p.role.name for p in model.permissions.list()] == ["OWNER"]

# Tune a tuned one, cancel it, delete both.
child = genai.create_tuned_model(
    source_model=f"tunedModels/{name}", training_data=EXAMPLES, epoch_count=ENDLESS
)
while child.metadata.completed_steps < 2:
    time.sleep(0.05)
    child.update()
child.cancel()
error = raises(
    (google_exceptions.Cancelled, google_exceptions.ClientError), lambda: child.result(timeout=None)
)
assert child.cancelled(), error
child_model = genai.get_tuned_model(child.metadata.tuned_model)
assert child_model.state.name == "ACTIVE" and child_model.source_model == f"tunedModels/{name}", child_model
if over_grpc:
    assert child.name in [o.name for o in genai.list_operations()]

# What goes wrong, as the client's own exception classes.
taken = google_exceptions.AlreadyExists if over_grpc else google_exceptions.Conflict
raises(taken, lambda: genai.create_tuned_model(source_model=base.name, training_data=EXAMPLES, id=name))
invalid = google_exceptions.InvalidArgument if over_grpc else google_exceptions.BadRequest
raises(invalid, lambda: genai.create_tuned_model(base.name, training_data=EXAMPLES, display_name="x" * 41))
message = raises(google_exceptions.NotFound, lambda: genai.get_tuned_model("tunedModels/nope"))
assert "Tuned model tunedModels/nope does not exist." in message, message
json_mode = {"response_mime_type": "application/json"}
message = raises(invalid, lambda: tuned.generate_content("55", generation_config=json_mode))
assert "JSON mode is not enabled" in message, message

model.permissions.transfer_ownership("new@example.com")  # from here on this caller is a writer
for gone in (child.metadata.tuned_model,):
    genai.delete_tuned_model(gone)
    raises(google_exceptions.NotFound, lambda gone=gone: genai.get_tuned_model(gone))
raises(
    google_exceptions.PermissionDenied if over_grpc else google_exceptions.Forbidden,
    lambda: genai.delete_tuned_model(f"tunedModels/{name}"),
)
print("ok")
