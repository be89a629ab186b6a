"""Types that several request and answer models share.

Request models are strict (no coercion between JSON types) and refuse unknown fields. Numbers arrive as int or Decimal
(schemas.numbers.parse_json) and leave as exact JSON numbers. Enums are accepted in any case and kept in the API's own.
"""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from engine.metering.matching import GROUP_VALUE_CHARACTERS_MAX
from engine.numbers import NumberError, parse_decimal
from schemas.texts import one_line

T = TypeVar("T")


Text = Annotated[str, StringConstraints(max_length=512), AfterValidator(one_line)]
"""Every text that a client gives has a bound and no control characters: this type, or one of those below."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=512), AfterValidator(one_line)]
Key = Annotated[str, StringConstraints(min_length=1, max_length=128), AfterValidator(one_line)]
"""An alias, a property name."""
UniquenessKey = Annotated[str, StringConstraints(min_length=1, max_length=128), AfterValidator(one_line)]
Cursor = Annotated[str, StringConstraints(max_length=4_096)]
"""What a list gave as the place of its next page."""
PropertyValue = Annotated[str, StringConstraints(max_length=GROUP_VALUE_CHARACTERS_MAX)]
"""As text: of a group, of a filter. The empty text is a value, and another one than none at all."""
CustomFieldValue = Annotated[str, StringConstraints(max_length=200), AfterValidator(one_line)]
"""Of a custom field."""
CustomFields = Annotated[dict[Key, CustomFieldValue], Field(max_length=100)]


class Body(BaseModel):
    """Base of request bodies, and of the objects inside them."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Query(BaseModel):
    """Base of query parameters, which are texts: so they are converted, but unknown ones are refused, too."""

    model_config = ConfigDict(extra="forbid")


class NoBody(Body):
    """A request that takes no fields (an empty body or ``{}``)."""


class NoQuery(Query):
    """A request without query parameters."""


class PageQuery(Query):
    """Pages in style A: ``limit`` and ``next_page`` in the query."""

    limit: int = Field(default=100, ge=1, le=100)
    next_page: Cursor | None = None


class CursorQuery(Query):
    """Pages in style B: only ``next_page`` in the query."""

    next_page: Cursor | None = None


class Answer(BaseModel):
    """Base of answers. Fields that were not set are left out of the JSON."""

    model_config = ConfigDict(extra="ignore")


class Data(Answer, Generic[T]):
    data: T


class Page(Answer, Generic[T]):
    data: list[T]
    next_page: str | None


class CursorPage(Answer, Generic[T]):
    data: list[T]
    cursor: str | None


class IdAnswer(Answer):
    id: str


class Warned(Answer, Generic[T]):
    """``warnings``: what was taken, and why it will not do what it may be meant to; left out if there is nothing to say."""

    data: T
    warnings: list[str] | None = Field(default=None, description="Not in the API that we speak.")


class WarnedPage(Page[T], Generic[T]):
    """``warnings`` as in ``Warned``."""

    warnings: list[str] | None = Field(default=None, description="Not in the API that we speak.")


def warned_page(data: list[T], next_page: str | None, warnings: list[str]) -> WarnedPage[T]:
    page = WarnedPage[T](data=data, next_page=next_page)
    return page.model_copy(update={"warnings": warnings}) if warnings else page


def warned(data: T, warnings: list[str]) -> Warned[T]:
    return Warned[T](data=data, warnings=warnings) if warnings else Warned[T](data=data)


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise ValueError("must be a UUID") from None


_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)\Z", re.ASCII)


def _instant(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _RFC3339.match(value):
        raise ValueError("must be an RFC 3339 date and time with an offset, such as 2026-01-31T00:00:00Z")
    try:
        moment = datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("must be an RFC 3339 date and time that exists") from None
    if not 1970 <= moment.year <= 9998:
        raise ValueError("must lie between the years 1970 and 9998")
    return moment


def _on_the_hour(moment: datetime) -> datetime:
    if moment.minute or moment.second or moment.microsecond:
        raise ValueError("must be on the hour")
    return moment


def _at_midnight(moment: datetime) -> datetime:
    if moment.hour or moment.minute or moment.second or moment.microsecond:
        raise ValueError("must be midnight UTC")
    return moment


def _number(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError("must be a JSON number")
    try:
        return parse_decimal(value)
    except NumberError as error:
        raise ValueError(f"must have {error.detail}" if error.detail.startswith("at most") else error.detail) from None


def _not_negative(value: Decimal) -> Decimal:
    if value < 0:
        raise ValueError("must not be negative")
    return value


def _positive(value: Decimal) -> Decimal:
    if value <= 0:
        raise ValueError("must be greater than 0")
    return value


def _folded(fold: Any) -> BeforeValidator:
    return BeforeValidator(lambda value: fold(value) if isinstance(value, str) else value)


def _unsupported(value: object) -> object:
    if value in (None, [], {}, False):
        return None
    raise PydanticCustomError("unsupported", "is not supported yet")


def distinct(values: list[str]) -> list[str]:
    if len(set(values)) != len(values):
        raise ValueError("must not hold a value twice")
    return values


Upper = _folded(str.upper)
"""For enums in upper case: ``Annotated[Literal["HOUR", "DAY"], Upper]`` takes "hour" and "Hour", too."""
Lower = _folded(str.lower)

Id = Annotated[str, AfterValidator(_uuid), WithJsonSchema({"type": "string", "format": "uuid"})]
Instant = Annotated[datetime, BeforeValidator(_instant), WithJsonSchema({"type": "string", "format": "date-time"})]
HourInstant = Annotated[Instant, AfterValidator(_on_the_hour)]
MidnightInstant = Annotated[Instant, AfterValidator(_at_midnight)]

_NUMBER = WithJsonSchema({"type": "number"})
Number = Annotated[Decimal, BeforeValidator(_number), _NUMBER]
NotNegative = Annotated[Number, AfterValidator(_not_negative)]
Positive = Annotated[Number, AfterValidator(_positive)]

OutNumber = Annotated[Decimal, _NUMBER]
"""A number of an answer: read from the text of a document, written as an exact JSON number."""
OutInstant = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]

Unsupported = Annotated[Any, BeforeValidator(_unsupported), WithJsonSchema({"description": "Not supported yet: leave it out."})]
"""A field of the API that we do not have yet: absent, null, false or empty it is fine, otherwise the request is refused (501)."""


def rfc3339(moment: datetime) -> str:
    """A validated instant as documents and answers hold it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
