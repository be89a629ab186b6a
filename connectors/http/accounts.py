"""A customer's account at this moment, computed on demand: what the worker has stored, under the configuration as it is now.

document, catalog ──┐
windows, state ─────┴──► engine.invoices.statement ──► drafts, balances     state ──► final invoices
"""

from __future__ import annotations

from dataclasses import dataclass

from connectors.http.editing import CatalogEdit, read_catalog
from connectors.http.services import Services
from engine.alerts.stored import CARRY_PREFIX, decode_meta
from engine.balances.ledger import BalanceStatement
from engine.balances.shares import whole_statements
from engine.catalog import Contract, CustomerConfig
from engine.compiled import CompiledCatalog
from engine.customer import stored_days
from engine.effects import StoredCustomer
from engine.invoices.codec import decode_invoices
from engine.invoices.items import Invoice
from engine.invoices.statement import Statement, finalize, reach_hour, statement
from engine.invoices.usage import HourlyUsage, usage_of_store
from engine.invoices.zero import with_zero_lines
from engine.metering.codec import Reading, decode_quantity
from engine.metering.queries import HOURS_A_DAY
from engine.metering.windows import WindowStore
from engine.numbers import exact
from engine.periods import HOUR_US, Period
from schemas.documents import Document, customer_of, instant_us, load_catalog
from schemas.recurring_answers import with_children_until


@dataclass(frozen=True, slots=True)
class Account:
    """``customer``: its document, with the balances that recurring ones have made for any of its invoices. ``units``: pricing
    units by id. ``folded_before``: the hours before this one are no longer told apart. ``contracts``: archived ones included."""

    customer: Document
    products: dict[str, Document]
    units: dict[str, Document]
    statement: Statement
    folded_before: int
    compiled: CompiledCatalog
    contracts: dict[str, Contract]

    @property
    def invoices(self) -> tuple[Invoice, ...]:
        return (*self.statement.finalized, *self.statement.drafts, *self.statement.scheduled)

    def shown(self, invoice: Invoice, period: Period, *, skip_zero: bool) -> Invoice:
        """An invoice, or a part of one, as it is asked for: with lines of quantity 0, or without any."""
        contract = self.contracts.get(invoice.contract_id)
        if skip_zero or contract is None:
            return invoice
        return with_zero_lines(invoice, contract, self.compiled, period)

    def statements(self) -> dict[str, BalanceStatement]:
        """By balance; archived ones have none. The shares of seats are there by themselves, and as the whole."""
        made = self.statement.balances
        return {each.balance.id: each for each in (*made, *whole_statements(made))}


async def read_account(services: Services, customer: Document, now_us: int) -> Account:
    """``customer``: its document. What is not evaluated yet is not in it. Once archived, the account stays as it was then."""
    if customer["archived_at"] is not None:
        now_us = min(now_us, instant_us(customer["archived_at"]))
    catalog = await read_catalog(services)
    stored = await services.customers.stored(customer["id"], stored_days)
    with exact():
        return account_of(customer, catalog, stored, now_us, services.settings.grace_period_hours)


def account_of(customer: Document, catalog: CatalogEdit, stored: StoredCustomer, now_us: int, grace_hours: int) -> Account:
    """From what is stored of the customer. Exact arithmetic must be current."""
    config = customer_of(customer)
    compiled = CompiledCatalog(load_catalog(catalog.revision, catalog.parts))
    usage = _usage(stored, compiled)
    finalized = _finalized(config, compiled, usage, stored, now_us, grace_hours)
    made = statement(config, compiled, usage, now_us=now_us, grace_hours=grace_hours, finalized=finalized)
    return Account(
        customer=with_children_until(customer, reach_hour(config, now_us // HOUR_US)),
        products=catalog.all("products"),
        units=catalog.all("pricing_units"),
        statement=made,
        folded_before=decode_meta(stored.state).folded_before * HOURS_A_DAY,
        compiled=compiled,
        contracts={each.id: each for each in (*config.contracts, *config.archived_contracts)},
    )


def _finalized(
    config: CustomerConfig, compiled: CompiledCatalog, usage: HourlyUsage, stored: StoredCustomer, now_us: int, grace_hours: int
) -> list[Invoice]:
    """The final invoices, those included whose grace period has ended since the worker last looked at this customer."""
    finalized = decode_invoices(stored.state)
    final_hour = decode_meta(stored.state).final_hour
    if final_hour is None:
        return finalized
    due = finalize(config, compiled, usage, now_us=now_us, grace_hours=grace_hours, finalized=finalized, from_hour=final_hour)
    return [*finalized, *due]


def _usage(stored: StoredCustomer, compiled: CompiledCatalog) -> HourlyUsage:
    windows = WindowStore()
    windows.load(stored.windows, compiled.aggregations)
    carry: dict[str, Reading] = {}
    for name, text in stored.state.items():
        if name.startswith(CARRY_PREFIX):
            reading = decode_quantity(text)
            assert isinstance(reading, Reading)
            carry[name.removeprefix(CARRY_PREFIX)] = reading
    return usage_of_store(windows, carry)
