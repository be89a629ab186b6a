"""Lines of quantity 0: products that a contract could have used, and did not.

They are made when an invoice is shown, and kept nowhere: no total, payment or alert depends on them. As in the reference they are
of products without a pricing group key; products with one have lines only for values that usage has had. Those of a final invoice
show the products and prices that its contract has for that period as configured now.
"""

from __future__ import annotations

from dataclasses import replace

from engine.catalog import Contract
from engine.compiled import CompiledCatalog
from engine.invoices.items import Invoice, InvoiceType, ItemType, LineItem
from engine.numbers import ZERO
from engine.periods import Period


def with_zero_lines(invoice: Invoice, contract: Contract, compiled: CompiledCatalog, period: Period) -> Invoice:
    """The invoice with a line for each such product that it has none of. ``period``: what is shown of it, all or a window."""
    book = compiled.contract_book(contract)
    if book is None or invoice.type is not InvoiceType.USAGE:
        return invoice
    used = {item.product_id for item in invoice.line_items}
    unused: list[LineItem] = []
    for product in (product for metric_id in book.metric_ids() for product in book.products_of(metric_id)):
        slices = () if product.pricing_group_key or product.id in used else book.slices(product.id, (), period)
        if slices:
            then = product.at(slices[0].starting_hour)
            unused.append(
                LineItem(
                    type=ItemType.USAGE,
                    name=then.name,
                    credit_type_id=slices[0].ladder.credit_type_id,
                    total=ZERO,
                    starting_hour=slices[0].starting_hour,
                    ending_hour=slices[-1].ending_hour,
                    quantity=ZERO,
                    unit_price=slices[0].ladder.prices[0],
                    product_id=product.id,
                    product_tags=then.tags,
                )
            )
    ordered = sorted(unused, key=lambda item: (item.name, item.product_id or ""))
    return replace(invoice, line_items=(*invoice.line_items, *ordered)) if unused else invoice
