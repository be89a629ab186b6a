"""With a worker behind the API: custom fields move the alerts that filter by them, at once; evaluating ends for everyone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from metronome import AsyncMetronome

from connectors import clock
from tests.conformance.test_sdk import make_card, make_metric, make_product
from tests.conformance.test_with_worker import midnight, until, worker

__all__ = ["worker"]  # the fixture

Status = tuple[str | None, str | None]


async def status(sdk: AsyncMetronome, customer: str, alert: str, **chosen: Any) -> Status:
    found = (await sdk.v1.customers.alerts.retrieve(customer_id=customer, alert_id=alert, **chosen)).data
    return found.customer_status, found.triggered_by


async def make_commit(sdk: AsyncMetronome, customer: str, amount: float, **more: Any) -> str:
    fixed = (await sdk.v1.contracts.products.create(name="Prepaid", type="FIXED")).data.id
    segment = {"amount": amount, "starting_at": midnight(-10), "ending_before": midnight(30)}
    made = await sdk.v1.customers.commits.create(
        customer_id=customer,
        type="PREPAID",
        product_id=fixed,
        priority=1,
        access_schedule={"schedule_items": [segment]},
        **more,
    )
    return made.data.id


@pytest.mark.usefixtures("worker")
async def test_custom_fields_of_commits_move_an_alert_by_their_values(sdk: AsyncMetronome) -> None:
    customer = (await sdk.v1.customers.create(name="Acme")).data.id
    commits = {name: await make_commit(sdk, customer, amount) for name, amount in (("low", 5), ("high", 50))}
    key: Any = {"entity": "ContractCreditOrCommit", "key": "team"}
    alert_type: Any = "low_remaining_contract_credit_and_commit_balance_reached"
    alert = (
        await sdk.v1.alerts.create(
            alert_type=alert_type, name="teams", threshold=10, alert_specifiers=[{"custom_field_filters": [key]}]
        )
    ).data.id
    fields = sdk.v1.custom_fields
    await fields.add_key(entity="commit", key="team", enforce_uniqueness=False)

    async def statuses() -> dict[str, str | None]:
        chosen = {team: {"alert_specifiers": [{"custom_field_filters": [{**key, "value": team}]}]} for team in ("red", "blue")}
        found = {team: (await status(sdk, customer, alert, **each))[0] for team, each in chosen.items()}
        return {**found, "": (await status(sdk, customer, alert))[0]}

    await until(statuses, {"red": "ok", "blue": "ok", "": "ok"})
    await fields.set_values(entity="commit", entity_id=commits["high"], custom_fields={"team": "blue"})
    await fields.set_values(entity="commit", entity_id=commits["low"], custom_fields={"team": "red"})
    await until(statuses, {"red": "in_alarm", "blue": "ok", "": "in_alarm"})
    assert await status(sdk, customer, alert) == ("in_alarm", "balance_change")
    await fields.set_values(entity="commit", entity_id=commits["low"], custom_fields={"team": "blue"})
    await until(statuses, {"red": "ok", "blue": "ok", "": "ok"})  # 55 are left of the blue ones
    await fields.delete_values(entity="commit", entity_id=commits["high"], keys=["team"])
    await until(statuses, {"red": "ok", "blue": "in_alarm", "": "in_alarm"})

    shown = (await sdk.v1.customers.alerts.retrieve(customer_id=customer, alert_id=alert)).data.alert.alert_specifiers
    assert [[(each.key, each.value) for each in one.custom_field_filters or []] for one in shown or []] == [[("team", None)]]
    await sdk.v1.customers.alerts.reset(customer_id=customer, alert_id=alert)
    await until(lambda: status(sdk, customer, alert), ("in_alarm", "reset"))
    await fields.remove_key(entity="commit", key="team")
    await until(statuses, {"red": "ok", "blue": "ok", "": "ok"})


@pytest.mark.usefixtures("worker")
async def test_custom_fields_of_contracts_move_an_alert_on_spend(sdk: AsyncMetronome) -> None:
    card = await make_card(sdk, await make_product(sdk, await make_metric(sdk)))  # 0.1 cents a token
    customer = (await sdk.v1.customers.create(name="Acme")).data.id
    contract = (await sdk.v1.contracts.create(customer_id=customer, starting_at=midnight(-10), rate_card_id=card)).data.id
    red: Any = [{"entity": "Contract", "key": "team", "value": "red"}]
    spend: Any = {"alert_type": "spend_threshold_reached", "threshold": 1, "customer_id": customer}
    alert = (await sdk.v1.alerts.create(name="red", custom_field_filters=red, **spend)).data.id
    every = (await sdk.v1.alerts.create(name="every", **spend)).data.id
    event: Any = {
        "transaction_id": "t",
        "customer_id": customer,
        "event_type": "call",
        "timestamp": clock.now().isoformat(),
    }
    await sdk.v1.usage.ingest(usage=[{**event, "properties": {"tokens": 20, "region": "eu"}}])
    await until(lambda: status(sdk, customer, every), ("in_alarm", "usage"))
    assert await status(sdk, customer, alert) == ("ok", None)
    fields = sdk.v1.custom_fields
    await fields.add_key(entity="contract", key="team", enforce_uniqueness=False)
    await fields.set_values(entity="contract", entity_id=contract, custom_fields={"team": "red"})
    await until(lambda: status(sdk, customer, alert), ("in_alarm", "contract_change"))
    await fields.set_values(entity="contract", entity_id=contract, custom_fields={"team": "blue"})
    await until(lambda: status(sdk, customer, alert), ("ok", None))
    assert await status(sdk, customer, every) == ("in_alarm", "usage")


@pytest.mark.usefixtures("worker")
async def test_evaluating_ends_for_everyone(sdk: AsyncMetronome) -> None:
    """For a customer without anything, one that is archived, and one whose contract has long ended; nobody uses anything."""
    card = await make_card(sdk, await make_product(sdk, await make_metric(sdk)))
    names = ("bare", "archived", "ended")
    customers = {name: (await sdk.v1.customers.create(name=name)).data.id for name in names}
    await make_commit(sdk, customers["archived"], 1)
    await sdk.v1.customers.archive(id=customers["archived"])
    await sdk.v1.contracts.create(
        customer_id=customers["ended"], starting_at=midnight(-90), ending_before=midnight(-60), rate_card_id=card
    )
    began = clock.now()
    low: Any = {"alert_type": "low_remaining_commit_balance_reached", "threshold": 10}
    spend: Any = {"alert_type": "spend_threshold_reached", "threshold": 0}
    for number, alert in enumerate((low, spend)):
        alert_id = (await sdk.v1.alerts.create(name=str(number), **alert)).data.id
        for customer in customers.values():
            await until(lambda customer=customer, alert_id=alert_id: status(sdk, customer, alert_id), ("ok", None))  # type: ignore[misc]
    assert clock.now() - began < timedelta(seconds=20)
