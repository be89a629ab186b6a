"""What a lane sends to. One module each: ``webhook`` (signed requests), ``slack``, ``topic`` (Kafka), ``console`` (development).

Order, retries, rates, the log and sending again are the lane's: a destination makes one attempt, and says what came of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from connectors.redis.types import OutboxEntry
from connectors.settings import Settings
from connectors.webhooks.addresses import TargetPolicy
from connectors.webhooks.client import Attempt, EndpointClient, Form
from connectors.webhooks.console import Console
from connectors.webhooks.endpoints import Endpoint
from connectors.webhooks.proxy import read_proxy
from connectors.webhooks.slack import SlackForm
from connectors.webhooks.timing import client_tls
from connectors.webhooks.topic import Topic
from connectors.webhooks.tracing import Tracing
from connectors.webhooks.webhook import SignedForm


class Destination(Protocol):
    """The way to one endpoint. It holds no connection before the first attempt, nor after ``close``, from which the next attempt
    begins anew."""

    @property
    def endpoint(self) -> Endpoint: ...

    async def attempt(self, entry: OutboxEntry, first_byte: Callable[[], None] | None) -> Attempt:
        """Send once. ``first_byte`` is called right before it leaves. Never raises for what the network or the receiver does."""
        ...

    async def close(self) -> None: ...


class Destinations:
    """Opens the way to an endpoint; with ``tracing`` each attempt has a span."""

    def __init__(self, settings: Settings, tracing: Tracing | None = None) -> None:
        self._settings = settings
        self._tracing = tracing
        self._policy = TargetPolicy.parse(settings.webhook_allow_private, settings.webhook_allow_list)
        self._tls = client_tls()
        proxy = settings.webhook_proxy_url
        self._proxy = None if proxy is None else read_proxy(proxy.get_secret_value())

    def open(self, endpoint: Endpoint) -> Destination:
        destination = self._plain(endpoint)
        return destination if self._tracing is None else self._tracing.traced(destination)

    def _plain(self, endpoint: Endpoint) -> Destination:
        match endpoint.type:
            case "kafka":
                return Topic(endpoint, self._settings)
            case "stdout":
                return Console(endpoint)
            case "slack":
                return self._client(endpoint, SlackForm(self._settings.notification_link))
            case _:
                return self._client(endpoint, SignedForm(endpoint.signing))

    def _client(self, endpoint: Endpoint, form: Form) -> EndpointClient:
        settings = self._settings
        timeout_s, connections = settings.webhook_timeout_s, settings.webhook_concurrency
        return EndpointClient(
            endpoint, form, self._policy, self._tls, timeout_s=timeout_s, connections=connections, proxy=self._proxy
        )
