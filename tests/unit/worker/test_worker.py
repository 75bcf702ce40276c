"""A worker and the calls it holds; its process is a fake."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import pytest

from tests.unit.worker.fakes import FakeProcess
from wetlands_rx._task.call import Call, Work, WorkerInfo
from wetlands_rx._task.items import Items, Job
from wetlands_rx._task.lifecycle import Dispatched, Happening
from wetlands_rx._task.streams import Streams
from wetlands_rx._wire import codec
from wetlands_rx._wire.arena import SHARED_BYTES, Arena
from wetlands_rx._wire.bodies import SharedParts
from wetlands_rx._wire.frames import Buffer, join
from wetlands_rx._wire.items import record_of
from wetlands_rx._wire.leases import Leases
from wetlands_rx._wire.messages import Configure, Exit, Finished, ItemsDone, Logged, Updated
from wetlands_rx._worker.process import Death
from wetlands_rx._worker.worker import Handover, Terminal, Worker
from wetlands_rx.exceptions import ProtocolError, WorkerDiedError
from wetlands_rx.testing import ManualDelivery

SOON = 10.0
SIZE = 1 << 30
TAKEN = Handover([], [])


class Owner:
    """Takes down what a worker tells, in order."""

    def __init__(self) -> None:
        self.story: list[Any] = []
        self.told = threading.Condition()
        self.delivery = ManualDelivery()
        self.streams = Streams("env")

    def tell(self, what: Any) -> None:
        with self.told:
            self.story.append(what)
            self.told.notify_all()

    def wait_for(self, what: Any) -> None:
        with self.told:
            assert self.told.wait_for(lambda: what in self.story, SOON), self.story

    def on_ready(self, worker: Worker) -> None:
        self.tell("ready")

    def on_freed(self, worker: Worker, answers: list[tuple[Work, Terminal]]) -> None:
        self.tell("freed" if len(answers) == 1 else ("freed", [call.number for call, _ in answers]))

    def on_outcomes(self, done: ItemsDone) -> None:
        self.tell(done)

    def on_recalled(self, worker: Worker, calls: list[Work], rest: Work | None) -> None:
        assert rest is None
        self.tell(("recalled", [call.number for call in calls]))

    def on_logged(self, worker: Worker, call: Work, record: Logged) -> None:
        self.tell((call.number, record.text))

    def on_lost(self, worker: Worker, begun: list[Work], others: list[Work]) -> None:
        if others:
            self.tell(("not begun", [call.number for call in others]))
        self.tell(("lost", [call.number for call in begun]))


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def process() -> FakeProcess:
    return FakeProcess()


@pytest.fixture
def worker(owner: Owner, process: FakeProcess) -> Iterator[Worker]:
    worker = Worker("env", 3, process.as_process, owner)
    worker.start(id_base=99)
    yield worker
    process.die()
    worker.join(SOON)


@pytest.fixture
def ready(owner: Owner, process: FakeProcess, worker: Worker) -> Worker:
    assert process.hear() == Configure("env", 3, 99)
    process.hello()
    owner.wait_for("ready")
    return worker


class Posted(list[Happening]):
    def __init__(self, owner: Owner, number: int) -> None:
        self.owner, self.number = owner, number

    def __call__(self, *happenings: Happening) -> None:
        self.extend(happenings)
        for happening in happenings:
            self.owner.tell((self.number, type(happening)))


def make_call(owner: Owner, number: int = 1) -> tuple[Call, Posted]:
    posted = Posted(owner, number)
    return Call(number, codec.encode_call(number, "/a.py", "f", (), {}), "a.py:f", posted), posted


class Taken(list[object]):
    """Takes the outcomes of items."""

    def put(self, place: int, outcomes: list[object], worker: WorkerInfo | None) -> None:
        self.extend(outcomes)


class Hooked(Items):
    """Items of which something happens when they are about to be sent."""

    hook: Callable[[], None]

    @property
    def payload(self) -> Sequence[Buffer]:
        self.hook()
        return super().payload


@pytest.fixture
def arena(process: FakeProcess) -> Iterator[Arena]:
    descriptor = os.memfd_create("test")
    os.ftruncate(descriptor, SIZE)
    arena = process.arena = Arena(descriptor, SIZE, SIZE, threading.Lock())
    yield arena
    arena.close()


def call_with_block(owner: Owner, arena: Arena, number: int = 1) -> Call:
    call = make_call(owner, number)[0]
    block = arena.take(SHARED_BYTES)
    assert block is not None
    call.payload = SharedParts(call.payload, (block,))
    return call


def test_a_worker_is_ready_after_its_hello(ready: Worker) -> None:
    assert ready.ready
    assert str(ready.info) == "environment env, worker 3, pid 4711"
    assert ready.connection.thread.name == "wetlands-reader-env-3"


def test_a_call_is_dispatched_before_anything_else_is_heard_of_it(
    owner: Owner, process: FakeProcess, ready: Worker
) -> None:
    call, posted = make_call(owner)
    assert ready.run([call]) == TAKEN
    assert ready.held == [call]
    assert process.hear_call().task == 1
    process.channel.send([codec.encode_updates(1, [("a", 1, 2)])])
    process.answer(1, "value")
    owner.wait_for((1, Finished))
    assert posted == [Dispatched(ready.info), Updated(1, "a", 1, 2), Finished(1, "value")]
    assert (ready.held, ready.answered) == ([], 1)


def test_the_worker_is_free_before_anybody_hears_of_the_answer(
    owner: Owner, process: FakeProcess, ready: Worker
) -> None:
    ready.run([make_call(owner)[0]])
    process.answer(1)
    owner.wait_for((1, Finished))
    assert owner.story.index("freed") < owner.story.index((1, Finished))


def test_news_of_a_task_that_it_does_not_hold_is_ignored(owner: Owner, process: FakeProcess, ready: Worker) -> None:
    ready.run([make_call(owner, 1)[0]])
    process.answer(7)
    process.channel.send([codec.encode_log(7, 20, "late")])
    process.answer(1)
    owner.wait_for((1, Finished))
    process.answer(1)
    process.die()
    owner.wait_for(("lost", []))
    assert owner.story == ["ready", (1, Dispatched), "freed", (1, Finished), ("lost", [])]


def test_a_record_goes_to_the_owner(owner: Owner, process: FakeProcess, ready: Worker) -> None:
    ready.run([make_call(owner)[0]])
    process.channel.send([codec.encode_log(1, 20, "text")])
    owner.wait_for((1, "text"))


# --- Cancel


def test_a_cancel_is_sent_once(owner: Owner, process: FakeProcess, ready: Worker) -> None:
    """A busy worker does not read: repeated requests would fill the pipe and block the caller."""
    call, _ = make_call(owner)
    ready.run([call])
    for _ in range(100_000):
        ready.cancel(call)
    ready.ask_exit()  # there is room for it
    process.hear_call()
    assert process.channel.is_canceled(1)
    process.channel.end(1)
    assert process.hear() == Exit()


def test_a_call_of_another_worker_is_not_canceled_here(owner: Owner, process: FakeProcess, ready: Worker) -> None:
    ready.cancel(make_call(owner)[0])
    ready.ask_exit()
    assert process.hear() == Exit()


def test_a_cancel_during_the_handover_is_sent_after_the_call(owner: Owner, process: FakeProcess, ready: Worker) -> None:
    call, posted = make_call(owner)

    def post(*happenings: Happening) -> None:
        posted(*happenings)
        call.cancel_requested = True  # as Task.cancel does
        ready.cancel(call)

    call.post = post
    ready.run([call])
    assert process.hear_call().task == 1
    assert process.channel.is_canceled(1)


def test_asking_for_the_exit_asks_the_running_call_first(owner: Owner, process: FakeProcess, ready: Worker) -> None:
    call, _ = make_call(owner)
    ready.run([call])
    ready.ask_exit()
    assert call.cancel_requested
    process.hear_call()
    assert process.channel.is_canceled(1)
    process.channel.end(1)
    assert process.hear() == Exit()


# --- Its end


def test_its_end_tells_which_calls_it_held(owner: Owner, process: FakeProcess, ready: Worker) -> None:
    ready.run([make_call(owner, 1)[0]])
    process.answer(1)
    owner.wait_for("freed")
    ready.run([make_call(owner, 2)[0]])
    assert [process.hear_call().task for _ in range(2)] == [1, 2]
    process.die()
    owner.wait_for(("lost", [2]))
    assert ready.death == Death(3, None, ("last words",))


def test_an_answer_that_was_sent_before_the_end_counts(owner: Owner, process: FakeProcess, ready: Worker) -> None:
    call, posted = make_call(owner)
    ready.run([call])
    process.hear_call()
    process.answer(1, "made it")
    process.die()
    owner.wait_for(("lost", []))
    assert posted[-1] == Finished(1, "made it")


def test_its_end_is_noticed_though_its_socket_stays_open(owner: Owner, process: FakeProcess, ready: Worker) -> None:
    ready.run([make_call(owner)[0]])
    process.hear_call()
    process.die_holding_the_pipe()
    owner.wait_for(("lost", [1]))


def test_a_process_that_closes_its_pipe_and_goes_on_is_ended(owner: Owner, process: FakeProcess, ready: Worker) -> None:
    ready.run([make_call(owner)[0]])
    process.hear_call()
    process.close_pipe()
    owner.wait_for(("lost", [1]))
    assert process.killed.is_set()
    assert isinstance(ready.error, ProtocolError)


@pytest.mark.parametrize("garbage", [b"x" * 100, codec.encode_exit(), codec.encode_hello((3, 11, 0), 1)])
def test_a_process_that_writes_garbage_is_ended(
    owner: Owner, process: FakeProcess, ready: Worker, garbage: bytes
) -> None:
    ready.run([make_call(owner)[0]])
    process.hear_call()
    process.write(garbage)
    owner.wait_for(("lost", [1]))
    assert process.killed.is_set()
    assert isinstance(ready.error, ProtocolError)


def test_a_process_that_speaks_another_protocol_is_ended(
    owner: Owner, process: FakeProcess, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(codec, "PROTOCOL_VERSION", codec.PROTOCOL_VERSION + 1)
        hello = codec.encode_hello((3, 11, 0), 1)
    process.write(hello)
    owner.wait_for(("lost", []))
    assert not worker.ready
    theirs, ours = codec.PROTOCOL_VERSION + 1, codec.PROTOCOL_VERSION
    assert f"protocol {theirs}, we speak {ours}" in str(worker.error)


def test_giving_up_says_why(owner: Owner, process: FakeProcess, worker: Worker) -> None:
    worker.give_up("no answer after 3 s")
    owner.wait_for(("lost", []))
    assert str(worker.error) == "no answer after 3 s"


# --- Handing over to a worker that ends


def test_a_call_for_a_worker_that_has_ended_is_refused(owner: Owner, process: FakeProcess, ready: Worker) -> None:
    process.die()
    owner.wait_for(("lost", []))
    call, posted = make_call(owner)
    assert ready.run([call]) == Handover([call], [])
    assert posted == []


def test_a_call_that_could_not_be_sent_is_refused_and_not_told_as_lost(
    owner: Owner, process: FakeProcess, ready: Worker
) -> None:
    call, posted = make_call(owner)

    def post(*happenings: Happening) -> None:
        posted(*happenings)
        process.die()
        owner.wait_for(("lost", []))

    call.post = post
    assert ready.run([call]) == Handover([call], [])
    assert posted == [Dispatched(ready.info)]


def test_a_call_that_was_sent_to_a_worker_which_then_ended_is_lost_once(
    owner: Owner, process: FakeProcess, ready: Worker
) -> None:
    call, _ = make_call(owner)
    send: Callable[..., bool] = ready.connection.send

    def send_and_see_it_end(parts: Any) -> bool:
        sent = send(parts)
        process.hear_call()
        process.die()
        owner.wait_for(("lost", []))
        return sent

    ready.connection.send = send_and_see_it_end  # type: ignore[method-assign]
    assert ready.run([call]) == Handover([], [call])


# --- Its messages as a stream


@pytest.mark.parametrize("asked", [True, False])
def test_the_stream_of_messages_completes_after_an_exit_and_errors_after_a_crash(
    owner: Owner, process: FakeProcess, ready: Worker, *, asked: bool
) -> None:
    seen: list[object] = []
    ready.connection.messages.subscribe(
        seen.append, on_error=seen.append, on_completed=lambda: seen.append("completed")
    )
    if asked:
        ready.ask_exit()
    process.die()
    owner.wait_for(("lost", []))
    owner.delivery.run()
    if asked:
        assert seen == ["completed"]
    else:
        assert isinstance(seen[0], WorkerDiedError)
        assert (seen[0].exit_code, seen[0].stderr_tail) == (3, ("last words",))


def test_the_frame_of_a_call_is_sent_as_it_was_made(owner: Owner, process: FakeProcess, ready: Worker) -> None:
    call = Call(1, codec.encode_call(1, "/a.py", "f", (b"x" * 1000,), {}), "a.py:f", make_call(owner)[1])
    ready.run([call])
    heard = process.hear_call()
    assert heard.packed.load() == ((b"x" * 1000,), {})
    assert len(join(call.payload)) > 1000


def test_a_call_handed_over_while_the_process_ends_keeps_its_memory(
    owner: Owner, process: FakeProcess, ready: Worker, arena: Arena
) -> None:
    call = call_with_block(owner, arena)

    def post(*happenings: Happening) -> None:
        process.die()
        owner.wait_for(("lost", []))

    call.post = post
    assert ready.run([call]) == Handover([call], [])
    assert arena.in_use == 1  # it is sent to another worker
    del call
    assert arena.in_use == 0


def test_what_was_left_of_items_that_were_being_handed_over_is_whole(
    owner: Owner, process: FakeProcess, ready: Worker, arena: Arena
) -> None:
    """Their worker has done the first one and ends, before the thread that sent them has seen to anything."""
    descriptor = os.memfd_create("test")
    os.ftruncate(descriptor, SIZE)
    leases = process.leases = Leases(descriptor, SIZE)
    theirs = Arena(os.dup(descriptor), SIZE, SIZE, threading.Lock())
    os.close(descriptor)
    kept = theirs.take(SHARED_BYTES)
    assert kept is not None
    kept.give()
    lent = leases.lease(kept.offset, len(kept), kept.flag)  # so that the memory does not go as a whole
    outcomes = Taken()
    done = threading.Event()

    def hook() -> None:
        process.page.begins(items.number)
        process.channel.add_outcome(items.number, record_of(np.full(SHARED_BYTES, 7, "u1"), theirs))
        process.die()
        owner.wait_for(("lost", []))
        done.set()

    job = Job("/a.py", "f", "a.py:f", None, outcomes)
    hooked = Hooked(job, [b"1", b"2", b"3"], 0, 0, 3)
    hooked.hook = hook
    items = cast("Items", hooked)
    assert ready.run([items]) == Handover([], [items])
    assert done.is_set()
    assert items.size == 2
    (outcome,) = outcomes
    assert isinstance(outcome, np.ndarray)
    assert (outcome == 7).all()
    del outcome, lent, hooked.hook
    outcomes.clear()
    owner.story.clear()
    theirs.close()
    assert len(leases) == 0


def test_what_was_given_to_a_process_that_ended_is_free(
    owner: Owner, process: FakeProcess, ready: Worker, arena: Arena
) -> None:
    begun, waiting = call_with_block(owner, arena, 1), call_with_block(owner, arena, 2)
    ready.run([begun, waiting])
    assert process.hear_call().task == 1
    process.die()
    owner.wait_for(("lost", [1]))
    assert arena.in_use == 1  # what had not begun keeps its memory
    (block,) = begun.blocks
    other = arena.take(SHARED_BYTES)
    assert other is not None
    assert other.flag == block.flag
    del begun, block
    owner.story.clear()
    assert arena.in_use == 2
