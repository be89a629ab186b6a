"""Faults that a user is to read: one clear line, no traceback.

    click.ClickException
     └── Fault                exit 1: something outside is not as it must be (a port, a server, a file)
          └── Hopeless        exit 2: starting again would not help (settings, a changed partition count)

Everything else is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

import click
from pydantic import ValidationError

from connectors.logs import redact_url
from connectors.settings import Settings


class Fault(click.ClickException):
    exit_code = 1


class Hopeless(Fault):
    exit_code = 2


def read_settings() -> Settings:
    """The settings from the environment; names each variable that is out of its bounds, never its value."""
    try:
        return Settings()
    except ValidationError as error:
        faults = [
            f"TIDEMARK_{'_'.join(map(str, item['loc'])).upper()}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors()
        ]
        raise Hopeless("; ".join(faults)) from error


@contextlib.contextmanager
def plain_faults(settings: Settings) -> Iterator[None]:
    """Turns the expected faults of Kafka, Redis and the operating system into one line each."""
    from aiokafka.errors import KafkaError
    from redis.exceptions import RedisError

    from connectors.kafka.errors import KafkaMisconfigured
    from connectors.kafka.position import UnreadRecordsLost
    from connectors.kafka.topics import PartitionCountChanged
    from connectors.webhooks.tracing import OtelMissing

    try:
        yield
    except (PartitionCountChanged, UnreadRecordsLost, KafkaMisconfigured, OtelMissing) as error:
        raise Hopeless(str(error)) from error
    except KafkaError as error:
        raise Fault(f"Kafka at {settings.kafka_bootstrap_servers}: {error}") from error
    except RedisError as error:
        raise Fault(f"Redis at {redact_url(settings.redis_url.get_secret_value())}: {error}") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Fault(f"port {settings.api_port} on {settings.api_host} is in use") from error
        raise Fault(str(error)) from error
