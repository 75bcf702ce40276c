"""Fakes with which code that uses environments and tasks is tested: no process, no thread, no waiting.

    clock = TestScheduler()
    env = FakeEnvironment(clock)

    @env.function("segment.py")
    def segment(image, *, task):
        yield 10                                      # so many virtual seconds pass
        task.update("half", current=1, maximum=2)
        yield 10
        return image * 2

    env.launch(max_workers=2)
    tasks = env.map_tasks("segment.py", "segment", [1, 2, 3])
    clock.advance_to(20)
    assert [task.status for task in tasks] == [COMPLETED, COMPLETED, RUNNING]

The tasks, the queue, the maps and the streams are the real ones. `FakeWorker.send` takes the real messages, which come
from this module, for what no function can say.
"""

from __future__ import annotations

from wetlands_rx._testing.delivery import ManualDelivery, VirtualDelivery
from wetlands_rx._testing.environment import FakeEnvironment
from wetlands_rx._testing.functions import FakeCall
from wetlands_rx._testing.runner import WORKER, FakeRunner
from wetlands_rx._testing.worker import FakeWorker
from wetlands_rx._wire.messages import CancelAcknowledged, Finished, Logged, OutputSet, Raised, Updated

__all__ = [
    "WORKER",
    "CancelAcknowledged",
    "FakeCall",
    "FakeEnvironment",
    "FakeRunner",
    "FakeWorker",
    "Finished",
    "Logged",
    "ManualDelivery",
    "OutputSet",
    "Raised",
    "Updated",
    "VirtualDelivery",
]
