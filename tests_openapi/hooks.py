"""What schemathesis has to be told of this server; named by SCHEMATHESIS_HOOKS."""

from __future__ import annotations

import time
from typing import Any

import schemathesis
from hypothesis import strategies as st


@schemathesis.serializer("application/jsonl")
def jsonl(_ctx: object, value: object) -> bytes:
    """Send lines as they are: OpenAPI 3.1 has them as one text."""
    # A number would be a right line, though it is no text.
    return (value if isinstance(value, str) else f"no text: {value!r}").encode()


@schemathesis.hook
def filter_case(_ctx: object, case: schemathesis.Case[Any]) -> bool:
    """Leave out what is wrong by a field alone that nobody knows: HTTP allows it."""
    return "x-schemathesis-unknown-property" not in (case.headers or {})


def http_date(seconds: int) -> str:
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(seconds))


schemathesis.openapi.format("http-date", st.integers(0, 2**32).map(http_date))
# By the pattern alone it makes header values of letters and digits, which it forbids.
schemathesis.openapi.format(
    "entity-tags",
    st.just("*")
    | st.lists(
        st.from_regex(r'(W/)?"[!#-~]*"', fullmatch=True), min_size=1, max_size=3
    ).map(", ".join),
)
