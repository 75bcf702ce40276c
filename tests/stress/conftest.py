"""What the stress tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.stress.together import SOON
from wetlands_rx._streams.delivery import Delivery
from wetlands_rx._worker.supervisor import Supervisor
from wetlands_rx.testing import FakeRunner


@pytest.fixture(autouse=True)
def threads_change_all_the_time() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def runner() -> Iterator[FakeRunner]:
    """With real delivery threads, which consider a call stuck very soon."""
    supervisor = Supervisor()
    delivery = Delivery(supervisor.call_later, stall_s=0.001, held_back_s=0.02)
    yield FakeRunner(delivery)
    delivery.close(SOON)
    supervisor.close()


@pytest.fixture
def usual_runner() -> Iterator[FakeRunner]:
    """With real delivery threads, which are as patient as in an environment."""
    supervisor = Supervisor()
    delivery = Delivery(supervisor.call_later)
    yield FakeRunner(delivery)
    delivery.close(SOON)
    supervisor.close()
