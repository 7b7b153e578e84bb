"""Print the fields of google-genai's types, and the values of its enums, that are meant for the Gemini API.

What the package itself calls "not supported in Gemini API" belongs to Vertex AI and is left out.
"""

import enum
import inspect
import json
import re

from google.genai import types
from pydantic import BaseModel

VERTEX_ALONE = "not supported in Gemini API"


def fields_of(kind):
    fields = kind.model_fields.items()
    return [field.alias or name for name, field in fields if VERTEX_ALONE not in (field.description or "")]


def values_of(kind):
    """Return the values; what is said of one stands in the source, below it."""
    source = inspect.getsource(kind)
    return [
        each.value for each in kind if not re.search(rf'{each.value}[\'")\s]+"""[^"]*{VERTEX_ALONE}', source)
    ]


kinds = {name: kind for name, kind in vars(types).items() if inspect.isclass(kind)}
found = {name: fields_of(kind) for name, kind in kinds.items() if issubclass(kind, BaseModel)}
enums = {name: values_of(kind) for name, kind in kinds.items() if issubclass(kind, enum.Enum)}
print(json.dumps({"fields": found, "values": enums}))
