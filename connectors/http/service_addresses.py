"""/v1/services: the addresses that webhooks come from, for the firewalls of those who receive them."""

from __future__ import annotations

from connectors.http.routing import Call, Route, route
from schemas.common import Answer, NoBody, NoQuery


class ServiceAddresses(Answer):
    name: str
    usage: str
    ips: list[str]


class ServiceRegistry(Answer):
    services: list[ServiceAddresses]


async def list_all(call: Call[NoBody, NoQuery]) -> ServiceRegistry:
    """What the setting ``webhook_source_addresses`` says: a dispatcher cannot know how the network shows it to others."""
    addresses = [part.strip() for part in call.services.settings.webhook_source_addresses.split(",") if part.strip()]
    return ServiceRegistry(services=[ServiceAddresses(name="webhooks", usage="makes_connections_from", ips=addresses)])


ROUTES: list[Route] = [route("GET", "/v1/services", list_all, "The addresses that webhooks come from")]
