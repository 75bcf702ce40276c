"""Errors keep their facts, also in another process."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from wetlands_rx.exceptions import (
    ExecutionException,
    RemoteException,
    SerializationError,
    TaskTimeoutError,
    WorkerDiedError,
)

REMOTE = RemoteException(
    "m.Error",
    "no",
    ("line",),
    ("note",),
    RemoteException("builtins.KeyError", "'k'"),
    None,
    True,
    (RemoteException("m.Inner", ""),),
)
FACTS = ("ValueError: no", ("a", "b"), "builtins.ValueError", "f.py:f", "worker 0", REMOTE)


class OnlyThen(Exception):
    pass


def pickled(error: Any) -> Any:
    return pickle.loads(pickle.dumps(error))


AGAIN: list[Any] = [pickled, copy.copy, copy.deepcopy]


@pytest.mark.parametrize("again", AGAIN)
@pytest.mark.parametrize(
    "error",
    [
        ExecutionException(*FACTS, pickle.dumps(ValueError("no"))),
        TaskTimeoutError(*FACTS),
        SerializationError(*FACTS, pickle.dumps(ValueError("no")), "args[0]", "_thread.lock"),
        WorkerDiedError("worker 0", None, 9, ("last", "words"), "f.py:f"),
    ],
)
def test_a_copy_is_whole(error: ExecutionException, again: Any) -> None:
    _ = error.cause
    made = again(error)
    assert type(made) is type(error)
    assert (str(made), made.args) == (str(error), error.args)
    assert repr(made.cause) == repr(error.cause)
    for name in ("traceback", "remote", "path", "type_name", "signal", "stderr_tail"):
        assert getattr(made, name, None) == getattr(error, name, None)


def test_the_places_of_the_arguments_are_those_of_before() -> None:
    error = ExecutionException("ValueError: no", ["line"], "builtins.ValueError", "f.py:f", "worker 0")
    assert error.args == ("ValueError: no", ("line",), "builtins.ValueError", "f.py:f", "worker 0")
    assert (error.remote, error.cause) == (None, None)
    assert (SerializationError("no").path, SerializationError("no").type_name) == ("", "")


def test_the_exception_itself_is_rebuilt_when_it_is_asked_for() -> None:
    error = ExecutionException("OnlyThen", original=pickle.dumps(OnlyThen("no", 1)))
    assert isinstance(error.cause, OnlyThen)
    assert error.cause is error.cause
    assert error.__cause__ is None


class Unpicklable(Exception):
    def __reduce__(self) -> Any:
        return make, ()


def make() -> Unpicklable:
    made = Unpicklable()
    made.__dict__["lambda"] = lambda: None
    return made


def test_one_that_was_rebuilt_does_not_hinder_a_copy() -> None:
    error = ExecutionException("no", original=pickle.dumps(Unpicklable()))
    assert isinstance(error.cause, Unpicklable)
    assert isinstance(pickle.loads(pickle.dumps(error)).cause, Unpicklable)


class Exits:
    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit(3)",)


@pytest.mark.parametrize(
    "original", [b"garbage", pickle.dumps("no exception"), pickle.dumps(Exits()), b"cnowhere\nError\n."]
)
def test_one_that_cannot_be_rebuilt_is_none(original: bytes) -> None:
    error = ExecutionException("no", original=original)
    assert error.cause is None
    assert error.cause is None


def test_plain_tuples_become_records() -> None:
    inner = ("m.Inner", "", (), (), None, None, False, ())
    cause = ("builtins.KeyError", "'k'", (), (), None, None, False, ())
    plain = ("m.Error", "no", None, ("note",), cause, None, True, (inner,))
    assert RemoteException.of(plain, ["line"]) == REMOTE
    assert RemoteException.of(None) is None
