"""Log lines: JSON, with their role, and never with a secret."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from cryptography.fernet import Fernet
from pydantic import SecretStr

from connectors import logs
from connectors.settings import Settings

SETTINGS = Settings(
    redis_url="redis://user:p%40ss-word@127.0.0.1:6379/0", api_tokens="token-one, token-two", kafka_sasl_password="kafka-secret"
)
SECRETS = ("p%40ss-word", "p@ss-word", "token-one", "token-two", "kafka-secret")


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("aiokafka").handlers.clear()
    logging.getLogger("aiokafka").propagate = True
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_an_entry_is_one_json_line_with_its_role(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(SETTINGS, "worker")
    structlog.get_logger().info("partition assigned", partition=3)
    logging.getLogger("some.library").warning("it %s", "rains")
    ours, theirs = lines(capsys)
    assert (ours["event"], ours["role"], ours["partition"], ours["level"]) == ("partition assigned", "worker", 3, "info")
    assert (theirs["event"], theirs["role"], theirs["level"]) == ("it rains", "worker", "warning")


def test_no_secret_passes_in_text_values_or_tracebacks(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(SETTINGS, "api")
    log = structlog.get_logger()
    log.warning("cannot reach redis://user:p%40ss-word@127.0.0.1", tokens=["token-one"], nested={"password": "p@ss-word"})
    try:
        raise ConnectionError("refused: kafka-secret")
    except ConnectionError as error:
        log.exception("failed", error=error)
    logging.getLogger("redis").error("token-two was sent")
    output = capsys.readouterr().err
    assert output.count("\n") == 3
    assert not [secret for secret in SECRETS if secret in output]
    assert output.count(logs.REDACTED) >= 5


def test_every_secret_setting_is_one() -> None:
    """Also one that is added tomorrow: they follow from the type."""
    key = Fernet.generate_key().decode()
    values = {
        "redis_url": "redis://user:redis-pass@host/0",
        "webhook_proxy_url": "http://user:proxy%2Fpass@host:1",
        "secrets_keys": key,
    }
    secret = [name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)]
    given = {name: SecretStr(values.get(name, f"text-of-{name}")) for name in secret}
    found = logs.secrets_of(Settings(**given))  # type: ignore[arg-type]
    assert {"redis-pass", "proxy%2Fpass", "proxy/pass", key} <= set(found)
    assert {f"text-of-{name}" for name in secret if name not in values} <= set(found)


def test_a_token_that_is_a_common_word_mangles_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(SETTINGS.model_copy(update={"api_tokens": SecretStr("v1,customers")}), "api")
    structlog.get_logger().info("request", route="/v1/customers", method="POST", given="v1", text="/v1/", more="my customers")
    assert lines(capsys)[0] | {"timestamp": ""} == {
        **{"event": "request", "role": "api", "level": "info", "timestamp": "", "route": "/v1/customers", "method": "POST"},
        **{"given": logs.REDACTED, "text": "/v1/", "more": f"my {logs.REDACTED}"},
    }


def test_secrets_that_are_known_by_their_form_or_were_met(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(SETTINGS, "api")
    logs.remember("a-token-that-was-made-later")
    parts = ("whsec_c2VjcmV0+/=", "whsk_cHJpdmF0ZQ==", "T0/B0/unguessable", "sesame", "a-token-that-was-made-later", "in-a-url")
    secret, private, slack, bearer, met, password = parts
    text = (
        f"Bad header: b'Authorization: Bearer {bearer}' {secret} {private} https://hooks.slack.com/services/{slack} "
        f"({met}) amqp://user:{password}@host"
    )
    logging.getLogger("aiohttp.server").error(text)
    structlog.get_logger().error("failed", detail=text, headers={met: [text]})
    try:
        raise ValueError(text)
    except ValueError:
        logging.getLogger("aiohttp.server").exception("Error handling request")
    output = capsys.readouterr().err
    assert output.count("\n") == 3
    assert not [part for part in parts if part in output]


def test_levels_below_the_setting_are_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(SETTINGS.model_copy(update={"log_level": "WARNING"}), "worker")
    structlog.get_logger().info("quiet")
    structlog.get_logger().error("loud")
    assert [line["event"] for line in lines(capsys)] == ["loud"]


def test_a_library_that_repeats_itself_is_heard_once(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(SETTINGS, "worker")
    for _ in range(5):
        logging.getLogger("aiokafka.conn").error("Unable connect to %s", "somewhere")
    logging.getLogger("aiokafka.conn").error("Unable connect to %s", "elsewhere")
    assert [line["event"] for line in lines(capsys)] == ["Unable connect to somewhere", "Unable connect to elsewhere"]


def test_it_is_heard_again_after_a_while() -> None:
    seldom = logs.Seldom()
    record = logging.LogRecord("aiokafka", logging.ERROR, "", 0, "again", None, None)
    heard = []
    for record.created in (1000.0, 1029.9, 1030.0, 1031.0):
        heard.append(seldom.filter(record))
    assert heard == [True, False, True, False]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("rediss://user:s3cret@host:6380/1", "rediss://user:***@host:6380/1"),
        ("redis://:s3cret@host/0", "redis://:***@host/0"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert logs.redact_url(url) == shown
