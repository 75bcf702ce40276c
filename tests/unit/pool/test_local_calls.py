"""A call that runs in the caller's own process: its answer, and what its handle says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from wetlands_rx._pool.local_calls import FunctionOfFile, LocalFunction, LocalLine, run_call
from wetlands_rx._pool.local_modules import LocalModules
from wetlands_rx._remote.handle import RemoteTaskHandle
from wetlands_rx._task.call import Call
from wetlands_rx._task.lifecycle import Happening
from wetlands_rx._wire.messages import CancelAcknowledged, Finished, Logged, OutputSet, Raised, Updated


class Ran:
    """A function that has been run, and all that was heard of it."""

    def __init__(self, function: Callable[..., Any], *args: Any, canceled: bool = False, **kwargs: Any) -> None:
        self.news: list[Happening] = []
        self.logged: list[Logged] = []
        call = Call(7, LocalFunction(function, args, kwargs), "test.py:function", lambda *news: self.news.extend(news))
        call.cancel_requested = canceled
        self.line = LocalLine(call, lambda _, record: self.logged.append(record))
        self.answer = run_call(call, self.line, LocalModules())


def echo_task(task: Any) -> Any:
    return task


def leave_when_canceled(task: RemoteTaskHandle) -> None:
    task.raise_if_canceled()


def test_the_answer_is_the_very_object_that_the_function_returned() -> None:
    value = object()
    answer = Ran(lambda: value).answer
    assert isinstance(answer, Finished)
    assert answer.value is value


def test_the_handle_reports_to_the_task() -> None:
    output = object()

    def function(task: RemoteTaskHandle) -> None:
        task.update("half", current=1, maximum=2)
        task.set_output("key", output)
        task.log("text", 30)

    ran = Ran(function)
    assert ran.news == [Updated(7, "half", 1, 2), OutputSet(7, "key", output)]
    assert ran.logged == [Logged(7, 30, "text")]


def test_a_task_argument_that_is_given_is_left_alone() -> None:
    assert Ran(echo_task, 1).answer == Finished(7, 1)
    assert Ran(echo_task, task=2).answer == Finished(7, 2)
    assert Ran(dict[str, Any]).answer == Finished(7, {})


def test_a_handle_and_a_cut_line_are_mute() -> None:
    handles: list[RemoteTaskHandle] = []

    def keep(task: RemoteTaskHandle) -> None:
        handles.append(task)

    ran = Ran(keep)

    def speak(task: RemoteTaskHandle) -> None:
        task.update("late")
        task.set_output("late", 1)
        task.log("late")

    speak(handles[0])

    def cut_and_speak(task: RemoteTaskHandle) -> None:
        cut.line.cut()
        speak(task)

    cut = Ran(lambda: None)
    call = Call(8, LocalFunction(cut_and_speak, (), {}), "test.py:function", lambda *news: cut.news.extend(news))
    run_call(call, cut.line, LocalModules())
    assert ran.news == cut.news == []
    assert ran.logged == cut.logged == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_whatever_is_raised_becomes_the_answer(error: type[BaseException]) -> None:
    def function() -> NoReturn:
        raise error("text")

    answer = Ran(function).answer
    assert isinstance(answer, Raised)
    assert (answer.error, answer.kind) == (f"{error.__name__}: text", "raised")
    assert sum(line.startswith("  File") for line in answer.traceback) == 1


def test_a_cancel_that_was_acknowledged_is_the_answer_however_the_function_ends() -> None:
    def function(task: RemoteTaskHandle, *, fails: bool) -> str:
        assert task.cancel_requested
        task.cancel()
        if fails:
            raise ValueError
        return "value"

    for fails in (False, True):
        assert Ran(function, canceled=True, fails=fails).answer == CancelAcknowledged(7)
    assert Ran(leave_when_canceled, canceled=True).answer == CancelAcknowledged(7)
    assert Ran(leave_when_canceled).answer == Finished(7, None)


def test_a_function_that_is_not_there_is_told_as_a_worker_tells_it() -> None:
    call = Call(7, FunctionOfFile(__file__, "echo_tasks", (), {}), "target", lambda *_: None)
    answer = run_call(call, LocalLine(call, lambda _, __: None), LocalModules())
    assert isinstance(answer, Raised)
    assert answer.error == "test_local_calls.py has no function 'echo_tasks'. Did you mean 'echo_task'?"
    assert (answer.kind, answer.traceback, answer.remote_type) == ("lookup", (), "wetlands_rx.FunctionNotFound")


def test_texts_of_the_users_own_class_become_plain() -> None:
    class Text(str):
        __slots__ = ()

        def __str__(self) -> str:
            return self

    def function(task: RemoteTaskHandle) -> None:
        task.update(Text("update"))
        task.set_output(Text("key"), 1)

    update, output = Ran(function).news
    assert isinstance(update, Updated)
    assert isinstance(output, OutputSet)
    assert (type(update.message), type(output.key)) == (str, str)
