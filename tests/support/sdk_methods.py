"""Every HTTP method of the official client: (method, path pattern) by name, found by calling it.

Each method is called once, with stand-ins for what it requires, on a client whose requests go nowhere: what it asks for is its
path. A path parameter's value is replaced by ``{}``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
from metronome import Metronome
from metronome._resource import SyncAPIResource

_STAND_IN = "a-path-parameter"
_CONTAINER = re.compile(r"Iterable|SequenceNotStr|List|Dict|\w+\.\w")  # the last one: a parameter's own type of object
_NO_CALL = ("with_raw_response", "with_streaming_response")


class SdkMethod(NamedTuple):
    """``name``: as one writes it after ``client.``."""

    name: str
    method: str
    path: str


def pattern(path: str) -> str:
    """A route's path with its parameters' names left out."""
    return re.sub(r"\{[^}]*\}", "{}", path)


def _resources(owner: Any, name: str) -> Iterator[tuple[str, SyncAPIResource]]:
    for attribute in dir(type(owner)):
        if attribute.startswith("_") or attribute in _NO_CALL:
            continue
        value = inspect.getattr_static(type(owner), attribute)
        if hasattr(value, "func") or isinstance(value, property):  # resources are cached properties
            resource = getattr(owner, attribute)
            if isinstance(resource, SyncAPIResource):
                yield f"{name}{attribute}", resource
                yield from _resources(resource, f"{name}{attribute}.")


def _arguments(method: Any) -> dict[str, Any]:
    required = [each for each in inspect.signature(method).parameters.values() if each.default is inspect.Parameter.empty]
    return {each.name: [] if _CONTAINER.match(str(each.annotation)) else _STAND_IN for each in required}


def sdk_methods() -> list[SdkMethod]:
    """All of them, by name."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"data": []})

    found = []
    with Metronome(bearer_token="none", max_retries=0, http_client=httpx.Client(transport=httpx.MockTransport(answer))) as client:
        for name, resource in _resources(client, ""):
            for attribute, _ in inspect.getmembers(type(resource), inspect.isfunction):
                if attribute.startswith("_"):
                    continue
                asked.clear()
                bound = getattr(resource, attribute)
                bound(**_arguments(bound))
                request = asked[0]
                path = request.url.path.replace(_STAND_IN, "{}")
                found.append(SdkMethod(f"{name}.{attribute}", request.method, path))
    return sorted(found)
