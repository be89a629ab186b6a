"""What is taken and changes nothing, and what is refused: read from the routes, printed as a block of the README.

    python -m tests.support.supported            prints the block
    python -m tests.support.supported --write    puts it between its marks in README.md

``NOTHING`` is the only list that is written by hand. tests/conformance/test_parameters.py holds it against what the API does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, BeforeValidator

from connectors.http.routing import Route
from connectors.http.server import ROUTES
from schemas.common import Unsupported

README = Path(__file__).parents[2] / "README.md"
START, END = "<!-- supported: made by python -m tests.support.supported --write -->", "<!-- supported: end -->"

NOTHING = {
    "include_historical_commit_invoices": "invoices of commits, those of past ones included, are always listed",
    "webhook_notification_id": "says who asks",
    "leave_stripe_invoices_in_draft": "kept and shown: no invoice is sent to a provider",
    "salesforce_account_id": "kept and shown, and customers can be listed by it",
    "netsuite_sales_order_id": "kept and shown",
    "salesforce_opportunity_id": "kept and shown",
    "netsuite_internal_item_id": "kept and shown",
    "netsuite_overage_item_id": "kept and shown",
    "is_refundable": "kept and shown: there are no refunds",
    "exclude_free_usage": "kept and shown: free usage has no spend that a percentage could be of",
    "net_payment_terms_days": "kept and shown: no invoice is sent",
    "billing_provider_configuration": "kept and shown: no invoice is sent to a provider",
    "customer_billing_provider_configurations": "kept and shown: no invoice is sent to a provider",
    "total_contract_value": "kept and shown",
    "billing_provider": "of packages: kept and shown",
    "delivery_method": "of packages: kept and shown",
    "amend.starting_at": "kept and shown: what an amendment adds has dates of its own",
}
"""Parameters that are taken and move no amount, status, balance or notification, and why. What merely describes (names,
descriptions, custom fields) is not listed."""

REFUSED_VALUES = (
    ("proration.invoice_behavior", "BILL_IMMEDIATELY", "no invoice is made within a billing period"),
    ("invoice_types_filter", "USAGE_CONSOLIDATED alone", "there are no hierarchies"),
)
"""Values of fields that are answered by 501 (beside those of enums, which are read from the models)."""

_CHECK = next(part.func for part in get_args(Unsupported) if isinstance(part, BeforeValidator))


def _leaves(annotation: Any) -> Iterator[Any]:
    arguments = get_args(annotation)
    if arguments:
        for argument in arguments:
            yield from _leaves(argument)
    else:
        yield annotation


def _validators(annotation: Any) -> Iterator[Any]:
    for part in get_args(annotation):
        if isinstance(part, BeforeValidator):
            yield part.func
        yield from _validators(part)


def unsupported_fields(model: type[BaseModel], place: str = "", seen: frozenset[type] = frozenset()) -> Iterator[str]:
    """The fields of a request that are answered by 501, at any depth: their paths, and values of enums."""
    for name, field in model.model_fields.items():
        functions = [part.func for part in field.metadata if isinstance(part, BeforeValidator)]
        functions += _validators(field.annotation)
        if _CHECK in functions:
            yield f"{place}{name}"
            continue
        for later in (values for function in functions for values in _later(function)):
            yield f"{place}{name}: {later}"
        for leaf in _leaves(field.annotation):
            if isinstance(leaf, type) and issubclass(leaf, BaseModel) and leaf not in seen:
                yield from unsupported_fields(leaf, f"{place}{name}.", seen | {model, leaf})


def _later(function: Any) -> tuple[str, ...]:
    """The values that schemas.commits.only answers by 501."""
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)) if callable(function) else {}
    return tuple(cells["later"].cell_contents) if "later" in cells else ()


def refused_by_route() -> dict[str, list[str]]:
    """Path -> the fields of its requests that are answered by 501."""
    found: dict[str, list[str]] = {}
    for route in _served():
        fields = sorted({*unsupported_fields(route.body), *unsupported_fields(route.query)})
        if fields:
            found[f"{route.method} {route.path}"] = fields
    return found


def _served() -> list[Route]:
    return [route for route in ROUTES if route.tag != "unsupported"]


def block() -> str:
    lines = [START, "", "Taken, and changes nothing but what is shown:", ""]
    lines += [f"- `{name}`: {reason}" for name, reason in sorted(NOTHING.items())]
    lines += ["", "Answered by 501, by request:", ""]
    by_fields: dict[tuple[str, ...], list[str]] = {}
    for path, fields in refused_by_route().items():
        by_fields.setdefault(tuple(fields), []).append(path)
    for names, paths in sorted(by_fields.items(), key=lambda each: each[1]):
        lines.append(f"- {', '.join(f'`{path}`' for path in paths)}: {', '.join(f'`{name}`' for name in names)}")
    lines += [f"- `{name}`: `{value}` ({reason})" for name, value, reason in REFUSED_VALUES]
    missing = [f"`{route.method} {route.path}`" for route in ROUTES if route.tag == "unsupported"]
    lines += ["", f"Methods of the client that are answered by 501: {', '.join(missing)}", "", END]
    return "\n".join(lines)


def main() -> None:
    if "--write" not in sys.argv:
        print(block())
        return
    text = README.read_text("utf-8")
    start, end = text.index(START), text.index(END) + len(END)
    README.write_text(text[:start] + block() + text[end:], "utf-8")


if __name__ == "__main__":
    main()
