"""Custom fields in alerts: which balances a filter or a specifier selects, and by which value one is told apart.

    custom_field_filters   AND: every one must hold; a balance (or its contract) without the field is out. Filters on commits and
                           on credits each hold for their own entity: where both are named, a commit is held against the former
                           and a credit against the latter; where only one is, the other kind of balance is out
    alert_specifiers       OR of specifiers; in each, AND of its filters, then without what any of its exclusions matches whole.
                           A specifier without filters takes everything
    keyed                  one specifier with one filter that names no value: each value of that field has a state of its own

Source: the guides on threshold notifications and on alert specifiers (sections 3.3 and 3.4 of the behaviour that we follow).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from engine.catalog import Alert, Balance, BalanceType, Contract, CustomFieldFilter, Entity

Contracts = Mapping[str, Contract]


def selected_by_fields(alert: Alert, balance: Balance, contracts: Contracts) -> bool:
    """Whether the alert's custom field filters and specifiers let the balance in."""
    if not all_hold(alert.custom_field_filters, balance, contracts):
        return False
    return not alert.specifiers or any(
        all_hold(each.include, balance, contracts) and not any(all_hold(entry, balance, contracts) for entry in each.exclude)
        for each in alert.specifiers
    )


def all_hold(filters: Sequence[CustomFieldFilter], balance: Balance, contracts: Contracts) -> bool:
    """Whether every filter that is about this kind of balance holds, and one is, if any is about the other kind alone; a filter
    without a value asks for the field to be there."""
    own, other = (Entity.CREDIT, Entity.COMMIT) if balance.type is BalanceType.CREDIT else (Entity.COMMIT, Entity.CREDIT)
    entities = {each.entity for each in filters}
    if other in entities and own not in entities:
        return False
    for each in filters:
        if each.entity is other:
            continue
        value = value_of(each, balance, contracts)
        if value is None or each.value not in (None, value):
            return False
    return True


def value_of(wanted: CustomFieldFilter, balance: Balance, contracts: Contracts) -> str | None:
    """The value of the field that a filter looks at; None where it is absent, or where the balance is no such entity."""
    fields: tuple[tuple[str, str], ...] = ()
    if wanted.entity is Entity.CONTRACT:
        contract = None if balance.contract_id is None else contracts.get(balance.contract_id)
        fields = () if contract is None else contract.custom_fields
    elif wanted.entity is Entity.CREDIT_OR_COMMIT or (wanted.entity is Entity.CREDIT) == (balance.type is BalanceType.CREDIT):
        fields = balance.custom_fields
    return next((value for key, value in fields if key == wanted.key), None)


def key_of(alert: Alert) -> CustomFieldFilter | None:
    """The filter without a value by which a keyed alert tells its states apart; None for every other alert."""
    for specifier in alert.specifiers:
        for each in specifier.include:
            if each.value is None:
                return each
    return None


def specifiers_told(alert: Alert, group: tuple[str, ...]) -> list[dict[str, object]]:
    """The specifiers as a notification names them. ``group``: the value that is meant, () for the alert as a whole: the filter
    by its key is then left without a value."""

    def filters(entries: Iterable[CustomFieldFilter]) -> list[dict[str, str]]:
        told = []
        for each in entries:
            value = group[0] if each.value is None and group else each.value
            told.append({"entity": each.entity.value, "key": each.key, **({} if value is None else {"value": value})})
        return told

    return [
        {
            "custom_field_filters": filters(each.include),
            **({"exclude": [{"custom_field_filters": filters(entry)} for entry in each.exclude]} if each.exclude else {}),
        }
        for each in alert.specifiers
    ]
