"""Faults of ours in what alerts select and tell, re-injected. They have no number in the list of known faults: 0."""

from __future__ import annotations

from tests.mutants.faults import Edit, Mutant

SPECIFIERS = "tests/unit/test_alert_specifiers.py"
BALANCES = "tests/unit/test_balance_alerts.py"

ALERT_MUTANTS = (
    Mutant(
        0,
        "what a specifier excludes is counted",
        (
            Edit(
                "engine/alerts/fields.py",
                " and not any(all_hold(entry, balance, contracts) for entry in each.exclude)",
                "",
            ),
        ),
        (f"{SPECIFIERS}::test_what_specifiers_choose[all but]", f"{SPECIFIERS}::test_exclusions_of_a_keyed_alert"),
    ),
    Mutant(
        0,
        "a filter of commits is passed by credits",
        (
            Edit(
                "engine/alerts/fields.py",
                "(wanted.entity is Entity.CREDIT) == (balance.type is BalanceType.CREDIT)",
                "wanted.entity is Entity.COMMIT",
            ),
        ),
        (f"{BALANCES}::test_custom_field_filters[one0-counted0]",),
    ),
    Mutant(
        0,
        "an alert that is split by a field is at its line, as a whole, when every value is",
        (
            Edit(
                "engine/standing.py",
                "if least is None or (not figure.past, figure.value) < (not least.past, least.value):",
                "if least is None or (not figure.past, figure.value) > (not least.past, least.value):",
            ),
        ),
        (f"{SPECIFIERS}::test_the_first_value_at_the_line_is_told_twice_and_the_next_ones_once",),
    ),
    Mutant(
        0,
        "spend is counted on every contract, whatever fields are asked for",
        (Edit("engine/board.py", "if contract_has(contract, split.filters)}", "}"),),
        ("tests/property/test_alert_filters.py::test_filtered_spend_is_that_of_the_matching_contracts",),
    ),
    Mutant(
        0,
        "an end in the past is not evaluated",
        (Edit("engine/customer.py", "ended_before = moved and self._live.closed", "ended_before = False"),),
        (f"{BALANCES}::test_an_end_in_the_past_is_evaluated_once[1-standing0-False]",),
    ),
)
