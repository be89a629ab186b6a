"""`tidemark up --embedded`: real processes, ordinary clients, a restart on the same data, and the death of each part."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from connectors import clock
from tests.support.kafka_server import free_port
from tests.support.up import TOKEN, Inbox, Up, eventually

ROLES = ("worker", "api", "dispatcher")


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    inbox = Inbox()
    yield inbox
    inbox.close()


def configure(up: Up, inbox: Inbox) -> str:
    """One customer whose units cost a cent each; returns its id."""
    up.post("/v1/webhook-endpoints", {"url": inbox.url})
    since = (clock.now() - timedelta(hours=2)).strftime("%Y-%m-%dT%H:00:00Z")
    counted = {"aggregation_type": "SUM", "aggregation_key": "units", "property_filters": [{"name": "units", "exists": True}]}
    metric = up.post("/v1/billable-metrics/create", {"name": "units", **counted})["id"]
    product = up.post("/v1/contract-pricing/products/create", {"name": "units", "type": "USAGE", "billable_metric_id": metric})
    card = up.post("/v1/contract-pricing/rate-cards/create", {"name": "prices"})["id"]
    rate = {"product_id": product["id"], "entitled": True, "rate_type": "FLAT", "price": 1, "starting_at": since}
    up.post("/v1/contract-pricing/rate-cards/addRates", {"rate_card_id": card, "rates": [rate]})
    customer = up.post("/v1/customers", {"name": "a customer"})["id"]
    schedule = {"frequency": "MONTHLY", "day": "CONTRACT_START"}
    contract = {"customer_id": customer, "rate_card_id": card, "starting_at": since, "usage_statement_schedule": schedule}
    up.post("/v1/contracts/create", contract)
    return str(customer)


def spend_alert(up: Up, threshold: int) -> str:
    body = {"name": f"spend of {threshold}", "alert_type": "spend_threshold_reached", "threshold": threshold}
    return str(up.post("/v1/alerts/create", body)["id"])


def status(up: Up, customer: str, alert: str) -> str:
    return str(up.post("/v1/customer-alerts/get", {"customer_id": customer, "alert_id": alert})["customer_status"])


def test_a_restart_on_the_same_data_directory_keeps_everything_but_the_log(tmp_path: Path, inbox: Inbox) -> None:
    with Up(tmp_path) as up:
        customer = configure(up, inbox)
        low, high = spend_alert(up, 100), spend_alert(up, 150)
        up.produce(customer, [f"first-{n}" for n in range(12)], amount=10)
        eventually(lambda: inbox.crossings() == {(low, "first-9")}, "the webhook of the lower alert")
        eventually(lambda: up.metric("tidemark_events_applied_total") == 12, "all events applied")
        assert up.stop() == 0
        assert not up.ready_file.exists()

    with Up(tmp_path) as again:
        assert again.kafka == up.kafka  # a producer's configuration still holds
        assert status(again, customer, low) == "in_alarm"
        assert status(again, customer, high) == "ok"
        # The old events once more: their ids are known although the broker forgot them. Then 120 + 3 * 10 = 150.
        again.produce(customer, [f"first-{n}" for n in range(12)], amount=10)
        again.produce(customer, [f"second-{n}" for n in range(4)], amount=10)
        eventually(lambda: (high, "second-2") in inbox.crossings(), "the webhook of the higher alert")
        assert inbox.crossings() == {(low, "first-9"), (high, "second-2")}
        assert again.metric("tidemark_events_duplicate_total") == 12
        assert again.stop() == 0


def test_each_role_is_a_process_of_its_own_and_the_token_is_on_none_of_their_command_lines(tmp_path: Path) -> None:
    with Up(tmp_path) as up:
        lines = up.children()
        assert all(up.pid_of(role) for role in ROLES), lines
        assert [line for line in lines.values() if TOKEN in line] == []
        pids = list(lines)
        assert up.stop() == 0
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


def test_a_role_that_is_killed_is_started_again_and_nothing_is_lost_or_told_twice(tmp_path: Path, inbox: Inbox) -> None:
    # Short, so that the group and the outbox take the dead for dead soon.
    patience = {"KAFKA_SESSION_TIMEOUT_MS": "2000", "WEBHOOK_TIMEOUT_S": "1", "WEBHOOK_CLAIM_IDLE_S": "2"}
    with Up(tmp_path, **{f"TIDEMARK_{name}": value for name, value in patience.items()}) as up:
        customer = configure(up, inbox)
        expected = set()
        for step, role in enumerate(ROLES):
            alert = spend_alert(up, threshold=100 * (step + 1))
            pid = up.pid_of(role)
            assert pid is not None
            up.produce(customer, [f"{role}-{n}" for n in range(5)], amount=10)
            os.kill(pid, signal.SIGKILL)
            up.produce(customer, [f"{role}-{n}" for n in range(5, 10)], amount=10)
            eventually(lambda role=role, pid=pid: up.pid_of(role) not in (None, pid), f"a new {role}")
            expected.add((alert, f"{role}-9"))
            eventually(lambda: expected <= inbox.crossings(), f"the webhook after the death of the {role}")
            eventually(lambda: answers(up), "the API answers")
        assert inbox.crossings() == expected
        assert len(inbox.notifications) == len(expected)
        assert up.stop() == 0


def answers(up: Up) -> bool:
    import httpx

    try:
        return httpx.get(f"{up.api}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def test_a_killed_supervisor_takes_everything_with_it_and_the_data_can_be_used_again(tmp_path: Path, inbox: Inbox) -> None:
    with Up(tmp_path, TIDEMARK_TOPIC_PARTITIONS="3", TIDEMARK_DRAIN_TIMEOUT_S="3") as up:
        customer = configure(up, inbox)
        alert = spend_alert(up, 10)
        up.produce(customer, ["only"], amount=10)
        eventually(lambda: inbox.crossings() == {(alert, "only")}, "the webhook")
        pids = list(up.children())
        up.process.kill()
        up.process.wait()
        eventually(lambda: not [pid for pid in pids if running(pid)], "all children ended")
    up.ready_file.unlink()
    with Up(tmp_path) as again:  # whose topic gets the 3 partitions that the data was made for, not the default
        assert status(again, customer, alert) == "in_alarm"


def running(pid: int) -> bool:
    """Orphans that nobody waits for remain as zombies where process 1 reaps none: those have ended."""
    try:
        return re.search(r"^State:\s+Z", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE) is None
    except (FileNotFoundError, ProcessLookupError):  # gone, or going while it was read
        return False


def test_what_the_embedded_broker_acknowledged_is_not_lost_by_a_stop(tmp_path: Path, inbox: Inbox) -> None:
    """The broker forgets its log, so the stop has to wait until the worker has taken all of it."""
    with Up(tmp_path) as up:
        customer = configure(up, inbox)
        alert = spend_alert(up, 5000)
        up.produce(customer, [f"event-{n}" for n in range(5000)], amount=1)
        assert up.stop() == 0
    with Up(tmp_path) as again:
        assert status(again, customer, alert) == "in_alarm"
        eventually(lambda: inbox.crossings() == {(alert, "event-4999")}, "the webhook, before the stop or after it")


def test_two_do_not_share_a_data_directory(tmp_path: Path) -> None:
    from connectors.embedded.datadir import DataDir, DataDirError

    held = DataDir(tmp_path / "data")
    try:
        with pytest.raises(DataDirError, match=f"in use by another tidemark \\(process {os.getpid()}\\)"):
            DataDir(tmp_path / "data")
    finally:
        held.close()
    DataDir(tmp_path / "data").close()


def test_the_brokers_port_is_the_one_that_was_asked_for_and_one_that_is_taken_is_refused(tmp_path: Path, inbox: Inbox) -> None:
    port = free_port()
    with Up(tmp_path, "--kafka-port", str(port)) as up:
        assert up.kafka == f"127.0.0.1:{port}"
        customer = configure(up, inbox)
        low = spend_alert(up, 100)
        up.produce(customer, [f"first-{n}" for n in range(12)], amount=10)  # an ordinary client, which asks who leads what
        eventually(lambda: inbox.crossings() == {(low, "first-9")}, "the webhook")
        command = [str(Path(sys.executable).with_name("tidemark")), "up", "--embedded", "--port", "0", "--kafka-port", str(port)]
        second = subprocess.run(
            [*command, "--data-dir", str(tmp_path / "other")], check=False, capture_output=True, text=True, timeout=60
        )
        assert second.returncode == 1
        assert f"the embedded Kafka broker cannot listen on 127.0.0.1 port {port}: the port is in use" in second.stderr
        assert up.stop() == 0


def test_webhooks_to_this_machine_need_no_setting_and_those_to_other_private_addresses_do(tmp_path: Path) -> None:
    with Up(tmp_path) as up:
        up.post("/v1/webhook-endpoints", {"url": "http://127.0.0.1:1/"})
        up.post("/v1/webhook-endpoints", {"url": "http://[::1]:1/"})
        with pytest.raises(AssertionError, match=": 400 "):
            up.post("/v1/webhook-endpoints", {"url": "http://10.0.0.1/"})
        assert "starting a Kafka broker" in up.log()
        assert "Webhooks to this machine (loopback) are allowed" in up.log()
        assert up.stop() == 0
    with Up(tmp_path, TIDEMARK_WEBHOOK_ALLOW_PRIVATE="false") as strict, pytest.raises(AssertionError, match=": 400 "):
        strict.post("/v1/webhook-endpoints", {"url": "http://127.0.0.1:1/"})
