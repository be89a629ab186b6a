"""Where notifications go: the enabled webhook endpoints, as the catalog holds them, kept up to date by looking twice a second,
and before new notifications are shared out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import orjson
import structlog

from connectors.metrics import WEBHOOK_ENDPOINTS
from connectors.redis.catalog import CatalogStore
from connectors.webhooks.filters import EndpointFilter
from connectors.webhooks.persist import clock_ms
from connectors.webhooks.signatures import Signing, signing_of
from schemas.urls import Target, UrlError, parse_target

_log = structlog.get_logger("webhooks.endpoints")


TYPES = frozenset({"webhook", "slack", "kafka", "stdout"})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """``signing`` is kept out of the representation, so that no secret can get into a log. ``rate_limit_per_s``: requests a
    second, None = no limit. ``supersede``: of several undelivered notifications of one alert the receiver wants the last only.
    ``digest``: how many notifications of one alert go at once within a window of so many milliseconds; more become a digest.
    ``type``: webhook, slack, kafka or stdout; the latter two have an empty URL. ``url``: as it was given; older releases took
    some that nothing can be sent to, so it is read where it is used."""

    id: str
    url: str
    signing: Signing = field(repr=False)
    enabled: bool = True
    rate_limit_per_s: float | None = None
    supersede: bool = False
    type: str = "webhook"
    filter: EndpointFilter = field(default_factory=EndpointFilter)
    digest: tuple[int, int] | None = None

    @property
    def target(self) -> Target | None:
        """None where there is no URL, or one that nothing can be sent to."""
        try:
            return parse_target(self.url)
        except UrlError:
            return None


def parse_endpoint(endpoint_id: str, document: bytes) -> Endpoint:
    """Raises ValueError or KeyError if the document cannot be used."""
    fields = orjson.loads(document)
    kind = fields.get("type", "webhook")
    if kind not in TYPES:
        raise ValueError("a type of endpoint that this release does not know")
    rate, digest = fields.get("rate_limit_per_second"), fields.get("digest")
    return Endpoint(
        endpoint_id,
        str(fields["url"]),
        signing_of(fields),
        bool(fields["enabled"]),
        None if rate is None else float(rate),
        bool(fields.get("supersede", False)),
        kind,
        EndpointFilter.of(fields),
        None if digest is None else (int(digest["more_than"]), int(digest["window_seconds"]) * 1000),
    )


def _disabled(documents: Mapping[str, bytes]) -> dict[str, tuple[int, str]]:
    found = {}
    for endpoint_id, document in documents.items():
        if b'"disabled_at_ms"' in document:
            fields = orjson.loads(document)
            if not fields["enabled"]:
                found[endpoint_id] = int(fields["disabled_at_ms"]), str(fields["disabled_reason"])
    return found


class EndpointDirectory:
    """The endpoints at the last look. ``known``: the ids of all, also of disabled and unusable ones, whose retries wait instead
    of being dropped."""

    def __init__(self, catalog: CatalogStore, changed: Callable[[Mapping[str, Endpoint]], None]) -> None:
        """``changed`` is called with the enabled endpoints whenever a look finds something new."""
        self._catalog = catalog
        self._changed = changed
        self._revision: int | None = None  # not looked yet
        self._looking = asyncio.Lock()  # an older answer must not come after a younger one
        self.known: frozenset[str] = frozenset()
        self.enabled: Mapping[str, Endpoint] = {}
        self.disabled: Mapping[str, tuple[int, str]] = {}  # when (ms) and why, where nobody did it by hand
        self._failing: dict[str, int] = {}  # since when (ms); as Redis had it at the last look

    async def refresh(self) -> None:
        """Look again, also at which endpoints fail. Raises RedisError."""
        self._failing = await self._catalog.failing()
        await self.look()

    async def look(self) -> None:
        """Look whether endpoints were changed: one number, unless they were. One unusable document does not harm the others.
        Raises RedisError."""
        async with self._looking:
            revision = await self._catalog.endpoints_revision()
            if revision != self._revision:
                self._take(await self._catalog.endpoints())
                self._revision = revision

    def _take(self, documents: Mapping[str, bytes]) -> None:
        usable: list[Endpoint] = []
        for endpoint_id, document in documents.items():
            try:
                usable.append(parse_endpoint(endpoint_id, document))
            except (ValueError, KeyError, TypeError) as error:
                _log.error("endpoint.unusable", endpoint_id=endpoint_id, error=type(error).__name__)
        self.known = frozenset(documents)
        self.disabled = _disabled(documents)
        self.enabled = {endpoint.id: endpoint for endpoint in usable if endpoint.enabled}
        WEBHOOK_ENDPOINTS.set(len(self.enabled))
        _log.info("endpoints.changed", known=len(self.known), enabled=len(self.enabled))
        if not self.enabled:
            _log.warning("endpoints.none", effect="notifications stay in the outbox until an endpoint is enabled")
        self._changed(self.enabled)

    async def disable(self, tried: Endpoint, reason: str) -> bool:
        """Switch an endpoint off in the catalog; its other fields stay as they are at this moment. False, and nothing is done,
        if it is off or gone already, or was sent elsewhere in the meantime: the attempt at ``tried`` says nothing about that.
        Raises RedisError."""
        while (document := await self._catalog.endpoint(tried.id)) is not None:
            fields = orjson.loads(document)
            if not fields["enabled"] or fields["url"] != tried.url:
                return False
            off = orjson.dumps(fields | {"enabled": False, "disabled_reason": reason, "disabled_at_ms": clock_ms()})
            if await self._catalog.replace_endpoint(tried.id, document, off):
                _log.warning("endpoint.disabled", endpoint_id=tried.id, reason=reason)
                await self.look()
                return True
        return False

    async def note_success(self, endpoint_id: str) -> None:
        """Ends a time of failure; costs nothing while there was none. Raises RedisError."""
        if endpoint_id in self._failing:
            await self._catalog.recovered(endpoint_id)
            self._failing.pop(endpoint_id, None)
            _log.info("endpoint.recovered", endpoint_id=endpoint_id)

    async def note_failure(self, endpoint_id: str, now_ms: int) -> int:
        """Since when (ms) every attempt has failed, as far as this dispatcher knows. Raises RedisError."""
        if endpoint_id not in self._failing:
            self._failing[endpoint_id] = await self._catalog.failed(endpoint_id, now_ms)
        return self._failing[endpoint_id]

    @property
    def failing(self) -> Mapping[str, int]:
        """Since when (ms), of endpoints of which the latest attempts have all failed."""
        return self._failing

    def is_failing(self, endpoint_id: str) -> bool:
        return endpoint_id in self._failing

    async def failing_since(self, endpoint_id: str) -> int | None:
        """What Redis has at this moment: another dispatcher may have had a success, or someone given it new time."""
        return (await self._catalog.failing()).get(endpoint_id)
