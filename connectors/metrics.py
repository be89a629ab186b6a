"""The Prometheus metrics of every role; in `tidemark up` the API shows the sum over all processes (multi-process mode).

Children used on the hot path are cached by their users.

consumed = applied + duplicate + rejected + parked + forwarded, in events (a record that cannot be decoded counts as one).
They are counted when the batch that they belong to is committed.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_END_TO_END = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

EVENTS_CONSUMED = Counter("tidemark_events_consumed_total", "Usage events read from the topic.")
EVENTS_APPLIED = Counter("tidemark_events_applied_total", "Usage events applied to their customer.")
EVENTS_DUPLICATE = Counter("tidemark_events_duplicate_total", "Usage events dropped because their transaction_id was seen.")
EVENTS_REJECTED = Counter("tidemark_events_rejected_total", "Usage events sent to the dead-letter topic.", ["reason"])
EVENTS_PARTIAL = Counter(
    "tidemark_events_partial_total", "Usage events that were applied, and that some metrics could not read.", ["reason"]
)
EVENTS_PARKED = Counter("tidemark_events_parked_total", "Usage events kept until their customer exists.")
PARKED_EVENTS = Gauge(
    "tidemark_parked_events",
    "Events that wait for their customer, by partition.",
    ["partition"],
    multiprocess_mode="livemostrecent",
)
PARKED_BYTES = Gauge("tidemark_parked_bytes", "The same in bytes.", ["partition"], multiprocess_mode="livemostrecent")
EVENTS_FORWARDED = Counter("tidemark_events_forwarded_total", "Usage events produced again to their customer's partition.")
EVENTS_AFTER_FINALIZATION = Counter(
    "tidemark_events_after_finalization_total", "Events counted in usage windows only: their invoice is final."
)
GROUP_VALUES_OTHER = Counter(
    "tidemark_group_values_other_total", "Group values of events that were counted as others: too many to be kept apart."
)
EVALUATIONS = Counter("tidemark_evaluations_total", "Full evaluations of a gauge (headroom was used up, or a change).")
TRANSITIONS = Counter("tidemark_transitions_total", "Changes of an alert's state that were notified.", ["type", "to"])
ALERTS_UNREACHABLE = Gauge(
    "tidemark_alerts_unreachable",
    "Alerts that can never fire as everything is configured now: what they name is not there.",
    multiprocess_mode="livemostrecent",
)
BATCH_EVENTS = Histogram(
    "tidemark_batch_events",
    "Events in a committed batch.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000),
)
BATCH_SECONDS = Histogram("tidemark_batch_seconds", "Time from a batch's fetch to its commit.", buckets=_SECONDS)
COMMIT_SECONDS = Histogram("tidemark_commit_seconds", "Time of one commit script, round trip included.", buckets=_SECONDS)
COMMITS_REFUSED = Counter("tidemark_commits_refused_total", "Commits that changed nothing.", ["reason"])
PARTITIONS_ASSIGNED = Gauge("tidemark_partitions_assigned", "Partitions that the workers serve.", multiprocess_mode="livesum")
CONSUMER_LAG = Gauge(
    "tidemark_consumer_lag_records",
    "Records between the position and the end of the log.",
    ["partition"],
    multiprocess_mode="livemostrecent",
)
PARTITION_STOPPED = Gauge(
    "tidemark_partition_stopped",
    "1 while a partition is not served because of what its worker's log says; it is tried again by itself.",
    ["partition"],
    multiprocess_mode="livemax",
)
PARTITION_STOPS = Counter("tidemark_partition_stops_total", "Partitions that stopped, by the kind of error.", ["error"])
LAST_COMMIT = Gauge(
    "tidemark_last_commit_timestamp_seconds",
    "When a partition was last committed, by the worker that owns it.",
    ["partition"],
    multiprocess_mode="livemostrecent",
)
REDIS_FAILURES = Counter(
    "tidemark_redis_failures_total", "Calls to Redis that failed, by kind (away, refuses, defect).", ["kind"]
)
QUARANTINED_CUSTOMERS = Gauge(
    "tidemark_quarantined_customers",
    "Customers for whom the engine raised, and whose events are held.",
    ["partition"],
    multiprocess_mode="livemostrecent",
)
QUARANTINE_ENTRIES = Counter(
    "tidemark_quarantine_entries_total", "Customers that came into quarantine or back there, by what was done.", ["stage"]
)
QUARANTINE_RELEASED = Counter("tidemark_quarantine_released_total", "Customers that left quarantine.")
POSITION_RESETS = Counter("tidemark_position_resets_total", "Positions that had to be moved, by cause.", ["cause"])

OUTBOX_DEPTH = Gauge(
    "tidemark_outbox_depth",
    "Notifications in the outbox, waiting retries included.",
    multiprocess_mode="livemostrecent",
)
OUTBOX_OLDEST = Gauge(
    "tidemark_outbox_oldest_timestamp_seconds",
    "When the oldest notification in the outbox was written; 0 = none.",
    multiprocess_mode="livemostrecent",
)
WEBHOOK_ENDPOINTS = Gauge(
    "tidemark_webhook_endpoints",
    "Enabled webhook endpoints; 0 means notifications have nowhere to go.",
    multiprocess_mode="livemostrecent",
)
WEBHOOK_ATTEMPTS = Counter("tidemark_webhook_attempts_total", "Attempts at endpoints of every type.", ["outcome"])
WEBHOOK_ATTEMPT_SECONDS = Histogram("tidemark_webhook_attempt_seconds", "Time of one attempt.", buckets=_SECONDS)
WEBHOOK_DELIVERIES = Counter("tidemark_webhook_deliveries_total", "Deliveries that ended.", ["result"])
WEBHOOK_RETRIES = Gauge(
    "tidemark_webhook_retries_waiting",
    "Deliveries that have not ended.",
    multiprocess_mode="livemostrecent",
)
WEBHOOK_LOG_DELIVERIES = Gauge(
    "tidemark_webhook_log_deliveries", "Deliveries in the log, waiting ones included.", multiprocess_mode="livemostrecent"
)
WEBHOOK_LOG_BYTES = Gauge(
    "tidemark_webhook_log_bytes",
    "Memory of the deliveries that have ended and are kept in the log, estimated by Redis; attempts not included.",
    multiprocess_mode="livemostrecent",
)
WEBHOOK_LOG_UNWANTED = Gauge(
    "tidemark_webhook_log_unwanted",
    "Notifications in the log that no endpoint wanted; they can be sent to one.",
    multiprocess_mode="livemostrecent",
)
EVENT_TO_DELIVERY = Histogram(
    "tidemark_event_to_delivery_seconds",
    "From the crossing record's append in Kafka to the first byte of its first webhook request.",
    buckets=_END_TO_END,
)
EVENT_TO_SUCCESS = Histogram(
    "tidemark_event_to_success_seconds",
    "From the crossing record's append in Kafka to the end of the answer that took the notification (2xx), of each delivery that "
    "was not sent again by hand.",
    buckets=_END_TO_END,
)

CLOCK_OFFSET = Gauge(
    "tidemark_clock_offset_seconds",
    "This process' clock less that of another: Redis' (redis), or the append times in the log (log; only where ours is behind).",
    ["role", "source"],
    multiprocess_mode="liveall",
)
LOOP_FAILURES = Counter(
    "tidemark_loop_failures_total",
    "Turns of background loops that failed; the loop goes on. cause: service (Redis, network) or defect.",
    ["loop", "cause"],
)
WEBHOOK_CONTAINED = Counter(
    "tidemark_webhook_contained_total",
    "Defects in the dispatcher that were kept to one delivery, which is tried again later. where: attempt, lane, task, entry, "
    "stored.",
    ["where"],
)

HTTP_CONNECTIONS_REFUSED = Counter(
    "tidemark_http_connections_refused_total", "Connections to the API beyond the bounds on their number."
)
HTTP_REQUESTS = Counter("tidemark_http_requests_total", "API requests.", ["route", "method", "status"])
HTTP_SECONDS = Histogram("tidemark_http_request_seconds", "Time of an API request.", ["route"], buckets=_SECONDS)
INGEST_EVENTS = Counter("tidemark_ingest_events_total", "Events taken by POST /v1/ingest.")
