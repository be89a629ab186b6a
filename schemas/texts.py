"""Which characters texts may hold that clients send.

Control characters (Unicode's category Cc, U+0000 among them) end or break what texts are put into: log lines, CSV files,
terminals, databases of those who read our answers. Halves of surrogate pairs are what is left of bytes that are not UTF-8; no
encoder takes them. Texts of one line (names, aliases, keys, ids) hold none of these; longer ones may have tabs and line ends.
"""

from __future__ import annotations

import re

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_CONTROL_BUT_LINES = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_MAY_HOLD_ONE = re.compile(rb"\\[bfnrtu]|\x7f|\xc2[\x80-\x9f]")
"""In the bytes of JSON, where control characters are written as escapes."""
_PLACE_CHARACTERS_MAX = 200
FREE = "properties"
"""Of usage events: the producers' own, with any text."""

RULE = "must not hold control characters"


def is_one_line(text: str) -> bool:
    return _CONTROL.search(text) is None


def one_line(text: str) -> str:
    """Raises ValueError for a text that is not fit for one line."""
    if not is_one_line(text):
        raise ValueError(RULE)
    return text


def clean(text: str) -> str:
    """With U+FFFD in the place of what is not to be there: for texts that are kept, but decide nothing."""
    return _CONTROL.sub("\ufffd", text)


def odd_place(raw: bytes, parsed: object) -> str | None:
    """Where a parsed JSON body holds a text (a key or a value) with a control character that no text may have; None = nowhere.

    Without recursion: a body may be nested as deep as it is long."""
    if _MAY_HOLD_ONE.search(raw) is None:
        return None
    waiting: list[tuple[str, object]] = [("", parsed)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, str):
            if _CONTROL_BUT_LINES.search(value):
                return place[:_PLACE_CHARACTERS_MAX] or "body"
        elif isinstance(value, list):
            waiting += [(f"{place}[{index}]", item) for index, item in enumerate(value)]
        elif isinstance(value, dict):
            for name, item in value.items():
                if not is_one_line(name):
                    return f"{place}.{clean(name)}".lstrip(".")[:_PLACE_CHARACTERS_MAX]
                if name != FREE:
                    waiting.append((f"{place}.{name}".lstrip("."), item))
    return None
