"""The embedded Kafka broker: librdkafka's mock cluster, which comes inside the confluent-kafka wheel.

It speaks the Kafka protocol on a loopback port of its own choice and keeps the log in memory: it forgets everything when it
ends, and the oldest records of a partition beyond 5 MiB or 100,000 message sets. It cannot create topics on request (so they
are made here, before anybody connects), has no authentication, keeps the producer's timestamps (CreateTime), and balances no
group of several aiokafka consumers. Declared experimental by its authors; good for trying out.
"""

from __future__ import annotations

import asyncio
import ctypes
import signal
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from confluent_kafka import cimpl

from connectors.embedded.gateway import Gateway

_RD_KAFKA_PRODUCER = 0
_RD_KAFKA_CONF_OK = 0
_ERROR_TEXT_BYTES = 512


class BrokerError(RuntimeError):
    """The mock cluster could not be made; the text says what librdkafka answered."""


def _library() -> ctypes.CDLL:
    """librdkafka with the functions used here; looked up through the extension module that is linked to it."""
    lib = ctypes.CDLL(cimpl.__file__)
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "rd_kafka_conf_new": (pointer, []),
        "rd_kafka_conf_set": (number, [pointer, text, text, text, ctypes.c_size_t]),
        "rd_kafka_new": (pointer, [number, pointer, text, ctypes.c_size_t]),
        "rd_kafka_mock_cluster_new": (pointer, [pointer, number]),
        "rd_kafka_mock_cluster_bootstraps": (text, [pointer]),
        "rd_kafka_mock_topic_create": (number, [pointer, text, number, number]),
        "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [pointer, ctypes.c_int32]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


def start_broker(topics: Mapping[str, int]) -> str:
    """Start the broker in this process with these topics (name -> partitions); returns ``host:port``.

    It lives in threads of librdkafka until the process ends; there is no way to stop it earlier, and no need for one.
    """
    lib = _library()
    error = ctypes.create_string_buffer(_ERROR_TEXT_BYTES)
    conf = lib.rd_kafka_conf_new()
    # The handle that owns the cluster is no client of it: it must not look for brokers of its own.
    for name, value in (("client.id", "tidemark-embedded-broker"), ("log_level", "3")):
        if lib.rd_kafka_conf_set(conf, name.encode(), value.encode(), error, _ERROR_TEXT_BYTES) != _RD_KAFKA_CONF_OK:
            raise BrokerError(error.value.decode())
    handle = lib.rd_kafka_new(_RD_KAFKA_PRODUCER, conf, error, _ERROR_TEXT_BYTES)
    if not handle:
        raise BrokerError(error.value.decode())
    cluster = lib.rd_kafka_mock_cluster_new(handle, 1)
    if not cluster:
        raise BrokerError("the mock cluster could not be made")
    lib.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0)  # 3 s by default; there is one consumer to wait for
    for topic, partitions in topics.items():
        code = lib.rd_kafka_mock_topic_create(cluster, topic.encode(), partitions, 1)
        if code != 0:
            raise BrokerError(f"topic {topic} could not be made (librdkafka error {code})")
    return str(lib.rd_kafka_mock_cluster_bootstraps(cluster).decode())


def serve_broker(
    topics: Mapping[str, int], port: int, or_any: bool, stopping: Iterable[signal.Signals], ready: Callable[[str, str], None]
) -> None:
    """Runs the broker, and the gateway to it on ``port`` (``or_any``: or on another one), until one of the signals, which must be
    blocked when this is called. ``ready`` gets the addresses of the two. Raises BrokerError and OSError."""
    own = start_broker(topics)

    async def serve() -> None:
        stop = asyncio.Event()
        for signum in stopping:
            asyncio.get_running_loop().add_signal_handler(signum, stop.set)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, stopping)
        bound = await Gateway(own).start(port, or_any=or_any)
        ready(own, f"{own.rpartition(':')[0]}:{bound}")
        await stop.wait()

    asyncio.run(serve())
