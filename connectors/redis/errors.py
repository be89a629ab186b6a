"""What is wrong when a call to Redis raises: the one table of kinds, for every role.

    away      no answer: not reached, or the connection broke before the reply. The call may have been executed.
    refuses   an answer: the server is there and does not do it now. Nothing was executed. It mends when the server's state does
              (memory, disk, a failover, its password), so the same call may be made again later.
    defect    an answer that no waiting mends: a wrong command, a key of another type, an error in a script of ours.

A refusal has a code: the first word of the server's answer. Up to Redis 6.2 a script that is refused inside quotes it in the
middle of a text of its own (``@user_script: 42: -OOM command not allowed``), and a pipeline puts the command before it. So the
text is read, and not the class of the exception, which redis-py has for some codes only. A refusal comes before a script's first
write: maxmemory, a failed save, missing replicas and the role are looked at by then, and do not change while it runs.
"""

from __future__ import annotations

import re
from enum import StrEnum

from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    InvalidResponse,
    MaxConnectionsError,
    RedisError,
    TimeoutError,
)


class Trouble(StrEnum):
    AWAY = "away"
    REFUSES = "refuses"
    DEFECT = "defect"


REFUSALS = {
    "OOM": "is out of memory (maxmemory)",
    "MISCONF": "could not save to its disk and takes no writes",
    "BUSY": "is busy with a script",
    "LOADING": "is loading its data",
    "READONLY": "is a replica now: a failover is under way, or the address leads to a replica",
    "MASTERDOWN": "is a replica that has lost its primary",
    "NOREPLICAS": "has fewer replicas than it is told to have",
    "CLUSTERDOWN": "is part of a cluster that is down",
    "TRYAGAIN": "is moving keys",
    "UNBLOCKED": "became a replica while a read waited",
    "NOAUTH": "wants a password",
    "WRONGPASS": "does not take the user and password",
    "NOPERM": "does not let this user do that (ACL)",
    "DENIED": "is in protected mode",
    "CLIENTS": "has no room for another client (maxclients)",
}
"""Code -> how a line of log or an answer says it. CLIENTS is ours: the server has no word of its own for it."""

ROLE_LOST = frozenset({"READONLY", "MASTERDOWN", "UNBLOCKED"})
"""After these the connection leads to a server that is no primary any more."""

_CLIENTS = "max number of clients "
_CODE = re.compile("(?:^|: -)(" + "|".join(code for code in REFUSALS if code != "CLIENTS") + r")\b")
_IN_A_PIPELINE = "of pipeline caused error: ("


def refusal_code(error: BaseException) -> str | None:
    """The key of ``REFUSALS`` that an error stands for; None if it is no refusal."""
    if isinstance(error, MaxConnectionsError):
        return "CLIENTS"  # of our own pool
    if not isinstance(error, RedisError):
        return None
    status = getattr(error, "status_code", None)  # redis-py takes the code off the text where it knows it
    if status in REFUSALS:
        return str(status)
    text = str(error).rpartition(_IN_A_PIPELINE)[2].lstrip("'\"")  # before it stands the command, which anybody may have filled
    if _CLIENTS in text:
        return "CLIENTS"
    found = _CODE.search(text)
    if found is not None:
        return found[1]
    return "WRONGPASS" if isinstance(error, AuthenticationError) else None


def trouble(error: BaseException) -> Trouble:
    """Of what is raised by a call to Redis: RedisError, OSError, TimeoutError; anything else is a defect."""
    if refusal_code(error) is not None:
        return Trouble.REFUSES
    if isinstance(error, ConnectionError | TimeoutError | InvalidResponse | OSError):  # the built-in TimeoutError is an OSError
        return Trouble.AWAY
    return Trouble.DEFECT


def told(error: BaseException) -> str:
    """One line for a log or an answer. It quotes no text of the client library's, which may hold keys and values."""
    code = refusal_code(error)
    if code is not None:
        return f"Redis {REFUSALS[code]}"
    if trouble(error) is Trouble.AWAY:
        return "Redis cannot be reached"
    return f"Redis answered with an error: {type(error).__name__}"
