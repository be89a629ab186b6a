"""How long answers to wrong tokens wait."""

from __future__ import annotations

from connectors.http.wrong_tokens import CLIENTS_MAX, FIRST_S, FORGET_S, FREE, WrongTokens


def test_the_first_ones_do_not_wait_and_the_others_longer_and_longer_up_to_a_bound() -> None:
    wrong = WrongTokens(5.0)
    waits = [wrong.failed("a", 0.0) for _ in range(FREE + 12)]
    assert waits[: FREE + 3] == [0.0] * FREE + [FIRST_S, 2 * FIRST_S, 4 * FIRST_S]
    assert waits[-1] == 5.0
    assert wrong.failed("b", 0.0) == 0.0, "another address has nothing to do with it"
    assert wrong.failed("a", FORGET_S * 1_000) == 0.0, "it is forgotten after a while"


def test_memory_is_bounded_and_zero_switches_it_off() -> None:
    wrong = WrongTokens(5.0)
    for number in range(CLIENTS_MAX + 10):
        wrong.failed(str(number), 0.0)
    assert len(wrong._failures) == CLIENTS_MAX
    off = WrongTokens(0.0)
    assert [off.failed("a", 0.0) for _ in range(50)] == [0.0] * 50
