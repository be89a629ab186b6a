"""What follows from what the brokers say that the topics are now."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from aiokafka.errors import KafkaConnectionError

from connectors.kafka import topic_watch
from connectors.kafka.metadata import TopicNow
from connectors.kafka.topic_watch import TopicMadeAnew, TopicWatch
from connectors.kafka.topics import PartitionCountChanged
from connectors.settings import Settings

DEAD_LETTERS = Settings().topic_dead_letters


@pytest.mark.parametrize(
    ("began", "now", "raised"),
    [
        ("a", TopicNow("a", 3), None),
        ("a", TopicNow("b", 3), TopicMadeAnew),
        (None, TopicNow(None, 3), None),
        (None, TopicNow("a", 3), None),  # brokers that are being upgraded: some give ids, some do not
        ("a", TopicNow(None, 3), None),
        ("a", TopicNow("a", 2), PartitionCountChanged),
        ("a", TopicNow("b", 4), PartitionCountChanged),
        ("a", None, None),
    ],
)
async def test_what_follows_from_a_look_at_the_events_topic(
    monkeypatch: pytest.MonkeyPatch, began: str | None, now: TopicNow | None, raised: type[Exception] | None
) -> None:
    async def topics_now(_: object, names: Sequence[str]) -> dict[str, TopicNow]:
        return {name: each for name, each in zip(names, (now, TopicNow("d", 1)), strict=True) if each is not None}

    monkeypatch.setattr(topic_watch, "topics_now", topics_now)
    watch = TopicWatch(Settings(), 3)
    watch._client, watch.topic_id = object(), began
    if raised is None:
        await watch.look()
    else:
        with pytest.raises(raised):
            await watch.look()
    assert bool(watch.problem) is (now is None)


async def test_a_dead_letter_topic_that_is_gone_is_made_again_and_brokers_that_do_not_answer_are_told_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[str] = []

    async def topics_now(_: object, names: Sequence[str]) -> dict[str, TopicNow]:
        return {names[0]: TopicNow("a", 3)}

    async def create(_client: object, _settings: Settings, missing: dict[str, int]) -> None:
        made.extend(missing)

    async def away(_client: object, _names: Sequence[str]) -> dict[str, TopicNow]:
        raise KafkaConnectionError

    monkeypatch.setattr(topic_watch, "topics_now", topics_now)
    monkeypatch.setattr(topic_watch, "create", create)
    watch = TopicWatch(Settings(), 3)
    watch._client, watch.topic_id = object(), "a"
    await watch.look()
    assert (made, watch.problem) == ([DEAD_LETTERS], "")
    monkeypatch.setattr(topic_watch, "topics_now", away)
    await watch.look()
    assert "KafkaConnectionError" in watch.problem
