"""The body of a request: JSON by its media type, in which no object has a key twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fastapi import Request

from driftbook.api.problems import ProblemError, WrongField, invalid_request

JSON_MEDIA_TYPE = "application/json"


class _RepeatedKeyError(Exception):
    """An object has a key twice."""


async def read_json_body(request: Request) -> bytes:
    """Return the body of a request.

    Whether it is JSON at all is left to the model that reads it.

    Raises:
        ProblemError: 415, it is declared as something else, or as nothing: pages of other sites
            may post that without asking; 422, an object has a key twice.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != JSON_MEDIA_TYPE:
        detail = f"send JSON, with the header 'Content-Type: {JSON_MEDIA_TYPE}'"
        raise ProblemError("unsupported-media-type", detail)
    body = await request.body()
    repeated = find_repeated_key(body)
    if repeated is not None:
        expected = "each key of an object once"
        named = repeated[:80].encode(errors="replace").decode()  # half a character is none
        wrong = WrongField(field=named, expected=expected, found="the key again")
        raise invalid_request([wrong])
    return body


def find_repeated_key(body: bytes) -> str | None:
    r"""Return the first key that an object has twice; ``None`` as well where it is no JSON.

    >>> find_repeated_key(b'{"rows": [{"age": 1, "\\u0061ge": 2}]}')
    'age'
    """
    # Pydantic takes the last of two, other readers the first. One row has one key: not read twice.
    if body.count(b":") < 2:
        return None
    try:
        # Whole numbers of any length, which Python's own would refuse before what follows is read.
        json.loads(body, object_pairs_hook=_require_distinct, parse_int=float)
    except _RepeatedKeyError as error:
        return str(error)
    except (ValueError, RecursionError):
        return None
    return None


def _require_distinct(pairs: Sequence[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        known: set[str] = set()
        for key, _ in pairs:
            if key in known:
                raise _RepeatedKeyError(key)
            known.add(key)
