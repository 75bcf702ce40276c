"""What users hold: submit, map, execute. The same for every kind of environment."""

from __future__ import annotations

import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, overload
from weakref import ref

from reactivex import Observable

from wetlands_rx._callables.by_value import check_python, pickled
from wetlands_rx._callables.ways import ByFile, ByName, ByValue, Way, facts_of, way_of
from wetlands_rx._pool.feeding import Feeder, TaskFeeder
from wetlands_rx._pool.mapping import Arrivals, MapIterator, MapOptions, OnError
from wetlands_rx._pool.tally import EnvironmentStatistics
from wetlands_rx._remote.crossing import unsendable
from wetlands_rx._remote_module import RemoteModule, TaskModule, functions_of
from wetlands_rx._task.call import Runner
from wetlands_rx._task.items import Sink
from wetlands_rx._task.streams import Streams, WorkerEvent, WorkerEventType, WorkerMessage
from wetlands_rx._task.task import start_new
from wetlands_rx._wire import codec
from wetlands_rx._wire.arena import Arena
from wetlands_rx._wire.items import Item, pack_item
from wetlands_rx._wire.target import FunctionValue, shown_target
from wetlands_rx._worker.copies import copied
from wetlands_rx.exceptions import SerializationError
from wetlands_rx.task import Task, TaskEvent, TaskList

if TYPE_CHECKING:
    import logging
    from types import TracebackType
    from typing import Self

__all__ = [
    "Environment",
    "EnvironmentStatistics",
    "MapIterator",
    "RemoteModule",
    "TaskModule",
    "WorkerEvent",
    "WorkerEventType",
    "WorkerMessage",
]

A = TypeVar("A")
T = TypeVar("T")
PathLike = str | Path

_BELIEVED_S = 0.1
"""A file that was there is not looked for again so soon: that takes longer than all the rest of `submit`."""
_MOST_CALLEES = 256


class Callee(NamedTuple):
    """A function that is to run in an environment.

    Attributes:
        target: What it is called in reports, `"segment.py:segment"`.
        payload: Builds what the runner needs, from a task's number, the arguments and the keyword arguments.
    """

    target: str
    payload: Callable[[int, tuple[Any, ...], dict[str, Any]], object]


class Located(NamedTuple):
    """Where a worker finds a function, as in `_wire.target`.

    Attributes:
        path: Its file; empty when it has none.
        name: Its name in there; without a file `"module:name"`, or what it is called in reports.
        value: The function itself.
    """

    path: str
    name: str
    value: FunctionValue | None = None


class Environment(ABC):
    """A place where functions run. All members may be used from any thread.

    Attributes:
        name: The environment's name.
    """

    name: str
    _streams: Streams

    # --- What a kind of environment provides

    @abstractmethod
    def _runner(self) -> Runner:
        """Who runs calls now; raises when nobody does."""

    @abstractmethod
    def launched(self) -> bool:
        """True while functions can be run."""

    @abstractmethod
    def exit(self) -> None:
        """Stop all that runs and end the workers; without effect when there are none."""

    @abstractmethod
    def resize(self, max_workers: int) -> None:
        """Have so many workers from now on."""

    @abstractmethod
    def recycle(self) -> None:
        """Replace each worker by a new one."""

    @abstractmethod
    def statistics(self) -> EnvironmentStatistics:
        """How many workers and calls there are now, and how those ended that have ended."""

    def _callee(self, module_path: PathLike | Callable[..., Any], function: str | None) -> Callee:
        """What `submit` is to run; raises when there is no such file, or the function itself cannot be sent."""
        known = self._callees
        key = (module_path, function)
        is_path = isinstance(module_path, (str, Path))
        if is_path and (found := known.get(key)) is not None and time.monotonic() < found[1]:
            return found[0]
        path, name, value = self._located(module_path, function)
        callee = Callee(shown_target(path, name), partial(self._function_payload, path, name, value))
        if is_path and path == str(module_path):  # it is absolute
            if len(known) >= _MOST_CALLEES:
                known.clear()
            known[key] = (callee, time.monotonic() + _BELIEVED_S)
        return callee

    @cached_property
    def _callees(self) -> dict[object, tuple[Callee, float]]:
        return {}

    def _function_payload(
        self,
        path: str,
        name: str,
        value: FunctionValue | None,
        number: int,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> object:
        """What the runner needs to run a function: a frame for a worker process."""
        try:
            return codec.encode_call(number, path, name, args, kwargs, copied, self._arena(), value)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # pickling runs the user's code
            raise _not_sendable(shown_target(path, name), _named(args, kwargs), error) from error

    def _arena(self) -> Arena | None:
        """Where arrays are put that go to workers, if there is something."""
        return None

    def _script_payload(self, path: str, args: Sequence[str], run_name: str, number: int) -> object:
        """What the runner needs to run a script: a frame for a worker process."""
        return codec.encode_script(number, path, args, run_name)

    # --- Tasks

    @overload
    def submit(
        self,
        module_path: PathLike,
        function: str,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        start: bool = True,
    ) -> Task[Any]: ...

    @overload
    def submit(
        self,
        module_path: Callable[..., Coroutine[Any, Any, T]],
        /,
        *,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        start: bool = True,
    ) -> Task[T]: ...

    @overload
    def submit(
        self,
        module_path: Callable[..., T],
        /,
        *,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        start: bool = True,
    ) -> Task[T]: ...

    def submit(
        self,
        module_path: PathLike | Callable[..., Any],
        function: str | None = None,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        start: bool = True,
    ) -> Task[Any]:
        """Run a function in the environment; returns at once.

        Args:
            module_path: The Python file that holds the function; or, instead of file and name, any function, which
                gives the task its return type. One at the top level of a file of yours is loaded from that file, one
                of an installed module is imported by its name in the environment. Any other is sent itself, with
                all that it refers to, as it is now: a lambda, a function made in a function or typed in a notebook,
                a `functools.partial`, a method of an object. That needs the same Python, such as 3.11, on both sides.
            function: Its name in that file; a method as `"Class.method"`.
            args: Positional arguments. Copied before this returns.
            kwargs: Keyword arguments, likewise. A function whose signature names a parameter `task` receives a
                `RemoteTaskHandle` there, unless you give one.
            start: False leaves the task PENDING until `task.start()`, so that listeners hear everything.

        Returns:
            The task: RUNNING when a worker was free, else PENDING.

        Raises:
            NotLaunchedError: `launch()` was not called, or `exit()` was.
            WorkerPoolBroken: the workers keep dying.
            FileNotFoundError: there is no such file.
            SerializationError: an argument cannot be pickled, or a function that would have to be sent itself, or the
                workers run another Python than this; the text says which.
        """
        if callable(module_path) and function is not None:
            raise TypeError(f"the arguments of a function are wanted as args=(...), not as {function!r:.100}")
        callee = self._callee(module_path, function)
        return self._submit(callee, _checked_args(args), _checked_kwargs(kwargs), start)

    def submit_script(
        self,
        script_path: PathLike,
        args: tuple[Any, ...] = (),
        run_name: str = "__main__",
        *,
        start: bool = True,
    ) -> Task[None]:
        """Run a file as a script in the environment; returns at once.

        `sys.exit()` and `sys.exit(0)` in it complete the task, another code fails it.

        Args:
            script_path: The file.
            args: Its command line, `sys.argv[1:]`; each is passed as text.
            run_name: The value of `__name__` in it.
            start: As for `submit`.
        Raises:
            NotLaunchedError, WorkerPoolBroken, FileNotFoundError: as for `submit`.
        """
        path = self._file(script_path)
        arguments = [str(argument) for argument in args]
        payload = partial(self._script_payload, path, arguments, run_name)
        return self._begun(Task[None](self._runner(), os.path.basename(path), payload), start)

    def submit_module(self, module_path: PathLike) -> TaskModule:
        """A stand-in for a module, as that of `import_module`: its functions return at once, each with a started task.

            seg = env.submit_module("segment.py")
            task = seg.segment(image)

        All arguments are those of the function; for `start=False` and the like there is `submit`.

        Args:
            module_path: The Python file; it is read, not run, in this process.
        Raises:
            FileNotFoundError: there is no such file.
            SyntaxError: it is not Python of this version.
        """
        path = self._file(module_path)
        return TaskModule(path, self.name, self.submit, self._functions_in(path))

    @overload
    def map(
        self,
        module_path: PathLike,
        function: str,
        iterable: Iterable[Any],
        *,
        timeout: float | None = None,
        ordered: bool = True,
        buffersize: int | None = None,
        chunksize: int | Literal["auto"] = "auto",
        on_error: OnError = "raise",
    ) -> MapIterator[Any]: ...

    @overload
    def map(
        self,
        module_path: Callable[[A], Coroutine[Any, Any, T]],
        function: Iterable[A],
        /,
        *,
        timeout: float | None = None,
        ordered: bool = True,
        buffersize: int | None = None,
        chunksize: int | Literal["auto"] = "auto",
        on_error: Literal["raise", "skip"] = "raise",
    ) -> MapIterator[T]: ...

    @overload
    def map(
        self,
        module_path: Callable[[A], Coroutine[Any, Any, T]],
        function: Iterable[A],
        /,
        *,
        timeout: float | None = None,
        ordered: bool = True,
        buffersize: int | None = None,
        chunksize: int | Literal["auto"] = "auto",
        on_error: Literal["return"],
    ) -> MapIterator[T | Exception]: ...

    @overload
    def map(
        self,
        module_path: Callable[[A], T],
        function: Iterable[A],
        /,
        *,
        timeout: float | None = None,
        ordered: bool = True,
        buffersize: int | None = None,
        chunksize: int | Literal["auto"] = "auto",
        on_error: Literal["raise", "skip"] = "raise",
    ) -> MapIterator[T]: ...

    @overload
    def map(
        self,
        module_path: Callable[[A], T],
        function: Iterable[A],
        /,
        *,
        timeout: float | None = None,
        ordered: bool = True,
        buffersize: int | None = None,
        chunksize: int | Literal["auto"] = "auto",
        on_error: Literal["return"],
    ) -> MapIterator[T | Exception]: ...

    def map(
        self,
        module_path: PathLike | Callable[[Any], Any],
        function: str | Iterable[Any],
        iterable: Iterable[Any] | None = None,
        *,
        timeout: float | None = None,
        ordered: bool = True,
        buffersize: int | None = None,
        chunksize: int | Literal["auto"] = "auto",
        on_error: OnError = "raise",
    ) -> MapIterator[Any]:
        """Run a function once for each item, over all workers. Starts now, not at the first `next()`.

            env.map("segment.py", "segment", images)
            env.map(segment, images, ordered=False, on_error="return")

        Args:
            module_path: The Python file that holds the function; or, instead of file and name, any function, as for
                `submit`. One that is sent itself is pickled once; up to 64 kB of it are loaded once by each worker,
                whose items then share what it holds, and more than that anew for each piece of the items.
            function: Its name in that file.
            iterable: The items; each becomes the only positional argument, copied before this returns, or when it is
                pulled.
            timeout: How long `next()` may wait for a result, in seconds; None waits as long as the function runs.
            ordered: Yield in the order of the items, or as they are done.
            buffersize: How many items are pulled from the iterable and not yielded yet, at most: so many now, then one
                at each `next()`, in the thread that calls it. For endless iterables. None pulls all now.
            chunksize: How many items a worker is given together, at least; "auto": one. When the function is far faster
                than a message, several chunks travel together, up to a millisecond of work. Whatever it is, what has
                not begun goes to a worker that has nothing to do, and an error, and a worker's death, stays with its
                item.
            on_error: What becomes of a failed item: `"raise"` lets `next()` raise at its place, and cancels what is
                left; `"return"` yields the exception, `"skip"` leaves the item out.

        Returns:
            An iterator of results. Closing or dropping it cancels what is left. A late result raises TimeoutError, and
            cancels what is left.

            The items of a map are no tasks that `events` tells of, unless somebody observes `events` at the call: then
            each item is a task.

        Raises:
            NotLaunchedError, WorkerPoolBroken, FileNotFoundError: as for `submit`.
            SerializationError: an item cannot be pickled, and `on_error` is `"raise"`; or the function itself cannot be
                sent, as for `submit`.
            TypeError, ValueError: an option is not what it should be.
        """
        options = MapOptions.of(timeout, ordered, buffersize, chunksize, on_error)
        named, items = _named_items(module_path, function, iterable)
        arrivals = Arrivals()
        return MapIterator(self._feeder(module_path, named, options.chunksize, arrivals), items, options, arrivals)

    def _feeder(
        self, module_path: PathLike | Callable[..., Any], function: str | None, chunksize: int | None, sink: Sink
    ) -> Feeder:
        """Who passes the items of a map on; by default each becomes a task."""
        callee = self._callee(module_path, function)
        runner = self._runner()

        def make(item: Any) -> Task[Any]:
            return Task(runner, callee.target, lambda number: callee.payload(number, (item,), {}))

        return TaskFeeder(make, callee.target, runner.delivery, sink)

    @overload
    def map_tasks(self, module_path: PathLike, function: str, iterable: Iterable[Any]) -> TaskList[Any]: ...

    @overload
    def map_tasks(
        self, module_path: Callable[[A], Coroutine[Any, Any, T]], function: Iterable[A], /
    ) -> TaskList[T]: ...

    @overload
    def map_tasks(self, module_path: Callable[[A], T], function: Iterable[A], /) -> TaskList[T]: ...

    def map_tasks(
        self,
        module_path: PathLike | Callable[[Any], Any],
        function: str | Iterable[Any],
        iterable: Iterable[Any] | None = None,
    ) -> TaskList[Any]:
        """Submit one task for each item; each item becomes the only positional argument.

            env.map_tasks("segment.py", "segment", images)
            env.map_tasks(segment, images)

        Args:
            module_path: As for `map`.
            function: Its name in that file.
            iterable: The items.

        Returns:
            The tasks, all started, in the order of the items.

        Raises:
            NotLaunchedError, WorkerPoolBroken, FileNotFoundError, SerializationError: as for `submit`; the tasks that
                were started before are canceled.
        """
        named, items = _named_items(module_path, function, iterable)
        callee = self._callee(module_path, named)
        tasks: TaskList[Any] = TaskList()
        try:
            for item in items:
                tasks.append(self._submit(callee, (item,), {}, True))
        except BaseException:
            tasks.cancel()
            raise
        return tasks

    # --- Streams

    @property
    def messages(self) -> Observable[WorkerMessage]:
        """The messages of all workers as they come out of their pipes; ordered for each worker.

        This stream and the next three are hot: who subscribes hears what happens from now on, in this launch or in the
        next one, until `exit()`, which completes them. They cost nothing while nobody subscribes. Observers are called
        on a delivery thread, one at a time for each stream. When one is so slow that more than 65,536 items wait for
        it, the newest update takes the place of the one before it; nothing else is left out.
        """
        return self._streams.messages.as_observable()

    @property
    def events(self) -> Observable[TaskEvent[Any]]:
        """The events of all tasks; ordered for each task."""
        return self._streams.events.as_observable()

    @property
    def workers(self) -> Observable[WorkerEvent]:
        """The lives of all workers: started, ready, lost, exited."""
        return self._streams.workers.as_observable()

    @property
    def logs(self) -> Observable[logging.LogRecord]:
        """The log records of this environment, whatever the level of the logger: what functions log and print, too.

        Also those of its making, and of the output of `execute_commands`. Their attributes are those of
        `wetlands_rx.logger`. When more than 10,000 wait for a slow observer, the newest replaces the one before it.
        """
        return self._streams.logs.as_observable()

    # --- Blocking calls

    @overload
    def execute(
        self,
        module_path: PathLike,
        function: str,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any: ...

    @overload
    def execute(
        self,
        module_path: Callable[..., Coroutine[Any, Any, T]],
        /,
        *,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> T: ...

    @overload
    def execute(
        self,
        module_path: Callable[..., T],
        /,
        *,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> T: ...

    def execute(
        self,
        module_path: PathLike | Callable[..., Any],
        function: str | None = None,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run a function in the environment and wait for its result; several threads use several workers.

        Args:
            module_path: As for `submit`, as are the other arguments.
            function: The name in that file.
            args: Positional arguments.
            kwargs: Keyword arguments.

        Raises:
            ExecutionException: the function failed.
            InvalidStateError: it was canceled, by `exit()`.
            NotLaunchedError, WorkerPoolBroken, FileNotFoundError, SerializationError: as for `submit`.
        """
        run: Callable[..., Task[Any]] = self.submit
        return self._finished(run(module_path, function, args, kwargs))

    def run_script(self, script_path: PathLike, args: tuple[Any, ...] = (), run_name: str = "__main__") -> None:
        """Run a file as a script in the environment and wait for its end; raises like `execute`."""
        self._finished(self.submit_script(script_path, args, run_name))

    def import_module(self, module_path: PathLike) -> RemoteModule:
        """A stand-in for a module: its functions run in the environment, one blocking call each.

        Args:
            module_path: The Python file; it is read, not run, in this process.
        Raises:
            FileNotFoundError: there is no such file.
            SyntaxError: it is not Python of this version.
        """
        path = self._file(module_path)
        return RemoteModule(path, self.name, self.execute, self._functions_in(path))

    def _finished(self, task: Task[T]) -> T:
        try:
            return task.wait_for().result
        except BaseException:
            task.cancel()  # the caller was interrupted: nobody waits for it any more
            raise

    def _located(self, module_path: PathLike | Callable[..., Any], function: str | None) -> Located:
        """Where a worker finds what is called."""
        if not callable(module_path):
            return Located(self._file(module_path), checked_name(module_path, function))
        way = way_of(facts_of(module_path))
        if isinstance(way, ByValue):
            return Located("", way.shown, self._pickled(module_path, way))
        return located(way)

    def _pickled(self, function: Callable[..., Any], way: ByValue) -> FunctionValue:
        """A function that is sent itself; raises `SerializationError` when that cannot be."""
        check_python(way, self.name, self._workers_python())
        return pickled(function, way)

    def _workers_python(self) -> tuple[int, int]:
        """The Python of those who run the functions; raises when nobody does."""
        return sys.version_info[:2]

    def _file(self, path: PathLike) -> str:
        """The absolute path of a file with functions."""
        return _existing(path)

    def _functions_in(self, path: str) -> Sequence[str]:
        """The names of the functions in a file."""
        return functions_of(path)

    def _submit(self, callee: Callee, args: tuple[Any, ...], kwargs: dict[str, Any], start: bool) -> Task[Any]:
        task: Task[Any] = Task(self._runner(), callee.target, lambda number: callee.payload(number, args, kwargs))
        return start_new(task) if start else self._begun(task, False)

    def _begun(self, task: Task[T], start: bool) -> Task[T]:
        if start:
            return task.start()
        unstarted, key = self._unstarted, id(task)
        unstarted[key] = ref(task, lambda _: unstarted.pop(key, None))
        return task

    @property
    def _unstarted(self) -> dict[int, ref[Task[Any]]]:
        # No set of weak references: that one cannot be gone through while other threads add to it.
        unstarted: dict[int, ref[Task[Any]]] = vars(self).setdefault("_unstarted_tasks", {})
        return unstarted

    def _cancel_unstarted(self) -> None:
        """Cancel the tasks that were made with `start=False` and never started; part of `exit()`."""
        for key in list(self._unstarted):
            reference = self._unstarted.pop(key, None)
            task = reference() if reference is not None else None
            if task is not None and not task.started:
                task.cancel()

    # --- Context manager

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        """Exit the environment."""
        self.exit()


def _named_items(
    module_path: object, function: str | Iterable[Any], iterable: Iterable[Any] | None
) -> tuple[str | None, Iterable[Any]]:
    """What a map was given: the name of a function in a file, if it was not given the function itself, and items."""
    if callable(module_path) and iterable is None and not isinstance(function, str):
        return None, function
    if not callable(module_path) and iterable is not None and isinstance(function, str):
        return function, iterable
    raise TypeError("a file, the name of a function in it and items are wanted; or a function and items")


def checked_count(name: str, value: object) -> int:
    """A number of something, at least 1.

    Raises:
        TypeError, ValueError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    if value < 1:
        raise ValueError(f"{name} is {value}; at least 1 is needed")
    return value


def checked_results(results: object) -> None:
    """What functions may return.

    Raises:
        ValueError: it is neither `"pickle"` nor `"safe"`.
    """
    if results not in ("pickle", "safe"):
        raise ValueError(f'results must be "pickle" or "safe", not {results!r}')


def checked_name(module_path: PathLike, function: object) -> str:
    """The name of a function in a file.

    Raises:
        TypeError: it is no name.
    """
    if not isinstance(function, str) or not function:
        raise TypeError(f"the name of a function in {module_path} is wanted, not {function!r}")
    return function


def located(way: Way) -> Located:
    """Where a worker finds a function; one that is sent itself is still to be pickled."""
    if isinstance(way, ByFile):
        return Located(way.path, way.name)
    return Located("", f"{way.module}:{way.name}" if isinstance(way, ByName) else way.shown)


_as_tuple: Callable[[Any], tuple[Any, ...]] = tuple


def _checked_args(args: object) -> tuple[Any, ...]:
    if isinstance(args, (tuple, list)):
        return _as_tuple(args)
    raise TypeError(f"args must be a tuple of the positional arguments, not {args!r:.100}")


def _checked_kwargs(kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    if kwargs is None:
        return {}
    if isinstance(kwargs, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - callers err
        given = dict(kwargs)
        if all(isinstance(key, str) for key in given):  # pyright: ignore[reportUnnecessaryIsInstance]
            return given
    raise TypeError(f"kwargs must be a dictionary with names as keys, not {kwargs!r:.100}")


def _existing(path: PathLike) -> str:
    found = os.path.abspath(os.fsdecode(path))
    if not os.path.isfile(found):
        hint = "" if os.path.isabs(path) else f" (given as {os.fspath(path)!r}, from {os.getcwd()})"
        raise FileNotFoundError(f"there is no file {found}{hint}")
    return found


def packed_item(target: str, arena: Arena | None, item: object) -> Item:
    """Pickle an item of a map, now; its arrays go to the arena.

    Raises:
        SerializationError: it cannot be pickled.
    """
    try:
        return pack_item(item, copied, arena)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # pickling runs the user's code
        raise _not_sendable(target, [("item", item)], error) from error


def _not_sendable(target: str, named: Sequence[tuple[str, Any]], error: BaseException) -> SerializationError:
    """Name the part of the arguments that cannot be pickled."""
    advice = "build it inside the function, or pass what it is made from"
    failure = unsendable("what was given", named, target, error, advice, interruptible=True)
    return SerializationError(failure.error, path=failure.path, type_name=failure.type_name)


def _named(args: Sequence[Any], kwargs: dict[str, Any]) -> list[tuple[str, Any]]:
    named = [(f"args[{place}]", value) for place, value in enumerate(args)]
    return named + [(f"kwargs[{key!r}]", value) for key, value in kwargs.items()]
