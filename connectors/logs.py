"""Logs of every role: one line an entry on stderr, as JSON or for the console, without secrets and without payloads.

Everybody logs through ``structlog.get_logger()``; what libraries log through the standard module takes the same way.
Secrets are taken out twice: nobody is to log them, and every text is searched for those that the settings hold (every field of
type SecretStr), those that requests brought, and what has the form of one, because exceptions of client libraries like to quote
the URL or header that they failed with.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import unquote, urlsplit

import structlog
from pydantic import SecretStr

from connectors.settings import Settings

REDACTED = "***"
_QUIET_LIBRARIES = ("aiokafka", "aiohttp.access", "asyncio", "kafka")  # at INFO they tell every join, fetch and request


def secrets_of(settings: Settings) -> tuple[str, ...]:
    """Every text in the settings that must not be shown, as written and as decoded: each part of each ``SecretStr``, and of those
    that are URLs the password. The longest first."""
    found: set[str] = set()
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if not isinstance(value, SecretStr):
            continue
        for part in value.get_secret_value().split(","):
            password = urlsplit(part.strip()).password if "://" in part else part.strip()
            if password:
                found.update((password, unquote(password)))
    return tuple(sorted(found, key=len, reverse=True))


_SEEN_MAX = 10_000
_seen: dict[str, None] = {}


def remember(secret: str) -> None:
    """A secret that the process came to know at run time, such as the token of a request: from now on it is in no line."""
    if len(secret) >= WORD_CHARACTERS_MIN and secret not in _seen:
        if len(_seen) >= _SEEN_MAX:
            _seen.pop(next(iter(_seen)))
        _seen[secret] = None


def redact_url(url: str) -> str:
    """The URL with its password taken out: fit for a log line or an error message."""
    password = urlsplit(url).password
    return url.replace(f":{password}@", f":{REDACTED}@", 1) if password else url


class Seldom(logging.Filter):
    """Lets the same text of a library through at most every ``EVERY_S``: aiokafka tells each failed attempt to connect."""

    EVERY_S = 30.0
    _TEXTS_MAX = 1_000

    def __init__(self) -> None:
        super().__init__()
        self._told_at_s: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        text = (record.name, record.getMessage())
        if record.created - self._told_at_s.get(text, -self.EVERY_S) < self.EVERY_S:
            return False
        if len(self._told_at_s) >= self._TEXTS_MAX:
            self._told_at_s.clear()
        self._told_at_s[text] = record.created
        return True


WORD_CHARACTERS_MIN = 8
"""Shorter secrets are taken out only where they are all of a value: a token ``v1`` would be cut out of every route."""
_OURS = frozenset({"level", "logger", "method", "role", "route", "timestamp"})
"""Fields of our own entries that hold words of this program, and never what somebody sent."""
_OF_EVERYBODY = frozenset({"level", "role", "timestamp"})
_WORD = re.compile(rf"[A-Za-z0-9_\-]{{{WORD_CHARACTERS_MIN},}}")
_FORMS = (
    (re.compile(r"\b(whsec|whsk)_[A-Za-z0-9+/=_\-]+"), rf"\1_{REDACTED}"),  # secrets and private keys of webhooks
    (re.compile(r"(?i)\b(bearer|basic)\s+[^\s\"',;)]+"), rf"\1 {REDACTED}"),  # an Authorization header, whatever it holds
    (re.compile(r"(hooks\.slack\.com/[a-z]+)/[^\s\"')]+"), rf"\1/{REDACTED}"),
    (re.compile(r"(://[^/\s:@]*):[^/\s@]+@"), rf"\1:{REDACTED}@"),
)
"""Secrets that are told by their form."""


class Redactor:
    """A structlog processor: takes secrets out of every text of an entry, nested ones and keys included. To be put before
    structlog's own fields are removed, which tell our entries from those of libraries."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._all = frozenset(secrets)
        self._words = tuple(secret for secret in secrets if len(secret) >= WORD_CHARACTERS_MIN)

    def __call__(self, _logger: Any, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        kept = _OURS if entry.get("_from_structlog", True) else _OF_EVERYBODY
        for key, value in entry.items():
            if key not in kept and not key.startswith("_"):
                entry[key] = self._clean(value)
        return entry

    def _clean(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._cleaned(value)
        if isinstance(value, dict):
            return {self._clean(key): self._clean(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._clean(item) for item in value]
        if isinstance(value, (bool, int, float)) or value is None:
            return value
        return self._cleaned(str(value))

    def _cleaned(self, text: str) -> str:
        if text in self._all:
            return REDACTED
        for secret in self._words:
            text = text.replace(secret, REDACTED)
        if _seen:
            text = _WORD.sub(lambda word: REDACTED if word[0] in _seen else word[0], text)
        for form, shown in _FORMS:
            text = form.sub(shown, text)
        return text


def configure(settings: Settings, role: str) -> None:
    """Set up logging of this process. ``role`` is in every entry. May be called again; the last call holds."""
    redact = Redactor(secrets_of(settings))

    def name_role(_logger: Any, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        entry.setdefault("role", role)
        return entry

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        name_role,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if settings.log_format == "json":
        last: list[Any] = [remove_meta, structlog.processors.JSONRenderer()]
    else:
        console = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        last = [remove_meta, console]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.processors.format_exc_info, redact, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    for library in _QUIET_LIBRARIES:
        logging.getLogger(library).setLevel(max(logging.WARNING, root.level))
    aiokafka = logging.getLogger("aiokafka")  # filters of a logger do not hold for its children, so it gets a handler of its own
    aiokafka.propagate = False
    seldom = logging.StreamHandler(sys.stderr)
    seldom.setFormatter(handler.formatter)
    seldom.addFilter(Seldom())
    aiokafka.handlers[:] = [seldom]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
