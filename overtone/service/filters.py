"""The filter of tunedModels.list: words to find in a name or description, and whose models to show.

Terms are joined by AND; how Google combines them is not documented.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import ColumnElement

from overtone.errors import InvalidArgument
from overtone.service.rules import refuse
from overtone.store.grants import Grantee, has_role, shared_with_everyone
from overtone.store.store import has_text

Condition = ColumnElement[bool]
OPERATORS: dict[str, Callable[[Grantee], Condition]] = {
    "owner:me": lambda me: has_role(("OWNER",), me),
    "writers:me": lambda me: has_role(("OWNER", "WRITER"), me),
    "readers:me": lambda me: has_role(("OWNER", "WRITER", "READER"), me),
    "readers:everyone": lambda me: shared_with_everyone(),
}
MAX_TERMS = 20
DEFAULT_OPERATOR = "readers:me"  # hence without the models that are only shared with everyone


def conditions(text: str, me: Grantee) -> list[Condition]:
    """Return what a tuned model must meet to be in the list.

    Raises InvalidArgument for an unknown operator and for too many terms.
    """
    terms = text.split()
    if len(terms) > MAX_TERMS:
        raise refuse("filter", f"has {len(terms)} terms; the limit is {MAX_TERMS}.")
    operators = [term for term in terms if term.startswith(("owner:", "writers:", "readers:"))]
    words = [has_text(term) for term in terms if term not in operators]
    return [*(_condition(operator, me) for operator in operators or [DEFAULT_OPERATOR]), *words]


def _condition(operator: str, me: Grantee) -> Condition:
    if operator not in OPERATORS:
        raise _unknown(operator)
    return OPERATORS[operator](me)


def _unknown(operator: str) -> InvalidArgument:
    return refuse("filter", f"has the term {operator!r}; the operators are {', '.join(OPERATORS)}.")
