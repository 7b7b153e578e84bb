"""The filter of tunedModels.list: words to find in a name or description, and whose models to show.

Terms are joined by AND; how Google combines them is not documented.
"""

from __future__ import annotations

from overtone.domain.sharing import Grantee, Question
from overtone.errors import refuse

MAX_TERMS = 20
DEFAULT_OPERATOR = "readers:me"  # hence without the models that are only shared with everyone
OPERATORS = {
    "owner:me": ("OWNER",),
    "writers:me": ("OWNER", "WRITER"),
    "readers:me": ("OWNER", "WRITER", "READER"),
    "readers:everyone": (),
}  # the roles of which the caller has one; none: what everyone may read


def parse(text: str, me: Grantee) -> Question:
    """Return what a filter asks for.

    Raises InvalidArgument for an unknown operator and for too many terms.
    """
    terms = text.split()
    if len(terms) > MAX_TERMS:
        raise refuse("filter", f"has {len(terms)} terms; the limit is {MAX_TERMS}.")
    operators = [term for term in terms if term.startswith(("owner:", "writers:", "readers:"))]
    for operator in operators:
        if operator not in OPERATORS:
            raise refuse("filter", f"has the term {operator!r}; the operators are {', '.join(OPERATORS)}.")
    words = [term for term in terms if term not in operators]
    roles = [OPERATORS[operator] for operator in operators or [DEFAULT_OPERATOR]]
    return Question(me, tuple(words), tuple(roles))
