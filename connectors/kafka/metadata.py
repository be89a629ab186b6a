"""What the brokers say that a topic is now: its id, and how many partitions it has.

aiokafka speaks metadata up to version 5; topics have ids since version 10 (Kafka 2.8, KIP-516). The request is made here, in
aiokafka's own terms, and never creates a topic. Of an older broker, or one that gives no ids, the id is None.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import UnknownTopicOrPartitionError, for_code
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Schema, TaggedFields

_API_KEY = 3
_WITH_IDS = 10
_NO_ID = bytes(16)


class TopicNow(NamedTuple):
    """``topic_id``: in hex; another one after the topic was deleted and made anew. None: these brokers give none."""

    topic_id: str | None
    partitions: int


class _Uuid(AbstractType[bytes]):  # type: ignore[misc]
    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: Any) -> bytes:
        found: bytes = data.read(16)
        return found


class _Metadata(Response):  # type: ignore[misc]
    API_KEY = _API_KEY
    API_VERSION = _WITH_IDS
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("topic", CompactString("utf-8")),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("topic_authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class _MetadataStruct(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = _API_KEY
    API_VERSION = _WITH_IDS
    RESPONSE_TYPE = _Metadata
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _MetadataRequest(Request[_MetadataStruct]):  # type: ignore[misc]
    API_KEY: ClassVar[int] = _API_KEY

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_MetadataStruct]) -> _MetadataStruct:
        return request_struct_class([(_NO_ID, name, {}) for name in self._topics], False, False, False, {})


async def topics_now(client: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, TopicNow]:
    """Those of ``names`` that exist. Raises KafkaError, also if a topic cannot be described (authorization, an invalid name)."""
    try:
        answer = await client._send_request(_MetadataRequest(names))
    except NotImplementedError:  # the broker is older than topics' ids
        answer = await client._send_request(MetadataRequest(list(names), allow_auto_topic_creation=False))
    found: dict[str, TopicNow] = {}
    for topic in answer.to_object()["topics"]:
        error = for_code(topic["error_code"])
        if error is UnknownTopicOrPartitionError:
            continue
        if topic["error_code"]:
            raise error(topic["topic"])
        topic_id = topic.get("topic_id", _NO_ID)
        found[topic["topic"]] = TopicNow(None if topic_id == _NO_ID else topic_id.hex(), len(topic["partitions"]))
    return found
