"""Each parameter of the official client, at any depth, is known to the route that it is sent to, and so is each value of an enum.

They are taken, or answered by 501. None is refused as a field or a value that does not exist.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_origin

import pytest
from metronome import Metronome
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from typing_extensions import get_type_hints, is_typeddict

from connectors.http.routing import Route
from connectors.http.server import ROUTES
from tests.support.sdk_methods import SdkMethod, pattern, sdk_methods

BY_PATTERN = {(each.method, pattern(each.path)): each for each in ROUTES}
CLIENT = Metronome(bearer_token="none")
NO_PARAMETERS = {"extra_headers", "extra_query", "extra_body", "timeout"}
OTHERWISE = {"body", "usage", "transaction_ids"}
"""Names of the client's own: the whole body, and one that is sent in camel case."""
SERVED = [each for each in sdk_methods() if BY_PATTERN[each.method, each.path].tag != "unsupported"]


def function_of(method: SdkMethod) -> Any:
    found: Any = CLIENT
    for part in method.name.split("."):
        found = getattr(found, part)
    return found


def leaves(annotation: Any) -> Iterator[Any]:
    """What an annotation is made of: its types, and whole Literals."""
    if get_origin(annotation) is Literal or not get_args(annotation):
        yield annotation
    else:
        for argument in get_args(annotation):
            yield from leaves(argument)


def objects(annotation: Any) -> list[Any]:
    return [each for each in leaves(annotation) if is_typeddict(each)]


def models(annotation: Any) -> list[type[BaseModel]]:
    return [each for each in leaves(annotation) if isinstance(each, type) and issubclass(each, BaseModel)]


def values(annotation: Any) -> set[str]:
    literals = [each for each in leaves(annotation) if get_origin(each) is Literal]
    return {value for each in literals for value in get_args(each) if isinstance(value, str)}


def refused(field: FieldInfo, value: str) -> bool:
    """Whether the field takes neither the value nor a list with it, and does not call it unsupported either."""
    annotation: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    for given in (value, [value]):
        try:
            adapter.validate_python(given)
        except ValidationError as error:
            if all(each["type"] == "unsupported" for each in error.errors()):
                return False
        else:
            return False
    return True


def faults(shape: Any, known: type[BaseModel], place: str, seen: set[Any]) -> Iterator[str]:
    """``shape``: the client's type of an object; ``known``: ours."""
    if (shape, known) in seen:
        return
    seen.add((shape, known))
    for name, annotation in get_type_hints(shape, include_extras=True).items():
        field = known.model_fields.get(name)
        if field is None:
            yield f"{place}{name} is not known"
            continue
        inner = models(field.annotation)
        for each in objects(annotation) if inner else ():
            yield from faults(each, inner[0], f"{place}{name}.", seen)
        if not inner:
            yield from (f"{place}{name} does not know {value}" for value in sorted(values(annotation)) if refused(field, value))


def parameter_types(function: Any) -> list[Any]:
    names = set(re.findall(r"\w+_params\.\w+Params", inspect.getsource(function)))
    module = sys.modules[function.__module__]
    return [getattr(getattr(module, name.split(".")[0]), name.split(".")[1]) for name in sorted(names)]


def merged(route: Route) -> type[BaseModel]:
    """The fields of body, query and path as of one model."""

    class Merged(BaseModel):
        pass

    Merged.model_fields.update({**route.body.model_fields, **route.query.model_fields})
    return Merged


@pytest.mark.parametrize("method", SERVED, ids=lambda method: method.name)
def test_every_parameter_is_known(method: SdkMethod) -> None:
    route, function = BY_PATTERN[method.method, method.path], function_of(method)
    known = {*route.body.model_fields, *route.query.model_fields, *re.findall(r"\{(\w+)\}", route.path)}
    assert set(inspect.signature(function).parameters) - NO_PARAMETERS - OTHERWISE <= known
    found = [fault for shape in parameter_types(function) for fault in faults(shape, merged(route), "", set())]
    assert [fault for fault in found if fault.split(" ")[0] not in known | OTHERWISE] == []


def test_the_walk_goes_deep() -> None:
    """It sees what is missing: a model without a field, and one without a value, three objects down."""

    class Item(BaseModel):
        amount: int

    class Schedule(BaseModel):
        schedule_items: list[Item]
        access_type: Literal["SPEND"] = "SPEND"

    class Commit(BaseModel):
        access_schedule: Schedule

    class Create(BaseModel):
        commits: list[Commit]

    (shape,) = parameter_types(CLIENT.v1.contracts.create)
    found = set(faults(shape, Create, "", set()))
    assert {
        "package_id is not known",
        "commits.product_id is not known",
        "commits.access_schedule.credit_type_id is not known",
        "commits.access_schedule.access_type does not know QUANTITY",
        "commits.access_schedule.schedule_items.starting_at is not known",
    } <= found
    assert "commits.access_schedule.schedule_items.amount is not known" not in found
