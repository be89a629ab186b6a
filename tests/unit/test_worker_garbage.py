"""Cycles of dropped customers are found, and nothing is looked for while none are dropped."""

from __future__ import annotations

import gc
import weakref

from connectors.kafka.garbage import LET_GO_MIN, Garbage


class Knot:
    def __init__(self) -> None:
        self.itself = self


def test_a_look_is_due_after_a_quarter_of_the_customers_were_let_go() -> None:
    garbage = Garbage()
    kept = 40_000
    garbage.let_go(kept // 4 - 1)
    assert not garbage.look_if_due(kept)
    garbage.let_go(1)
    assert garbage.look_if_due(kept)
    assert not garbage.look_if_due(kept), "counted afresh"


def test_a_few_customers_are_not_worth_a_look() -> None:
    garbage = Garbage()
    garbage.let_go(LET_GO_MIN - 1)
    assert not garbage.look_if_due(0)


def test_only_the_due_look_frees_an_old_knot() -> None:
    garbage = Garbage()
    before = gc.get_threshold()
    try:
        garbage.take_over()
        knot = Knot()
        gc.collect()  # now it is old
        gone = weakref.ref(knot)
        del knot
        gc.collect(1)
        assert gone() is not None
        garbage.let_go(LET_GO_MIN)
        assert garbage.look_if_due(0)
        assert gone() is None
    finally:
        gc.set_threshold(*before)
