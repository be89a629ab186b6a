"""Looks, while a worker runs, whether the topics are still those that it began with.

| what is seen | what follows |
|---|---|
| the events topic has another id | it was deleted and made anew: a new session, which reads it from its beginning (position.py) |
| it has another number of partitions | the worker ends, as a start would be refused |
| it is gone | told again and again; nobody makes it while we run, since who deleted it may be about to make it |
| the dead-letter topic is gone | it is made again: the events that wait to go there are not lost |

Consumers do not see the first: to them a topic is a name, and they go on at the offset where they were in the old one.
"""

from __future__ import annotations

import structlog
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError

from connectors.kafka.client import admin
from connectors.kafka.errors import told
from connectors.kafka.group import check_group
from connectors.kafka.metadata import topics_now
from connectors.kafka.topics import check_count, create
from connectors.settings import Settings

LOOK_EVERY_S = 5.0

log = structlog.get_logger()


class TopicMadeAnew(KafkaError):  # type: ignore[misc]
    """The events topic is another one than a moment ago; it has the same name."""


class TopicWatch:
    """``topic_id``: of the events topic as the session began; None where the brokers give no ids. ``problem``: for people."""

    def __init__(self, settings: Settings, partitions: int) -> None:
        self._settings = settings
        self._partitions = partitions
        self._client: AIOKafkaAdminClient | None = None
        self.topic_id: str | None = None
        self.problem = ""

    async def begin(self, group: str, installation: str) -> None:
        """Raises PartitionCountChanged, GroupTaken, and KafkaError if the brokers cannot be asked, or the topic is gone."""
        self._client = admin(self._settings)
        await self._client.start()
        now = (await topics_now(self._client, [self._settings.topic_events])).get(self._settings.topic_events)
        if now is None:
            raise KafkaConnectionError(f"topic {self._settings.topic_events} is gone")
        check_count(self._settings, self._partitions, now.partitions)
        self.topic_id = now.topic_id
        await check_group(self._client, self._settings, group, installation, self._partitions)

    async def look(self) -> None:
        """Raises PartitionCountChanged and TopicMadeAnew."""
        assert self._client is not None, "not begun"
        settings = self._settings
        try:
            now = await topics_now(self._client, [settings.topic_events, settings.topic_dead_letters])
            if settings.topic_dead_letters not in now:
                log.error("the dead-letter topic is gone; making it again", topic=settings.topic_dead_letters)
                await create(self._client, settings, {settings.topic_dead_letters: 1})
        except (KafkaError, OSError) as error:
            self.problem = f"the topics cannot be looked at: {told(error)}"
            log.debug("topics not looked at", error=told(error))
            return
        events = now.get(settings.topic_events)
        if events is None:
            self.problem = f"topic {settings.topic_events} is gone; it is waited for"
            log.error("the events topic is gone; waiting for it to be made again", topic=settings.topic_events)
            return
        self.problem = ""
        check_count(settings, self._partitions, events.partitions)
        if None not in {events.topic_id, self.topic_id} and events.topic_id != self.topic_id:  # brokers may be of two releases
            raise TopicMadeAnew(f"topic {settings.topic_events} was deleted and made anew")

    async def stop(self) -> None:
        if self._client is not None:
            await self._client.close()
