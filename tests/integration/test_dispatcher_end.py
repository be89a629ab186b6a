"""The dispatcher ends within its drain time, whatever hangs, fails or swallows the order to end; and what it could not do is done
by the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from connectors.settings import Settings
from connectors.testing.behaviours import Hang
from connectors.testing.receiver import Receiver
from connectors.webhooks import dispatcher as role
from connectors.webhooks.deliveries import Deliveries
from connectors.webhooks.endpoints import EndpointDirectory
from tests.support.dispatching import Box, dispatching, notification, settings_for, until

PATIENCE_S = 20.0  # many times the drain time: what hangs, hangs for ever


async def swallows(*arguments: object, **named: object) -> None:
    """Waits for ever, and does not take an order to end for one, as a client library's read may."""
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if SWALLOWED.is_set():
                raise


SWALLOWED = asyncio.Event()


async def fails(*arguments: object, **named: object) -> None:
    raise ValueError("a defect")


def impatient(redis_url: str) -> Settings:
    return settings_for(redis_url, drain_timeout_s=1.0)


async def ends(settings: Settings, meanwhile: Callable[[], Any]) -> None:
    """The role runs, ``meanwhile`` happens, it is told to end, and does."""
    stop, ready = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(role.run_dispatcher(settings, stop, ready.set))
    async with asyncio.timeout(PATIENCE_S):
        await ready.wait()
        await meanwhile()
        stop.set()
        await running
    SWALLOWED.set()  # for what was abandoned
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=PATIENCE_S)
    SWALLOWED.clear()


async def test_with_a_receiver_that_hangs(redis_url: str, box: Box, receiver: Receiver) -> None:
    receiver.default["/hook"] = Hang()
    await box.add_endpoint("a", receiver.url)
    await box.write([notification(1)])
    await ends(
        settings_for(redis_url, drain_timeout_s=1.0, webhook_timeout_s=60.0), lambda: until(lambda: bool(receiver.received))
    )


@pytest.mark.parametrize("hangs", [swallows, fails])
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Deliveries, "take_due"),
        (Deliveries, "admit"),
        (EndpointDirectory, "refresh"),
        (role.Outbox, "depth"),
        (role.Lanes, "close"),
    ],
)
async def test_with_a_loop_or_an_end_that_hangs_or_has_a_defect(
    redis_url: str,
    box: Box,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    hangs: Callable[..., Any],
) -> None:
    await box.add_endpoint("a", receiver.url)

    async def meanwhile() -> None:
        monkeypatch.setattr(owner, name, hangs)
        await box.write([notification(1)])
        await asyncio.sleep(0.3)  # long enough for some turns

    await ends(impatient(redis_url), meanwhile)
    monkeypatch.undo()
    async with dispatching(settings_for(redis_url)):
        await until(lambda: bool(receiver.received))
        await box.until_empty()


async def test_with_a_delivery_whose_end_cannot_be_written(
    redis_url: str, box: Box, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await box.add_endpoint("a", receiver.url)
    await box.write([notification(1)])
    monkeypatch.setattr("connectors.webhooks.conclusions.conclude_all", swallows)
    await ends(impatient(redis_url), lambda: until(lambda: bool(receiver.received)))
