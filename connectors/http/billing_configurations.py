"""/v1/...CustomerBillingProviderConfigurations: to which provider a customer's invoices would go. It is kept and shown."""

from __future__ import annotations

from connectors.http.editing import edit_customer, get_customer, no_longer
from connectors.http.routing import Call, Route, route
from schemas.billing_configurations import (
    ArchiveBillingConfigurations,
    ArchivedBillingConfigurations,
    BillingConfiguration,
    GetBillingConfigurations,
    SetBillingConfigurations,
    billing_answer,
    configurations_set,
    with_billing_configurations,
    without_configurations,
)
from schemas.common import Data, NoQuery
from schemas.documents import Document


async def create(call: Call[SetBillingConfigurations, NoQuery]) -> Data[list[BillingConfiguration]]:
    """Adds to those that there are; what is there already, the same in all fields, stays as it is and is answered again."""
    services, bodies = call.services, call.body.data
    customer_id = bodies[0].customer_id

    def change(customer: Document) -> Document | None:
        no_longer("customers", customer)
        changed = with_billing_configurations(customer, bodies, services.new_id)
        if changed["billing_configurations"] == customer.get("billing_configurations"):
            return None
        return {**changed, "updated_at": call.now}

    def answer(changed: Document) -> Data[list[BillingConfiguration]]:
        return Data(data=[billing_answer(customer_id, each) for each in configurations_set(changed, bodies)])

    return await edit_customer(services, customer_id, change, answer)


async def list_all(call: Call[GetBillingConfigurations, NoQuery]) -> Data[list[BillingConfiguration]]:
    """The oldest first."""
    customer = await get_customer(call.services, call.body.customer_id)
    held = customer.get("billing_configurations") or []
    shown = [each for each in held if each["archived_at"] is None or call.body.include_archived]
    return Data(data=[billing_answer(customer["id"], each) for each in shown])


async def archive(call: Call[ArchiveBillingConfigurations, NoQuery]) -> Data[ArchivedBillingConfigurations]:
    """All of them or none."""

    def change(customer: Document) -> Document | None:
        changed = without_configurations(customer, call.body, call.now)
        return None if changed is None else {**changed, "updated_at": call.now}

    answer = Data(data=ArchivedBillingConfigurations.model_validate(call.body.model_dump()))
    return await edit_customer(call.services, call.body.customer_id, change, lambda _: answer)


ROUTES: list[Route] = [
    route("POST", "/v1/setCustomerBillingProviderConfigurations", create, "Add billing configurations to a customer"),
    route("POST", "/v1/getCustomerBillingProviderConfigurations", list_all, "List a customer's billing configurations"),
    route("POST", "/v1/archiveCustomerBillingProviderConfigurations", archive, "Archive a customer's billing configurations"),
]
