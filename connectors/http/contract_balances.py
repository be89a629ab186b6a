"""Commits and credits of contracts: made with a contract, and shown with it."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.http.accounts import read_account
from connectors.http.editing import read_catalog
from connectors.http.services import Services
from schemas.balance_rules import check_balance
from schemas.balances import BalanceAnswer, balance_answer
from schemas.commits import CommitBody, CreditBody, balance_document
from schemas.contracts import Contract, ContractGet, ContractList, ContractV2
from schemas.documents import Document
from schemas.recurring_answers import with_children


async def new_balances(
    services: Services,
    bodies: Sequence[tuple[str, CreditBody]],
    contract_id: str,
    now: str,
    edit_id: str | None = None,
) -> list[Document]:
    """The documents of a contract's balances, checked against the catalog. ``bodies``: with the names of their fields."""
    if not bodies:
        return []
    catalog = await read_catalog(services)
    products, units = catalog.all("products"), catalog.all("pricing_units")
    documents = []
    for place, body in bodies:
        document = balance_document(body, services.new_id, now, contract_id=contract_id, edit_id=edit_id)
        check_balance(f"{place}.", document, products, units)
        documents.append(document)
    return documents


def real_ids(bodies: Sequence[tuple[str, CreditBody]], documents: Sequence[Document]) -> dict[str, str]:
    """The ids of new balances by the temporary ids that they were given."""
    named = ((body, document) for (_, body), document in zip(bodies, documents, strict=True) if isinstance(body, CommitBody))
    return {body.temporary_id: document["id"] for body, document in named if body.temporary_id is not None}


def placed(prefix: str, commits: Sequence[CommitBody], credits_: Sequence[CreditBody]) -> list[tuple[str, CreditBody]]:
    """With the name of each one's field: ``prefix`` is "" or "add_"."""
    return [
        *((f"{prefix}commits[{index}]", body) for index, body in enumerate(commits)),
        *((f"{prefix}credits[{index}]", body) for index, body in enumerate(credits_)),
    ]


async def show_balances(
    services: Services,
    customer: Document,
    contracts: Sequence[Contract | ContractV2],
    body: ContractGet | ContractList,
    now_us: int,
) -> None:
    """Fills in the commits and credits of contracts about to be answered; archived ones are left out. As a contract was made it
    has those that no edit brought."""
    held = {contract.id: [] for contract in contracts}  # type: dict[str, list[Document]]
    customer = with_children(customer, now_us)
    for document in customer.get("balances") or ():
        if document["contract_id"] in held and document["archived_at"] is None:
            held[document["contract_id"]].append(document)
    if not any(held.values()):
        return
    rows = await balance_rows(
        services,
        customer,
        [each for documents in held.values() for each in documents],
        now_us,
        balance=body.include_balance,
        ledger=body.include_ledgers,
    )
    for contract in contracts:
        answers = {each["id"]: rows[each["id"]] for each in held[contract.id]}
        initial = {each["id"]: rows[each["id"]] for each in held[contract.id] if each["edit_id"] is None}
        if isinstance(contract, ContractV2):
            _fill(contract, answers)
        else:
            _fill(contract.current, answers)
            _fill(contract.initial, initial)
            for amendment in contract.amendments:
                brought = {each["id"]: rows[each["id"]] for each in held[contract.id] if each["edit_id"] == amendment.id}
                _fill(amendment, brought)


def _fill(terms: object, answers: dict[str, BalanceAnswer]) -> None:
    rows = list(answers.values())
    terms.commits = [each for each in rows if each.type != "CREDIT"]  # type: ignore[attr-defined]
    terms.credits = [each for each in rows if each.type == "CREDIT"]  # type: ignore[attr-defined]


async def balance_rows(
    services: Services, customer: Document, documents: Sequence[Document], now_us: int, *, balance: bool, ledger: bool
) -> dict[str, BalanceAnswer]:
    """Answers by id. The account is computed only if a balance or a ledger is asked for, or what was rolled over is shown."""
    if balance or ledger or any(each.get("rolled_over_from") for each in documents):
        account = await read_account(services, customer, now_us)
        products, units, statements = account.products, account.units, account.statements()
    else:
        catalog = await read_catalog(services)
        products, units, statements = catalog.all("products"), catalog.all("pricing_units"), {}
    return {
        each["id"]: balance_answer(each, products, units, statements.get(each["id"]), balance=balance, ledger=ledger)
        for each in documents
    }
