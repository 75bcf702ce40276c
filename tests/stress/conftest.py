"""What the stress tests share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tests.stress.together import SOON
from wetlands_rx._streams.delivery import CallLater, Delivery
from wetlands_rx._worker.supervisor import Supervisor
from wetlands_rx.testing import FakeRunner


@pytest.fixture(autouse=True)
def threads_change_all_the_time() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def served(delivery: Callable[[CallLater], Delivery]) -> Iterator[FakeRunner]:
    supervisor = Supervisor()
    threads = delivery(supervisor.call_later)
    yield FakeRunner(threads)
    threads.close(SOON)
    supervisor.close()


@pytest.fixture
def runner() -> Iterator[FakeRunner]:
    """With real delivery threads, which consider a call stuck very soon."""
    yield from served(partial(Delivery, stall_s=0.001, held_back_s=0.02))


@pytest.fixture
def usual_runner() -> Iterator[FakeRunner]:
    """With real delivery threads, which are as patient as in an environment."""
    yield from served(Delivery)


@pytest.fixture
def patient_runner() -> Iterator[FakeRunner]:
    """With real delivery threads, which give no call up: only other threads help."""
    yield from served(partial(Delivery, held_back_s=100 * SOON))
