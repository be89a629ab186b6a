"""Kinds of trouble with Redis, by what servers really answer (Redis 6.2 quotes a refusal inside of a script's error)."""

from __future__ import annotations

import builtins

import pytest
from redis._parsers.base import BaseParser
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    DataError,
    InvalidResponse,
    MaxConnectionsError,
    ResponseError,
    TimeoutError,
)

from connectors.redis.errors import REFUSALS, Trouble, refusal_code, told, trouble

IN_A_SCRIPT_OF_62 = "ERR Error running script (call to f_1b2c): @user_script:42: @user_script: 42: "

ANSWERS = [
    ("OOM command not allowed when used memory > 'maxmemory'.", "OOM"),
    (IN_A_SCRIPT_OF_62 + "-OOM command not allowed when used memory > 'maxmemory'. ", "OOM"),
    ("OOM command not allowed when used memory > 'maxmemory'. script: 1b2c, on @user_script:42.", "OOM"),
    ("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.", "MISCONF"),
    ("MISCONF Errors writing to the AOF file: No space left on device", "MISCONF"),
    (IN_A_SCRIPT_OF_62 + "-MISCONF Redis is configured to save RDB snapshots, but ...", "MISCONF"),
    ("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", "BUSY"),
    ("LOADING Redis is loading the dataset in memory", "LOADING"),
    ("READONLY You can't write against a read only replica.", "READONLY"),
    (IN_A_SCRIPT_OF_62 + "-READONLY You can't write against a read only replica. ", "READONLY"),
    ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", "MASTERDOWN"),
    ("NOREPLICAS Not enough good replicas to write.", "NOREPLICAS"),
    ("UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)", "UNBLOCKED"),
    ("CLUSTERDOWN The cluster is down", "CLUSTERDOWN"),
    ("ERR max number of clients reached", "CLIENTS"),
    ("ERR max number of clients + cluster connections reached", "CLIENTS"),
    ("NOAUTH Authentication required.", "NOAUTH"),
    ("WRONGPASS invalid username-password pair or user is disabled.", "WRONGPASS"),
    ("ERR invalid password", "WRONGPASS"),
    ("NOPERM this user has no permissions to run the 'evalsha' command", "NOPERM"),
    ("DENIED Redis is running in protected mode because ...", "DENIED"),
]

DEFECTS = [
    "WRONGTYPE Operation against a key holding the wrong kind of value",
    "ERR malformed write in a commit",
    "ERR unknown command 'OOM'",
    "BUSYGROUP Consumer Group name already exists",
    "BUSYKEY Target key name already exists.",
    IN_A_SCRIPT_OF_62 + "-WRONGTYPE Operation against a key holding the wrong kind of value ",
    "MOVED 3999 127.0.0.1:6381",
    "NOSCRIPT No matching script. Please use EVAL.",
]


def in_a_pipeline(error: Exception, command: str) -> Exception:
    error.args = (f"Command # 1 ({command}) of pipeline caused error: {error.args}", *error.args[1:])
    return error


@pytest.mark.parametrize(("answer", "code"), ANSWERS)
def test_a_refusal_is_known_alone_and_in_a_pipeline(answer: str, code: str) -> None:
    for error in (BaseParser.parse_error(answer), in_a_pipeline(BaseParser.parse_error(answer), "SET secret x")):
        assert (refusal_code(error), trouble(error)) == (code, Trouble.REFUSES)
        assert told(error) == f"Redis {REFUSALS[code]}"


@pytest.mark.parametrize("answer", DEFECTS)
def test_a_defect_is_not_waited_out_whatever_the_command_held(answer: str) -> None:
    hostile = "SET x OOM : -OOM of pipeline caused error: ('OOM"
    for error in (BaseParser.parse_error(answer), in_a_pipeline(BaseParser.parse_error(answer), hostile)):
        assert trouble(error) is Trouble.DEFECT
        assert "SET" not in told(error)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionError("Connection closed by server."), Trouble.AWAY),
        (TimeoutError("Timeout reading from 127.0.0.1:6379"), Trouble.AWAY),
        (InvalidResponse("Protocol Error: b'x'"), Trouble.AWAY),
        (ConnectionResetError(104, "reset"), Trouble.AWAY),
        (builtins.TimeoutError(), Trouble.AWAY),
        (MaxConnectionsError("Too many connections"), Trouble.REFUSES),
        (AuthenticationError("anything"), Trouble.REFUSES),
        (ResponseError("anything"), Trouble.DEFECT),
        (DataError("Invalid input of type: 'dict'"), Trouble.DEFECT),
        (ValueError("anything"), Trouble.DEFECT),
    ],
)
def test_what_is_not_an_answer(error: Exception, kind: Trouble) -> None:
    assert trouble(error) is kind
