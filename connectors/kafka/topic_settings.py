"""How the events topic is set up: what cannot work is refused, what is risky is told."""

from __future__ import annotations

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import IncompatibleBrokerVersion, for_code

from connectors.settings import Settings

_DAY_MS = 86_400_000


class TopicUnfit(RuntimeError):
    """The events topic loses or hides usage by the way in which it is set up."""


async def check_topic(client: AIOKafkaAdminClient, settings: Settings) -> None:
    """Raises TopicUnfit where usage would be lost for certain, and KafkaError if the broker cannot be asked."""
    configs = await topic_configs(client, settings.topic_events)
    if "compact" in configs.get("cleanup.policy", ""):
        raise TopicUnfit(
            f"topic {settings.topic_events} is compacted (cleanup.policy={configs['cleanup.policy']}): of all events with one "
            "key only the latest stays, and the usage of the others is lost. Set cleanup.policy=delete."
        )


async def topic_warnings(client: AIOKafkaAdminClient, settings: Settings) -> list[str]:
    """What an operator should change. Raises KafkaError if the broker cannot be asked."""
    name = settings.topic_events
    configs = await topic_configs(client, name)
    warnings: list[str] = []
    retention_ms = int(configs.get("retention.ms", -1))
    wanted_ms = settings.event_age_max_days * _DAY_MS
    if 0 <= retention_ms < wanted_ms:
        warnings.append(
            f"topic {name} keeps its records for {retention_ms / _DAY_MS:.1f} days (retention.ms): usage can be replayed, looked "
            f"up and recovered only so long, and not for the {settings.event_age_max_days} days for which events are taken. "
            f"Set retention.ms={wanted_ms}"
        )
    if int(configs.get("retention.bytes", -1)) >= 0:
        warnings.append(
            f"topic {name} drops its oldest records by size (retention.bytes={configs['retention.bytes']}), whether they were "
            "read or not. Set retention.bytes=-1"
        )
    if configs.get("message.timestamp.type") == "CreateTime":
        warnings.append(
            f"topic {name} has producers' timestamps (message.timestamp.type=CreateTime): when an event arrived is taken from "
            "its producer if that is within an hour of now, else from the worker's clock. Set it to LogAppendTime"
        )
    if configs.get("min.insync.replicas") == "1" and await _replicas(client, name) > 1:
        warnings.append(
            f"topic {name} acknowledges events that only one broker has (min.insync.replicas=1): they are gone with it. "
            "Set min.insync.replicas=2"
        )
    return warnings


async def topic_configs(client: AIOKafkaAdminClient, topic: str) -> dict[str, str]:
    """Name -> value of each setting of a topic; empty where the broker does not tell (an old one, or the user may not ask)."""
    try:
        answers = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    except IncompatibleBrokerVersion:  # librdkafka's mock cluster
        return {}
    found: dict[str, str] = {}
    for answer in answers:
        for code, _, _, _, entries in answer.resources:
            if for_code(code).errno == 0:
                found.update({entry[0]: entry[1] for entry in entries if entry[1] is not None})
    return found


async def _replicas(client: AIOKafkaAdminClient, topic: str) -> int:
    (description,) = await client.describe_topics([topic])
    return min((len(partition["replicas"]) for partition in description["partitions"]), default=0)
