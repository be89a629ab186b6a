"""Logs of every role: one line an entry on stderr, as JSON or for the console, without secrets and without payloads.

Everybody logs through ``structlog.get_logger()``; what libraries log through the standard module takes the same way.
Secrets are taken out twice: nobody is to log them, and every text is searched for those that the settings hold,
because exceptions of client libraries like to quote the URL that they failed to reach.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import unquote, urlsplit

import structlog

from connectors.settings import Settings

REDACTED = "***"
_QUIET_LIBRARIES = ("aiokafka", "aiohttp.access", "asyncio", "kafka")  # at INFO they tell every join, fetch and request


def secrets_of(settings: Settings) -> tuple[str, ...]:
    """Every text in the settings that must not be shown: tokens and passwords, as written and as decoded."""
    found = {token.strip() for token in settings.api_tokens.get_secret_value().split(",")}
    if settings.kafka_sasl_password is not None:
        found.add(settings.kafka_sasl_password.get_secret_value())
    password = urlsplit(settings.redis_url.get_secret_value()).password
    if password:
        found.update((password, unquote(password)))
    return tuple(sorted((secret for secret in found if secret), key=len, reverse=True))


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


class Redactor:
    """A structlog processor: replaces known secrets in every text of an entry, nested ones included."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._secrets = secrets

    def __call__(self, _logger: Any, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        for key, value in entry.items():
            entry[key] = self._clean(value)
        return entry

    def _clean(self, value: Any) -> Any:
        if isinstance(value, str):
            for secret in self._secrets:
                value = value.replace(secret, REDACTED)
            return value
        if isinstance(value, dict):
            return {key: self._clean(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._clean(item) for item in value]
        if isinstance(value, (bool, int, float)) or value is None:
            return value
        return self._clean(str(value))


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
    if settings.log_format == "json":
        last: list[Any] = [structlog.processors.format_exc_info, redact, structlog.processors.JSONRenderer()]
    else:
        console = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        last = [structlog.processors.format_exc_info, redact, console]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
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
