"""The addresses that webhooks come from are what the operator says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from metronome import AsyncMetronome

from connectors.http.routing import Call
from connectors.http.service_addresses import list_all
from connectors.settings import Settings
from schemas.common import NoBody, NoQuery


async def test_the_default_is_none(sdk: AsyncMetronome) -> None:
    services = (await sdk.v1.services.list()).services
    assert [(each.name, each.usage, each.ips) for each in services] == [("webhooks", "makes_connections_from", [])]


@pytest.mark.parametrize(
    ("text", "ips"),
    [("198.51.100.7", ["198.51.100.7"]), (" 198.51.100.7 , 2001:db8::/32,", ["198.51.100.7", "2001:db8::/32"])],
)
async def test_the_setting_is_shown(text: str, ips: list[str]) -> None:
    services = SimpleNamespace(settings=Settings(webhook_source_addresses=text))
    call: Call[NoBody, NoQuery] = Call(cast(Any, services), NoBody(), NoQuery(), {}, 0)
    assert [each.ips for each in (await list_all(call)).services] == [ips]
