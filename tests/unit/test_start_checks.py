"""What a start is refused for, and what it is told: names of settings, Kafka's security, the set-up of Redis and of the topic."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from aiokafka import errors as kafka
from click.testing import CliRunner
from pydantic import ValidationError

from connectors.cli.errors import Hopeless, read_settings, unknown_names
from connectors.cli.main import cli
from connectors.kafka import client
from connectors.kafka.errors import (
    TABLE,
    KafkaMisconfigured,
    Reaction,
    UnreadableRecords,
    advice,
    at_start,
    misconfigured,
    while_running,
)
from connectors.redis.fitness import RedisUnfit, check_redis, redis_warnings
from connectors.settings import Settings


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("TIDEMARK_REDIS_URI", "TIDEMARK_REDIS_URI: there is no such setting; is TIDEMARK_REDIS_URL meant?"),
        ("TIDEMARK_TOPIC_EVENT", "TIDEMARK_TOPIC_EVENT: there is no such setting; is TIDEMARK_TOPIC_EVENTS meant?"),
        ("TIDEMARK_ZZ", "TIDEMARK_ZZ: there is no such setting"),
    ],
)
def test_a_name_that_is_no_setting_stops_the_start_with_the_nearest_right_one(
    monkeypatch: pytest.MonkeyPatch, name: str, line: str
) -> None:
    monkeypatch.setenv(name, "a secret value")
    with pytest.raises(Hopeless) as refused:
        read_settings()
    assert line in refused.value.message
    assert "a secret value" not in refused.value.message
    assert refused.value.exit_code == 2
    assert CliRunner().invoke(cli, ["worker"]).exit_code == 2


def test_names_of_settings_our_own_processes_tests_and_kubernetes_are_no_mistakes() -> None:
    """Kubernetes gives each container variables for a Service called tidemark or tidemark-api."""
    environment = {
        **{f"TIDEMARK_{name.upper()}": "x" for name in Settings.model_fields},
        "TIDEMARK_READY_FD": "5",
        "TIDEMARK_TETHER_PID": "1",
        "TIDEMARK_TEST_KAFKA": "host:1",
        "TIDEMARK_KAFKA_CACHE": "/tmp",
        "TIDEMARK_PORT": "tcp://10.0.0.1:8080",
        "TIDEMARK_SERVICE_HOST": "10.0.0.1",
        "TIDEMARK_SERVICE_PORT": "8080",
        "TIDEMARK_API_SERVICE_PORT_HTTP": "8080",
        "TIDEMARK_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "TIDEMARK_PORT_8080_TCP_ADDR": "10.0.0.1",
        "OTHER_REDIS_URI": "x",
    }
    assert unknown_names(environment) == []


@pytest.mark.parametrize("missing", ["kafka_sasl_username", "kafka_sasl_password"])
def test_sasl_without_a_user_or_password_is_refused(missing: str) -> None:
    values = {"kafka_security_protocol": "SASL_SSL", "kafka_sasl_username": "u", "kafka_sasl_password": "p"}
    Settings.model_validate(values)
    del values[missing]
    with pytest.raises(ValidationError, match=f"TIDEMARK_{missing.upper()}"):
        Settings.model_validate(values)


def test_a_ca_file_that_is_missing_or_no_certificate_is_refused_by_name(tmp_path: Path) -> None:
    nothing, rubbish = tmp_path / "missing.pem", tmp_path / "rubbish.pem"
    rubbish.write_text("no certificate")
    for file in (nothing, rubbish):
        settings = Settings(kafka_security_protocol="SSL", kafka_ssl_cafile=str(file))
        with pytest.raises(KafkaMisconfigured, match="TIDEMARK_KAFKA_SSL_CAFILE"):
            client.admin(settings)


def test_each_row_of_the_table_says_what_to_do_where_something_has_to_be_done() -> None:
    for row in TABLE:
        assert row.advice or KafkaMisconfigured in row.errors or row.running is Reaction.PASSES, row
        for error in row.errors:
            assert while_running(error("x")) is row.running, error
            assert at_start(error("x")) is (Reaction.START if row.at_start is Reaction.START else Reaction.PASSES), error


def test_what_aiokafka_says_is_to_be_retried_never_stops_a_start() -> None:
    """For every error that there is, those of a newer aiokafka included."""
    every = [each for each in vars(kafka).values() if isinstance(each, type) and issubclass(each, kafka.KafkaError)]
    assert len(every) > 80
    for each in every:
        if each.retriable:
            assert at_start(each()) is Reaction.PASSES, each
            assert while_running(each()) is not Reaction.START, each
        if issubclass(each, kafka.BrokerResponseError) and not each.retriable and while_running(each()) is Reaction.PASSES:
            assert any(each in row.errors for row in TABLE), each


@pytest.mark.parametrize(
    ("error", "running"),
    [
        (kafka.KafkaConnectionError(), Reaction.PASSES),
        (kafka.KafkaTimeoutError(), Reaction.PASSES),
        (TimeoutError(), Reaction.PASSES),
        (UnreadableRecords("x"), Reaction.PARTITION),
        (kafka.UnknownError(), Reaction.PARTITION),
        (kafka.TopicAuthorizationFailedError("t"), Reaction.PARTITION),
        (kafka.GroupAuthorizationFailedError("g"), Reaction.START),
        (kafka.SaslAuthenticationFailed("no"), Reaction.START),
        (ZeroDivisionError(), Reaction.PARTITION),
    ],
)
def test_kinds_of_errors_while_running(error: Exception, running: Reaction) -> None:
    assert while_running(error) is running


def test_a_refusal_names_the_broker_what_it_said_and_what_to_do() -> None:
    error = misconfigured(Settings(), kafka.SaslAuthenticationFailed("invalid credentials"))
    text = str(error)
    assert "127.0.0.1:9092" in text
    assert "invalid credentials" in text
    assert "TIDEMARK_KAFKA_SASL_PASSWORD" in text
    assert misconfigured(Settings(), error) is error
    assert "TIDEMARK_KAFKA_SSL_CAFILE" in advice(ssl.SSLCertVerificationError())


class Server:
    """A Redis that answers INFO and CONFIG as told; None = it refuses."""

    def __init__(self, info: dict[str, Any] | None, save: str | None = "") -> None:
        self._info, self._save = info, save

    async def info(self, _section: str) -> dict[str, Any]:
        from redis.exceptions import NoPermissionError

        if self._info is None:
            raise NoPermissionError
        return self._info

    async def config_get(self, _name: str) -> dict[str, str]:
        from redis.exceptions import ResponseError

        if self._save is None:
            raise ResponseError("unknown command 'CONFIG'")
        return {"save": self._save}


async def test_a_redis_that_may_evict_keys_is_refused() -> None:
    for policy in ("allkeys-lru", "volatile-ttl", "volatile-lru"):
        with pytest.raises(RedisUnfit, match="noeviction"):
            await check_redis(Server({"maxmemory": 1, "maxmemory_policy": policy}))  # type: ignore[arg-type]
        await check_redis(Server({"maxmemory": 0, "maxmemory_policy": policy}))  # type: ignore[arg-type]
    await check_redis(Server({"maxmemory": 1, "maxmemory_policy": "noeviction"}))  # type: ignore[arg-type]
    await check_redis(Server(None))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("info", "save", "told"),
    [
        ({"aof_enabled": 1}, "", None),
        ({"aof_enabled": 0}, "3600 1", "snapshots only"),
        ({"aof_enabled": 0}, "", "nothing on disk"),
        ({"aof_enabled": 0}, None, "snapshots only"),
        (None, "", "INFO"),
    ],
)
async def test_a_redis_that_forgets_is_told_of(info: dict[str, Any] | None, save: str | None, told: str | None) -> None:
    warnings = await redis_warnings(Server(info, save))  # type: ignore[arg-type]
    assert len(warnings) == (0 if told is None else 1)
    assert told is None or told in warnings[0]
