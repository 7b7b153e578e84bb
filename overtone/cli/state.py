"""A tuned model's state in words, with the failure reason or the progress from its operation."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from overtone.cli.flags import in_flags

WAITING = "waiting for the trainer"
CANCELLED = 1  # google.rpc.Code


def describe_state(tuned_model: dict[str, Any], operation: dict[str, Any] | None) -> str:
    """Return `active`, `active, stopped at step 9 of 30`, `tuning, step 12 of 75, 3 min left` or `failed: why`."""
    state = str(tuned_model["state"]).lower()
    if operation is None:
        return state
    metadata = operation.get("metadata", {})
    done, total = metadata.get("completedSteps", 0), metadata.get("totalSteps", 0)
    if state == "creating":
        left = time_left(metadata) or time_left({**metadata, **tuned_model.get("tuningTask", {})})
        return ", ".join(filter(None, ("tuning", f"step {done} of {total}", left))) if done else WAITING
    if state == "active" and done < total:
        return f"active, stopped at step {done} of {total}"
    if state == "failed":
        error = operation.get("error", {})
        return (
            "cancelled before its first step"
            if error.get("code") == CANCELLED
            else f"failed: {in_flags(error.get('message', ''))}"
        )
    return state


def time_left(metadata: dict[str, Any]) -> str:
    """Return the time that the remaining steps take at the speed so far, or "" if it is not known."""
    moments = [each["computeTime"] for each in metadata.get("snapshots", []) if "computeTime" in each]
    if len(moments) < 2:
        return ""
    span = (datetime.fromisoformat(moments[-1]) - datetime.fromisoformat(moments[0])).total_seconds()
    left_s = span / (len(moments) - 1) * (metadata["totalSteps"] - metadata.get("completedSteps", 0))
    return f"{left_s:.0f} s left" if left_s < 90 else f"{left_s / 60:.0f} min left"


def describe_ended(operation: dict[str, Any]) -> str:
    """Return why there is nothing to stop, or "" for a tuning job that is not done."""
    if not operation.get("done"):
        return ""
    metadata = operation["metadata"]
    done, total = metadata.get("completedSteps", 0), metadata["totalSteps"]
    if "error" in operation and operation["error"].get("code") != CANCELLED:
        return "has already failed"
    if done == 0:
        return "was already cancelled, before its first step"
    return "is already ready" if done == total else f"was already stopped, at step {done} of {total}"
