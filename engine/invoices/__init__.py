"""Usage invoices: what a customer owes and has at a moment.

    usage       hourly quantities of a customer, by series
    lines       quantities -> usage lines of one contract's billing period, with what each hour adds
    items       Invoice and LineItem
    drafts      one invoice: lines, draw-down, conversion of custom units, total
    statement   drafts of all live billing periods, drawn from the balances; invoices that become final
    scheduled   what is charged on given dates: SCHEDULED invoices
    breakdown   an invoice by hours or days
    codec       the stored text of a finalized invoice

All of it runs under the exact context of engine.numbers.
"""
