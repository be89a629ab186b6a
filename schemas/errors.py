"""What the API refuses, as exceptions with an HTTP status.

    ApiError
      ├── BadRequest     400  the request breaks a rule that its message names
      ├── Unauthorized   401
      ├── NotFound       404  an id that does not exist
      ├── Conflict       409  a key that is taken; says by whom
      ├── TooSlow        408  the body did not come in time
      ├── TooLarge       413
      ├── NotSupported   501  part of the API that this version does not have: refused, never ignored
      └── Unavailable    503  a service behind us does not answer; worth a retry

Every one becomes the body ``{"message": ...}`` (with ``conflicting_id`` or ``errors`` where they say more).
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

_ERRORS_SHOWN = 5


class ApiError(Exception):
    """``retryable``: whether the same request may succeed later. Clients are told by the header ``x-should-retry``."""

    status = 500
    retryable = False

    def __init__(self, message: str, **extra: Any) -> None:
        super().__init__(message)
        self.message = message
        self.extra = extra


class BadRequest(ApiError):
    status = 400


class Unauthorized(ApiError):
    status = 401


class NotFound(ApiError):
    status = 404


class Conflict(ApiError):
    status = 409

    def __init__(self, message: str, conflicting_id: str | None = None) -> None:
        super().__init__(message, **({"conflicting_id": conflicting_id} if conflicting_id else {}))


class InProgress(ApiError):
    """A request with the same Idempotency-Key is under way; its answer will be there in a moment."""

    status = 409
    retryable = True


class TooSlow(ApiError):
    status = 408


class TooLarge(ApiError):
    status = 413


class NotSupported(ApiError):
    status = 501


class Unavailable(ApiError):
    status = 503
    retryable = True


class ErrorBody(BaseModel):
    """Any answer of 400 and above."""

    model_config = ConfigDict(title="Error")

    message: str
    conflicting_id: str | None = Field(default=None, description="409 only: the id that owns the key.")
    errors: list[EventError] | None = Field(default=None, description="POST /v1/ingest only: what is wrong with which event.")


class EventError(BaseModel):
    """One event of ``POST /v1/ingest`` that breaks a rule. ``index`` counts from 0."""

    index: int
    field: str
    rule: str


def _where(location: tuple[int | str, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "body"


_RULES = {
    "missing": "is required",
    "extra_forbidden": "is not a known field",
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "list_type": "must be an array",
    "string_type": "must be a string",
    "bool_type": "must be true or false",
}


def _rule(error: Any) -> str:
    kind = error["type"]
    if kind in _RULES:
        return _RULES[kind]
    if kind == "literal_error":
        return f"must be one of {error['ctx']['expected']}"
    message = str(error["msg"]).removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _sentence(error: Any) -> str:
    """A rule about several fields of the body names them itself."""
    if not error["loc"] and error["type"] == "value_error":
        return _rule(error)
    return f"{_where(error['loc'])}: {_rule(error)}"


def field_rules(error: ValidationError) -> list[tuple[tuple[int | str, ...], str]]:
    """(where, rule) of everything that is wrong, in the order of the fields."""
    return [(each["loc"], _rule(each)) for each in error.errors(include_url=False, include_input=False)]


def refusal(error: ValidationError) -> ApiError:
    """A failed validation as an error that names every field and the rule it breaks (the first few of them).

    Only when nothing else is wrong is a part of the API that we do not have the reason.
    """
    errors = error.errors(include_url=False, include_input=False)
    wrong = [each for each in errors if each["type"] != "unsupported"]
    shown = wrong or errors
    message = "; ".join(_sentence(each) for each in shown[:_ERRORS_SHOWN])
    if len(shown) > _ERRORS_SHOWN:
        message += f"; and {len(shown) - _ERRORS_SHOWN} more"
    return BadRequest(message) if wrong else NotSupported(message)
