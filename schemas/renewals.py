"""Renewals: a contract that takes over from another one of the same customer, and what rolls over to it.

    transition {type RENEWAL, from_contract_id, future_invoice_behavior {trueup}}
      ├─► a balance on the new contract for each one of the old with a rollover_fraction (amounts: engine.balances.rollover)
      └─► trueup REMOVE: the old contract's true-ups from the new one's start on are not billed

The old contract ends by the start of the new one, and is renewed once. A rolled-over balance is open from the new contract's
start to its end (as they are when it is made; without one to the year 9998), and has all other terms of the balance that it comes
from.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from schemas.balance_rules import with_balances
from schemas.common import Body, Id, Upper
from schemas.documents import Document, instant_us
from schemas.errors import BadRequest
from schemas.invoice_schedules import NewId

NEVER = "9998-01-01T00:00:00Z"


class FutureInvoices(Body):
    trueup: Annotated[Literal["REMOVE", "AS_IS"], Upper] | None = None


class Transition(Body):
    type: Annotated[Literal["RENEWAL"], Upper]
    from_contract_id: Id
    future_invoice_behavior: FutureInvoices = Field(default_factory=FutureInvoices)

    @property
    def removes_true_ups(self) -> bool:
        return self.future_invoice_behavior.trueup == "REMOVE"


def with_renewal(customer: Document, new: Document, transition: Transition, new_id: NewId, now: str) -> Document:
    """The customer's document, the new contract in it, with what the transition does. Raises BadRequest."""
    old = _live(customer).get(transition.from_contract_id)
    if old is None:
        raise BadRequest(f"transition.from_contract_id: the customer has no contract {transition.from_contract_id}")
    told = {"type": transition.type, "from_contract_id": old["id"], "to_contract_id": new["id"]}
    contracts = [
        {**each, "transitions": [*(each.get("transitions") or ()), told]} if each["id"] in (old["id"], new["id"]) else each
        for each in customer["contracts"]
    ]
    balances: list[Document] = []
    rolled: list[Document] = []
    for balance in customer.get("balances") or ():
        kept = balance
        if balance["contract_id"] == old["id"] and balance["archived_at"] is None:
            if transition.removes_true_ups and balance["type"] == "POSTPAID":
                kept = _without_true_ups(balance, max(new["starting_at"], now, key=instant_us))
            if balance.get("rollover_fraction"):
                rolled.append(_rolled_over(balance, new, new_id, already_paid=not transition.removes_true_ups))
        balances.append(kept)
    changed = with_balances({**customer, "contracts": contracts, "balances": balances}, rolled)
    check_renewals(changed, "transition.from_contract_id")
    return changed


def _without_true_ups(balance: Document, from_time: str) -> Document:
    schedule = balance["invoice_schedule"]
    kept = [item for item in schedule["schedule_items"] if instant_us(item["timestamp"]) < instant_us(from_time)]
    return {**balance, "invoice_schedule": {**schedule, "schedule_items": kept}}


def _rolled_over(balance: Document, new: Document, new_id: NewId, *, already_paid: bool) -> Document:
    item = {
        "id": new_id(),
        "amount": 0,
        "starting_at": new["starting_at"],
        "ending_before": new["ending_before"] or NEVER,
    }
    return {
        **balance,
        "id": new_id(),
        "contract_id": new["id"],
        "edit_id": None,
        "access_schedule": {**balance["access_schedule"], "schedule_items": [item]},
        "invoice_schedule": None,
        "invoice_contract_id": None,
        "rollover_fraction": None,
        "rolled_over_from": {
            "balance_id": balance["id"],
            "contract_id": balance["contract_id"],
            "fraction": balance["rollover_fraction"],
            "already_paid": already_paid,
        },
        "uniqueness_key": None,
        "created_at": new["starting_at"],
    }


def check_renewals(customer: Document, place: str) -> None:
    """That each contract that was renewed ends by the start of the one that has renewed it, of which there is one."""
    live = _live(customer)
    renewals = [
        (live[each["from_contract_id"]], new) for new, each in _renewals(live.values()) if each["from_contract_id"] in live
    ]
    for old, new in renewals:
        if old["ending_before"] is None or instant_us(old["ending_before"]) > instant_us(new["starting_at"]):
            raise BadRequest(
                f"{place}: the contract {old['id']} must end by {new['starting_at']}, when the contract that renews it starts"
            )
        if sum(each is old for each, _ in renewals) > 1:
            raise BadRequest(f"{place}: the contract {old['id']} has been renewed already")


def _renewals(contracts: Iterable[Document]) -> Iterable[tuple[Document, Document]]:
    for contract in contracts:
        for each in contract.get("transitions") or ():
            if each["to_contract_id"] == contract["id"]:
                yield contract, each


def _live(customer: Document) -> dict[str, Document]:
    return {contract["id"]: contract for contract in customer["contracts"] if contract["archived_at"] is None}
