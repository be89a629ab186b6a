"""Subscriptions and recurring commits and credits of contracts: made with a contract, added and changed by edits."""

from __future__ import annotations

from connectors.http.editing import CatalogEdit, read_catalog
from connectors.http.services import Services
from schemas.contracts import ContractCreate
from schemas.documents import Document
from schemas.edits import ContractEdit
from schemas.recurring import (
    RecurringCommitBody,
    RecurringCreditBody,
    check_individual_seats,
    with_recurring,
    with_updated_recurring,
)
from schemas.subscriptions import with_subscriptions, with_updated_subscriptions


async def with_own_recurring(services: Services, body: ContractCreate, contract: Document) -> Document:
    """The new contract's document with the subscriptions, recurring commits and recurring credits of the body."""
    bodies = _placed("", body.recurring_commits, body.recurring_credits)
    if not body.subscriptions and not bodies:
        return contract
    catalog, now = await read_catalog(services), contract["created_at"]
    contract, named = with_subscriptions(contract, body.subscriptions, catalog, services.new_id, now, "subscriptions")
    contract = with_recurring(contract, bodies, named, catalog, services.new_id, now)
    check_individual_seats(contract, services.settings.individual_seats_max)
    return contract


def edited(contract: Document, body: ContractEdit, edit_id: str, catalog: CatalogEdit, services: Services, now: str) -> Document:
    """The contract's document with what an edit changes and adds, in this order."""
    contract = with_updated_subscriptions(contract, body.update_subscriptions, "update_subscriptions")
    contract = with_updated_recurring(contract, body.update_recurring_commits, now, "update_recurring_commits")
    contract = with_updated_recurring(contract, body.update_recurring_credits, now, "update_recurring_credits")
    new_id = services.new_id
    contract, named = with_subscriptions(contract, body.add_subscriptions, catalog, new_id, now, "add_subscriptions", edit_id)
    bodies = _placed("add_", body.add_recurring_commits, body.add_recurring_credits)
    contract = with_recurring(contract, bodies, named, catalog, new_id, now, edit_id)
    check_individual_seats(contract, services.settings.individual_seats_max)
    return contract


def _placed(
    prefix: str, commits: list[RecurringCommitBody], credits_: list[RecurringCreditBody]
) -> list[tuple[str, RecurringCreditBody]]:
    """With the name of each one's field: ``prefix`` is "" or "add_"."""
    return [
        *((f"{prefix}recurring_commits[{index}]", body) for index, body in enumerate(commits)),
        *((f"{prefix}recurring_credits[{index}]", body) for index, body in enumerate(credits_)),
    ]
