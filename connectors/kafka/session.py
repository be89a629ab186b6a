"""One membership in the consumer group, with a task for each partition that it is assigned.

Redis holds the positions; what the group stores in Kafka is a mirror for lag tools. What does not pass stops one partition
(stopped.py), or ends the session with the error, for the worker to deal with.
"""

from __future__ import annotations

import asyncio
import functools
import os
import socket
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError
from redis.asyncio import Redis

from connectors.agreement import PROCESS, SAMPLE_PAUSE_S
from connectors.background import repeat, until_done
from connectors.health import Report
from connectors.kafka import client, topic_watch
from connectors.kafka.aggregates import Aggregates
from connectors.kafka.catalog import CatalogUnusable, SharedCatalog
from connectors.kafka.commits import Commits
from connectors.kafka.context import Clock, Context
from connectors.kafka.ends import Ends
from connectors.kafka.errors import Reaction, told, while_running
from connectors.kafka.garbage import GARBAGE
from connectors.kafka.group import group_of
from connectors.kafka.intake import Intake
from connectors.kafka.lag import Lag
from connectors.kafka.outgoing import Outgoing
from connectors.kafka.partition import PartitionTask
from connectors.kafka.patience import Patience
from connectors.kafka.position import UnreadRecordsLost
from connectors.kafka.proofs import Proofs
from connectors.kafka.quarantine import Quarantine
from connectors.kafka.stopped import StoppedPartitions
from connectors.kafka.topic_watch import TopicWatch
from connectors.metrics import PARTITIONS_ASSIGNED
from connectors.redis.catalog import CatalogStore
from connectors.redis.fates import fates_of
from connectors.redis.partition import PartitionStore
from connectors.settings import Settings
from engine.catalog import Catalog
from engine.customer import EngineSettings, stored_days

_SECOND_S = 1.0
_LAG_EVERY_S = 2.0
_PLACED_WITHIN_S = 10.0
_DRAIN_SHARE = 0.7  # of drain_timeout_s, for the batches in flight; the rest is for leaving the group
_CLOSE_TIMEOUT_S = 2.0
_MIRROR_TIMEOUT_S = 1.0  # aiokafka repeats a commit without end

T = TypeVar("T")

log = structlog.get_logger()


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """What ``work`` gives, or None if ``stop`` came first; the work is cancelled then."""
    task = asyncio.create_task(work)
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        stopped.cancel()
        task.cancel()


class Session(ConsumerRebalanceListener):  # type: ignore[misc]
    """One membership in the consumer group. ``joined``: whether it ever got so far."""

    def __init__(
        self, settings: Settings, redis: Redis, partitions: int, installation: str, clock: Clock = PROCESS.now_us
    ) -> None:
        self._settings = settings
        self._installation = installation
        self._group = group_of(settings, installation)
        self._redis = redis
        self._partitions = partitions
        self._clock = clock
        self._owner = f"{socket.gethostname()}:{os.getpid()}"
        self._consumer: AIOKafkaConsumer = client.consumer(settings, group=self._group)
        self._producer: AIOKafkaProducer = client.producer(settings, repeats=True)
        self._ends = Ends(settings)
        self._proofs = Proofs()
        self._outgoing = Outgoing(self._producer, settings, self._proofs)
        self._lag = Lag(settings, self._ends)
        self._topics = TopicWatch(settings, partitions)
        self._catalog_store = CatalogStore(redis)
        self._catalog = SharedCatalog(self._catalog_store)
        self._tasks: dict[TopicPartition, tuple[PartitionTask, asyncio.Task[None]]] = {}
        self._assigned = 0
        self._stopped = StoppedPartitions(self._try_again)
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.joined = False

    async def run(self, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Until ``stop``; raises what ended a partition's task, or KafkaError if the group cannot be joined."""
        try:
            if not await until_done("worker.clock", self._look_at_clocks, stop):
                return
            await self._topics.begin(self._group, self._installation)
            await self._producer.start()
            self._consumer.subscribe([self._settings.topic_events], listener=self)
            if await unless(stop, self._join()):
                self.joined = True
                ready()
                log.info("worker joined", group=self._group, partitions=self._numbers(self._tasks))
                await self._watch(stop)
        finally:
            await self._stop_tasks(self._consumer.assignment() | self._tasks.keys())
            await asyncio.gather(
                client.stop_consumer(self._consumer, _CLOSE_TIMEOUT_S),
                client.stop_producer(self._producer, _CLOSE_TIMEOUT_S),
                self._ends.stop(),
                self._topics.stop(),
            )

    async def _join(self) -> bool:
        """Returns when every partition knows where to read on: from then on a log that forgot cannot grow past a stored position
        unseen (position.py). One that does not find out in time (it has no leader) keeps nobody waiting. A task that failed is
        dealt with by ``_watch``."""
        await self._consumer.start()
        placed: set[asyncio.Future[Any]] = {asyncio.create_task(task.placed.wait()) for task, _ in self._tasks.values()}
        loop = asyncio.get_running_loop()
        until_s = loop.time() + _PLACED_WITHIN_S
        while placed and not self._failed.done() and loop.time() < until_s:
            await asyncio.wait({*placed, self._failed}, timeout=until_s - loop.time(), return_when=asyncio.FIRST_COMPLETED)
            placed = {waiting for waiting in placed if not waiting.done()}
        for waiting in placed:
            waiting.cancel()
        return True

    async def _watch(self, stop: asyncio.Event) -> None:
        """Until ``stop``, or what ends the session, which is raised."""
        ended = asyncio.Event()
        loops = [
            asyncio.create_task(repeat(name, turn, ended, pause_s))
            for name, turn, pause_s in (
                ("worker.positions", self._look_at_positions, _SECOND_S),
                ("worker.catalog", self._look_for_catalog, _SECOND_S),
                ("worker.clock", self._look_at_clocks, SAMPLE_PAUSE_S),
                ("worker.lag", self._measure_lag, _LAG_EVERY_S),
            )
        ]
        stopped = asyncio.create_task(stop.wait())
        looking = asyncio.create_task(self._look_at_topics())
        looking.add_done_callback(self._fail)
        try:
            either: set[asyncio.Future[Any]] = {stopped, self._failed}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if self._failed.done():
                self._failed.result()
        finally:
            ended.set()
            for task in (stopped, looking, *loops):
                task.cancel()
            await asyncio.gather(stopped, looking, *loops, return_exceptions=True)

    async def _look_at_topics(self) -> None:
        while True:
            await asyncio.sleep(topic_watch.LOOK_EVERY_S)
            await self._topics.look()

    def _fail(self, task: asyncio.Task[None]) -> None:
        """What ended the task ends the session."""
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._failed.done():
            self._failed.set_exception(error)

    async def _look_at_clocks(self) -> None:
        await PROCESS.sample(self._redis)

    async def _look_at_positions(self) -> None:
        """The mirror of the positions, and the garbage."""
        await self._mirror(self._tasks)
        GARBAGE.look_if_due(sum(task.customers_cached for task, _ in self._tasks.values()))

    async def _measure_lag(self) -> None:
        positions = {here.partition: task.read_from for here, (task, _) in self._tasks.items()}
        if assigned := self._numbers(self._consumer.assignment()):
            await self._lag.measure(assigned, positions)

    def report(self) -> Report:
        """Whether it is a member of the group, and each of its partitions is served."""
        checks = {"group": "ok" if self.joined else "not joined yet", "topics": self._topics.problem or "ok"}
        for partition, reason in self._stopped.reasons().items():
            checks[f"partition {partition}"] = f"stopped: {reason}"
        for here, (task, _) in self._tasks.items():
            checks[f"partition {here.partition}"] = task.problem() or "ok"
        quarantined = sum(task.customers_quarantined for task, _ in self._tasks.values())
        warnings = (f"customers in quarantine: {quarantined}; see `tidemark quarantine list`",) if quarantined else ()
        return Report(checks, warnings)

    async def _look_for_catalog(self) -> None:
        """The safety net under the change streams."""
        try:
            await self._catalog.at_least(await self._catalog_store.revision())
        except CatalogUnusable:
            pass  # the partitions have stopped, and say why

    # --- rebalance ------------------------------------------------------------------------------------------------

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await self._stop_tasks(list(revoked))

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Starts the tasks. Until a task knows where to read on, its partition is paused; position 0 only keeps aiokafka from
        looking for one itself."""
        assigned = sorted(assigned, key=lambda here: here.partition)
        self._assigned = len(assigned)
        for here in assigned:
            self._start_task(here)
        log.info("partitions assigned", partitions=self._numbers(assigned))

    def _start_task(self, here: TopicPartition) -> None:
        self._consumer.pause(here)
        self._consumer.seek(here, 0)
        partition_task = self._partition_task(here, self._assigned)
        task = partition_task.start()
        task.add_done_callback(functools.partial(self._ended, here))
        self._tasks[here] = (partition_task, task)
        PARTITIONS_ASSIGNED.set(len(self._tasks))

    def _partition_task(self, here: TopicPartition, assigned: int) -> PartitionTask:
        settings = self._settings
        stopping = asyncio.Event()
        patience = Patience(stopping, here.partition)
        quarantine = Quarantine(settings, here.partition)
        store = PartitionStore(self._redis, here.partition, dedup_days=settings.dedup_days, stored_days=stored_days)
        engine_settings = EngineSettings(
            grace_hours=settings.grace_period_hours,
            windows_hourly_days=settings.windows_hourly_days,
            windows_daily_months=settings.windows_daily_months,
            resolved_notifications=settings.resolved_notifications,
            group_values_max=settings.group_values_max,
        )
        context = Context(
            settings=settings,
            partition=here.partition,
            partitions=self._partitions,
            assigned=assigned,
            store=store,
            catalog_store=self._catalog_store,
            shared_catalog=self._catalog,
            intake=Intake(settings, here.partition, self._partitions, self._proofs),
            aggregates=Aggregates(engine_settings, max(1, settings.customers_cached_max // assigned)),
            outgoing=self._outgoing,
            proofs=self._proofs,
            patience=patience,
            commits=Commits(store, patience, quarantine, here.partition),
            quarantine=quarantine,
            fates=fates_of(self._redis, self._partitions, settings),
            clock_us=self._clock,
            catalog=Catalog(revision=0),
            topic_id=self._topics.topic_id,
        )
        return PartitionTask(context, self._consumer, self._ends, here.topic, self._owner, stopping)

    def _ended(self, here: TopicPartition, task: asyncio.Task[None]) -> None:
        """What ended a partition's task ends the session, or stops that partition alone (errors.py)."""
        error = None if task.cancelled() else task.exception()
        if error is None or self._failed.done():
            return
        if isinstance(error, UnreadRecordsLost) or while_running(error) is not Reaction.PARTITION:
            self._failed.set_exception(error)
        elif here in self._tasks and self._tasks[here][1] is task and not self._tasks[here][0].is_stopping:
            del self._tasks[here]
            self._consumer.pause(here)  # what was fetched of it already must not be kept for it
            self._stopped.stop(here.partition, error)
            PARTITIONS_ASSIGNED.set(len(self._tasks))
        else:
            log.warning("a partition's task failed as it was given up", partition=here.partition, error=told(error))

    def _try_again(self, partition: int) -> None:
        here = TopicPartition(self._settings.topic_events, partition)
        if here in self._consumer.assignment() and here not in self._tasks:
            log.info("a partition that had stopped is tried again", partition=partition)
            self._start_task(here)

    async def _stop_tasks(self, revoked: Iterable[TopicPartition]) -> None:
        """Lets the batches in flight end. What does not end in time is cancelled: its commit is done, or refused later."""
        revoked = list(revoked)
        for here in revoked:
            self._stopped.forget(here.partition)
        stopping = {here: self._tasks[here] for here in revoked if here in self._tasks}
        if not stopping:
            return
        for partition_task, _ in stopping.values():
            partition_task.stop()
        tasks = [task for _, task in stopping.values()]
        _, late = await asyncio.wait(tasks, timeout=_DRAIN_SHARE * self._settings.drain_timeout_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # a failure was noted by _ended
        await self._mirror(stopping)
        for here, stopped in stopping.items():
            if self._tasks.get(here) is stopped:  # the end of the session and a rebalance may both be here
                del self._tasks[here]
        PARTITIONS_ASSIGNED.set(len(self._tasks))
        log.info("partitions given up", partitions=self._numbers(stopping), late=len(late))

    async def _mirror(self, tasks: Mapping[TopicPartition, tuple[PartitionTask, asyncio.Task[None]]]) -> None:
        offsets = {here: task.read_from for here, (task, _) in tasks.items()}
        known = {here: (offset, self._installation) for here, offset in offsets.items() if offset is not None}
        if known:
            try:
                async with asyncio.timeout(_MIRROR_TIMEOUT_S):
                    await self._consumer.commit(known)
            except (KafkaError, TimeoutError) as error:  # only lag tools read it; the next second brings it up to date
                log.debug("offsets not mirrored to kafka", error=type(error).__name__)

    @staticmethod
    def _numbers(tasks: Iterable[TopicPartition]) -> list[int]:
        return sorted(here.partition for here in tasks)
