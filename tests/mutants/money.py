"""Faults of ours in draw-down, ledgers and tiers, re-injected. They have no number in the list of known faults: 0."""

from __future__ import annotations

from tests.mutants.faults import Edit, Mutant

DRAW = "tests/unit/test_balances_draw.py"
LEDGER = "tests/unit/test_balances_ledger.py"
LINES = "tests/unit/test_invoices_lines.py"
EXAMPLES = "tests/unit/test_invoices_examples.py"

MONEY_MUTANTS = (
    Mutant(
        0,
        "priority is looked at before the kind: a postpaid commit is used up while a credit lies idle",
        (
            Edit(
                "engine/balances/matching.py",
                "    kind: Kind\n    priority: Decimal\n",
                "    priority: Decimal\n    kind: Kind\n",
            ),
        ),
        (f"{DRAW}::test_each_step_decides_where_those_before_it_do_not[kind]",),
    ),
    Mutant(
        0,
        "a segment pays usage of hours in which it was not open",
        (
            Edit(
                "engine/balances/draw.py",
                "line.ending_hour <= pool.segment.ending_hour",
                "line.starting_hour < pool.segment.ending_hour",
            ),
        ),
        (f"{DRAW}::test_a_segment_pays_lines_that_it_holds_whole[10-21-False]",),
    ),
    Mutant(
        0,
        "what a balance has paid stays unpaid: the next one pays it again",
        (Edit("engine/balances/draw.py", "        rest.money -= value\n        rest.units =", "        rest.units ="),),
        (f"{DRAW}::test_no_part_is_paid_twice",),
    ),
    Mutant(
        0,
        "the counter of tiers begins again at each change of price",
        (
            Edit(
                "engine/invoices/lines.py",
                "steps = [Step(part.starting_hour, position)]",
                "position = ZERO\n        steps = [Step(part.starting_hour, position)]",
            ),
        ),
        (f"{LINES}::TestHours::test_a_change_of_price_splits_the_line_and_tiers_run_on",),
    ),
    Mutant(
        0,
        "the unit at a tier's edge is charged in the tier above",
        (
            Edit(
                "engine/invoices/lines.py",
                "        return top if self.start == ZERO else max(top - self.start, ZERO)\n",
                "        return top if self.start == ZERO else max(top - self.start + 1, ZERO)\n",
            ),
        ),
        (f"{LINES}::TestHours::test_sums_fill_tiers_in_the_order_of_time",),
    ),
    Mutant(
        0,
        "usage that a postpaid commit covers is taken off the invoice",
        (
            Edit(
                "engine/invoices/items.py",
                "return item.type is ItemType.APPLIED and item.balance_type is BalanceType.POSTPAID",
                "return False",
            ),
        ),
        (f"{LINES}::test_what_a_postpaid_commit_pays_is_still_owed",),
    ),
    Mutant(
        0,
        "drafts each draw on the full balance, as if there were no other invoice",
        (
            Edit(
                "engine/invoices/statement.py",
                "    drafts = [drafting.invoice(contract, period) for contract, period in live]\n",
                "    drafts = [Drafting(config, compiled, usage, grace_hours, deductions).invoice(*each) for each in live]\n",
            ),
        ),
        (f"{EXAMPLES}::TestShortCommit::test_a_draft_takes_what_the_one_before_it_has_left",),
    ),
    Mutant(
        0,
        "a final invoice's deductions are forgotten: the next draft draws the same money",
        (
            Edit(
                "engine/invoices/drafts.py",
                "        drawn[balance_id, segment_id] = drawn.get((balance_id, segment_id), ZERO) + amount\n    return [",
                "        drawn[balance_id, segment_id] = ZERO\n    return [",
            ),
        ),
        (f"{EXAMPLES}::TestShortCommit::test_a_draft_takes_what_final_invoices_have_left",),
    ),
    Mutant(
        0,
        "a segment expires while its last invoice is still a draft",
        (
            Edit(
                "engine/balances/ledger.py",
                "    if end_us <= now_us and settled:\n",
                "    if end_us <= now_us:\n",
            ),
        ),
        (f"{LEDGER}::test_nothing_expires_while_an_invoice_may_still_draw_on_it",),
    ),
    Mutant(
        0,
        "a commit's own price is forgotten where it runs out: its last units are paid for as if there were no end",
        (
            Edit(
                "engine/balances/draw.py",
                "    units = rest.units if cost <= pool.left else min(rest.units, _whole_units(pool.left, own_price))\n",
                "    units = rest.units\n",
            ),
        ),
        (f"{DRAW}::test_a_price_of_its_own_takes_units_off_the_line",),
    ),
    Mutant(
        0,
        "a balance of units draws what they cost",
        (Edit("engine/balances/draw.py", "        pool.left -= units\n", "        pool.left -= value\n"),),
        (f"{DRAW}::test_units_are_drawn_whatever_they_cost_and_in_whatever_credit_type",),
    ),
    Mutant(
        0,
        "what was rolled over to the next contract expires on the old one, too",
        (
            Edit(
                "engine/balances/ledger.py",
                "        return self.segment.amount + self.manual - self.finalized - self.rolled_over\n",
                "        return self.segment.amount + self.manual - self.finalized\n",
            ),
        ),
        (f"{LEDGER}::test_what_rolls_over_leaves_the_rest_to_expire",),
    ),
)
