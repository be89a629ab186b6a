"""When a configuration changes by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass


def hours_of_change(configuration: object) -> Iterator[int]:
    """The hours at which something begins or ends: the values of all fields named ``..._hour``, at any depth."""
    if isinstance(configuration, tuple):
        for part in configuration:
            yield from hours_of_change(part)
    elif is_dataclass(configuration):
        for field in fields(configuration):
            value = getattr(configuration, field.name)
            if field.name.endswith("_hour"):
                if value is not None:
                    yield value
            elif isinstance(value, tuple) or is_dataclass(value):
                yield from hours_of_change(value)
