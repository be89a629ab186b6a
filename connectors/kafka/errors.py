"""What is wrong when a call to Kafka raises: the one table of kinds, for every role.

    passes      nobody has to do anything: a broker that is away, a rebalance, a producer that was fenced. The worker begins a new
                session after a pause, and everything is as before.
    partition   no new session mends it, and it is about one partition: a record that cannot be read, a topic that does not take
                what has to be produced. That partition stops, says what to do, and tries again later; the others go on.
    start       nothing works with these settings, or this user: the role ends with exit code 2, and says what to do.

aiokafka has retried what can be retried by the time that it raises. What the table does not name: an answer of a broker that is
not to be retried is about what was asked, so it stops the partition that asked; everything else passes. An error that is none of
Kafka's is a defect of ours, and stops its partition, too.
"""

from __future__ import annotations

import gzip
import ssl
import struct
import zlib
from enum import StrEnum
from typing import NamedTuple

import cramjam
from aiokafka import errors as kafka

from connectors.settings import Settings


class Reaction(StrEnum):
    PASSES = "passes"
    PARTITION = "partition"
    START = "start"


class KafkaMisconfigured(kafka.KafkaConfigurationError):  # type: ignore[misc]
    """Kafka cannot be used with these settings; the text says which, and what to do."""

    def __str__(self) -> str:
        return " ".join(map(str, self.args))


class UnreadableRecords(kafka.KafkaError):  # type: ignore[misc]
    """A record, or the batch that it is in, cannot be read by any means that this installation has."""


UNREADABLE = (
    kafka.UnsupportedCodecError,
    kafka.CorruptRecordException,
    kafka.RecordTooLargeError,
    cramjam.DecompressionError,
    zlib.error,
    gzip.BadGzipFile,
    struct.error,
    EOFError,
    ValueError,  # UnicodeDecodeError: the name of a header
    LookupError,
    OverflowError,
    MemoryError,
    NotImplementedError,
)
"""What aiokafka and the decompressors raise, while records are taken out of what was fetched."""


class Row(NamedTuple):
    errors: tuple[type[BaseException], ...]
    at_start: Reaction
    running: Reaction
    advice: str


_PASSES, _PARTITION, _START = Reaction.PASSES, Reaction.PARTITION, Reaction.START

TABLE = (
    Row((KafkaMisconfigured,), _START, _START, ""),
    Row(
        (UnreadableRecords, kafka.UnsupportedCodecError, kafka.CorruptRecordException, kafka.RecordTooLargeError),
        _PARTITION,
        _PARTITION,
        "what follows is not lost, and waits; pass over the batch by `tidemark partitions skip`, if nothing else can read it",
    ),
    Row(
        (kafka.AuthenticationFailedError, kafka.SaslAuthenticationFailed),
        _START,
        _START,
        "check TIDEMARK_KAFKA_SASL_USERNAME and TIDEMARK_KAFKA_SASL_PASSWORD",
    ),
    Row(
        (
            kafka.AuthenticationMethodNotSupported,
            kafka.UnsupportedSaslMechanismError,
            kafka.IllegalSaslStateError,
            kafka.SecurityDisabled,
        ),
        _START,
        _START,
        "check TIDEMARK_KAFKA_SECURITY_PROTOCOL and TIDEMARK_KAFKA_SASL_MECHANISM",
    ),
    Row(
        (ssl.SSLCertVerificationError,),
        _START,
        _START,
        "check TIDEMARK_KAFKA_SSL_CAFILE, and that the brokers' certificates name the hosts in TIDEMARK_KAFKA_BOOTSTRAP_SERVERS",
    ),
    Row(
        (kafka.GroupAuthorizationFailedError,),
        _START,
        _START,
        "let the user read the consumer group TIDEMARK_CONSUMER_GROUP (ACL: Read on the group)",
    ),
    Row(
        (kafka.InconsistentGroupProtocolError, kafka.InvalidGroupIdError),
        _START,
        _START,
        "the consumer group belongs to another program: set TIDEMARK_CONSUMER_GROUP to a name of tidemark's own",
    ),
    Row(
        (kafka.InvalidSessionTimeoutError,),
        _START,
        _START,
        "TIDEMARK_KAFKA_SESSION_TIMEOUT_MS is not between the brokers' group.min.session.timeout.ms and group.max...",
    ),
    Row(
        (kafka.ClusterAuthorizationFailedError,),
        _START,
        _START,
        "let the user create topics and write idempotently (ACL: Create and IdempotentWrite on the cluster)",
    ),
    Row(
        (kafka.TopicAuthorizationFailedError,),
        _START,
        _PARTITION,
        "let the user describe, read and write the topics TIDEMARK_TOPIC_EVENTS and TIDEMARK_TOPIC_DEAD_LETTERS (ACL)",
    ),
    Row((kafka.InvalidTopicError,), _START, _PARTITION, "check TIDEMARK_TOPIC_EVENTS and TIDEMARK_TOPIC_DEAD_LETTERS"),
    Row(
        (kafka.InvalidReplicationFactorError,),
        _START,
        _PARTITION,
        "TIDEMARK_TOPIC_REPLICATION is more than there are brokers, or fewer than they allow",
    ),
    Row(
        (kafka.InvalidPartitionsError, kafka.InvalidConfigurationError, kafka.PolicyViolationError),
        _START,
        _PARTITION,
        "the brokers do not take such a topic or record (policy): create the topics by hand, or change the policy",
    ),
    Row(
        (kafka.UnsupportedVersionError, kafka.IncompatibleBrokerVersion, kafka.UnrecognizedBrokerVersion),
        _START,
        _PARTITION,
        "the brokers are too old: Kafka 2.1 or newer is needed",
    ),
    Row(
        (kafka.UnknownTopicOrPartitionError, kafka.NotLeaderForPartitionError, kafka.LeaderNotAvailableError),
        _PASSES,
        _PARTITION,
        "a topic has no leader, or was deleted: see the topics TIDEMARK_TOPIC_EVENTS and TIDEMARK_TOPIC_DEAD_LETTERS",
    ),
    Row(
        (kafka.MessageSizeTooLargeError, kafka.RecordListTooLargeError),
        _PARTITION,
        _PARTITION,
        "raise max.message.bytes of the topics TIDEMARK_TOPIC_EVENTS and TIDEMARK_TOPIC_DEAD_LETTERS to that of their producers",
    ),
    Row(
        (
            kafka.ProducerFenced,
            kafka.InvalidProducerEpoch,
            kafka.OutOfOrderSequenceNumber,
            kafka.DuplicateSequenceNumber,
            kafka.UnknownProducerId,
            kafka.InvalidProducerIdMapping,
            kafka.IllegalGenerationError,
            kafka.UnknownMemberIdError,
            kafka.RebalanceInProgressError,
            kafka.MemberIdRequired,
            kafka.BrokerNotAvailableError,
            kafka.ReplicaNotAvailableError,
            kafka.OperationNotAttempted,
        ),
        _PASSES,
        _PASSES,
        "",
    ),
)
"""The first row that fits counts."""


def _row(error: BaseException) -> Row | None:
    return next((row for row in TABLE if isinstance(error, row.errors)), None)


def at_start(error: BaseException) -> Reaction:
    """Of what is raised before a role works: it waits for what passes, and for a topic's partitions to get their leaders."""
    row = _row(error)
    if row is None or row.at_start is not Reaction.START:
        return Reaction.PASSES
    return Reaction.START


def while_running(error: BaseException) -> Reaction:
    """Of what ended a partition's task, or a session."""
    row = _row(error)
    if row is not None:
        return row.running
    if isinstance(error, OSError):  # TimeoutError is one
        return Reaction.PASSES
    if not isinstance(error, kafka.KafkaError):
        return Reaction.PARTITION
    if isinstance(error, kafka.BrokerResponseError) and not error.retriable:
        return Reaction.PARTITION
    return Reaction.PASSES


def advice(error: BaseException) -> str:
    """What to do about it; empty where nobody has to do anything, or the error says it itself."""
    row = _row(error)
    return str(getattr(error, "to_do", "")) if row is None else row.advice


def misconfigured(settings: Settings, error: BaseException) -> KafkaMisconfigured:
    """The error to refuse a start with: what Kafka said, and what to do."""
    if isinstance(error, KafkaMisconfigured):
        return error
    return KafkaMisconfigured(f"Kafka at {settings.kafka_bootstrap_servers} refuses: {told(error)}; {advice(error)}")


def told(error: BaseException) -> str:
    """One line for a log or a status."""
    text = str(error) if isinstance(error, kafka.KafkaError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:300]
