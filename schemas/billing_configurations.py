"""Billing provider configurations of customers: kept, shown and named by contracts. No invoice is sent to a provider. Pure.

customer  {billing_configurations?: [{id, billing_provider, delivery_method, configuration (JSON as a text), tax_provider?,
           archived_at}]}
contract  {billing_configuration?: {...}}     the one that it was made with, as it was then
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from schemas.common import Answer, Body, Id, Lower, OutInstant, distinct
from schemas.documents import Document, instant_us
from schemas.errors import BadRequest, NotFound
from schemas.numbers import exact_json, parse_json

CONFIGURATIONS_MAX = 100
"""Of one customer, archived ones included."""
CONFIGURATION_BYTES_MAX = 16_384
_METHODS = uuid.UUID("3f0b5c52-6b1e-4f0a-9a40-0c8f6f0f7c11")
"""Names delivery methods."""

Provider = Annotated[
    Literal[
        "aws_marketplace",
        "stripe",
        "netsuite",
        "custom",
        "azure_marketplace",
        "quickbooks_online",
        "workday",
        "gcp_marketplace",
        "metronome",
    ],
    Lower,
]
_Method = Literal["direct_to_billing_provider", "aws_sqs", "tackle", "aws_sns"]
DeliveryMethod = Annotated[_Method, Lower]


def delivery_method_id(provider: str, method: str) -> str:
    """There is one for each provider and kind of delivery."""
    return str(uuid.uuid5(_METHODS, f"{provider}/{method}"))


def _small(configuration: dict[str, Any]) -> dict[str, Any]:
    if len(exact_json(configuration)) > CONFIGURATION_BYTES_MAX:
        raise ValueError(f"must not be larger than {CONFIGURATION_BYTES_MAX} bytes of JSON")
    return configuration


class NewBillingConfiguration(Body):
    """``configuration`` is kept as it is: what it must hold is the provider's business."""

    billing_provider: Provider
    delivery_method: DeliveryMethod | None = None
    delivery_method_id: Id | None = Field(default=None, description="As configurations show it, in place of delivery_method.")
    configuration: Annotated[dict[str, Any], AfterValidator(_small)] = Field(default_factory=dict)
    tax_provider: Annotated[Literal["anrok", "avalara", "stripe"], Lower] | None = None

    @model_validator(mode="after")
    def _delivered(self) -> NewBillingConfiguration:
        if self.delivery_method_id is None:
            if self.delivery_method is None:
                raise ValueError("give delivery_method or delivery_method_id")
            return self
        named = {delivery_method_id(self.billing_provider, method): method for method in get_args(_Method)}
        if self.delivery_method not in (None, named.get(self.delivery_method_id)) or self.delivery_method_id not in named:
            raise ValueError("delivery_method_id: is not that of a delivery method of the billing provider")
        return self

    def method(self) -> str:
        methods = (
            each for each in get_args(_Method) if delivery_method_id(self.billing_provider, each) == self.delivery_method_id
        )
        return self.delivery_method or next(methods)

    @model_validator(mode="after")
    def _taxed(self) -> NewBillingConfiguration:
        if self.tax_provider is not None and self.billing_provider != "stripe":
            raise ValueError("tax_provider is only for the billing provider stripe")
        return self


class CustomersBillingConfiguration(NewBillingConfiguration):
    customer_id: Id


NewBillingConfigurations = Annotated[list[NewBillingConfiguration], Field(max_length=CONFIGURATIONS_MAX)]


class SetBillingConfigurations(Body):
    """All for one customer, so that they are added as a whole."""

    data: Annotated[list[CustomersBillingConfiguration], Field(min_length=1, max_length=CONFIGURATIONS_MAX)]

    @model_validator(mode="after")
    def _one_customer(self) -> SetBillingConfigurations:
        if len({each.customer_id for each in self.data}) > 1:
            raise ValueError("data: must be for one customer; send a request for each")
        return self


class GetBillingConfigurations(Body):
    customer_id: Id
    include_archived: bool = False


class ArchiveBillingConfigurations(Body):
    customer_id: Id
    customer_billing_provider_configuration_ids: Annotated[
        list[Id], Field(min_length=1, max_length=CONFIGURATIONS_MAX), AfterValidator(distinct)
    ]


class ContractBillingConfiguration(Body):
    """Either the id, or what only one of the customer's configurations has."""

    billing_provider_configuration_id: Id | None = None
    billing_provider: Provider | None = None
    delivery_method: DeliveryMethod | None = None

    @model_validator(mode="after")
    def _one_way(self) -> ContractBillingConfiguration:
        by_kind = self.billing_provider is not None, self.delivery_method is not None
        if by_kind != ((self.billing_provider_configuration_id is None,) * 2):
            raise ValueError("give either billing_provider_configuration_id, or billing_provider and delivery_method")
        return self


class BillingConfiguration(Answer):
    id: str
    customer_id: str
    billing_provider: str
    configuration: dict[str, Any]
    delivery_method: str
    delivery_method_id: str
    delivery_method_configuration: dict[str, Any]
    tax_provider: str | None = None
    archived_at: OutInstant | None = None


class ArchivedBillingConfigurations(Answer):
    customer_id: str
    customer_billing_provider_configuration_ids: list[str]


def billing_configuration_document(body: NewBillingConfiguration, configuration_id: str) -> Document:
    return {
        "id": configuration_id,
        "billing_provider": body.billing_provider,
        "delivery_method": body.method(),
        "configuration": exact_json(body.configuration).decode(),
        "tax_provider": body.tax_provider,
        "archived_at": None,
    }


def with_billing_configurations(
    customer: Document, bodies: Sequence[NewBillingConfiguration], new_id: Callable[[], str]
) -> Document:
    """One that the customer has already is not added again. Raises BadRequest if they would be too many."""
    if not bodies:
        return customer
    held = list(customer.get("billing_configurations") or ())
    for body in bodies:
        if _same(held, body) is None:
            held.append(billing_configuration_document(body, new_id()))
    if len(held) > CONFIGURATIONS_MAX:
        raise BadRequest(f"data: a customer has at most {CONFIGURATIONS_MAX} billing configurations")
    return {**customer, "billing_configurations": held}


def _same(held: Iterable[Document], body: NewBillingConfiguration) -> Document | None:
    """The configuration that says the same, if there is one that is not archived."""
    wanted = _said(billing_configuration_document(body, ""))
    return next((each for each in held if _said(each) == wanted), None)


def _said(document: Document) -> Document:
    return {**document, "id": None, "configuration": parse_json(document["configuration"].encode())}


def configurations_set(customer: Document, bodies: Sequence[NewBillingConfiguration]) -> list[Document]:
    """The configurations of a customer that a request has set, in its order; made by it or there before."""
    found = (_same(customer["billing_configurations"], body) for body in bodies)
    return [each for each in found if each is not None]


def billing_answer(customer_id: str, document: Document) -> BillingConfiguration:
    fields = {name: value for name, value in document.items() if value is not None}
    return BillingConfiguration.model_validate(
        {
            **fields,
            "customer_id": customer_id,
            "configuration": parse_json(document["configuration"].encode()),
            "delivery_method_id": delivery_method_id(document["billing_provider"], document["delivery_method"]),
            "delivery_method_configuration": {},
        }
    )


def configuration_for(customer: Document, wanted: ContractBillingConfiguration) -> Document:
    """The customer's configuration that a contract names. Raises BadRequest unless there is exactly one."""
    live = [each for each in customer.get("billing_configurations") or () if each["archived_at"] is None]
    if wanted.billing_provider_configuration_id is not None:
        found = [each for each in live if each["id"] == wanted.billing_provider_configuration_id]
    else:
        kind = wanted.billing_provider, wanted.delivery_method
        found = [each for each in live if (each["billing_provider"], each["delivery_method"]) == kind]
    if len(found) != 1:
        count = "no" if not found else f"{len(found)}"
        raise BadRequest(f"billing_provider_configuration: the customer has {count} such configurations; one is needed")
    chosen: Document = found[0]
    return chosen


def without_configurations(customer: Document, archived: ArchiveBillingConfigurations, now: str) -> Document | None:
    """The customer's document with configurations archived; None if they all are. Raises NotFound, and BadRequest for one that
    a contract uses that has not ended."""
    held = customer.get("billing_configurations") or []
    known = {each["id"]: each for each in held}
    chosen = archived.customer_billing_provider_configuration_ids
    for configuration_id in chosen:
        if configuration_id not in known:
            raise NotFound(f"the customer has no billing configuration {configuration_id}")
        for contract in customer["contracts"]:
            if (contract.get("billing_configuration") or {}).get("id") == configuration_id and _open(contract, now):
                raise BadRequest(
                    "customer_billing_provider_configuration_ids: "
                    f"the contract {contract['id']} uses the configuration {configuration_id}"
                )
    if all(known[configuration_id]["archived_at"] is not None for configuration_id in chosen):
        return None
    changed = [{**each, "archived_at": each["archived_at"] or now} if each["id"] in set(chosen) else each for each in held]
    return {**customer, "billing_configurations": changed}


def _open(contract: Document, now: str) -> bool:
    """Not archived, and not ended: one that has yet to begin counts, too."""
    ends = contract["ending_before"]
    return contract["archived_at"] is None and (ends is None or instant_us(now) < instant_us(ends))
