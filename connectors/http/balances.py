"""/v1/contracts: commits and credits of customers, balances, manual ledger entries"""

from __future__ import annotations

from connectors.http.accounts import read_account
from connectors.http.contract_balances import balance_rows
from connectors.http.editing import claim_of, edit_customer, empty, get_customer, no_longer, read_catalog, unknown, with_id
from connectors.http.pages import page
from connectors.http.routing import Call, Route, route
from schemas.balance_rules import check_balance, check_contracts, check_not_trued_up, ended_at, with_balances, with_entry
from schemas.balances import (
    BalanceAnswer,
    BalanceList,
    CommitList,
    CreditList,
    ManualEntryBody,
    NetBalance,
    NetBalanceBody,
    listed_balances,
    net_balance,
)
from schemas.commits import (
    CommitUpdateEndDate,
    CreditUpdateEndDate,
    CustomerCommitCreate,
    CustomerCreditCreate,
    balance_document,
)
from schemas.common import Data, IdAnswer, NoQuery, Page, rfc3339
from schemas.documents import Document
from schemas.errors import BadRequest
from schemas.recurring_answers import with_children, with_own_document
from schemas.seat_balances import seat_amounts


async def _create(call: Call[CustomerCommitCreate, NoQuery] | Call[CustomerCreditCreate, NoQuery]) -> Data[IdAnswer]:
    services, body = call.services, call.body
    customer = await get_customer(services, body.customer_id)
    no_longer("customers", customer)
    document = balance_document(body, services.new_id, call.now)
    catalog = await read_catalog(services)
    check_balance("", document, catalog.all("products"), catalog.all("pricing_units"))

    def change(customer: Document) -> Document:
        no_longer("customers", customer)
        check_contracts(document, customer)
        return {**with_balances(customer, [document]), "updated_at": call.now}

    claim = claim_of("balances", body.uniqueness_key, document["id"], body.customer_id)
    return await edit_customer(services, body.customer_id, change, with_id(document["id"]), [claim])


async def create_commit(call: Call[CustomerCommitCreate, NoQuery]) -> Data[IdAnswer]:
    return await _create(call)


async def create_credit(call: Call[CustomerCreditCreate, NoQuery]) -> Data[IdAnswer]:
    return await _create(call)


async def _list(
    call: Call[CommitList, NoQuery] | Call[CreditList, NoQuery] | Call[BalanceList, NoQuery], *, exclude_zero: bool = False
) -> Page[BalanceAnswer]:
    services, body = call.services, call.body
    customer = await get_customer(services, body.customer_id)
    documents = listed_balances(with_children(customer, call.now_us), body)
    if exclude_zero:
        statements = (await read_account(services, customer, call.now_us)).statements()
        documents = [each for each in documents if each["id"] in statements and statements[each["id"]].remaining]
    shown, cursor = page(documents, lambda each: (each["created_at"], each["id"]), body.limit, body.next_page)
    rows = await balance_rows(services, customer, shown, call.now_us, balance=body.include_balance, ledger=body.include_ledgers)
    return Page(data=[rows[each["id"]] for each in shown], next_page=cursor)


async def list_commits(call: Call[CommitList, NoQuery]) -> Page[BalanceAnswer]:
    return await _list(call)


async def list_credits(call: Call[CreditList, NoQuery]) -> Page[BalanceAnswer]:
    return await _list(call)


async def list_balances(call: Call[BalanceList, NoQuery]) -> Page[BalanceAnswer]:
    return await _list(call, exclude_zero=call.body.exclude_zero_balances)


async def get_net_balance(call: Call[NetBalanceBody, NoQuery]) -> Data[NetBalance]:
    customer = await get_customer(call.services, call.body.customer_id)
    account = await read_account(call.services, customer, call.now_us)
    return Data(data=net_balance(account.statement.balances, call.body))


def balance_in(customer: Document, balance_id: str) -> Document:
    for balance in customer.get("balances") or ():
        if balance["id"] == balance_id:
            found: Document = balance
            return found
    raise unknown("balances", balance_id)


def replaced(customer: Document, changed: Document, now: str) -> Document:
    balances = [changed if each["id"] == changed["id"] else each for each in customer["balances"]]
    return {**customer, "balances": balances, "updated_at": now}


def _ending(customer: Document, balance_id: str, kind: str) -> Document:
    """A balance whose end may be moved, of the customer or of a contract. ``kind``: PREPAID or CREDIT."""
    balance = balance_in(customer, balance_id)
    if (balance["type"] == "CREDIT") != (kind == "CREDIT"):
        raise unknown("balances", balance_id)
    if balance["type"] != kind:
        raise BadRequest(f"commit_id: only the end of a PREPAID commit can be moved; {balance_id} is {balance['type']}")
    no_longer("balances", balance)
    return balance


async def end_commit(call: Call[CommitUpdateEndDate, NoQuery]) -> Data[IdAnswer]:
    body = call.body
    access_end = None if body.access_ending_before is None else rfc3339(body.access_ending_before)
    invoices_end = None if body.invoices_ending_before is None else rfc3339(body.invoices_ending_before)

    def change(customer: Document) -> Document | None:
        customer = with_own_document(customer, body.commit_id, call.now_us)
        balance = _ending(customer, body.commit_id, "PREPAID")
        changed = ended_at(balance, access_end, invoices_end, call.now)
        return None if changed == balance else replaced(customer, changed, call.now)

    return await edit_customer(call.services, body.customer_id, change, with_id(body.commit_id))


async def end_credit(call: Call[CreditUpdateEndDate, NoQuery]) -> Data[IdAnswer]:
    body = call.body

    def change(customer: Document) -> Document | None:
        customer = with_own_document(customer, body.credit_id, call.now_us)
        balance = _ending(customer, body.credit_id, "CREDIT")
        changed = ended_at(balance, rfc3339(body.access_ending_before), None, call.now)
        return None if changed == balance else replaced(customer, changed, call.now)

    return await edit_customer(call.services, body.customer_id, change, with_id(body.credit_id))


def _entries(customer: Document, body: ManualEntryBody, entry_id: str, now_us: int, now: str) -> list[Document]:
    """One, or one for each seat that is named; together they have the id."""
    balance = balance_in(with_children(customer, now_us), body.id)
    no_longer("balances", balance)
    if balance["contract_id"] != body.contract_id:
        level = f"the contract {balance['contract_id']}" if balance["contract_id"] else "the customer, not to a contract"
        raise BadRequest(f"contract_id: the balance {body.id} belongs to {level}")
    check_not_trued_up(balance, now_us)
    for item in balance["access_schedule"]["schedule_items"]:
        if item["id"] == body.segment_id:
            entry = {
                "id": entry_id,
                "balance_id": body.id,
                "recurring_id": balance.get("recurring_id"),
                "segment_id": body.segment_id,
                "amount": body.amount,
                "timestamp": item["starting_at"] if body.timestamp is None else rfc3339(body.timestamp),
                "reason": body.reason,
                "created_at": now,
            }
            amounts = seat_amounts(balance, body)
            return [{**entry, "amount": amount, "seat_id": seat_id} for seat_id, amount in amounts.items()] or [entry]
    raise unknown("segments", body.segment_id)


async def add_manual_entry(call: Call[ManualEntryBody, NoQuery]) -> None:
    """Counts at once: the worker evaluates the customer anew."""
    services, body = call.services, call.body
    await get_customer(services, body.customer_id)
    entry_id = services.new_id()

    def change(customer: Document) -> Document:
        no_longer("customers", customer)
        for entry in _entries(customer, body, entry_id, call.now_us, call.now):
            customer = with_entry(customer, entry)
        return {**customer, "updated_at": call.now}

    claim = claim_of("ledger_entries", body.uniqueness_key, entry_id, body.customer_id)
    await edit_customer(services, body.customer_id, change, empty, [claim])


_BASE = "/v1/contracts"

ROUTES: list[Route] = [
    route("POST", f"{_BASE}/customerCommits/create", create_commit, "Give a customer a commit"),
    route("POST", f"{_BASE}/customerCommits/list", list_commits, "List a customer's commits"),
    route("POST", f"{_BASE}/customerCommits/updateEndDate", end_commit, "End a customer's prepaid commit earlier"),
    route("POST", f"{_BASE}/customerCredits/create", create_credit, "Give a customer a credit"),
    route("POST", f"{_BASE}/customerCredits/list", list_credits, "List a customer's credits"),
    route("POST", f"{_BASE}/customerCredits/updateEndDate", end_credit, "End a customer's credit earlier"),
    route("POST", f"{_BASE}/customerBalances/list", list_balances, "List a customer's commits and credits"),
    route("POST", f"{_BASE}/customerBalances/getNetBalance", get_net_balance, "What is left of several balances together"),
    route("POST", f"{_BASE}/addManualBalanceLedgerEntry", add_manual_entry, "Add to a balance, or draw it down"),
]
