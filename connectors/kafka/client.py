"""Kafka clients as every role uses them: one place for security and for the options on which correctness rests."""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.helpers import create_ssl_context

from connectors.kafka.errors import KafkaMisconfigured
from connectors.kafka.unpacking import bound_batches
from connectors.settings import Settings

_PARTITION_FETCH_BYTES_MAX = 4 * 1_048_576
_HEADERS_BYTES_MAX = 65_536


def connection(settings: Settings) -> dict[str, Any]:
    """Bootstrap servers and security, for any aiokafka client. Raises KafkaMisconfigured."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "security_protocol": settings.kafka_security_protocol,
    }
    if settings.kafka_security_protocol in {"SSL", "SASL_SSL"}:
        options["ssl_context"] = _ssl_context(settings)
    if settings.kafka_security_protocol in {"SASL_PLAINTEXT", "SASL_SSL"}:
        password = settings.kafka_sasl_password
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_sasl_username
        options["sasl_plain_password"] = password.get_secret_value() if password is not None else None
    return options


def _ssl_context(settings: Settings) -> ssl.SSLContext:
    """Raises KafkaMisconfigured if a file is missing, or holds something else."""
    files = {
        "TIDEMARK_KAFKA_SSL_CAFILE": settings.kafka_ssl_cafile,
        "TIDEMARK_KAFKA_SSL_CERTFILE": settings.kafka_ssl_certfile,
        "TIDEMARK_KAFKA_SSL_KEYFILE": settings.kafka_ssl_keyfile,
    }
    for name, file in files.items():
        if file is not None and not os.access(file, os.R_OK):
            raise KafkaMisconfigured(f"{name}: the file {file} does not exist, or may not be read")
    try:
        context: ssl.SSLContext = create_ssl_context(
            cafile=settings.kafka_ssl_cafile, certfile=settings.kafka_ssl_certfile, keyfile=settings.kafka_ssl_keyfile
        )
    except (ssl.SSLError, OSError, ValueError) as error:
        given = ", ".join(name for name, file in files.items() if file is not None)
        raise KafkaMisconfigured(f"{given}: not certificates and keys in PEM form that go together ({error})") from error
    return context


def consumer(settings: Settings, *, group: str | None = None, committed: bool = True) -> AIOKafkaConsumer:
    """A consumer that never moves by itself: no automatic commits, no automatic resets. Subscribe or assign it, then start it.

    It reads what is committed: no event of a transaction that was aborted, none of one that is still open. ``committed=False`` is
    for one that asks where the log ends: with it the end is what was written, and not what may be read by now.

    The fetch wait is short: aiokafka asks a broker for all partitions in one request, except for those whose records wait to be
    consumed. The next record of such a partition may have to wait for that long poll to end.

    ``group``: a consumer group, or None for one that is assigned its partitions by hand.
    """
    bound_batches(settings.batch_bytes_max)
    return AIOKafkaConsumer(
        **connection(settings),
        group_id=group,
        client_id="tidemark",
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed" if committed else "read_uncommitted",
        partition_assignment_strategy=(RangePartitionAssignor,),
        session_timeout_ms=settings.kafka_session_timeout_ms,
        heartbeat_interval_ms=settings.kafka_session_timeout_ms // 3,
        fetch_max_wait_ms=settings.kafka_fetch_wait_ms,
        max_partition_fetch_bytes=_PARTITION_FETCH_BYTES_MAX,
    )


def producer(settings: Settings, *, repeats: bool = False) -> AIOKafkaProducer:
    """A producer whose acknowledgement means that all in-sync replicas have the record, once, in order for each partition.

    ``repeats``: a record may be there twice after a lost reply. For those who write what a broker may refuse: aiokafka numbers a
    batch that was refused, and the broker then refuses all that an idempotent producer sends to that partition after it.
    """
    return AIOKafkaProducer(
        **connection(settings),
        client_id="tidemark",
        acks="all",
        enable_idempotence=not repeats,
        max_request_size=settings.record_bytes_max + _HEADERS_BYTES_MAX,
        max_batch_size=131_072,
    )


def admin(settings: Settings) -> AIOKafkaAdminClient:
    return AIOKafkaAdminClient(**connection(settings), client_id="tidemark")


async def stop_consumer(consumer: AIOKafkaConsumer, timeout_s: float) -> None:
    """Leaves the group and closes; what takes longer is abandoned. aiokafka waits without end for a coordinator that is away, and
    for the group while that is being joined: then the others learn by the session's time-out that this member is gone."""
    try:
        async with asyncio.timeout(timeout_s):
            await consumer.stop()
    except TimeoutError:
        coordinator = consumer._coordinator
        for task in (getattr(coordinator, name, None) for name in ("_heartbeat_task", "_commit_refresh_task")):
            if task is not None:
                task.cancel()  # it would keep this member in the group
        if consumer._fetcher is not None:
            consumer._fetcher._fetch_task.cancel()
        await consumer._client.close()


async def stop_producer(producer: AIOKafkaProducer, timeout_s: float) -> None:
    """Sends what is waiting and closes; what takes longer is abandoned: an idempotent producer tries without end."""
    try:
        async with asyncio.timeout(timeout_s):
            await producer.stop()
    except TimeoutError:
        if producer._sender is not None:
            await producer._sender.close()
        await producer.client.close()
