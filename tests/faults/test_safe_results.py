"""A hostile worker whose results are `"safe"`: nothing of it runs in the caller, which goes on with the next call."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.support import hostile
from wetlands_rx import EnvironmentManager
from wetlands_rx._wire import codec
from wetlands_rx._wire.frames import BUFFERS, PLAIN, SHARED
from wetlands_rx._wire.items import ITEMS_DONE
from wetlands_rx.exceptions import (
    ExecutionException,
    InvalidStateError,
    ProtocolError,
    SerializationError,
    WorkerDiedError,
)
from wetlands_rx.external_environment import ExternalEnvironment

FILE = Path(__file__).with_name("hostile_remote.py")
SOON = 60.0
HARM = hostile.whole(hostile.made("os", "system", hostile.text(hostile.COMMAND)))


@pytest.fixture
def env(here: ExternalEnvironment) -> ExternalEnvironment:
    here.launch(results="safe")
    return here


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "canary"
    monkeypatch.setenv("WETLANDS_CANARY", str(file))
    return file


def test_without_it_the_worker_has_the_caller_run_what_it_likes(here: ExternalEnvironment, canary: Path) -> None:
    here.launch()
    here.submit(FILE, "harm", (hostile.COMMAND,)).wait_for(SOON)
    assert canary.exists()


def test_a_result_that_runs_something_fails_its_task_alone(env: ExternalEnvironment, canary: Path) -> None:
    before = env.execute(FILE, "pid")
    with pytest.raises(SerializationError) as failure:
        env.submit(FILE, "harm", (hostile.COMMAND,)).wait_for(SOON)
    error = failure.value
    assert error.path == "result['deep'][0]"
    assert error.type_name.endswith(".system")
    for word in ("numpy's arrays", 'results="pickle"', "it is not plain data"):
        assert word in str(error)
    assert error.cause is None
    assert not canary.exists()
    assert env.execute(FILE, "pid") == before


def test_an_output_that_runs_something_fails_its_task_alone(env: ExternalEnvironment, canary: Path) -> None:
    before = env.execute(FILE, "pid")
    with pytest.raises(SerializationError) as failure:
        env.submit(FILE, "harm_in_output", (hostile.COMMAND,)).wait_for(SOON)
    assert failure.value.path == "output"
    assert not canary.exists()
    assert env.execute(FILE, "pid") == before


def test_an_exception_comes_in_words_only(env: ExternalEnvironment, canary: Path) -> None:
    with pytest.raises(ExecutionException, match="HarmError: it failed") as failure:
        env.submit(FILE, "harm_in_error", (hostile.COMMAND,)).wait_for(SOON)
    assert failure.value.cause is None
    assert failure.value.remote is not None
    assert failure.value.remote.cause is not None
    assert any("harm_in_error" in line for line in failure.value.traceback)
    assert not canary.exists()


@pytest.mark.parametrize("chunksize", [1, 4])
def test_an_item_that_runs_something_fails_alone(env: ExternalEnvironment, canary: Path, chunksize: int) -> None:
    items = ["", "", hostile.COMMAND, ""]
    results = list(env.map(FILE, "harm_in_item", items, chunksize=chunksize, on_error="return"))
    assert [type(result) for result in results] == [str, str, SerializationError, str]
    assert not canary.exists()


VALUES: dict[str, tuple[int, int, bytes]] = {
    "a result, said to be plain": (codec.RESULT, PLAIN, b"\0\0\0\0" + HARM),
    "a result, said to be plain, small": (codec.RESULT, PLAIN, b"\0\0\0\0" + b"cposix\nabort\n)R."),
    "a result": (codec.RESULT, 0, b"\0\0\0\0" + HARM),
    "an output, said to be plain": (codec.OUTPUT, PLAIN, HARM),
    "an output": (codec.OUTPUT, 0, HARM),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_written_by_hand_fails_the_task(env: ExternalEnvironment, canary: Path, name: str) -> None:
    with pytest.raises(SerializationError):
        env.submit(FILE, "say", VALUES[name]).wait_for(SOON)
    assert not canary.exists()


MESSAGES: dict[str, tuple[int, int, bytes]] = {
    **{
        f"{name} that runs something": (kind, PLAIN, HARM)
        for name, kind in [
            ("a hello", codec.HELLO),
            ("an error", codec.ERROR),
            ("an update", codec.UPDATES),
            ("a log", codec.LOG),
            ("a recall", codec.RECALLED),
        ]
    },
    "an error of an item that runs something": (
        ITEMS_DONE,
        0,
        struct.pack("<IIIB", 0, 1, 0, 1) + struct.pack("<QB", len(HARM), 4) + HARM,
    ),
    "a second hello": (codec.HELLO, 0, pickle.dumps((codec.PROTOCOL_VERSION, (3, 11, 0), 1, 5), 4)),
    "a log at a level that is a list": (codec.LOG, PLAIN, pickle.dumps(([], "x"), 5)),
    "an update of lists": (codec.UPDATES, PLAIN, pickle.dumps([([], [], [])], 5)),
    "a recall of less than nothing": (codec.RECALLED, 0, pickle.dumps(((), 1, -5), 4)),
    "items that have not come": (ITEMS_DONE, 0, struct.pack("<IIIB", 0, 1000, 0, 0)),
    "a place outside of the arena": (
        codec.RESULT,
        BUFFERS | SHARED,
        b"\0\0\0\0" + struct.pack("<I2Q", 2, 2, 100_000) + struct.pack("<QI", 1 << 60, 0) + b"\x97.",
    ),
    "garbage": (255, 255, b"garbage"),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_written_by_hand_ends_the_worker_alone(env: ExternalEnvironment, canary: Path, name: str) -> None:
    before = env.execute(FILE, "pid")
    with pytest.raises(WorkerDiedError) as failure:
        env.submit(FILE, "say", MESSAGES[name]).wait_for(SOON)
    assert isinstance(failure.value.__cause__, ProtocolError)
    assert not canary.exists()
    assert env.execute(FILE, "pid") != before


@pytest.mark.parametrize("name", [*VALUES, *MESSAGES])
def test_what_a_dead_worker_left_behind_runs_nothing(env: ExternalEnvironment, canary: Path, name: str) -> None:
    before = env.execute(FILE, "pid")
    with pytest.raises((WorkerDiedError, SerializationError)):
        env.submit(FILE, "leave_behind", {**VALUES, **MESSAGES}[name]).wait_for(SOON)
    assert not canary.exists()
    assert env.execute(FILE, "pid") != before


def test_items_answered_as_one_call_are_not_waited_for_in_vain(env: ExternalEnvironment) -> None:
    results = list(env.map(FILE, "answer_as_one_call", [1], on_error="return", timeout=SOON))
    assert [type(result) for result in results] == [SerializationError]


def test_the_memory_that_is_shared_cannot_be_taken_away(env: ExternalEnvironment) -> None:
    tried = env.execute(FILE, "shrink")
    assert tried
    assert set(tried) == {"PermissionError"}


def test_arrays_come_through_shared_memory_as_ever(env: ExternalEnvironment) -> None:
    image = np.arange(1_000_000.0).reshape(1000, 1000)
    back = env.submit(np.transpose, args=(image,)).wait_for(SOON).result
    assert np.array_equal(back, image.T)
    back[0, 0] = 7.0


def test_workers_that_come_later_are_not_trusted_either(env: ExternalEnvironment, canary: Path) -> None:
    env.resize(2)
    env.recycle()
    with pytest.raises(SerializationError):
        env.submit(FILE, "harm", (hostile.COMMAND,)).wait_for(SOON)
    assert not canary.exists()


def test_it_cannot_be_asked_for_when_the_workers_run(here: ExternalEnvironment) -> None:
    here.launch()
    here.launch()
    with pytest.raises(InvalidStateError, match="exit"):
        here.launch(results="safe")
    here.exit()
    here.launch(results="safe")
    here.launch()
    here.launch(results="safe")


def test_another_word_is_refused_everywhere(here: ExternalEnvironment) -> None:
    with pytest.raises(ValueError, match="results"):
        here.launch(results="sure")  # type: ignore[arg-type]
    with EnvironmentManager(log_file_path=None) as manager, pytest.raises(ValueError, match="results"):
        manager.main_environment.launch(results="sure")  # type: ignore[arg-type]
