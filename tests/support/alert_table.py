"""The table of alert types: each type with each filter that applies to it, what is done to a customer, and what must be told.

Every row lives through the same five phases. Usage is in tokens at one cent (or one unit) each:

    rising (spend, usage, invoices), line at 10:     below 9    at 10    above 15    back 8     again 12
    falling (balances of 100), line at 25:           below 30   at 25    above 20    back 30    again 22
    days: by the clock and by edits of the segment   before the instant, at it, after it, prolonged, shortened
    charges: by edits of a scheduled charge, in the place of usage; values as for rising

Each row also has decoys beside what it watches (another region, another contract, another commit), which would give other values,
and so other notifications, if its filter were not heeded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

PHASES = ("below", "at", "above", "back", "again")
Fields = Mapping[str, str]
_TAG = {"table": "mine"}


@dataclass(frozen=True)
class Told:
    """One notification of a phase. ``about``: the part of the payload, and of a request for the status, that names a group."""

    state: str
    previous: float
    value: float
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Phase:
    """``uses``: properties of usage events, in order."""

    uses: tuple[Mapping[str, Any], ...]
    told: tuple[Told, ...] = ()


@dataclass(frozen=True)
class BalanceSetup:
    """``kind``: PREPAID, POSTPAID or CREDIT. ``on_contract``: of the row's first contract, else of the customer.
    ``credit_type``: "usd", "unit" for the custom unit, "quantity" for units of usage."""

    kind: str
    amount: float
    priority: float = 1
    custom_fields: Fields = field(default_factory=dict)
    on_contract: bool = False
    credit_type: str = "usd"


@dataclass(frozen=True)
class Row:
    """``alert``: the body of its creation, with "unit" and "metric" for the ids of the custom unit and of the metric.
    ``contracts``: the custom fields of each contract. ``measure``: the payload's field that holds the value.
    ``days``: what happens in the phases is time and edits of segments. ``charges``: edits of a charge, to these amounts.
    ``monthly``: contracts are billed by calendar months, not by weeks of their own. ``seats``: of a subscription, by region."""

    name: str
    alert: Mapping[str, Any]
    measure: str
    phases: Mapping[str, Phase]
    contracts: tuple[Fields, ...] = ({},)
    balances: tuple[BalanceSetup, ...] = ()
    days: bool = False
    charges: tuple[float, ...] = ()
    monthly: bool = False
    seats: tuple[str, ...] = ()


def _tokens(*amounts: float, region: str = "eu") -> tuple[Mapping[str, Any], ...]:
    return tuple({"tokens": amount, "region": region} for amount in amounts)


def _rising(about: Mapping[str, Any] | None = None, beside: tuple[Mapping[str, Any], ...] = ()) -> dict[str, Phase]:
    about = about or {}
    return {
        "below": Phase((*beside, *_tokens(9))),
        "at": Phase(_tokens(1), (Told("reached", 9, 10, about),)),
        "above": Phase(_tokens(5)),
        "back": Phase(_tokens(-7), (Told("resolved", 15, 8, about),)),
        "again": Phase(_tokens(4), (Told("reached", 8, 12, about),)),
    }


def _falling(about: Mapping[str, Any] | None = None) -> dict[str, Phase]:
    about = about or {}
    return {
        "below": Phase(_tokens(70)),
        "at": Phase(_tokens(5), (Told("reached", 30, 25, about),)),
        "above": Phase(_tokens(5)),
        "back": Phase(_tokens(-10), (Told("resolved", 20, 30, about),)),
        "again": Phase(_tokens(8), (Told("reached", 30, 22, about),)),
    }


def _filter(entity: str, **fields: str) -> list[dict[str, str]]:
    return [{"entity": entity, "key": key, "value": value} for key, value in (fields or _TAG).items()]


# --- spend, usage, invoices -----------------------------------------------------------------------------------------------

_EU = {"group_values": [{"key": "region", "value": "eu"}]}
_US = {"group_values": [{"key": "region", "value": "us"}]}
_MINE_AND_ANOTHER: tuple[Fields, ...] = (_TAG, {"table": "another"})


def _both_regions() -> dict[str, Phase]:
    """Two regions in turn, each with a state of its own."""
    first = _rising(_EU)
    return {
        **first,
        "below": Phase((*_tokens(9), *_tokens(9, region="us"))),
        "above": Phase((*_tokens(5), *_tokens(2, region="us")), (Told("reached", 9, 11, _US),)),
        "again": Phase((*_tokens(4), *_tokens(1, region="us")), first["again"].told),
    }


def _spend() -> Iterator[Row]:
    alert = {"alert_type": "spend_threshold_reached", "threshold": 10}
    elsewhere = _tokens(500, region="us")
    filtered = {"custom_field_filters": _filter("Contract")}
    yield Row("spend", alert, "current_spend", _rising())
    yield Row("spend in a unit", {**alert, "credit_type_id": "unit"}, "current_spend", _rising())
    yield Row("spend of a contract", {**alert, **filtered}, "current_spend", _rising(), _MINE_AND_ANOTHER)
    yield Row("spend of one group", {**alert, **_EU}, "current_spend", _rising(_EU, elsewhere))
    yield Row("spend of every group", {**alert, "group_values": [{"key": "region"}]}, "current_spend", _both_regions())
    one = {**alert, **_EU, **filtered}
    yield Row("spend of one group of a contract", one, "current_spend", _rising(_EU, elsewhere), _MINE_AND_ANOTHER)


def _usage() -> Iterator[Row]:
    alert = {"alert_type": "usage_threshold_reached", "threshold": 10, "billable_metric_id": "metric"}
    yield Row("usage", alert, "current_usage", _rising())
    yield Row("usage without a contract", alert, "current_usage", _rising(), ())


def _invoices() -> Iterator[Row]:
    alert = {"alert_type": "invoice_total_reached", "threshold": 10}
    filtered = {"custom_field_filters": _filter("Contract")}
    # a commit of 20 pays first, so that totals are what is left to pay
    paid = (BalanceSetup("PREPAID", 20),)
    phases = {**_rising(), "below": Phase(_tokens(29))}
    yield Row("invoice total", alert, "invoice_total", phases, balances=paid)
    yield Row("usage invoice total", {**alert, "invoice_types_filter": ["USAGE"]}, "invoice_total", phases, balances=paid)
    yield Row("invoice total of a contract", {**alert, **filtered}, "invoice_total", _rising(), _MINE_AND_ANOTHER)
    unheard = {phase: replace(each, told=()) for phase, each in _rising().items()}
    scheduled = {**alert, "invoice_types_filter": ["SCHEDULED"]}
    yield Row("scheduled invoice total, of usage", scheduled, "invoice_total", unheard)
    edited = {phase: replace(each, uses=_tokens(100) if phase == "below" else ()) for phase, each in _rising().items()}
    yield Row("scheduled invoice total", scheduled, "invoice_total", edited, charges=(9, 10, 15, 8, 12))


def _months() -> Iterator[Row]:
    alert = {"alert_type": "monthly_invoice_total_spend_threshold_reached", "threshold": 10}
    filtered = {"custom_field_filters": _filter("Contract")}
    phases = {**_rising(), "below": Phase(_tokens(29))}
    paid = (BalanceSetup("PREPAID", 20),)
    yield Row("month", alert, "monthly_invoice_total", phases, balances=paid, monthly=True)
    # two contracts, so each token counts twice
    twice = {
        "below": Phase(_tokens(4)),
        "at": Phase(_tokens(1), (Told("reached", 8, 10),)),
        "above": Phase(_tokens(2)),
        "back": Phase(_tokens(-3), (Told("resolved", 14, 8),)),
        "again": Phase(_tokens(2), (Told("reached", 8, 12),)),
    }
    yield Row("month of two contracts", alert, "monthly_invoice_total", twice, ({}, {}), monthly=True)
    one = {**alert, **filtered}
    yield Row("month of a contract", one, "monthly_invoice_total", _rising(), _MINE_AND_ANOTHER, monthly=True)
    month = {"alert_type": "monthly_invoice_total_spend_threshold_reached", "threshold": 10}
    yield Row("monthly invoice total", month, "monthly_invoice_total", phases, balances=paid)
    yield Row("monthly total of a contract", {**month, **filtered}, "monthly_invoice_total", _rising(), _MINE_AND_ANOTHER)


# --- balances -------------------------------------------------------------------------------------------------------------

_KINDS = {
    "contract_credit": ("CREDIT", ("ContractCredit", "ContractCreditOrCommit", "Contract")),
    "commit": ("PREPAID", ("Commit", "ContractCreditOrCommit", "Contract")),
    "contract_credit_and_commit": ("POSTPAID", ("Commit", "ContractCreditOrCommit", "Contract")),
}
_COMBINED = "contract_credit_and_commit"


def _balances() -> Iterator[Row]:
    """The line is 25 of 100, as an amount and in percent. A balance that a filter leaves out would make it 25 of 1,100."""
    for kind, (paid_by, entities) in _KINDS.items():
        for form, measure in (("balance", "remaining_balance"), ("percentage", "remaining_percentage")):
            alert = {"alert_type": f"low_remaining_{kind}_{form}_reached", "threshold": 25}
            name = f"{kind} {form}"
            plain = BalanceSetup(paid_by, 100)
            other = BalanceSetup("PREPAID" if paid_by == "CREDIT" else "CREDIT", 1000, priority=2)
            yield Row(name, alert, measure, _falling(), balances=(plain,) if kind == _COMBINED else (plain, other))
            unit = BalanceSetup(paid_by, 100, credit_type="unit")
            in_units = {**alert, "credit_type_id": "unit", "access_type": "SPEND"}
            yield Row(f"{name} in a unit", in_units, measure, _falling(), balances=(unit, plain))
            quantity = BalanceSetup("CREDIT" if paid_by == "CREDIT" else "PREPAID", 100, credit_type="quantity")
            in_quantity = {**alert, "access_type": "QUANTITY"}
            balances = (quantity, replace(plain, priority=2))
            yield Row(f"{name} in units of usage", in_quantity, measure, _falling(), balances=balances)
            decoy = BalanceSetup(paid_by, 1000, priority=2)
            tagged = BalanceSetup(paid_by, 100, custom_fields=_TAG)
            of_contract = BalanceSetup(paid_by, 100, on_contract=True)
            for entity in entities:
                mine = of_contract if entity == "Contract" else tagged
                filtered = {**alert, "custom_field_filters": _filter(entity)}
                yield Row(f"{name} by {entity}", filtered, measure, _falling(), (_TAG,), (mine, decoy))
            if kind == _COMBINED:
                yield from _specified(alert, name, measure)


def _specified(alert: Mapping[str, Any], name: str, measure: str) -> Iterator[Row]:
    decoy = BalanceSetup("CREDIT", 1000, priority=2, custom_fields={"other": "x"})
    either = [{"custom_field_filters": _filter("Commit", team=team)} for team in ("red", "blue")]
    two = tuple(BalanceSetup("PREPAID", 50, custom_fields={"team": team}) for team in ("red", "blue"))
    about = {"alert_specifiers": either}
    yield Row(f"{name} of either", {**alert, **about}, measure, _falling(about), balances=(*two, decoy))
    without = [{"exclude": [{"custom_field_filters": _filter("ContractCredit", other="x")}]}]
    told = {"alert_specifiers": [{"custom_field_filters": [], **without[0]}]}
    yield Row(f"{name} without some", {**alert, "alert_specifiers": without}, measure, _falling(told), balances=(*two, decoy))

    key = {"entity": "ContractCreditOrCommit", "key": "team"}

    def of(team: str | None) -> dict[str, Any]:
        return {"alert_specifiers": [{"custom_field_filters": [key if team is None else {**key, "value": team}]}]}

    teams = (
        BalanceSetup("CREDIT", 100, custom_fields={"team": "red"}),
        BalanceSetup("PREPAID", 100, custom_fields={"team": "blue"}, priority=2),
        BalanceSetup("PREPAID", 100, priority=0, custom_fields={"other": "x"}),
    )
    phases = {
        "below": Phase(_tokens(170)),
        "at": Phase(_tokens(5), (Told("reached", 30, 25, of("red")), Told("reached", 30, 25, of(None)))),
        "above": Phase(_tokens(105), (Told("reached", 100, 20, of("blue")),)),
        "back": Phase(
            _tokens(-110),
            (
                Told("resolved", 20, 100, of("blue")),
                Told("resolved", 0, 30, of("red")),
                Told("resolved", 0, 30, of(None)),
            ),
        ),
        "again": Phase(_tokens(8), (Told("reached", 30, 22, of("red")), Told("reached", 30, 22, of(None)))),
    }
    yield Row(f"{name} by a key", {**alert, **of(None)}, measure, phases, balances=teams)


def _seats() -> Iterator[Row]:
    """Each seat has 100 cents; usage in a region is that of a seat."""
    alert = {"alert_type": "low_remaining_seat_balance_reached", "threshold": 25}
    seats = ("eu", "us")

    def of(seat: str) -> dict[str, Any]:
        return {"seat_filter": {"seat_group_key": "region", "seat_group_value": seat, "value": seat}}

    def row(name: str, phases: Mapping[str, Phase], seat: str | None, **more: Any) -> Row:
        watched = {"seat_group_key": "region"} if seat is None else {"seat_group_key": "region", "seat_group_value": seat}
        return Row(name, {**alert, "seat_filter": watched, **more}, "remaining_balance", phases, seats=seats)

    one = _falling(of("eu"))
    one["above"] = Phase((*_tokens(5), *_tokens(80, region="us")))
    yield row("one seat", one, "eu")
    yield row("one seat in cents", one, "eu", credit_type_id="usd", access_type="SPEND")
    every = _falling(of("eu"))
    every["above"] = Phase((*_tokens(5), *_tokens(80, region="us")), (Told("reached", 100, 20, of("us")),))
    yield row("every seat", every, None)


# --- days -----------------------------------------------------------------------------------------------------------------


def _days() -> Iterator[Row]:
    """Values are days; the driver works out which, as they depend on when the test runs."""
    for kind, (paid_by, entities) in list(_KINDS.items())[:2]:
        alert = {"alert_type": f"low_remaining_days_for_{kind}_segment_reached"}
        other = "PREPAID" if paid_by == "CREDIT" else "CREDIT"
        decoy = BalanceSetup(other, 100, custom_fields=_TAG, on_contract=True)
        phases = {"at": Phase((), (Told("reached", 0, 0),)), "back": Phase((), (Told("resolved", 0, 0),))}
        phases["again"] = phases["at"]
        phases = {name: phases.get(name, Phase(())) for name in PHASES}
        yield Row(f"days of a {kind}", alert, "remaining_days", phases, (_TAG,), (BalanceSetup(paid_by, 100), decoy), days=True)
        for entity in entities:
            mine = BalanceSetup(
                paid_by, 100, custom_fields={} if entity == "Contract" else _TAG, on_contract=entity == "Contract"
            )
            untagged = BalanceSetup(paid_by, 100, custom_fields={"table": "another"})
            filtered = {**alert, "custom_field_filters": _filter(entity)}
            name = f"days of a {kind} by {entity}"
            yield Row(name, filtered, "remaining_days", phases, (_TAG,), (mine, untagged, decoy), days=True)


ROWS = (*_spend(), *_usage(), *_invoices(), *_months(), *_balances(), *_seats(), *_days())
