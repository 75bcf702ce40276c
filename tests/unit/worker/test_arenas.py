from __future__ import annotations

import gc
import weakref

import pytest

from tests.faults.helpers import until
from wetlands_rx._wire.arena import SHARED_BYTES
from wetlands_rx._worker import arenas
from wetlands_rx._worker.arenas import callers_arena
from wetlands_rx._worker.supervisor import Supervisor


def test_nobody_looks_after_an_arena_that_was_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other environments keep the supervisor running, and it would keep the arena."""
    monkeypatch.setattr(arenas, "IDLE_S", 0.001)
    supervisor = Supervisor()
    try:
        arena = callers_arena(supervisor)
        assert arena is not None
        block = arena.take(SHARED_BYTES)
        assert block is not None
        arena.close()
        gone = weakref.ref(arena)
        del arena, block
        until(lambda: gc.collect() >= 0 and gone() is None, "somebody keeps the arena")
    finally:
        supervisor.close()
