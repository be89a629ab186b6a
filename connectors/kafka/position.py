"""Where to read on: the stored position against what the log still has.

| stored ``next_offset`` | meaning | reaction |
|---|---|---|
| none | never read | the log's beginning |
| of another topic id | the topic was deleted and made anew | the new log's beginning, loudly: what was counted before is |
| | | dropped as a duplicate |
| beyond the end | the log lost its records (a broker that forgets, a topic made anew) | the log's beginning, not its end: |
| | | new records may be there already |
| before the beginning | retention took unread records | by ``unknown_offset_policy``: the beginning, loudly, or stop |

The end is the log's own (high watermark), open transactions included: their records may not be read yet, but they are there.
What is stored is where the next fetch begins, not the last record + 1: behind the last record there may be transactions' markers
and aborted records, which no one ever sees, and a position before them would look like unread records for ever.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaTimeoutError, LeaderNotAvailableError

from connectors.kafka.ends import Ends
from connectors.metrics import POSITION_RESETS

log = structlog.get_logger()


class UnreadRecordsLost(RuntimeError):
    """Retention deleted records before they were read, and the policy is to stop."""


class Placement(NamedTuple):
    """``moved``: the stored position has to be rewound to ``offset`` first."""

    offset: int
    moved: bool


async def place(
    consumer: AIOKafkaConsumer,
    ends: Ends,
    topic_partition: TopicPartition,
    next_offset: int | None,
    policy: Literal["earliest", "fail"],
    *,
    made_anew: bool = False,
) -> Placement:
    """``made_anew``: the stored position is of a topic that was deleted. Raises UnreadRecordsLost, and KafkaError if the log
    cannot be asked."""
    try:
        beginning = (await consumer.beginning_offsets([topic_partition]))[topic_partition]
    except KafkaTimeoutError as error:
        raise LeaderNotAvailableError(topic_partition) from error
    if next_offset is None:
        return Placement(beginning, False)
    end = (await ends.of([topic_partition]))[topic_partition]
    where = {
        "topic": topic_partition.topic,
        "partition": topic_partition.partition,
        "stored": next_offset,
        "beginning": beginning,
        "end": end,
    }
    if made_anew:
        POSITION_RESETS.labels("topic_made_anew").inc()
        log.error(
            "the topic was deleted and made anew: what was not read of the old one is gone; reading the new one from its start",
            **where,
        )
        return Placement(beginning, True)
    if next_offset > end:
        POSITION_RESETS.labels("log_lost").inc()
        log.warning("the log ends before the stored position: it lost its records; reading it from its beginning", **where)
        return Placement(beginning, True)
    if next_offset < beginning:
        if policy == "fail":
            raise UnreadRecordsLost(
                f"{topic_partition.topic}[{topic_partition.partition}]: records {next_offset} to {beginning - 1} were deleted by "
                "retention before they were read. Usage is missing. TIDEMARK_UNKNOWN_OFFSET_POLICY=earliest goes on without them."
            )
        POSITION_RESETS.labels("unread_deleted").inc()
        log.error("retention deleted records that were never read: usage is missing; going on at the log's beginning", **where)
        return Placement(beginning, True)
    return Placement(next_offset, False)
