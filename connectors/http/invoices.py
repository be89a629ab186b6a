"""/v1/customers/{customer_id}/invoices, and their breakdowns by hours and days"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from connectors.http.accounts import Account, read_account
from connectors.http.editing import get_customer, unknown
from connectors.http.pages import decode_cursor, encode_cursor
from connectors.http.routing import Call, Route, route
from connectors.http.services import Services
from engine.invoices.breakdown import Breakdown, WindowSize, breakdowns
from engine.invoices.items import Invoice
from engine.numbers import exact
from engine.periods import Period
from schemas.common import Data, NoBody, Page
from schemas.invoices import (
    HOURS_A_PAGE,
    BreakdownAnswer,
    BreakdownQuery,
    InvoiceAnswer,
    InvoiceListQuery,
    InvoiceQuery,
    Names,
    breakdown_answer,
    invoice_answer,
    wanted,
)

T = TypeVar("T")
Place = tuple[int, str]
"""Where something stands in a list: an hour, then an invoice."""


async def _account(services: Services, customer_id: str, now_us: int) -> tuple[Account, Names]:
    account = await read_account(services, await get_customer(services, customer_id), now_us)
    return account, Names(account.customer, account.products, account.units)


def _rest(items: Sequence[T], place_of: Callable[[T], Place], sort: str, cursor: str | None) -> list[T]:
    """Everything after the cursor, in the order asked for."""
    newest_first = sort == "date_desc"
    ordered = sorted(items, key=place_of, reverse=newest_first)
    after = decode_cursor(cursor, (int, str))
    if after is None:
        return ordered
    return [each for each in ordered if (place_of(each) < after if newest_first else place_of(each) > after)]


def _invoice_place(invoice: Invoice) -> Place:
    return invoice.issued_us, invoice.id


async def list_all(call: Call[NoBody, InvoiceListQuery]) -> Page[InvoiceAnswer]:
    query = call.query
    account, names = await _account(call.services, call.path["customer_id"], call.now_us)
    found = [invoice for invoice in account.invoices if wanted(invoice, query)]
    rest = _rest(found, _invoice_place, query.sort, query.next_page)
    shown = rest[: query.limit]
    cursor = encode_cursor(*_invoice_place(shown[-1])) if len(rest) > len(shown) else None
    data = [_shown(each, account, names, query.skip_zero_qty_line_items) for each in shown]
    return Page(data=data, next_page=cursor)


def _shown(invoice: Invoice, account: Account, names: Names, skip_zero: bool) -> InvoiceAnswer:
    return invoice_answer(account.shown(invoice, invoice.period, skip_zero=skip_zero), names, skip_zero=skip_zero)


async def get(call: Call[NoBody, InvoiceQuery]) -> Data[InvoiceAnswer]:
    account, names = await _account(call.services, call.path["customer_id"], call.now_us)
    for invoice in account.invoices:
        if invoice.id == call.path["invoice_id"]:
            return Data(data=_shown(invoice, account, names, call.query.skip_zero_qty_line_items))
    raise unknown("invoices", call.path["invoice_id"])


def _breakdown_place(breakdown: Breakdown) -> Place:
    return breakdown.starting_hour, breakdown.invoice.id


def _breakdowns(account: Account, query: BreakdownQuery) -> list[Breakdown]:
    from_hour, until_hour = query.hours()
    found: list[Breakdown] = []
    for invoice in account.invoices:
        period = invoice.period
        if period.ending_hour <= from_hour or period.starting_hour >= until_hour:
            continue
        if query.status not in (None, invoice.status.value) or query.credit_type_id not in (None, invoice.credit_type_id):
            continue
        window = WindowSize.DAY if invoice.by_days else WindowSize(query.window_size)
        parts = breakdowns(invoice, window, from_hour, until_hour)
        found += [each for each in parts if each.ending_hour <= until_hour]
    return found


async def list_breakdowns(call: Call[NoBody, BreakdownQuery]) -> Page[BreakdownAnswer]:
    """Windows in which something was added, in the order of time. A page ends after 35 days, or after 24 single hours. Of a final
    usage invoice only days are kept: it is answered by days, when hours are asked for, too."""
    query = call.query
    account, names = await _account(call.services, call.path["customer_id"], call.now_us)
    with exact():
        rest = _rest(_breakdowns(account, query), _breakdown_place, query.sort, query.next_page)
    reach = HOURS_A_PAGE[query.window_size]
    shown = [each for each in rest[: query.limit] if abs(each.starting_hour - rest[0].starting_hour) < reach]
    cursor = encode_cursor(*_breakdown_place(shown[-1])) if len(rest) > len(shown) else None
    skip_zero = query.skip_zero_qty_line_items
    data = [breakdown_answer(_part(each, account, skip_zero), names, skip_zero=skip_zero) for each in shown]
    return Page(data=data, next_page=cursor)


def _part(part: Breakdown, account: Account, skip_zero: bool) -> Breakdown:
    period = part.invoice.period
    start, end = max(part.starting_hour, period.starting_hour), min(part.ending_hour, period.ending_hour)
    return part._replace(invoice=account.shown(part.invoice, Period(start, end), skip_zero=skip_zero))


_BASE = "/v1/customers/{customer_id}/invoices"

ROUTES: list[Route] = [
    route("GET", _BASE, list_all, "List a customer's invoices"),
    route("GET", f"{_BASE}/breakdowns", list_breakdowns, "A customer's invoices by hours or days"),
    route("GET", f"{_BASE}/{{invoice_id}}", get, "Get an invoice"),
]
