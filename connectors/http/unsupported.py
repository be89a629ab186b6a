"""Methods of the official client that are not served: 501 with a reason, so that a known path is never taken for a wrong one.

README.md names each of them (a test compares them with the client).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pydantic import ConfigDict

from connectors.http.routing import Call, Handler, Route, route
from schemas.common import Body, Query
from schemas.errors import NotSupported


class AnyBody(Body):
    """Whatever is sent: the answer does not depend on it."""

    model_config = ConfigDict(extra="allow")


class AnyQuery(Query):
    """Likewise."""

    model_config = ConfigDict(extra="allow")


class _Missing(NamedTuple):
    method: str
    path: str
    summary: str


_SCHEDULES = "Named schedules"
_PLANS = "Plans, which contracts have replaced"
_GRANTS = "Credit grants of plans, which customerCredits have replaced"
_LIFECYCLE = "Notifications of the lifecycle of contracts, commits and credits"
_PROVIDERS = "Billing providers: no invoice leaves this system"

_TABLE = (
    _Missing("POST", "/v1/contracts/createHistoricalInvoices", "Import historical invoices"),
    _Missing("POST", "/v1/contracts/scheduleProServicesInvoice", "Professional services"),
    _Missing("POST", "/v1/contract-pricing/rate-cards/getNamedSchedule", _SCHEDULES),
    _Missing("POST", "/v1/contract-pricing/rate-cards/updateNamedSchedule", _SCHEDULES),
    _Missing("POST", "/v1/contracts/listNamedSchedules", _SCHEDULES),
    _Missing("POST", "/v1/contracts/getNamedSchedule", _SCHEDULES),
    _Missing("POST", "/v1/contracts/updateNamedSchedule", _SCHEDULES),
    _Missing("POST", "/v1/customers/getNamedSchedule", _SCHEDULES),
    _Missing("POST", "/v1/customers/updateNamedSchedule", _SCHEDULES),
    _Missing("GET", "/v1/customers/{customer_id}/costs", "Costs by plan"),
    _Missing("POST", "/v1/customers/{customer_id}/addCharge", "One-time charges of plans"),
    _Missing("POST", "/v1/customers/{customer_id}/plans/add", _PLANS),
    _Missing("GET", "/v1/customers/{customer_id}/plans", _PLANS),
    _Missing("POST", "/v1/customers/{customer_id}/plans/{customer_plan_id}/end", _PLANS),
    _Missing("GET", "/v1/customers/{customer_id}/plans/{customer_plan_id}/priceAdjustments", _PLANS),
    _Missing("GET", "/v1/plans", _PLANS),
    _Missing("GET", "/v1/planDetails/{plan_id}", _PLANS),
    _Missing("GET", "/v1/planDetails/{plan_id}/charges", _PLANS),
    _Missing("GET", "/v1/planDetails/{plan_id}/customers", _PLANS),
    _Missing("POST", "/v1/credits/createGrant", _GRANTS),
    _Missing("POST", "/v1/credits/editGrant", _GRANTS),
    _Missing("POST", "/v1/credits/listGrants", _GRANTS),
    _Missing("POST", "/v1/credits/listEntries", _GRANTS),
    _Missing("POST", "/v1/credits/voidGrant", _GRANTS),
    _Missing("GET", "/v1/customers/{customer_id}/invoices/{invoice_id}/pdf", "Invoices as PDF"),
    _Missing("POST", "/v1/dashboards/getEmbeddableUrl", "Embedded dashboards"),
    _Missing("POST", "/v2/notifications/create", _LIFECYCLE),
    _Missing("POST", "/v2/notifications/get", _LIFECYCLE),
    _Missing("POST", "/v2/notifications/edit", _LIFECYCLE),
    _Missing("POST", "/v2/notifications/archive", _LIFECYCLE),
    _Missing("POST", "/v2/notifications/offset/list", _LIFECYCLE),
    _Missing("POST", "/v2/notifications/system/list", _LIFECYCLE),
    _Missing("POST", "/v1/customers/{customer_id}/billing-config/{billing_provider_type}", _PROVIDERS),
    _Missing("GET", "/v1/customers/{customer_id}/billing-config/{billing_provider_type}", _PROVIDERS),
    _Missing("DELETE", "/v1/customers/{customer_id}/billing-config/{billing_provider_type}", _PROVIDERS),
    _Missing("POST", "/v1/setUpBillingProvider", _PROVIDERS),
    _Missing("POST", "/v1/listConfiguredBillingProviders", _PROVIDERS),
    _Missing("POST", "/v1/upsertAvalaraCredentials", "Avalara credentials"),
)


def _refusing(missing: _Missing) -> Handler:
    async def refuse(call: Call[AnyBody, AnyQuery]) -> None:
        raise NotSupported(f"{missing.method} {missing.path} is not supported: {missing.summary}")

    return refuse


def unsupported_routes(served: Iterable[Route]) -> list[Route]:
    """Routes that refuse, for all methods of the table that are not ``served``."""
    taken = {(each.method, each.path) for each in served}
    return [
        route(each.method, each.path, _refusing(each), each.summary) for each in _TABLE if (each.method, each.path) not in taken
    ]
