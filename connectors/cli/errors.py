"""Faults that a user is to read: one clear line, no traceback.

    click.ClickException
     └── Fault                exit 1: something outside is not as it must be (a port, a server, a file)
          └── Hopeless        exit 2: starting again would not help (settings, a changed partition count)

Everything else is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import os
import re
from collections.abc import Iterator, Mapping

import click
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from connectors.logs import redact_url
from connectors.settings import Settings

PREFIX = "TIDEMARK_"
NO_SETTINGS = frozenset({"TIDEMARK_TETHER_PID", "TIDEMARK_READY_FD", "TIDEMARK_KAFKA_CACHE"})
"""Of our own processes among each other (connectors.cli.roles), and of the tests."""

TEST_PREFIXES = ("TIDEMARK_TEST_", "TIDEMARK_SIMULATE_")
_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT)(_[A-Z0-9_]+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$")


class Fault(click.ClickException):
    exit_code = 1


class Hopeless(Fault):
    exit_code = 2


def read_settings() -> Settings:
    """The settings from the environment; names each variable that is unknown or out of its bounds, never its value."""
    faults = unknown_names(os.environ)
    try:
        settings = Settings()
    except ValidationError as error:
        raise Hopeless("; ".join([*faults, *map(_fault, error.errors())])) from error
    if faults:
        raise Hopeless("; ".join(faults))
    return settings


def _fault(item: ErrorDetails) -> str:
    text = item["msg"].removeprefix("Value error, ")
    name = "_".join(map(str, item["loc"])).upper()
    return f"{PREFIX}{name}: {text}" if name else text


def unknown_names(environment: Mapping[str, str]) -> list[str]:
    """A line for each variable that looks like one of ours and is none: a misspelt setting would have no effect, in silence."""
    settings = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    unknown = [
        name
        for name, value in environment.items()
        if name.startswith(PREFIX) and name not in settings | NO_SETTINGS and not _set_by_others(name, value)
    ]
    lines = []
    for name in sorted(unknown):
        nearest = difflib.get_close_matches(name, settings, n=1, cutoff=0.7)
        lines.append(f"{name}: there is no such setting" + (f"; is {nearest[0]} meant?" if nearest else ""))
    return lines


def _set_by_others(name: str, value: str) -> bool:
    """Kubernetes gives every container variables for each Service of its namespace, and one may be called tidemark-something."""
    return name.startswith(TEST_PREFIXES) or value.startswith("tcp://") or _SERVICE_LINK.search(name) is not None


@contextlib.contextmanager
def plain_faults(settings: Settings) -> Iterator[None]:
    """Turns the expected faults of Kafka, Redis and the operating system into one line each."""
    from aiokafka.errors import KafkaError
    from redis.exceptions import RedisError

    from connectors.kafka.errors import KafkaMisconfigured
    from connectors.kafka.group import GroupTaken
    from connectors.kafka.position import UnreadRecordsLost
    from connectors.kafka.topic_settings import TopicUnfit
    from connectors.kafka.topics import PartitionCountChanged
    from connectors.redis.fitness import RedisUnfit
    from connectors.redis.secrets import SecretsLocked
    from connectors.role_http import PortInUse
    from connectors.webhooks.tracing import OtelMissing

    hopeless = (
        PartitionCountChanged,
        UnreadRecordsLost,
        KafkaMisconfigured,
        TopicUnfit,
        GroupTaken,
        RedisUnfit,
        OtelMissing,
        SecretsLocked,
    )
    try:
        yield
    except hopeless as error:
        raise Hopeless(str(error)) from error
    except KafkaError as error:
        raise Fault(f"Kafka at {settings.kafka_bootstrap_servers}: {error}") from error
    except RedisError as error:
        raise Fault(f"Redis at {redact_url(settings.redis_url.get_secret_value())}: {error}") from error
    except PortInUse as error:
        raise Fault(str(error)) from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Fault(f"port {settings.api_port} on {settings.api_host} is in use") from error
        raise Fault(str(error)) from error
