"""The consumer group of an installation: of all workers on one Redis, and of nobody else.

Two installations may read one topic, each all of it, in two groups. In one group they would share the partitions out among each
other, and each would see a part of the usage, and customers that it does not know. So the group's name has the installation's id
in it. Where an operator names the group, each worker leaves the id beside the offsets that it mirrors there, and one that finds
another's is not started.
"""

from __future__ import annotations

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from connectors.settings import Settings

_NAME = "tidemark-worker-"


class GroupTaken(RuntimeError):
    """Another installation's workers read the topic in this consumer group."""


def group_of(settings: Settings, installation: str) -> str:
    return settings.consumer_group or _NAME + installation


async def check_group(client: AIOKafkaAdminClient, settings: Settings, group: str, installation: str, partitions: int) -> None:
    """Raises GroupTaken if another installation has left its id in the group, and KafkaError if the brokers cannot be asked."""
    topic = settings.topic_events
    here = [TopicPartition(topic, partition) for partition in range(partitions)]
    try:
        stored = await client.list_consumer_group_offsets(group, partitions=here)
    except AttributeError as error:  # aiokafka's way to tell of an error code in a partition of the answer
        raise KafkaError(f"the offsets of group {group} cannot be read") from error
    others = {offset.metadata for offset in stored.values()} - {"", None, installation}
    if others:
        raise GroupTaken(
            f"consumer group {group} is that of another installation (id {', '.join(sorted(others))}; this one, by its Redis, is "
            f"{installation}): each would count a part of the usage of topic {topic}. Set TIDEMARK_CONSUMER_GROUP to another "
            "name, or to nothing, which makes one that is of this installation alone. If the other one is gone for good, delete "
            "its group."
        )
