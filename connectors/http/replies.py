"""Answers as bytes: of handlers, of refusals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from schemas.errors import ApiError, InProgress, Unauthorized, Unavailable
from schemas.numbers import exact_json
from schemas.texts import clean

JSON_HEADERS = (("Content-Type", "application/json"),)

Answered = BaseModel | list[Any] | None
"""What a handler returns: models, or None for an empty body."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as bytes."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


def error_reply(error: ApiError) -> Reply:
    """``x-should-retry`` tells the SDKs, which would otherwise send a 409 or a 501 three times."""
    headers = [*JSON_HEADERS, ("x-should-retry", "true" if error.retryable else "false")]
    if isinstance(error, Unauthorized):
        headers.append(("WWW-Authenticate", "Bearer"))
    if isinstance(error, InProgress | Unavailable):
        headers.append(("Retry-After", "1"))
    return Reply(error.status, exact_json({"message": clean(error.message), **error.extra}), tuple(headers))


def answer_reply(answer: Answered) -> Reply:
    if answer is None:
        return Reply(200, b"")
    dumped: Any = (
        [each.model_dump(exclude_unset=True) for each in answer]
        if isinstance(answer, list)
        else answer.model_dump(exclude_unset=True)
    )
    return Reply(200, exact_json(dumped), JSON_HEADERS)
