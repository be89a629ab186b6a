"""Recurring commits and credits of a contract: bodies, and the document (schemas.recurring_documents says what it holds)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from engine.catalog import USD_CENTS
from schemas.balance_rules import check_balance
from schemas.commits import (
    SPECIFIERS_MAX,
    AccessSchedule,
    AccessType,
    CommitBody,
    CreditBody,
    Description,
    RateType,
    SpecifierBody,
    balance_document,
)
from schemas.common import (
    Body,
    HourInstant,
    Id,
    Key,
    Name,
    NotNegative,
    Number,
    Unsupported,
    Upper,
    rfc3339,
)
from schemas.documents import Document, instant_us
from schemas.errors import BadRequest, NotFound
from schemas.products import Ids, Tags
from schemas.seats import assigned_max
from schemas.subscriptions import Rounding

RECURRING_MAX = 100
"""Of one contract."""
TERMS_MAX = 500
"""Changes of one recurring commit's or credit's terms."""
DURATION_PERIODS_MAX = 1_000

NewId = Callable[[], str]


class AccessAmount(Body):
    """``unit_price`` x ``quantity`` in every period; with a subscription, times its quantity."""

    unit_price: NotNegative
    quantity: NotNegative | None = None
    credit_type_id: Id = USD_CENTS
    access_type: AccessType = "SPEND"

    @model_validator(mode="after")
    def _units_have_no_credit_type(self) -> AccessAmount:
        if self.access_type == "QUANTITY" and "credit_type_id" in self.model_fields_set:
            raise ValueError("credit_type_id must not be given when access_type is QUANTITY")
        return self


class InvoiceAmount(Body):
    unit_price: NotNegative
    quantity: NotNegative
    credit_type_id: Id


class CommitDuration(Body):
    """For how many periods each one is open."""

    value: Annotated[Number, Field(ge=1, le=DURATION_PERIODS_MAX)]
    unit: Annotated[Literal["PERIODS"], Upper] = "PERIODS"

    @model_validator(mode="after")
    def _whole(self) -> CommitDuration:
        if self.value != int(self.value):
            raise ValueError("value must be a whole number")
        return self


class ProrationRounding(Body):
    access: Rounding | None = None


class CommitProrationRounding(ProrationRounding):
    invoice: Rounding | None = None


class SeatIncrease(Body):
    is_prorated: bool


class SubscriptionConfig(Body):
    """``subscription_id``: of the contract's, or the temporary id of one of the same request."""

    subscription_id: Key
    allocation: Annotated[Literal["POOLED", "INDIVIDUAL"], Upper] = Field(
        default="POOLED", description="INDIVIDUAL: a balance for each seat that is assigned, of a SEAT_BASED subscription."
    )
    apply_seat_increase_config: SeatIncrease


class RecurringCreditBody(Body):
    """Without a recurrence_frequency, periods are the contract's billing periods; with one, they are counted from starting_at."""

    product_id: Id = Field(description="A FIXED product, which names the balances on invoices.")
    access_amount: AccessAmount
    commit_duration: CommitDuration
    priority: Number = Field(description="Low numbers are drawn first.")
    starting_at: HourInstant
    ending_before: HourInstant | None = None
    recurrence_frequency: Annotated[Literal["DAILY", "WEEKLY", "MONTHLY", "QUARTERLY", "ANNUAL"], Upper] | None = None
    proration: Annotated[Literal["NONE", "FIRST", "LAST", "FIRST_AND_LAST"], Upper] = "FIRST_AND_LAST"
    proration_rounding: ProrationRounding | None = None
    subscription_config: SubscriptionConfig | None = None
    applicable_product_ids: Ids = Field(default_factory=list)
    applicable_product_tags: Tags = Field(default_factory=list)
    specifiers: Annotated[list[SpecifierBody], Field(max_length=SPECIFIERS_MAX)] = Field(default_factory=list)
    name: Name | None = None
    description: Description | None = None
    netsuite_sales_order_id: Key | None = None
    rate_type: RateType = "LIST_RATE"
    rollover_fraction: Unsupported = None
    hierarchy_configuration: Unsupported = None
    temporary_id: Unsupported = None

    @model_validator(mode="after")
    def _consistent(self) -> RecurringCreditBody:
        if self.specifiers and (self.applicable_product_ids or self.applicable_product_tags):
            raise ValueError("specifiers cannot be used together with applicable_product_ids or applicable_product_tags")
        if self.access_amount.quantity is None and self.subscription_config is None:
            raise ValueError("access_amount.quantity is required without a subscription_config")
        if self.ending_before is not None and self.ending_before <= self.starting_at:
            raise ValueError("ending_before must be after starting_at")
        if self.recurrence_frequency == "DAILY" and self.subscription_config is not None:
            raise ValueError("recurrence_frequency DAILY cannot be used together with a subscription_config")
        return self


class RecurringCommitBody(RecurringCreditBody):
    """Its commits are PREPAID. Without an invoice_amount they cost nothing."""

    invoice_amount: InvoiceAmount | None = None
    proration_rounding: CommitProrationRounding | None = None


RecurringCommits = Annotated[list[RecurringCommitBody], Field(max_length=RECURRING_MAX)]
RecurringCredits = Annotated[list[RecurringCreditBody], Field(max_length=RECURRING_MAX)]


class AmountUpdate(Body):
    unit_price: NotNegative | None = None
    quantity: NotNegative | None = None


class RecurringCreditUpdate(Body):
    """For all that begin after this: those that have begun stay. ``ending_before`` null: until the contract's end.
    ``proration_rounding`` null: no rounding."""

    recurring_credit_id: Id
    access_amount: AmountUpdate | None = None
    ending_before: HourInstant | None = None
    rate_type: Unsupported = None
    proration_rounding: Unsupported = None

    @property
    def recurring_id(self) -> str:
        return self.recurring_credit_id

    def given(self, name: str) -> bool:
        """Whether the field is there, null included."""
        return name in self.model_fields_set


class RecurringCommitUpdate(Body):
    """As for credits."""

    recurring_commit_id: Id
    access_amount: AmountUpdate | None = None
    invoice_amount: AmountUpdate | None = None
    ending_before: HourInstant | None = None
    rate_type: Unsupported = None
    proration_rounding: Unsupported = None

    @property
    def recurring_id(self) -> str:
        return self.recurring_commit_id

    def given(self, name: str) -> bool:
        """Whether the field is there, null included."""
        return name in self.model_fields_set


RecurringCommitUpdates = Annotated[list[RecurringCommitUpdate], Field(max_length=RECURRING_MAX)]
RecurringCreditUpdates = Annotated[list[RecurringCreditUpdate], Field(max_length=RECURRING_MAX)]


def recurring_document(
    body: RecurringCreditBody, new_id: NewId, now: str, *, contract_id: str, subscription_id: str | None, edit_id: str | None
) -> Document:
    """``subscription_id``: of the subscription that it is linked to."""
    access, commit = body.access_amount, isinstance(body, RecurringCommitBody)
    invoice = body.invoice_amount if isinstance(body, RecurringCommitBody) else None
    link = body.subscription_config
    child = _child_document(body, new_id, now, contract_id, edit_id)
    return {
        "id": child["id"],
        "type": "PREPAID" if commit else "CREDIT",
        "balance": child,
        "starting_at": rfc3339(body.starting_at),
        "recurrence_frequency": body.recurrence_frequency,
        "duration_periods": int(body.commit_duration.value),
        "proration": body.proration,
        "proration_rounding": None if body.proration_rounding is None else body.proration_rounding.model_dump(exclude_none=True),
        "subscription_config": link
        and {
            "subscription_id": subscription_id,
            "allocation": link.allocation,
            "is_prorated": link.apply_seat_increase_config.is_prorated,
        },
        "invoice_credit_type_id": None if invoice is None else invoice.credit_type_id,
        "terms": [
            {
                "set_at": None,
                "unit_price": access.unit_price,
                "quantity": access.quantity,
                "invoice_unit_price": None if invoice is None else invoice.unit_price,
                "invoice_quantity": None if invoice is None else invoice.quantity,
                "ending_before": None if body.ending_before is None else rfc3339(body.ending_before),
            }
        ],
        "edit_id": edit_id,
    }


def _child_document(body: RecurringCreditBody, new_id: NewId, now: str, contract_id: str, edit_id: str | None) -> Document:
    """What all of its balances have in common, as the document of one."""
    model = CommitBody if isinstance(body, RecurringCommitBody) else CreditBody
    shared = {name: getattr(body, name) for name in model.model_fields.keys() & type(body).model_fields.keys()}
    access = body.access_amount
    schedule = AccessSchedule.model_construct(
        schedule_items=[], credit_type_id=access.credit_type_id, access_type=access.access_type
    )
    common = model.model_construct(**shared, access_schedule=schedule, type="PREPAID")
    return balance_document(common, new_id, now, contract_id=contract_id, edit_id=edit_id)


def with_recurring(
    contract: Document,
    bodies: list[tuple[str, RecurringCreditBody]],
    named: Mapping[str, str],
    catalog: Any,
    new_id: NewId,
    now: str,
    edit_id: str | None = None,
) -> Document:
    """The contract's document with more recurring commits and credits. ``bodies``: with the names of their fields; ``named``: the
    subscriptions of the same request by temporary id. Raises BadRequest."""
    if not bodies:
        return contract
    held = list(contract.get("recurring") or ())
    if len(held) + len(bodies) > RECURRING_MAX:
        raise BadRequest(f"{bodies[0][0]}: a contract has at most {RECURRING_MAX} recurring commits and credits")
    products, units = catalog.all("products"), catalog.all("pricing_units")
    for place, body in bodies:
        link = body.subscription_config
        subscription_id = None if link is None else _subscription_id(f"{place}.", link.subscription_id, contract, named)
        made = recurring_document(body, new_id, now, contract_id=contract["id"], subscription_id=subscription_id, edit_id=edit_id)
        check_balance(f"{place}.", made["balance"], products, units)
        _check_allocation(place, made, contract)
        if made["invoice_credit_type_id"] not in (None, USD_CENTS):
            raise BadRequest(f"{place}.invoice_amount.credit_type_id: only US dollars in cents are supported")
        if contract["ending_before"] is not None and instant_us(made["starting_at"]) >= instant_us(contract["ending_before"]):
            raise BadRequest(f"{place}.starting_at: must be before the contract's end")
        if body.recurrence_frequency == "DAILY" and any(each["recurrence_frequency"] == "DAILY" for each in held):
            raise BadRequest(f"{place}.recurrence_frequency: a contract has at most one DAILY recurring commit or credit")
        held.append(made)
    return {**contract, "recurring": held}


def _subscription_id(place: str, given: str, contract: Document, named: Mapping[str, str]) -> str:
    if given in named:
        return named[given]
    if any(each["id"] == given for each in contract.get("subscriptions") or ()):
        return given
    raise BadRequest(f"{place}subscription_config.subscription_id: the contract has no subscription {given!r}")


def _check_allocation(place: str, recurring: Document, contract: Document) -> None:
    """INDIVIDUAL needs seats with ids."""
    link = recurring["subscription_config"]
    if link is None or link["allocation"] != "INDIVIDUAL":
        return
    subscription = next(each for each in contract["subscriptions"] if each["id"] == link["subscription_id"])
    if subscription.get("seats") is None:
        raise BadRequest(f"{place}.subscription_config.allocation: INDIVIDUAL needs a SEAT_BASED subscription")


def check_individual_seats(contract: Document, seats_max: int) -> None:
    """Raises BadRequest if more seats are assigned at the same time than may have balances of their own."""
    linked = {
        each["subscription_config"]["subscription_id"]
        for each in contract.get("recurring") or ()
        if each["subscription_config"] is not None and each["subscription_config"]["allocation"] == "INDIVIDUAL"
    }
    for subscription in contract.get("subscriptions") or ():
        if subscription["id"] in linked and assigned_max(subscription["seats"], subscription["starting_at"]) > seats_max:
            raise BadRequest(
                f"subscriptions: at most {seats_max} seats of a subscription may be assigned while recurring commits or credits "
                "with INDIVIDUAL allocation are linked to it"
            )


def with_updated_recurring(
    contract: Document, updates: Sequence[RecurringCommitUpdate | RecurringCreditUpdate], now: str, place: str
) -> Document:
    """Raises BadRequest or NotFound."""
    if not updates:
        return contract
    by_id = {each["id"]: each for each in contract.get("recurring") or ()}
    for index, update in enumerate(updates):
        held = by_id.get(update.recurring_id)
        if held is None or (held["type"] == "CREDIT") != isinstance(update, RecurringCreditUpdate):
            kind = "credit" if isinstance(update, RecurringCreditUpdate) else "commit"
            raise NotFound(f"the contract has no recurring {kind} {update.recurring_id}")
        by_id[held["id"]] = _updated(held, update, now, f"{place}[{index}].")
    return {**contract, "recurring": list(by_id.values())}


def _updated(recurring: Document, update: RecurringCommitUpdate | RecurringCreditUpdate, now: str, place: str) -> Document:
    terms = {**recurring["terms"][-1], "set_at": now}
    if update.access_amount is not None:
        terms |= update.access_amount.model_dump(exclude_none=True)
    if isinstance(update, RecurringCommitUpdate) and update.invoice_amount is not None:
        if terms["invoice_unit_price"] is None:
            raise BadRequest(f"{place}invoice_amount: the recurring commit is not invoiced")
        given = update.invoice_amount.model_dump(exclude_none=True)
        terms |= {f"invoice_{name}": value for name, value in given.items()}
    if update.given("ending_before"):
        terms["ending_before"] = None if update.ending_before is None else rfc3339(update.ending_before)
        if update.ending_before is not None and instant_us(terms["ending_before"]) <= instant_us(recurring["starting_at"]):
            raise BadRequest(f"{place}ending_before: must be after the start of the recurring commit or credit")
    if len(recurring["terms"]) >= TERMS_MAX:
        raise BadRequest(f"{place}access_amount: the terms can be changed {TERMS_MAX} times at most")
    return {**recurring, "terms": [*recurring["terms"], terms]}
