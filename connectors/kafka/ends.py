"""Where the log ends, as its broker says: the measure of lag, whoever reads and however far. And where it begins."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from connectors.kafka import client
from connectors.settings import Settings

ASK_TIMEOUT_S = 5.0
_CLOSE_TIMEOUT_S = 1.0


class Ends:
    """Asks through a consumer of its own, which is made on first use, and anew after an error. ``stop`` it at the end.

    It reads uncommitted data: the end of a log is behind its last record, also behind those of open transactions. Asking for what
    is committed would hide them, and with them a producer that died within a transaction and holds everyone up.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consumer: AIOKafkaConsumer | None = None
        self._asking = asyncio.Lock()

    async def of(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """The offset that the next record gets, by partition. Raises KafkaError or TimeoutError (after 5 s)."""
        return await self._ask(lambda consumer: consumer.end_offsets(partitions))

    async def begins_of(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """The offset of the oldest record, by partition. Raises as ``of`` does."""
        return await self._ask(lambda consumer: consumer.beginning_offsets(partitions))

    async def _ask(
        self, question: Callable[[AIOKafkaConsumer], Awaitable[dict[TopicPartition, int]]]
    ) -> dict[TopicPartition, int]:
        async with self._asking:
            try:
                async with asyncio.timeout(ASK_TIMEOUT_S):
                    return await question(await self._connected())
            except (KafkaError, TimeoutError):
                await self._disconnect()
                raise

    async def stop(self) -> None:
        async with self._asking:
            await self._disconnect()

    async def _connected(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = client.consumer(self._settings, committed=False)
            self._consumer = consumer
            await consumer.start()
        return self._consumer

    async def _disconnect(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await client.stop_consumer(consumer, _CLOSE_TIMEOUT_S)
