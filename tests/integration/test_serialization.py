"""What cannot cross fails its task alone, and says where it is; exceptions cross whatever they are."""

from __future__ import annotations

import copy
import logging
import pickle
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.oldest import oldest_interpreter
from wetlands_rx.environment import Environment
from wetlands_rx.environment_manager import EnvironmentManager
from wetlands_rx.exceptions import ExecutionException, RemoteException, SerializationError
from wetlands_rx.external_environment import ExternalEnvironment
from wetlands_rx.internal_environment import InternalEnvironment
from wetlands_rx.task import TaskStatus

REMOTE = Path(__file__).parent / "crossing" / "remote.py"
SOON = 60

Way = Callable[[Environment, str, Any], Exception]


def submitted(env: Environment, function: str, argument: Any) -> Exception:
    task = env.submit(REMOTE, function, (argument,))
    with pytest.raises(ExecutionException) as raised:
        task.wait_for(SOON)
    assert task.status is TaskStatus.FAILED
    assert raised.value is task.exception
    return raised.value


def mapped(env: Environment, function: str, argument: Any) -> Exception:
    (failure,) = env.map(REMOTE, function, [argument], on_error="return", timeout=SOON)
    return failure


def mapped_among_others(env: Environment, function: str, argument: Any) -> Exception:
    harmless = argument if function != "echo" else 1
    *_, failure = env.map(REMOTE, function, [harmless, argument], on_error="return", timeout=SOON, chunksize=2)
    return failure


def executed(env: Environment, function: str, argument: Any) -> Exception:
    with pytest.raises(ExecutionException) as raised:
        env.execute(REMOTE, function, (argument,))
    return raised.value


WAYS = [submitted, mapped, mapped_among_others, executed]
ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


@pytest.fixture(scope="module", params=["this Python", "the oldest"])
def python(request: pytest.FixtureRequest) -> str:
    return sys.executable if request.param == "this Python" else oldest_interpreter()[0]


@pytest.fixture
def env(tmp_path: Path, python: str) -> Iterator[ExternalEnvironment]:
    """One worker, which must be the same one at the end."""
    with EnvironmentManager(tmp_path / "wetlands", log_file_path=None) as manager:
        env = manager.load("seg", python)
        env.launch()
        before = env.execute(REMOTE, "pid")
        yield env
        assert env.execute(REMOTE, "echo", ([1],)) == [1]
        assert env.execute(REMOTE, "pid") == before


@pytest.fixture
def only_here(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module: Any = types.ModuleType("only_here")
    module.Own = type("Own", (), {"__module__": "only_here", "__qualname__": "Own"})
    monkeypatch.setitem(sys.modules, "only_here", module)
    return module


class Reduces:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error


class NoNumber:
    def __reduce__(self) -> Any:
        return int, ("no number",)


def facts(failure: Exception) -> tuple[str, str]:
    assert isinstance(failure, SerializationError)
    assert failure.path in failure.error
    return failure.path, failure.type_name


# --- Arguments and items


@pytest.mark.parametrize(
    ("value", "inside", "type_name"),
    [
        ({"deep": [0, threading.Lock()]}, "['deep'][1]", "_thread.lock"),
        (types.SimpleNamespace(f=lambda: 0), ".f", "function"),
        ([Reduces(ValueError("I stay"))], "[0]", f"{__name__}.Reduces"),
        ([Reduces(SystemExit(3))], "[0]", f"{__name__}.Reduces"),
    ],
)
def test_what_cannot_be_pickled_raises_at_the_call(
    env: ExternalEnvironment, value: Any, inside: str, type_name: str
) -> None:
    with pytest.raises(SerializationError, match=r"cannot be sent to remote.py:echo") as raised:
        env.submit(REMOTE, "echo", (1, value))
    assert facts(raised.value) == (f"args[1]{inside}", type_name)
    with pytest.raises(SerializationError) as raised:
        env.execute(REMOTE, "echo", kwargs={"value": value})
    assert facts(raised.value) == (f"kwargs['value']{inside}", type_name)
    with pytest.raises(SerializationError) as raised:
        env.map(REMOTE, "echo", [1, value])
    assert facts(raised.value) == (f"item{inside}", type_name)
    assert raised.value.__cause__ is not None
    first, second, third = env.map(REMOTE, "echo", [1, value, 3], on_error="return")
    assert (first, third) == (1, 3)
    assert facts(second) == (f"item{inside}", type_name)


def test_an_argument_that_is_nested_too_deeply(env: ExternalEnvironment) -> None:
    value: Any = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(SerializationError, match=r"^args\[0\] \(list\) .*RecursionError.*nested too deeply"):
        env.submit(REMOTE, "echo", (value,))
    while value:  # or the interpreter's own stack may not do, when it is let go
        value = value[0]


@ways
def test_an_argument_whose_class_the_worker_lacks(
    env: ExternalEnvironment, only_here: types.ModuleType, way: Way
) -> None:
    failure = way(env, "echo", {"config": [only_here.Own()]})
    root = "item" if way in (mapped, mapped_among_others) else "args[0]"
    assert facts(failure) == (f"{root}['config'][0]", "only_here.Own")
    assert "cannot be loaded in environment 'seg': ModuleNotFoundError: No module named 'only_here'" in str(failure)
    assert "must be importable there: define it in the file of the function" in str(failure)


@ways
def test_an_argument_that_raises_when_it_is_loaded(env: ExternalEnvironment, way: Way) -> None:
    failure = way(env, "echo", (0, {"n": NoNumber()}))
    root = "item" if way in (mapped, mapped_among_others) else "args[0]"
    assert facts(failure) == (f"{root}[1]['n']", "int")
    assert "ValueError: invalid literal" in str(failure)
    assert "importable" not in str(failure)


# --- Results


@ways
@pytest.mark.parametrize(
    ("name", "path", "type_name", "text"),
    [
        ("lock", "result['deep'][1]", "_thread.lock", "TypeError"),
        ("lambda", "result[0]", "function", r"function <lambda>.<locals>.<lambda>\)"),
        ("ValueError", "result[1]", "remote.Reduces", "ValueError: I stay"),
        ("SystemExit", "result[1]", "remote.Reduces", "SystemExit: 3"),
        ("KeyboardInterrupt", "result[1]", "remote.Reduces", "KeyboardInterrupt"),
        ("RecursionError", "result", "list", "nested too deeply"),
    ],
)
def test_a_result_that_cannot_be_pickled(
    env: ExternalEnvironment, way: Way, name: str, path: str, type_name: str, text: str
) -> None:
    failure = way(env, "result", name)
    found, kind = facts(failure)
    assert (found, kind.endswith(type_name)) == (path, True)
    with pytest.raises(SerializationError, match=text):
        raise failure
    assert "cannot be sent to the caller" in str(failure)


@ways
def test_a_result_that_the_caller_cannot_load(env: ExternalEnvironment, way: Way) -> None:
    failure = way(env, "result", "own class")
    path, type_name = facts(failure)
    assert (path, type_name.rpartition(".")[2]) == ("result['own'][0]", "Own")
    assert "cannot be loaded in the calling process: ModuleNotFoundError" in str(failure)
    assert "return plain values" in str(failure)
    failure = way(env, "result", "no number")
    assert facts(failure) == ("result[1]['n']", "int")


# --- Outputs


@ways
@pytest.mark.parametrize("name", ["lock", "ValueError", "SystemExit", "KeyboardInterrupt"])
def test_an_output_that_cannot_be_pickled_fails_a_function_that_lets_it(
    env: ExternalEnvironment, way: Way, name: str
) -> None:
    path, _ = facts(way(env, "output", name))
    assert path == {"lock": "output['key']['deep'][1]"}.get(name, "output['key'][1]")


def test_an_output_that_cannot_be_pickled_is_the_functions_to_handle(env: ExternalEnvironment) -> None:
    answer = env.execute(REMOTE, "output_and_more", ("lock",))
    assert answer == "SerializationError at output['key']['deep'][1]"


@pytest.mark.parametrize("way", [submitted, executed], ids=lambda way: way.__name__)
def test_an_output_that_the_caller_cannot_load_fails_the_task(env: ExternalEnvironment, way: Way) -> None:
    path, type_name = facts(way(env, "output_and_more", "own class"))
    assert (path, type_name.rpartition(".")[2]) == ("output['own'][0]", "Own")


def test_nobody_looks_at_the_outputs_of_the_items_of_a_map(env: ExternalEnvironment) -> None:
    assert list(env.map(REMOTE, "output_and_more", ["own class"])) == ["sent"]


# --- What is logged


@pytest.mark.parametrize(
    ("kind", "said"), [("none", "<a NoText whose __str__ raised ValueError>"), ("odd", "odd")], ids=["none", "odd"]
)
@pytest.mark.parametrize("inside", [False, True], ids=["worker", "this process"])
def test_a_message_without_a_text_fails_nothing(here: ExternalEnvironment, kind: str, said: str, inside: bool) -> None:
    env = InternalEnvironment("inside") if inside else here
    env.launch()
    records: list[logging.LogRecord] = []
    env.logs.subscribe(records.append)
    task = env.submit(REMOTE, "says", (kind,)).wait_for(SOON)
    assert (task.result, task.message) == ("done", said)
    env.exit()  # the records are complete then
    assert [record.getMessage() for record in records if record.getMessage() == said] == [said]


# --- Exceptions


@pytest.fixture(params=["worker", "this process"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Environment]:
    """One worker of the oldest Python, which must live on; and the caller's own process."""
    if request.param == "this process":
        with InternalEnvironment("seg") as inside:
            yield inside
        return
    with EnvironmentManager(tmp_path / "wetlands", log_file_path=None) as manager:
        env = manager.load("seg", oldest_interpreter()[0])
        env.launch()
        before = env.execute(REMOTE, "pid")
        yield env
        assert env.execute(REMOTE, "pid") == before


def told(place: Environment, way: Way, name: str) -> tuple[ExecutionException, RemoteException]:
    failure = way(place, "fail", name)
    assert type(failure) is ExecutionException
    assert failure.remote is not None
    assert failure.remote.type_name == failure.remote_type
    assert failure.remote.traceback == tuple(failure.traceback)
    again = pickle.loads(pickle.dumps(failure))
    assert (type(again), str(again), again.remote) == (type(failure), str(failure), failure.remote)
    if failure.remote_type.startswith("builtins."):
        assert repr(again.cause) == repr(failure.cause)
    assert copy.copy(failure).traceback == failure.traceback
    return failure, failure.remote


@ways
@pytest.mark.parametrize(
    ("name", "error", "rebuilt"),
    [
        ("KeyError", "KeyError: 'key'", True),
        ("two arguments", "ValueError: ('no', 3)", True),
        ("needs two", "NeedsTwo: ab", False),
        ("broken reduce", "BrokenReduce: no", False),
        ("broken text", "BrokenText: <its __str__ raised>", None),
        ("only there", "OnlyThere: no", None),
        ("odd text", "OddText: odd", None),
        ("large", "ValueError: " + "x" * 100_000, False),
        ("holds a lock", "ValueError: ('no', <unlocked", False),
    ],
)
def test_exceptions_cross(place: Environment, way: Way, name: str, error: str, rebuilt: bool | None) -> None:
    failure, remote = told(place, way, name)
    assert failure.error.startswith(error)
    assert failure.error.partition(": ")[2] == remote.message
    assert failure.remote_type.rpartition(".")[2] == error.partition(":")[0]
    assert "remote.py" in str(failure)
    if rebuilt is None:  # a class of the worker's own
        rebuilt = isinstance(place, InternalEnvironment)
    if rebuilt:
        assert type(failure.cause).__name__ == error.partition(":")[0]
        assert failure.cause is failure.cause
    else:
        assert failure.cause is None


@ways
def test_an_exception_that_interrupts_when_it_is_loaded(place: Environment, way: Way) -> None:
    failure = way(place, "fail", "interrupts")
    assert isinstance(failure, ExecutionException)
    assert failure.error == "InterruptsAtLoading: no"
    if isinstance(place, InternalEnvironment):  # it was tried there already, on the function's thread
        assert place.execute(REMOTE, "echo", (1,)) == 1
        return
    with pytest.raises(KeyboardInterrupt):  # who asks for the cause runs the user's code, and hears of it
        _ = failure.cause


@ways
def test_a_cause_and_a_context_cross(place: Environment, way: Way) -> None:
    _, remote = told(place, way, "cause")
    assert remote.cause is not None
    assert (remote.cause.type_name, remote.cause.message) == ("builtins.KeyError", "'key'")
    assert remote.cause.traceback[0] == "Traceback (most recent call last):"
    assert remote.cause.traceback[-1] == "KeyError: 'key'"
    assert (remote.context, remote.suppress_context) == (None, True)
    _, remote = told(place, way, "context")
    assert remote.context is not None
    assert (remote.context.type_name, remote.cause, remote.suppress_context) == ("builtins.KeyError", None, False)


@ways
def test_a_circle_of_causes_crosses_once(place: Environment, way: Way) -> None:
    _, remote = told(place, way, "circle")
    assert remote.cause is not None
    assert remote.cause.cause == RemoteException("builtins.ValueError", "first")


@ways
def test_notes_and_groups_cross(place: Environment, way: Way) -> None:
    failure, remote = told(place, way, "notes")
    assert remote.notes == ("one", "two")
    assert getattr(failure.cause, "__notes__", None) == ["one", "two"]
    _, remote = told(place, way, "group")
    assert [(member.type_name, member.message) for member in remote.exceptions] == [
        ("builtins.ValueError", "one"),
        ("builtins.KeyError", "'two'"),
    ]


def test_an_exception_of_a_worker_that_died_has_no_remote_one(env: ExternalEnvironment) -> None:
    with pytest.raises(ExecutionException) as raised:
        env.submit(REMOTE, "dubble").wait_for(SOON)
    assert (raised.value.remote, raised.value.cause) == (None, None)
