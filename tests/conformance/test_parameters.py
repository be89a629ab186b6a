"""Each optional parameter of each served method makes something differ, or is known to be refused or to do nothing.

The parameters are read from the official client. For each there is exactly one of

    a row          two values, with which the method is called: what is observed must differ
    ELSEWHERE      a test file that shows its behaviour, mostly with a worker or over time
    501            the route's model says so, and the request is answered so
    NOTHING        tests.support.supported, which is printed into the README

A row's observation is the method's answer, or for one that makes something what can be read of that afterwards: ids that the call
made, and its instants, are left out of the comparison.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from metronome import AsyncMetronome, BadRequestError
from pydantic import BaseModel, ValidationError

from engine.catalog import USD_CENTS
from tests.conformance.test_balances import access, make_customer, make_fixed, segment
from tests.conformance.test_invoices import Clock, clock
from tests.conformance.test_recurring import grant, make_plan, plan
from tests.support.supported import NOTHING, unsupported_fields
from tests.unit.test_sdk_parameters import BY_PATTERN, NO_PARAMETERS, SERVED, function_of

__all__ = ["clock"]

ABSENT = object()
CURSOR = object()
"""The cursor of the second page of one row."""
TESTS = Path(__file__).parents[1]
SEPTEMBER, OCTOBER, NOVEMBER, YEAR_END = (f"2024-{month}-01T00:00:00Z" for month in ("09", "10", "11", "12"))
LATER, FAR = "2025-06-01T00:00:00Z", "2190-01-01T00:00:00Z"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_OWN = {"created_at", "updated_at", "timestamp", "next_page", "uniqueness_key", "cursor", "archived_at"}


class Row(NamedTuple):
    """``base``: the other arguments; ``read``: what is observed after the call, from its answer; None: the answer itself."""

    method: str
    parameter: str
    first: Any
    second: Any
    base: dict[str, Any]
    read: Callable[[Any], Any] | None = None


def optional_parameters() -> set[tuple[str, str]]:
    return {
        (method.name, each.name)
        for method in SERVED
        for each in inspect.signature(function_of(method)).parameters.values()
        if each.default is not inspect.Parameter.empty and each.name not in NO_PARAMETERS
    }


def refused() -> set[tuple[str, str]]:
    """Those that the routes' models answer by 501."""
    found = set()
    for method in SERVED:
        route = BY_PATTERN[method.method, method.path]
        names = {*unsupported_fields(route.body), *unsupported_fields(route.query)}
        found |= {(method.name, name) for name in names if "." not in name and ":" not in name}
    return found & optional_parameters()


def nothing() -> set[tuple[str, str]]:
    return {(method, name) for method, name in optional_parameters() if name in NOTHING}


class World:
    """What rows need to be there."""

    def __init__(self, sdk: AsyncMetronome) -> None:
        self.sdk = sdk
        self.ids: dict[str, str] = {}

    def __getattr__(self, name: str) -> str:
        return self.ids[name]

    async def make(self, clock: Clock) -> World:
        sdk, ids = self.sdk, self.ids
        v1 = sdk.v1
        clock.set("2024-09-01T00:00:00")
        ids["metric"] = (
            await v1.billable_metrics.create(name="calls", aggregation_type="COUNT", group_keys=[["region"]])
        ).data.id
        await v1.billable_metrics.create(name="unpriced", aggregation_type="COUNT")
        ids["old_metric"] = (await v1.billable_metrics.create(name="old", aggregation_type="COUNT")).data.id
        await v1.billable_metrics.archive(id=ids["old_metric"])
        products = v1.contracts.products
        ids["usage"] = (
            await products.create(
                name="Usage",
                type="USAGE",
                billable_metric_id=ids["metric"],
                pricing_group_key=["region"],
                tags=["core"],
            )
        ).data.id
        ids["flat"] = (await products.create(name="Flat", type="USAGE", billable_metric_id=ids["metric"], tags=["flat"])).data.id
        ids["old"] = await make_fixed(sdk, "Old")
        await products.archive(product_id=ids["old"])
        ids["fixed"], ids["other_fixed"] = await make_fixed(sdk), await make_fixed(sdk, "Other")
        cards = v1.contracts.rate_cards
        ids["unit"] = (await v1.pricing_units.create(name="tokens")).data.id
        conversions: Any = [{"custom_credit_type_id": ids["unit"], "fiat_per_custom_credit": 2}]
        ids["card"] = (await cards.create(name="List", credit_type_conversions=conversions, aliases=[{"name": "list"}])).data.id
        ids["other_card"] = (await cards.create(name="Other", aliases=[{"name": "other"}])).data.id
        rate: Any = {"rate_card_id": ids["card"], "entitled": True, "rate_type": "FLAT", "starting_at": SEPTEMBER}
        for region, price in (("eu", 100), ("us", 200)):
            await cards.rates.add(product_id=ids["usage"], price=price, pricing_group_values={"region": region}, **rate)
        await cards.rates.add(product_id=ids["flat"], price=7, ending_before=YEAR_END, **rate)
        ids["plan"] = await make_plan(sdk, ids["card"])
        ids["customer"] = (await v1.customers.create(name="Acme", ingest_aliases=["acme"])).data.id
        ids["other"] = (await v1.customers.create(name="Other", ingest_aliases=["other"])).data.id
        ids["gone"] = await make_customer(sdk)
        await v1.customers.archive(id=ids["gone"])
        await v1.customers.update_config(customer_id=ids["customer"], salesforce_account_id="sf-1")
        terms: Any = {
            "commits": [
                {
                    "type": "PREPAID",
                    "product_id": ids["fixed"],
                    "access_schedule": access(segment(1_000, SEPTEMBER, YEAR_END)),
                    "invoice_schedule": {"schedule_items": [{"timestamp": SEPTEMBER, "amount": 1_000}]},
                }
            ],
            "subscriptions": [plan(ids["plan"], starting_at=SEPTEMBER)],
            "recurring_credits": [grant(ids["fixed"], starting_at=SEPTEMBER)],
            "rate_card_id": ids["card"],
        }
        contract: Any = {"customer_id": ids["customer"], "starting_at": SEPTEMBER}
        ids["contract"] = (await v1.contracts.create(**contract, **terms)).data.id
        ids["second"] = (
            await v1.contracts.create(customer_id=ids["customer"], starting_at=OCTOBER, ending_before=NOVEMBER)
        ).data.id
        ids["archived"] = (await v1.contracts.create(**contract)).data.id
        await v1.contracts.archive(customer_id=ids["customer"], contract_id=ids["archived"], void_invoices=True)
        own: Any = {"customer_id": ids["customer"], "product_id": ids["fixed"], "priority": 1}
        open_now = access(segment(500, SEPTEMBER, YEAR_END))
        ids["credit"] = (await v1.customers.credits.create(**own, access_schedule=open_now)).data.id
        ids["spent"] = (await v1.customers.credits.create(**own, access_schedule=access(segment(0, SEPTEMBER, OCTOBER)))).data.id
        units = {**access(segment(5, SEPTEMBER, YEAR_END)), "access_type": "QUANTITY"}
        ids["units"] = (await v1.customers.credits.create(**own, access_schedule=units)).data.id
        ids["no_credit"] = (await v1.customers.credits.create(**own, access_schedule=open_now)).data.id
        ids["commit"] = (await v1.customers.commits.create(**own, type="PREPAID", access_schedule=open_now)).data.id
        ids["late_commit"] = (
            await v1.customers.commits.create(**own, type="PREPAID", access_schedule=access(segment(9, YEAR_END, LATER)))
        ).data.id
        ids["alert"] = (
            await v1.alerts.create(alert_type="spend_threshold_reached", name="a", threshold=1, customer_id=ids["customer"])
        ).data.id
        ids["old_alert"] = (await v1.alerts.create(alert_type="spend_threshold_reached", name="b", threshold=1)).data.id
        await v1.alerts.archive(id=ids["old_alert"])
        for entity in ("contract", "customer"):
            await v1.custom_fields.add_key(entity=entity, key="k", enforce_uniqueness=False)  # type: ignore[arg-type]
        for name in ("one", "two"):
            package: Any = {"name": name, "rate_card_id": ids["card"], "aliases": [{"name": name}]}
            ids[f"package_{name}"] = (await v1.packages.create(**package)).data.id
        await v1.packages.archive(package_id=ids["package_two"])
        clock.set("2024-10-10T12:00:00")
        return self


def lists(w: World) -> list[Row]:
    """Methods that read: what they answer differs."""
    customer: Any = {"customer_id": w.customer}
    dated = {"covering_date": (OCTOBER, LATER), "starting_at": (OCTOBER, LATER)}
    ledgers = {"include_balance": (True, False), "include_ledgers": (True, False)}
    paged = {"limit": (1, 20), "next_page": (ABSENT, CURSOR)}
    stretch: Any = {"starting_on": SEPTEMBER, "ending_before": YEAR_END}
    table: list[tuple[str, dict[str, Any], dict[str, tuple[Any, Any]]]] = [
        ("v1.audit_logs.list", {}, {**paged, "sort": ("date_asc", "date_desc")}),
        ("v1.audit_logs.list", {}, {"starting_on": (SEPTEMBER, FAR), "ending_before": (SEPTEMBER, FAR)}),
        ("v1.audit_logs.list", {"resource_type": "customer"}, {"resource_id": (w.customer, w.other)}),
        ("v1.audit_logs.list", {"resource_id": w.customer}, {"resource_type": ("customer", "contract")}),
        ("v1.billable_metrics.list", {}, {"include_archived": (True, False)}),
        ("v1.billable_metrics.list", {"include_archived": True}, paged),
        ("v1.contracts.products.list", {}, {**paged, "archive_filter": ("ALL", "ARCHIVED")}),
        ("v1.contracts.rate_cards.list", {}, paged),
        ("v1.contracts.rate_cards.rates.list", {"rate_card_id": w.card, "at": OCTOBER}, {**paged, "selectors": selectors(w)}),
        (
            "v1.contracts.rate_cards.retrieve_rate_schedule",
            {"rate_card_id": w.card, "starting_at": "2024-08-01T00:00:00Z"},
            {**paged, "selectors": selectors(w), "ending_before": ("2024-08-02T00:00:00Z", YEAR_END)},
        ),
        (
            "v1.contracts.retrieve_rate_schedule",
            {**customer, "contract_id": w.contract},
            {**paged, "selectors": selectors(w), "at": (OCTOBER, LATER)},
        ),
        ("v1.contracts.retrieve", {**customer, "contract_id": w.contract}, ledgers),
        ("v2.contracts.retrieve", {**customer, "contract_id": w.contract}, ledgers),
        *[
            (
                method,
                customer,
                {**dated, **ledgers, "include_archived": (True, False), "limit": (1, 20), "cursor": (ABSENT, CURSOR)},
            )
            for method in ("v1.contracts.list", "v2.contracts.list")
        ],
        (
            "v1.contracts.list_balances",
            customer,
            {
                **dated,
                **ledgers,
                **paged,
                "id": (w.credit, w.commit),
                "access_type": ("SPEND", "QUANTITY"),
                "effective_before": (OCTOBER, LATER),
                "exclude_zero_balances": (True, False),
                "include_contract_balances": (True, False),
            },
        ),
        (
            "v1.customers.credits.list",
            customer,
            {
                **dated,
                **ledgers,
                **paged,
                "credit_id": (w.credit, w.spent),
                "effective_before": (OCTOBER, SEPTEMBER),
                "include_contract_credits": (True, False),
            },
        ),
        (
            "v1.customers.commits.list",
            customer,
            {
                **dated,
                **ledgers,
                **paged,
                "commit_id": (w.commit, w.late_commit),
                "access_type": ("SPEND", "QUANTITY"),
                "effective_before": (OCTOBER, LATER),
                "include_contract_commits": (True, False),
            },
        ),
        (
            "v1.contracts.get_net_balance",
            customer,
            {
                "access_type": ("SPEND", "QUANTITY"),
                "credit_type_id": (USD_CENTS, w.unit),
                "invoice_inclusion_mode": ("FINALIZED", "FINALIZED_AND_DRAFT"),
            },
        ),
        (
            "v1.contracts.get_net_balance",
            {**customer, "invoice_inclusion_mode": "FINALIZED"},
            {"filters": ([{"ids": [w.credit]}], [{"ids": [w.late_commit]}])},
        ),
        ("v1.custom_fields.list_keys", {}, {"entities": (["contract"], ["customer"])}),
        ("v1.customers.alerts.list", customer, {"alert_statuses": (["ENABLED"], ["ARCHIVED"])}),
        (
            "v1.customers.invoices.list",
            customer,
            {
                **paged,
                "contract_id": (w.contract, w.second),
                "credit_type_id": (USD_CENTS, w.unit),
                "ending_before": (OCTOBER, LATER),
                "starting_on": (SEPTEMBER, LATER),
                "sort": ("date_asc", "date_desc"),
                "status": ("DRAFT", "FINALIZED"),
                "type": ("USAGE", "SCHEDULED"),
                "skip_zero_qty_line_items": (True, False),
            },
        ),
        (
            "v1.customers.invoices.list_breakdowns",
            {**customer, **stretch},
            {
                "credit_type_id": (USD_CENTS, w.unit),
                "limit": (1, 20),
                "next_page": (ABSENT, CURSOR),
                "sort": ("date_asc", "date_desc"),
                "status": ("DRAFT", "FINALIZED"),
                "window_size": ("HOUR", "DAY"),
                "skip_zero_qty_line_items": (True, False),
            },
        ),
        ("v1.customers.list", {}, {**paged, "customer_ids": ([w.customer], [w.other]), "ingest_alias": ("acme", "other")}),
        ("v1.customers.list", {}, {"only_archived": (True, False), "salesforce_account_ids": (["sf-1"], ["sf-2"])}),
        ("v1.customers.list_billable_metrics", customer, {"on_current_plan": (True, False)}),
        ("v1.customers.list_billable_metrics", {**customer, "include_archived": True}, paged),
        ("v1.customers.list_billable_metrics", customer, {"include_archived": (True, False)}),
        ("v1.packages.list", {"archive_filter": "ALL"}, paged),
        ("v1.packages.list", {}, {"archive_filter": ("ALL", "ARCHIVED")}),
        ("v1.pricing_units.list", {}, paged),
        ("v1.usage.list", {**stretch, "window_size": "NONE"}, {"customer_ids": ([w.customer], [w.other])}),
        ("v1.usage.list", {**stretch, "window_size": "NONE"}, {"billable_metrics": ([{"id": w.metric}], [{"id": w.old_metric}])}),
    ]
    found = [
        Row(method, name, *pair, base)
        for method, base, parameters in table
        for name, pair in parameters.items()
        if (method, name) not in ELSEWHERE
    ]
    return found


def selectors(w: World) -> tuple[Any, Any]:
    return [{"product_id": w.usage}], [{"product_id": w.flat}]


def makers(w: World) -> list[Row]:
    """Methods that make something: what is read of it afterwards differs."""
    sdk = w.sdk

    def shown(read: Callable[[str], Any]) -> Callable[[Any], Any]:
        return lambda answer: read(answer.data.id)

    contract = shown(lambda made: sdk.v2.contracts.retrieve(customer_id=w.other, contract_id=made))
    balance = shown(lambda made: sdk.v1.contracts.list_balances(customer_id=w.other, id=made))
    product = shown(lambda made: sdk.v1.contracts.products.retrieve(id=made))
    card = shown(lambda made: sdk.v1.contracts.rate_cards.retrieve(id=made))
    metric = shown(lambda made: sdk.v1.billable_metrics.retrieve(billable_metric_id=made))
    package = shown(lambda made: sdk.v1.packages.retrieve(package_id=made))
    customer = shown(lambda made: sdk.v1.customers.retrieve(customer_id=made))
    open_now = access(segment(500, SEPTEMBER, YEAR_END))
    commit: Any = {"type": "PREPAID", "product_id": w.fixed, "access_schedule": open_now}
    credit: Any = {"product_id": w.fixed, "access_schedule": open_now}
    charge: Any = {"product_id": w.fixed, "schedule": {"schedule_items": [{"timestamp": NOVEMBER, "amount": 5}]}}
    override: Any = {"starting_at": SEPTEMBER, "type": "MULTIPLIER", "multiplier": 0.5, "product_id": w.flat}
    schedule: Any = {"schedule_items": [{"timestamp": NOVEMBER, "amount": 5}]}
    terms: dict[str, tuple[Any, Any]] = {
        "commits": ([], [commit]),
        "credits": ([], [credit]),
        "multiplier_override_prioritization": ("LOWEST_MULTIPLIER", "EXPLICIT"),
        "overrides": ([], [override]),
        "recurring_commits": ([], [{**grant(w.fixed, starting_at=SEPTEMBER)}]),
        "recurring_credits": ([], [{**grant(w.fixed, starting_at=SEPTEMBER)}]),
        "scheduled_charges": ([], [charge]),
        "scheduled_charges_on_usage_invoices": (ABSENT, "ALL"),
        "subscriptions": ([], [plan(w.plan, starting_at=SEPTEMBER)]),
        "usage_statement_schedule": ({"frequency": "MONTHLY"}, {"frequency": "QUARTERLY"}),
    }
    listed: Any = {"customer_id": w.other, "starting_at": SEPTEMBER, "rate_card_id": w.card}
    bare: Any = {"customer_id": w.other, "starting_at": SEPTEMBER}
    own: Any = {"customer_id": w.other, "priority": 1, "product_id": w.fixed, "access_schedule": open_now}
    applicable: dict[str, tuple[Any, Any]] = {
        "applicable_product_ids": ([w.usage], [w.flat]),
        "applicable_product_tags": (["core"], ["flat"]),
        "specifiers": ([{"product_id": w.usage}], [{"product_id": w.flat}]),
        "custom_fields": ({"k": "a"}, {"k": "b"}),
        "description": ("a", "b"),
        "name": ("a", "b"),
        "rate_type": ("LIST_RATE", "COMMIT_RATE"),
    }
    table: list[tuple[str, dict[str, Any], Any, dict[str, tuple[Any, Any]]]] = [
        ("v1.contracts.create", listed, contract, terms),
        (
            "v1.contracts.create",
            bare,
            contract,
            {
                "rate_card_id": (w.card, w.other_card),
                "rate_card_alias": ("list", "other"),
                "ending_before": (NOVEMBER, YEAR_END),
                "name": ("a", "b"),
                "custom_fields": ({"k": "a"}, {"k": "b"}),
                "usage_filter": (
                    {"group_key": "region", "group_values": ["eu"], "starting_at": SEPTEMBER},
                    {"group_key": "region", "group_values": ["us"], "starting_at": SEPTEMBER},
                ),
                "package_id": (ABSENT, w.package_one),
                "package_alias": (ABSENT, "one"),
            },
        ),
        ("v1.customers.commits.create", {**own, "type": "PREPAID"}, balance, applicable),
        ("v1.customers.credits.create", own, balance, applicable),
        (
            "v1.contracts.products.create",
            {"name": "p", "type": "USAGE", "billable_metric_id": w.metric},
            product,
            {
                "custom_fields": ({"k": "a"}, {"k": "b"}),
                "presentation_group_key": (ABSENT, ["region"]),
                "pricing_group_key": (ABSENT, ["region"]),
                "quantity_conversion": (ABSENT, {"conversion_factor": 2, "operation": "MULTIPLY"}),
                "quantity_rounding": (ABSENT, {"rounding_method": "ROUND_UP", "decimal_places": 0}),
                "tags": (["a"], ["b"]),
            },
        ),
        (
            "v1.contracts.products.create",
            {"name": "c", "type": "COMPOSITE", "composite_product_ids": [w.flat]},
            product,
            {"composite_tags": (["a"], ["b"]), "include_composite_spend": (True, False)},
        ),
        (
            "v1.contracts.products.create",
            {"name": "c", "type": "COMPOSITE"},
            product,
            {"composite_product_ids": ([w.usage], [w.flat])},
        ),
        (
            "v1.contracts.rate_cards.create",
            {"name": "c"},
            card,
            {
                "aliases": ([{"name": "x"}], [{"name": "y"}]),
                "credit_type_conversions": ([], [{"custom_credit_type_id": w.unit, "fiat_per_custom_credit": 3}]),
                "custom_fields": ({"k": "a"}, {"k": "b"}),
                "description": ("a", "b"),
            },
        ),
        (
            "v1.billable_metrics.create",
            {"name": "m", "aggregation_type": "COUNT"},
            metric,
            {
                "custom_fields": ({"k": "a"}, {"k": "b"}),
                "event_type_filter": ({"in_values": ["a"]}, {"in_values": ["b"]}),
                "group_keys": ([["a"]], [["b"]]),
                "property_filters": ([{"name": "a"}], [{"name": "b"}]),
            },
        ),
        (
            "v1.billable_metrics.create",
            {"name": "m", "aggregation_key": "x", "property_filters": [{"name": "x", "exists": True}]},
            metric,
            {"aggregation_type": ("SUM", "MAX")},
        ),
        (
            "v1.billable_metrics.create",
            {
                "name": "m",
                "aggregation_type": "SUM",
                "property_filters": [{"name": "x", "exists": True}, {"name": "y", "exists": True}],
            },
            metric,
            {"aggregation_key": ("x", "y")},
        ),
        (
            "v1.packages.create",
            {"name": "p"},
            package,
            {
                "aliases": ([{"name": "x"}], [{"name": "y"}]),
                "contract_name": ("a", "b"),
                "duration": ({"value": 1, "unit": "MONTHS"}, {"value": 2, "unit": "MONTHS"}),
                "multiplier_override_prioritization": terms["multiplier_override_prioritization"],
                "rate_card_id": (w.card, w.other_card),
                "scheduled_charges_on_usage_invoices": (ABSENT, "ALL"),
                "usage_statement_schedule": ({"frequency": "MONTHLY"}, {"frequency": "QUARTERLY"}),
            },
        ),
        (
            "v1.customers.create",
            {"name": "c"},
            customer,
            {
                "custom_fields": ({"k": "a"}, {"k": "b"}),
                "external_id": ("a", "b"),
                "ingest_aliases": (["x"], ["y"]),
            },
        ),
        (
            "v1.customers.commits.create",
            {**own, "type": "PREPAID", "invoice_contract_id": w.others_contract},
            balance,
            {"invoice_schedule": (ABSENT, schedule)},
        ),
    ]
    return [Row(method, name, *pair, base, read) for method, base, read, parameters in table for name, pair in parameters.items()]


def changers(w: World) -> list[Row]:
    """Methods that change something: the same thing is changed twice, and read after each."""
    v1, v2 = w.sdk.v1, w.sdk.v2

    def contract_shown(_: Any) -> Any:
        return v2.contracts.retrieve(customer_id=w.other, contract_id=w.others_contract)

    def commit_shown(_: Any) -> Any:
        return v1.contracts.list_balances(customer_id=w.customer, id=w.commit)

    def credit_shown(_: Any) -> Any:
        return v1.contracts.list_balances(customer_id=w.customer, id=w.credit)

    def late_shown(_: Any) -> Any:
        return v1.contracts.list_balances(customer_id=w.customer, id=w.late_commit)

    def second_shown(_: Any) -> Any:
        return v1.contracts.list_balances(customer_id=w.customer, id=w.no_credit)

    def card_shown(_: Any) -> Any:
        return v1.contracts.rate_cards.retrieve(id=w.other_card)

    def rates_shown(_: Any) -> Any:
        return v1.contracts.rate_cards.retrieve_rate_schedule(rate_card_id=w.other_card, starting_at=SEPTEMBER)

    def product_shown(_: Any) -> Any:
        return v1.contracts.products.retrieve(id=w.flat)

    open_now = access(segment(500, SEPTEMBER, YEAR_END))
    commit: Any = {"type": "PREPAID", "product_id": w.fixed, "access_schedule": open_now}
    credit: Any = {"product_id": w.fixed, "access_schedule": open_now}
    charge: Any = {"product_id": w.fixed, "schedule": {"schedule_items": [{"timestamp": NOVEMBER, "amount": 5}]}}
    override: Any = {"starting_at": SEPTEMBER, "type": "MULTIPLIER", "multiplier": 0.5, "product_id": w.flat}
    additions: dict[str, Any] = {"commits": commit, "credits": credit, "overrides": override, "scheduled_charges": charge}
    of_edits = {
        **additions,
        "recurring_commits": grant(w.fixed, starting_at=SEPTEMBER),
        "recurring_credits": grant(w.fixed, starting_at=SEPTEMBER),
        "subscriptions": plan(w.plan, starting_at=SEPTEMBER),
    }
    edited: dict[str, tuple[Any, Any]] = {
        "applicable_product_ids": ([w.usage], [w.flat]),
        "applicable_contract_ids": ([w.contract], [w.second]),
        "applicable_product_tags": (["core"], ["flat"]),
        "description": ("a", "b"),
        "name": ("a", "b"),
        "priority": (3, 4),
        "product_id": (w.fixed, w.other_fixed),
        "rate_type": ("LIST_RATE", "COMMIT_RATE"),
        "access_schedule": (
            {"add_schedule_items": [segment(1, LATER, "2025-07-01T00:00:00Z")]},
            {"add_schedule_items": [segment(2, "2025-07-01T00:00:00Z", "2025-08-01T00:00:00Z")]},
        ),
    }
    specifiers: dict[str, tuple[Any, Any]] = {"specifiers": selectors(w)}
    ids: Any = {"customer_id": w.other, "contract_id": w.others_contract}
    flat: Any = {
        "rate_card_id": w.other_card,
        "product_id": w.flat,
        "starting_at": SEPTEMBER,
        "entitled": True,
        "rate_type": "FLAT",
    }
    tiered: Any = {**flat, "rate_type": "TIERED"}
    fees: Any = {**flat, "product_id": w.plan, "price": 1}
    own_rate: Any = {**flat, "product_id": w.usage, "price": 1}
    values: dict[str, tuple[Any, Any]] = {"pricing_group_values": ({"region": "eu"}, {"region": "us"})}
    table: list[tuple[str, dict[str, Any], Any, dict[str, tuple[Any, Any]]]] = [
        ("v2.contracts.edit_commit", {"customer_id": w.customer, "commit_id": w.commit}, commit_shown, edited),
        ("v2.contracts.edit_credit", {"customer_id": w.customer, "credit_id": w.credit}, credit_shown, edited),
        ("v2.contracts.edit_commit", {"customer_id": w.customer, "commit_id": w.late_commit}, late_shown, specifiers),
        ("v2.contracts.edit_credit", {"customer_id": w.customer, "credit_id": w.no_credit}, second_shown, specifiers),
        ("v2.contracts.edit", ids, contract_shown, {f"add_{name}": ([each], [each] * 2) for name, each in of_edits.items()}),
        (
            "v2.contracts.edit",
            ids,
            contract_shown,
            {
                "update_contract_name": ("a", "b"),
                "update_net_payment_terms_days": (1, 2),
                "update_contract_end_date": (LATER, "2025-07-01T00:00:00Z"),
            },
        ),
        ("v1.contracts.update_end_date", ids, contract_shown, {"ending_before": (LATER, "2025-08-01T00:00:00Z")}),
        (
            "v1.contracts.amend",
            {**ids, "starting_at": SEPTEMBER},
            contract_shown,
            {name: ([], [each]) for name, each in additions.items()},
        ),
        (
            "v1.contracts.rate_cards.update",
            {"rate_card_id": w.other_card},
            card_shown,
            {
                "name": ("a", "b"),
                "description": ("a", "b"),
                "aliases": ([{"name": "x"}], [{"name": "y"}]),
                "add_credit_type_conversions": ([], [{"custom_credit_type_id": w.unit, "fiat_per_custom_credit": 3}]),
            },
        ),
        (
            "v1.contracts.rate_cards.rates.add",
            flat,
            rates_shown,
            {"price": (1, 2)},
        ),
        (
            "v1.contracts.rate_cards.rates.add",
            {**flat, "price": 3},
            rates_shown,
            {
                "ending_before": (LATER, YEAR_END),
                "commit_rate": ({"rate_type": "FLAT", "price": 1}, {"rate_type": "FLAT", "price": 2}),
                "credit_type_id": (USD_CENTS, w.unit),
            },
        ),
        (
            "v1.contracts.rate_cards.rates.add",
            tiered,
            rates_shown,
            {"tiers": ([{"price": 1}], [{"size": 5, "price": 1}, {"price": 2}])},
        ),
        ("v1.contracts.rate_cards.rates.add", fees, rates_shown, {"billing_frequency": ("MONTHLY", "ANNUAL")}),
        ("v1.contracts.rate_cards.rates.add", own_rate, rates_shown, values),
        (
            "v1.contracts.products.update",
            {"product_id": w.flat, "starting_at": SEPTEMBER},
            product_shown,
            {"name": ("a", "b"), "tags": (["a"], ["b"])},
        ),
    ]
    return [Row(method, name, *pair, base, read) for method, base, read, parameters in table for name, pair in parameters.items()]


ELSEWHERE = {
    "test_alert_reach.py": {"v1.alerts.create": ["seat_filter", "custom_field_filters", "group_values", "invoice_types_filter"]},
    "test_api_refusals.py": {
        "v1.contracts.update_end_date": ["allow_ending_before_finalized_invoice"],
        "v1.billable_metrics.create": ["sql"],
        "v1.contracts.rate_cards.create": ["fiat_credit_type_id"],
        "v1.contracts.products.create": ["billable_metric_id"],
    },
    "test_parameters.py": {
        "v1.alerts.create": ["credit_grant_type_filters", "plan_id"],
        "v1.customers.alerts.retrieve": ["plans_or_contracts"],
        "v1.contracts.rate_cards.list": ["body"],
    },
    "test_terms.py": {
        "v1.contracts.create": ["transition"],
        "v2.contracts.edit": ["update_commits", "update_credits"],
    },
    "test_recurring.py": {
        "v1.packages.create": ["recurring_commits"],
        "v2.contracts.edit": ["update_recurring_commits", "update_recurring_credits", "update_subscriptions"],
    },
    "test_overrides.py": {"v2.contracts.edit": ["remove_overrides"]},
    "test_scheduled_charges.py": {"v2.contracts.edit": ["archive_scheduled_charges", "update_scheduled_charges"]},
    "test_alert_filters.py": {"v1.customers.alerts.retrieve": ["alert_specifiers"]},
    "test_sdk.py": {
        "v1.alerts.archive": ["release_uniqueness_key"],
        "v1.alerts.create": ["uniqueness_key"],
        "v1.usage.list_with_groups": [
            "current_period",
            "group_by",
            "group_filters",
            "group_key",
            "starting_on",
            "ending_before",
            "limit",
        ],
    },
    "test_with_worker.py": {
        "v1.alerts.create": ["billable_metric_id", "customer_id"],
        "v1.usage.ingest": ["usage"],
        "v1.customers.alerts.retrieve": ["group_values"],
    },
    "test_billing_configurations.py": {"v1.customers.retrieve_billing_configurations": ["include_archived"]},
    "test_preview.py": {"v1.customers.preview_events": ["mode"]},
    "test_dated_products.py": {
        "v1.customers.invoices.retrieve": ["skip_zero_qty_line_items"],
    },
    "test_seats.py": {
        "v1.contracts.list_seat_balances": [
            "covering_date",
            "cursor",
            "effective_before",
            "include_credits_and_commits",
            "include_ledgers",
            "limit",
            "seat_ids",
            "skip_missing_seat_ids",
            "starting_at",
            "subscription_ids",
        ],
        "v1.customers.alerts.retrieve": ["seat_filter"],
        "v1.contracts.get_subscription_seats_history": ["covering_date", "cursor", "ending_before", "limit", "starting_at"],
        "v1.contracts.add_manual_balance_entry": ["per_group_amounts"],
    },
    "test_packages.py": {
        "v1.packages.create": [
            "commits",
            "credits",
            "overrides",
            "rate_card_alias",
            "recurring_credits",
            "scheduled_charges",
            "subscriptions",
            "uniqueness_key",
        ],
        "v1.packages.list_contracts_on_package": ["covering_date", "include_archived", "limit", "starting_at"],
    },
    "test_balances.py": {
        "v1.contracts.add_manual_balance_entry": ["contract_id", "timestamp", "uniqueness_key"],
        "v1.contracts.list_balances": ["include_archived"],
        "v1.customers.commits.list": ["include_archived"],
        "v1.customers.credits.list": ["include_archived"],
        "v1.customers.commits.create": ["applicable_contract_ids", "uniqueness_key", "invoice_contract_id"],
        "v1.customers.credits.create": ["applicable_contract_ids", "uniqueness_key"],
        "v1.customers.commits.update_end_date": ["access_ending_before", "invoices_ending_before"],
        "v2.contracts.edit": ["archive_commits", "archive_credits"],
        "v2.contracts.edit_commit": ["invoice_contract_id", "invoice_schedule"],
    },
    "test_invoices.py": {"v1.contracts.get_net_balance": ["invoice_inclusion_mode"]},
}
"""Shown by these files of tests/conformance: over time, with a worker, or as refusals; each names the parameter."""
OTHERWISE = {
    "v1.alerts.create": ["access_type", "alert_specifiers", "credit_type_id", "evaluate_on_create"],  # support/alert_table.py
    "v1.contracts.create": ["uniqueness_key"],  # answers 409: test_api_crashes.py
    "v2.contracts.edit": ["uniqueness_key", "allow_contract_ending_before_finalized_invoice"],  # the rule of update_end_date
    "v1.customers.preview_events": ["skip_zero_qty_line_items"],  # as for invoices.list
    "v1.customers.alerts.list": ["next_page"],  # pages of 100 and more, of one helper (connectors/http/pages.py)
    "v1.custom_fields.list_keys": ["next_page"],
    "v1.packages.list_contracts_on_package": ["next_page"],
    "v1.usage.list": ["next_page"],
    "v1.usage.list_with_groups": ["next_page"],
}
"""Shown by other means than a file that names them."""


def elsewhere() -> set[tuple[str, str]]:
    return {(method, name) for table in (*ELSEWHERE.values(), OTHERWISE) for method, names in table.items() for name in names}


def bound(sdk: AsyncMetronome, name: str) -> Any:
    found: Any = sdk
    for part in name.split("."):
        found = getattr(found, part)
    return found


def dumped(answer: Any) -> Any:
    if isinstance(answer, BaseModel):
        return answer.model_dump(mode="json")
    return [dumped(each) for each in answer] if isinstance(answer, list) else answer


def scrubbed(value: Any, known: set[str]) -> Any:
    """Without what every call makes anew."""
    if isinstance(value, dict):
        return {name: scrubbed(each, known) for name, each in value.items() if name not in _OWN}
    if isinstance(value, list):
        return [scrubbed(each, known) for each in value]
    if isinstance(value, str):
        return _UUID.sub(lambda match: match[0] if match[0] in known else "#", value)
    return value


async def observed(sdk: AsyncMetronome, row: Row, value: Any, known: set[str]) -> Any:
    method = bound(sdk, row.method)
    if value is CURSOR:
        first = await method(**row.base, limit=1)
        value = getattr(first, "next_page", None) or getattr(first, "cursor", None)
        assert value, f"{row.method} has one page"
    given = {} if value is ABSENT else {row.parameter: value}
    answer = await method(**row.base, **given)
    return scrubbed(dumped(answer if row.read is None else await row.read(answer)), known)


@pytest.mark.parametrize("rows", [lists, makers, changers], ids=["that read", "that make", "that change"])
async def test_two_values_make_something_differ(sdk: AsyncMetronome, clock: Clock, rows: Callable[[World], list[Row]]) -> None:
    world = await World(sdk).make(clock)
    world.ids["others_contract"] = (
        await sdk.v1.contracts.create(customer_id=world.other, starting_at=SEPTEMBER, rate_card_id=world.card)
    ).data.id
    faults = []
    for row in rows(world):
        name = f"{row.method} {row.parameter}"
        try:
            known = set(world.ids.values())
            first, second = [await observed(sdk, row, value, known) for value in (row.first, row.second)]
        except Exception as error:  # noqa: BLE001 - all rows are to be told at once
            faults.append(f"{name}: {type(error).__name__} {str(error)[:300]}")
            continue
        if first == second:
            faults.append(f"{name}: {row.first!r} and {row.second!r} are the same")
    assert not faults, "\n".join(faults)


class _Anything:
    """Stands for a world where only the names of rows are wanted."""

    def __getattr__(self, name: str) -> Any:
        return self


def tried() -> set[tuple[str, str]]:
    world: Any = _Anything()
    return {(row.method, row.parameter) for rows in (lists, makers, changers) for row in rows(world)}


def test_each_parameter_is_shown_refused_or_known_to_do_nothing() -> None:
    """None is left out, and what is said of one that there is no more is noticed."""
    every = optional_parameters()
    assert sorted(every - tried() - refused() - nothing() - elsewhere()) == []
    assert sorted((tried() | elsewhere()) - every) == []


def test_what_is_said_to_be_shown_elsewhere_is_named_there() -> None:
    for file, methods in ELSEWHERE.items():
        text = (TESTS / "conformance" / file).read_text("utf-8")
        assert [(file, name) for names in methods.values() for name in names if not re.search(rf"\b{name}\b", text)] == []


@pytest.mark.parametrize(("method", "name"), sorted(refused()))
def test_what_is_said_to_be_refused_is_refused(method: str, name: str) -> None:
    """By its model alone: with that field and nothing else, what is missing is the only other thing that is wrong."""
    route = next(BY_PATTERN[each.method, each.path] for each in SERVED if each.name == method)
    body = route.body if name in route.body.model_fields else route.query
    with pytest.raises(ValidationError) as wrong:
        body.model_validate({name: {"anything": 1}})
    assert "unsupported" in {each["type"] for each in wrong.value.errors() if each["loc"] == (name,)}


SPEND: dict[str, Any] = {"alert_type": "spend_threshold_reached", "name": "a", "threshold": 1}
OF_PLANS: list[tuple[str, dict[str, Any], str, Any]] = [
    ("v1.alerts.create", SPEND, "plan_id", UNKNOWN),
    ("v1.alerts.create", SPEND, "credit_grant_type_filters", ["x"]),
    ("v1.customers.alerts.retrieve", {"customer_id": UNKNOWN, "alert_id": UNKNOWN}, "plans_or_contracts", "PLANS"),
    ("v1.contracts.rate_cards.list", {}, "body", {"unknown": 1}),
]


async def test_what_belongs_to_plans_answers_400(sdk: AsyncMetronome) -> None:
    for method, base, name, value in OF_PLANS:
        with pytest.raises(BadRequestError):
            await bound(sdk, method)(**base, **{name: value})
