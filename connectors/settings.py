"""Every setting of every role, from the environment (prefix ``TIDEMARK_``), with its unit, bounds and default."""

from __future__ import annotations

from typing import Literal

from cryptography.fernet import Fernet
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from connectors.redis.address import read_address
from connectors.webhooks.proxy import read_proxy


class Settings(BaseSettings):
    """Read once per process. Names end in their unit; a name without one is a count, a text or a switch."""

    model_config = SettingsConfigDict(env_prefix="TIDEMARK_", extra="ignore", frozen=True)

    # --- services -------------------------------------------------------------------------------------------------
    kafka_bootstrap_servers: str = "127.0.0.1:9092"
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    kafka_sasl_username: str | None = None
    kafka_sasl_password: SecretStr | None = None
    kafka_ssl_cafile: str | None = None
    kafka_ssl_certfile: str | None = None
    kafka_ssl_keyfile: str | None = None
    kafka_session_timeout_ms: int = Field(default=10_000, ge=1_000)  # how long the group waits for a worker that died
    kafka_fetch_wait_ms: int = Field(default=25, ge=1, le=500)  # how long a broker may hold a fetch that has nothing to give
    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")  # rediss:// for TLS, user:password@ for ACLs; or, by Sentinel,
    # redis+sentinel://user:password@sentinel:26379,sentinel2:26379/service/0 (rediss+sentinel:// for TLS)
    redis_sentinel_username: str | None = None  # what the Sentinels themselves ask for, if anything
    redis_sentinel_password: SecretStr | None = None
    redis_ssl_ca_certs: str | None = None
    redis_timeout_s: float = Field(default=10.0, gt=0)

    secrets_keys: SecretStr = SecretStr("")  # comma separated Fernet keys that seal secrets in Redis; the first seals, all open

    # --- topics -----------------------------------------------------------------------------------------------------
    topic_events: str = "usage-events"
    topic_dead_letters: str = "usage-events.dead-letters"
    topic_notifications: str = "tidemark.notifications"
    topic_partitions: int = Field(default=12, ge=1, le=1024)  # used only when we create the topic
    topic_replication: int = Field(default=1, ge=1, le=7)  # likewise
    consumer_group: str = ""  # empty: tidemark-worker-, and the installation's id in Redis

    # --- intake -----------------------------------------------------------------------------------------------------
    event_age_max_days: int = Field(default=34, ge=1, le=400)
    event_ahead_max_hours: int = Field(default=24, ge=0, le=720)
    dedup_days: int = Field(default=34, ge=1, le=400)
    record_bytes_max: int = Field(default=1_048_576, ge=1024)
    record_events_max: int = Field(default=1_000, ge=1)
    batch_bytes_max: int = Field(default=134_217_728, ge=1_048_576)  # of a compressed batch of records, decompressed
    properties_bytes_max: int = Field(default=65_536, ge=64)
    fates_max: int = Field(default=5_000, ge=0)  # notes for events/search on events not simply applied; in each partition, latest
    parked_days: int = Field(default=34, ge=1)
    # What waits for its customer, in each partition and for each customer reference; what is beyond goes to the dead letters at
    # once. With 12 partitions at their bound: 1.5 GB and about 0.3 GB of Redis' own for 2.4 million events.
    parked_events_max: int = Field(default=200_000, ge=0)
    parked_bytes_max: int = Field(default=134_217_728, ge=0)
    parked_reference_events_max: int = Field(default=50_000, ge=0)
    parked_reference_bytes_max: int = Field(default=33_554_432, ge=0)
    unknown_offset_policy: Literal["earliest", "fail"] = "earliest"  # when Redis' offset is no longer in the log

    # --- worker -----------------------------------------------------------------------------------------------------
    batch_records_max: int = Field(default=4_000, ge=1)
    batch_target_ms: int = Field(default=50, ge=1)  # a batch shrinks until it takes no longer than this
    customers_cached_max: int = Field(default=50_000, ge=1)  # in one worker; about 15 kB each
    tick_ms: int = Field(default=200, ge=10)  # how often timers and changes are looked at while no usage flows
    quarantine_events_max: int = Field(default=10_000, ge=0)  # held of one customer that is in quarantine
    quarantine_bytes_max: int = Field(default=67_108_864, ge=0)  # held of all of them in one partition
    quarantine_customers_max: int = Field(default=1_000, ge=1)  # in one partition; beyond it the partition stops
    grace_period_hours: int = Field(default=24, ge=0, le=34 * 24)
    windows_hourly_days: int = Field(default=35, ge=34)
    windows_daily_months: int = Field(default=13, ge=1)
    resolved_notifications: bool = True
    # Values of each declared group key of a metric that are kept apart for one customer; the others are counted together as
    # "tidemark:other". 10,000 take 15 MB of the worker, 29 MB with an alert on each.
    group_values_max: int = Field(default=10_000, ge=1)

    # --- API --------------------------------------------------------------------------------------------------------
    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8080, ge=0, le=65535)
    api_tokens: SecretStr = SecretStr("")  # comma separated; beside those made by `tidemark token create`
    api_connections_max: int = Field(default=4_096, ge=1)  # at once; fewer where the process may not open so many files
    api_connections_per_address_max: int = Field(default=512, ge=1)  # of one client; of a proxy in front of the API: of all
    api_header_timeout_s: float = Field(default=10.0, gt=0)  # from the first byte of a request to the end of its headers
    api_body_timeout_s: float = Field(default=30.0, gt=0)  # for all of a body
    api_idle_timeout_s: float = Field(default=75.0, gt=0)  # between two requests; longer than a proxy in front keeps its side
    api_write_timeout_s: float = Field(default=30.0, gt=0)  # how long a client may not read on
    api_wrong_token_delay_max_s: float = Field(default=5.0, ge=0, le=30)  # answers to wrong tokens of one address come later
    ingest_body_bytes_max: int = Field(default=1_048_576, ge=1024)
    ingest_events_max: int = Field(default=100, ge=1)
    idempotency_hours: int = Field(default=24, ge=1)
    audit_log_days: int = Field(default=400, ge=1)  # how long entries of the audit log are kept
    alerts_for_all_max: int = Field(default=300, ge=1)
    alerts_per_customer_max: int = Field(default=1_200, ge=1)
    group_value_keys_max: int = Field(default=3, ge=0)
    individual_seats_max: int = Field(default=1_000, ge=1)  # seats of a subscription that each have credits of their own
    keyed_alerts_max: int = Field(default=3, ge=0)  # of one customer, split by the values of a custom field
    keyed_alert_values_max: int = Field(default=1_000, ge=1)  # so many values has one customer for each of these

    # --- dispatcher -------------------------------------------------------------------------------------------------
    webhook_allow_private: bool = False
    webhook_allow_list: str = ""  # comma separated host names or networks that may be private
    webhook_source_addresses: str = ""  # comma separated addresses or networks, for GET /v1/services to name
    webhook_proxy_url: SecretStr | None = (
        None  # http://user:password@host:port; it resolves names, and has to refuse private ones
    )
    webhook_timeout_s: float = Field(default=10.0, gt=0, le=60)
    webhook_concurrency: int = Field(default=8, ge=1)  # requests under way at once, for each endpoint
    webhook_retry_steps_s: str = "1,2,4,8,16,32,64,128,256,512,900"  # waits between attempts; the last one is repeated
    webhook_retry_jitter: float = Field(default=0.2, ge=0, le=1)  # fraction of a step that is left to chance
    webhook_retry_age_max_hours: float = Field(default=48.0, gt=0)
    webhook_fault_age_max_hours: float = Field(default=168.0, gt=0)  # how long faults of ours may delay a delivery beside that
    webhook_retry_timeout_step_s: float = Field(default=60.0, ge=0)  # after a timeout the step is at least this
    webhook_breaker_open_s: float = Field(default=30.0, gt=0, le=900)  # the first time; each failed trial doubles it up to 900
    webhook_disable_after_days: float = Field(default=5.0, gt=0)  # of nothing but failures
    webhook_failing_notice_minutes: float = Field(default=15.0, ge=0)  # of nothing but failures, then others are told
    webhook_notice_pause_minutes: float = Field(default=60.0, ge=0)  # between two message.exhausted about one endpoint
    webhook_log_days: float = Field(default=14.0, gt=0)  # how long deliveries that have ended, and attempts, can be looked at
    webhook_unwanted_max: int = Field(default=10_000, ge=0)  # notifications that no endpoint wanted, kept by each partition's log
    webhook_claim_idle_s: float = Field(default=30.0, gt=0)  # longer than webhook_timeout_s: then its sender is taken for dead
    notification_link: str = ""  # a URL for Slack's messages, in which {customer_id}, {alert_id} and {id} are filled in
    severities: str = "info,warning,error,critical"  # lowest first: the order for endpoints that want a minimum severity
    outbox_undeliverable_days: float = Field(default=7.0, gt=0)  # how long notifications wait while no endpoint exists

    # --- process ----------------------------------------------------------------------------------------------------
    metrics_host: str = "127.0.0.1"  # of worker and dispatcher, where they serve their metrics themselves
    metrics_port: int = Field(default=0, ge=0, le=65535)  # of worker and dispatcher; 0 = any free port; the API serves its own
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    otel_traces: bool = False  # spans of delivery attempts, where OTEL_EXPORTER_OTLP_ENDPOINT says; needs the extra otel
    log_format: Literal["json", "console"] = "json"
    drain_timeout_s: float = Field(default=20.0, gt=0)
    clock_tolerance_s: float = Field(default=60.0, ge=1)  # by more than this clocks disagree (connectors/agreement.py)
    clock_skew_s: int = 0  # for tests: makes the clock of the process wrong (connectors/clock.py)
    time_shift_s: int = 0  # for tests: moves the clock of the process (connectors/clock.py)

    @model_validator(mode="after")
    def _sasl(self) -> Settings:
        """Without them every broker refuses, and says so in words of its own."""
        if self.kafka_security_protocol.startswith("SASL_"):
            for name in ("kafka_sasl_username", "kafka_sasl_password"):
                if getattr(self, name) is None:
                    raise ValueError(f"TIDEMARK_{name.upper()}: needed with {self.kafka_security_protocol}")
        return self

    @field_validator("webhook_retry_steps_s")
    @classmethod
    def _steps(cls, text: str) -> str:
        seconds_of(text)
        return text

    @field_validator("secrets_keys")
    @classmethod
    def _secrets_keys(cls, keys: SecretStr) -> SecretStr:
        """The reason is not told: it would tell of a key."""
        try:
            for key in _parts(keys):
                Fernet(key)
        except ValueError:
            raise ValueError("must be comma separated keys as `tidemark secrets new-key` makes them") from None
        return keys

    def secrets_key_list(self) -> tuple[str, ...]:
        return _parts(self.secrets_keys)

    @field_validator("webhook_proxy_url")
    @classmethod
    def _proxy_url(cls, url: SecretStr | None) -> SecretStr | None:
        """The reason is not told: it may hold a part of the password."""
        try:
            if url is not None:
                read_proxy(url.get_secret_value())
        except ValueError:
            raise ValueError(
                "must be http://host:port or http://user:password@host:port, with nothing behind it; special characters of a "
                "password are to be percent-encoded"
            ) from None
        return url

    @field_validator("redis_url")
    @classmethod
    def _redis_url(cls, url: SecretStr) -> SecretStr:
        """The reason is not told: it may hold a part of the password."""
        try:
            read_address(url.get_secret_value())
        except ValueError:
            raise ValueError(
                "must be redis://, rediss:// or unix://, with a host and a port number; or redis+sentinel://host:port/service "
                "(rediss+sentinel://); special characters of a password are to be percent-encoded"
            ) from None
        return url


def _parts(secret: SecretStr) -> tuple[str, ...]:
    return tuple(part for each in secret.get_secret_value().split(",") if (part := each.strip()))


def seconds_of(text: str) -> tuple[float, ...]:
    """Comma separated durations, each above 0 and of at most a week. Raises ValueError."""
    steps_s = tuple(float(part) for part in text.split(","))
    if not all(0 < step_s <= 7 * 86_400 for step_s in steps_s):
        raise ValueError("each step must be above 0 and at most 604800 seconds")
    return steps_s
