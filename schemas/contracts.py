"""Contracts: bodies, answers in both versions of the API, and the document (a part of its customer's)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from engine.catalog import Frequency
from engine.periods import AnchorDay, anchor_for
from schemas.balances import BalanceAnswer
from schemas.billing_configurations import BillingConfiguration, ContractBillingConfiguration, billing_answer
from schemas.commits import Commits, Credits
from schemas.common import (
    Answer,
    Body,
    Cursor,
    CustomFields,
    HourInstant,
    Id,
    Instant,
    Key,
    Name,
    NotNegative,
    OutInstant,
    OutNumber,
    Query,
    UniquenessKey,
    Unsupported,
    Upper,
    rfc3339,
)
from schemas.documents import Document, instant_text, instant_us
from schemas.overrides import (
    FlatOverrideAnswer,
    Named,
    OverrideAnswer,
    OverrideBodies,
    UsageFilterAnswer,
    UsageFilterBody,
    UsageFilterHistory,
    flat_override_answer,
    override_answer,
    usage_filter_history,
    usage_filters_answer,
)
from schemas.products import CREATED_BY
from schemas.recurring import RecurringCommits, RecurringCredits
from schemas.recurring_answers import RecurringAnswer, recurring_answer
from schemas.renewals import Transition
from schemas.scheduled_charges import Charges, ScheduledChargeAnswer, charge_answer
from schemas.subscription_answers import SubscriptionAnswer, subscription_answer
from schemas.subscriptions import SubscriptionBodies


class UsageStatementSchedule(Body):
    frequency: Annotated[Literal["MONTHLY", "QUARTERLY", "ANNUAL", "WEEKLY"], Upper]
    day: Annotated[Literal["FIRST_OF_MONTH", "CONTRACT_START", "CUSTOM_DATE"], Upper] = "FIRST_OF_MONTH"
    billing_anchor_date: HourInstant | None = None
    invoice_generation_starting_at: Unsupported = None

    @model_validator(mode="after")
    def _anchored(self) -> UsageStatementSchedule:
        if (self.day == "CUSTOM_DATE") != (self.billing_anchor_date is not None):
            raise ValueError("billing_anchor_date is required when day is CUSTOM_DATE, and only then")
        return self


class ContractCreate(Body):
    customer_id: Id
    starting_at: HourInstant
    ending_before: HourInstant | None = None
    name: Name | None = None
    uniqueness_key: UniquenessKey | None = None
    rate_card_id: Id | None = None
    rate_card_alias: Key | None = None
    usage_statement_schedule: UsageStatementSchedule = Field(
        default_factory=lambda: UsageStatementSchedule(frequency="MONTHLY"), description="Default: monthly, from the 1st."
    )
    net_payment_terms_days: NotNegative | None = None
    netsuite_sales_order_id: Key | None = None
    salesforce_opportunity_id: Key | None = None
    total_contract_value: NotNegative | None = None
    multiplier_override_prioritization: Annotated[Literal["LOWEST_MULTIPLIER", "EXPLICIT"], Upper] | None = None
    scheduled_charges_on_usage_invoices: Annotated[Literal["ALL"], Upper] | None = None
    custom_fields: CustomFields = Field(default_factory=dict)
    commits: Commits = Field(default_factory=list)
    credits: Credits = Field(default_factory=list)
    overrides: OverrideBodies = Field(default_factory=list)
    usage_filter: UsageFilterBody | None = None
    billing_provider_configuration: ContractBillingConfiguration | None = None
    discounts: Unsupported = None
    hierarchy_configuration: Unsupported = None
    package_alias: Key | None = None
    package_id: Id | None = Field(
        default=None,
        description="Gives the contract its terms. Beside it, only customer_id, starting_at, uniqueness_key, transition and "
        "custom_fields may be sent.",
    )
    prepaid_balance_threshold_configuration: Unsupported = None
    professional_services: Unsupported = None
    recurring_commits: RecurringCommits = Field(default_factory=list)
    recurring_credits: RecurringCredits = Field(default_factory=list)
    reseller_royalties: Unsupported = None
    revenue_system_configuration: Unsupported = None
    scheduled_charges: Charges = Field(default_factory=list)
    spend_threshold_configuration: Unsupported = None
    spend_trackers: Unsupported = None
    subscriptions: SubscriptionBodies = Field(default_factory=list)
    transition: Transition | None = None

    @model_validator(mode="after")
    def _consistent(self) -> ContractCreate:
        if self.ending_before is not None and self.ending_before <= self.starting_at:
            raise ValueError("ending_before must be after starting_at")
        if self.rate_card_id is not None and self.rate_card_alias is not None:
            raise ValueError("rate_card_id and rate_card_alias exclude each other")
        return self


class ContractGet(Body):
    customer_id: Id
    contract_id: Id
    include_balance: bool = False
    include_ledgers: bool = False


class ContractGetV2(ContractGet):
    as_of_date: Unsupported = None


class ContractFilters(Body):
    """Which contracts a list shows."""

    covering_date: Instant | None = None
    starting_at: Instant | None = None
    include_archived: bool = False

    @model_validator(mode="after")
    def _one_date(self) -> ContractFilters:
        if self.covering_date is not None and self.starting_at is not None:
            raise ValueError("covering_date and starting_at exclude each other")
        return self


class ContractList(ContractFilters):
    customer_id: Id
    include_balance: bool = False
    include_ledgers: bool = False
    limit: Annotated[int, Field(ge=1, le=20)] = 20
    cursor: Cursor | None = None


class ContractListQuery(Query):
    pass


class ContractArchive(Body):
    customer_id: Id
    contract_id: Id
    void_invoices: bool


class ContractUpdateEndDate(Body):
    """``ending_before`` absent: open-ended from now on. Invoices that are final stay as they are."""

    customer_id: Id
    contract_id: Id
    ending_before: HourInstant | None = None
    allow_ending_before_finalized_invoice: bool = True


class ContractAmend(Body):
    """Adds to a contract; overrides as its latest. What is added has dates of its own: ``starting_at`` is told as it is given."""

    customer_id: Id
    contract_id: Id
    starting_at: HourInstant
    overrides: OverrideBodies = Field(default_factory=list)
    commits: Commits = Field(default_factory=list)
    credits: Credits = Field(default_factory=list)
    scheduled_charges: Charges = Field(default_factory=list)
    netsuite_sales_order_id: Key | None = None
    salesforce_opportunity_id: Key | None = None
    custom_fields: Unsupported = None
    discounts: Unsupported = None
    professional_services: Unsupported = None
    reseller_royalties: Unsupported = None
    total_contract_value: Unsupported = None


class ScheduleAnswer(Answer):
    billing_anchor_date: OutInstant
    frequency: str


class _ContractFields(Answer):
    created_at: OutInstant
    created_by: str
    starting_at: OutInstant
    ending_before: OutInstant | None
    name: str | None
    rate_card_id: str | None
    net_payment_terms_days: OutNumber | None
    netsuite_sales_order_id: str | None
    salesforce_opportunity_id: str | None
    total_contract_value: OutNumber | None
    multiplier_override_prioritization: str | None = None
    scheduled_charges_on_usage_invoices: str | None = None
    usage_statement_schedule: ScheduleAnswer
    commits: list[BalanceAnswer]
    credits: list[BalanceAnswer]
    scheduled_charges: list[ScheduledChargeAnswer]
    transitions: list[Any]
    recurring_commits: list[RecurringAnswer]
    recurring_credits: list[RecurringAnswer]


class ContractTerms(_ContractFields):
    """A contract as it was made (``initial``) or is now (``current``)."""

    overrides: list[FlatOverrideAnswer]
    usage_filter: UsageFilterHistory | None = None


class Amendment(Answer):
    id: str
    created_at: OutInstant
    created_by: str
    starting_at: OutInstant
    commits: list[BalanceAnswer]
    credits: list[BalanceAnswer]
    overrides: list[FlatOverrideAnswer]
    scheduled_charges: list[ScheduledChargeAnswer]
    netsuite_sales_order_id: str | None = None
    salesforce_opportunity_id: str | None = None


class Contract(Answer):
    id: str
    customer_id: str
    initial: ContractTerms
    current: ContractTerms
    amendments: list[Amendment]
    subscriptions: list[SubscriptionAnswer]
    archived_at: OutInstant | None
    uniqueness_key: str | None
    package_id: str | None = None
    customer_billing_provider_configuration: BillingConfiguration | None = None
    custom_fields: dict[str, str]


class ContractV2(_ContractFields):
    id: str
    customer_id: str
    overrides: list[OverrideAnswer]
    usage_filter: list[UsageFilterAnswer]
    subscriptions: list[SubscriptionAnswer]
    package_id: str | None = None
    customer_billing_provider_configuration: BillingConfiguration | None = None
    archived_at: OutInstant | None
    uniqueness_key: str | None
    custom_fields: dict[str, str]


def contract_document(body: ContractCreate, contract_id: str, rate_card_id: str | None, now: str) -> Document:
    """``rate_card_id``: of the card that the body names by id or alias. The anchor is stored as the instant it stands for."""
    schedule = body.usage_statement_schedule
    starting_at = rfc3339(body.starting_at)
    custom = schedule.billing_anchor_date
    anchor_us = anchor_for(
        Frequency(schedule.frequency),
        AnchorDay(schedule.day),
        instant_us(starting_at),
        None if custom is None else instant_us(rfc3339(custom)),
    )
    ending_before = None if body.ending_before is None else rfc3339(body.ending_before)
    return {
        "id": contract_id,
        "name": body.name,
        "uniqueness_key": body.uniqueness_key,
        "rate_card_id": rate_card_id,
        "package_id": body.package_id,
        "starting_at": starting_at,
        "ending_before": ending_before,
        "initial_ending_before": ending_before,
        "usage_statement_schedule": {"frequency": schedule.frequency, "billing_anchor_date": instant_text(anchor_us)},
        "net_payment_terms_days": body.net_payment_terms_days,
        "netsuite_sales_order_id": body.netsuite_sales_order_id,
        "salesforce_opportunity_id": body.salesforce_opportunity_id,
        "total_contract_value": body.total_contract_value,
        "multiplier_override_prioritization": body.multiplier_override_prioritization,
        "scheduled_charges_on_usage_invoices": body.scheduled_charges_on_usage_invoices,
        "custom_fields": body.custom_fields,
        "created_at": now,
        "created_by": CREATED_BY,
        "archived_at": None,
    }


_NOTHING: dict[str, list[Any]] = {
    name: []
    for name in (
        "commits",
        "credits",
        "transitions",
    )
}


def has_names(document: Document) -> bool:
    """Whether an answer has to name products or credit types."""
    names = ("overrides", "initial_overrides", "amendments", "scheduled_charges", "subscriptions", "recurring")
    return any(document.get(name) for name in names)


def _recurring(document: Document, named: Named, *, as_made: bool = False) -> dict[str, list[RecurringAnswer]]:
    """``as_made``: what no edit brought, under its first terms."""
    shown = [each for each in document.get("recurring") or () if not as_made or each["edit_id"] is None]

    def rows(*, credit: bool) -> list[RecurringAnswer]:
        chosen = [each for each in shown if (each["type"] == "CREDIT") == credit]
        return [recurring_answer(each, document, named.products, as_made=as_made) for each in chosen]

    return {"recurring_commits": rows(credit=False), "recurring_credits": rows(credit=True)}


def _subscriptions(document: Document, named: Named, now_us: int) -> list[SubscriptionAnswer]:
    return [subscription_answer(each, document, named.products, now_us) for each in document.get("subscriptions") or ()]


def contract_answer(customer_id: str, document: Document, named: Named, now_us: int) -> Contract:
    """``named``: may be empty unless it ``has_names``."""

    def shown(overrides: list[Document]) -> list[FlatOverrideAnswer]:
        return [flat_override_answer(each, named) for each in overrides]

    fields = {**_NOTHING, **document}
    charges = _charges_answer(document, named)
    made_with = document.get("initial_overrides") or []
    filters = document.get("usage_filters") or []
    first = [each for each in filters[:1] if each["created_at"] == document["created_at"]]
    current = {
        **fields,
        "overrides": shown(document.get("overrides") or []),
        "usage_filter": usage_filter_history(filters),
        **_recurring(document, named),
        "scheduled_charges": [answer for charge, answer in charges if charge["archived_at"] is None],
    }
    initial = {
        **fields,
        "ending_before": document["initial_ending_before"],
        "overrides": shown(made_with),
        "usage_filter": usage_filter_history(first),
        **_recurring(document, named, as_made=True),
        "scheduled_charges": [answer for charge, answer in charges if charge["edit_id"] is None],
    }
    amendments = [
        {
            **each,
            "overrides": shown(each["overrides"]),
            "commits": [],
            "credits": [],
            "scheduled_charges": [answer for charge, answer in charges if charge["edit_id"] == each["id"]],
        }
        for each in document.get("amendments") or ()
    ]
    return Contract.model_validate(
        {
            **document,
            **_billing(customer_id, document),
            "customer_id": customer_id,
            "initial": initial,
            "current": current,
            "amendments": amendments,
            "subscriptions": _subscriptions(document, named, now_us),
        }
    )


def contract_v2_answer(customer_id: str, document: Document, named: Named, now_us: int) -> ContractV2:
    overrides = [override_answer(each, named) for each in document.get("overrides") or ()]
    shown = {
        **_NOTHING,
        **document,
        "customer_id": customer_id,
        "overrides": overrides,
        "usage_filter": usage_filters_answer(document),
        "scheduled_charges": [answer for _, answer in _charges_answer(document, named)],
        "subscriptions": _subscriptions(document, named, now_us),
        **_recurring(document, named),
    }
    return ContractV2.model_validate({**shown, **_billing(customer_id, document)})


def _billing(customer_id: str, document: Document) -> dict[str, BillingConfiguration]:
    held = document.get("billing_configuration")
    return {} if held is None else {"customer_billing_provider_configuration": billing_answer(customer_id, held)}


def _charges_answer(document: Document, named: Named) -> list[tuple[Document, ScheduledChargeAnswer]]:
    charges = document.get("scheduled_charges") or ()
    return [(each, charge_answer(each, named.products, named.units, document["id"])) for each in charges]


def listed_contracts(documents: list[Document], body: ContractFilters) -> list[Document]:
    """The contracts that the filters of a list request let through, in order of creation."""

    def fits(contract: Document) -> bool:
        if contract["archived_at"] is not None and not body.include_archived:
            return False
        start = instant_us(contract["starting_at"])
        end = contract["ending_before"]
        if body.covering_date is not None:
            moment = instant_us(rfc3339(body.covering_date))
            return start <= moment and (end is None or moment < instant_us(end))
        return body.starting_at is None or start >= instant_us(rfc3339(body.starting_at))

    return [contract for contract in documents if fits(contract)]
