"""Faults of ours in what alerts select and tell, re-injected. They have no number in the list of known faults: 0."""

from __future__ import annotations

from tests.mutants.faults import Edit, Mutant

SPECIFIERS = "tests/unit/test_alert_specifiers.py"
BALANCES = "tests/unit/test_balance_alerts.py"
SEVERAL = "tests/unit/test_several_contracts.py"

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
                "    if other in entities and own not in entities:\n        return False\n",
                "",
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
        (
            Edit(
                "engine/customer.py",
                "ended_before = {scope for scope in moved if self._live.calendars[scope].closed}",
                "ended_before: set[Scope] = set()",
            ),
        ),
        (f"{BALANCES}::test_an_end_in_the_past_is_evaluated_once[1-standing0-False]",),
    ),
    Mutant(
        0,
        "a state lives as long as the span of all billing periods stays the same",
        (
            Edit(
                "engine/frames.py",
                "return not self.parts().isdisjoint(later.parts())",
                "return self.span == later.span",
            ),
        ),
        (
            f"{SEVERAL}::test_a_month_is_told_once_however_the_span_of_all_changes_beside_it[its weeks roll-24]",
            f"{SEVERAL}::test_a_month_is_told_once_however_the_span_of_all_changes_beside_it[its month ends-0]",
        ),
    ),
    Mutant(
        0,
        "a boundary ends what is in alarm, before the new sum is looked at",
        (
            Edit(
                "engine/evaluation.py",
                "if tracker.at(key) in ALARMED and not live.is_past(alert, key.period, group):",
                "if tracker.at(key) in ALARMED:",
            ),
        ),
        (f"{SEVERAL}::test_a_boundary_of_another_contract_tells_nothing_of_what_stays_past_the_line[False-it begins-24]",),
    ),
    Mutant(
        0,
        "a finished period is added to what runs beside it after its end",
        (
            Edit(
                "engine/frames.py",
                "Period(period.starting_hour, min(period.ending_hour, end))",
                "Period(period.starting_hour, period.ending_hour)",
            ),
        ),
        (f"{SEVERAL}::test_a_finished_period_is_never_added_to_one_that_runs",),
    ),
    Mutant(
        0,
        "an event that counts in a finished and in a running period is told of both",
        (
            Edit(
                "engine/evaluation.py",
                "    if finding.period == head:\n        return cause\n",
                "    if finding.period is not None:\n        return cause\n",
            ),
        ),
        (
            f"{SEVERAL}::test_an_event_that_counts_in_a_finished_and_in_a_running_period_is_told_once_and_of_what_runs",
            f"{SEVERAL}::test_late_usage_is_silent_in_a_finished_period_while_the_alert_is_in_alarm",
        ),
    ),
    Mutant(
        0,
        "what was told of the sum is told again of the finished period",
        (
            Edit(
                "engine/evaluation.py",
                "closed if closed in calendar.frames else None",
                "None",
            ),
            Edit(
                "engine/evaluation.py",
                "findings.append(found._replace(cause=Input.ABOVE_TOO_LATE) if too_late else found)",
                "findings.append(found)",
            ),
        ),
        (f"{SEVERAL}::test_a_part_that_begins_again_resolves_what_is_below_the_line_without_it",),
    ),
    Mutant(
        0,
        "an alert about some contracts has the periods of all",
        (
            Edit(
                "engine/calendars.py",
                "return tuple(contract for contract in contracts if contract_has(contract, scope)) or contracts",
                "return contracts",
            ),
        ),
        (f"{SEVERAL}::test_a_filtered_alert_knows_only_the_periods_of_its_contracts",),
    ),
)
