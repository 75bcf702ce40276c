"""The thread of a Qt application, reached by an event that is posted once for all that has come meanwhile.

Not by a signal: some bindings lose a reference with each emission. Not by a timer in the foreign thread: it never
fires.
"""

from __future__ import annotations

import importlib
import sys
import time
import weakref
from types import ModuleType
from typing import Any, Protocol

from wetlands_rx._operators.delivery import TURN_S, Door, Place, Work
from wetlands_rx._operators.turns import Line

_BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")


class _Bridge(Protocol):
    def run_soon(self, work: Work) -> None:
        """Do work in the application's thread. From any thread; raises `RuntimeError` when Qt has gone."""
        ...


def qt() -> Place:
    """The thread of the Qt application, for `deliver_on`; with PyQt6 or PySide6, or whatever qtpy finds.

    The application must exist when the stream is subscribed to, which may happen in any thread. When it is gone,
    nothing is delivered any more.

    Raises:
        ImportError: there is no Qt binding; the text says what to install. At the subscription, as the stream's error.
        RuntimeError: there is no `QCoreApplication` yet. Likewise.
    """
    return _QtPlace()


class _QtPlace(Place):
    def open(self, work: Work) -> Door:
        return _QtDoor(_bridge(), work)


class _QtDoor(Door):
    def __init__(self, bridge: _Bridge, work: Work) -> None:
        self._bridge = bridge
        self._work = work

    def wake(self) -> None:
        self._bridge.run_soon(self._work)

    def close(self) -> None:
        pass


def _core() -> ModuleType:
    """`QtCore` of the binding in use, else of the first one that is installed."""
    loaded = [name for name in _BINDINGS if f"{name}.QtCore" in sys.modules]
    for package in (*loaded, "qtpy", *_BINDINGS):
        try:
            return importlib.import_module(f"{package}.QtCore")
        except ImportError:
            continue
        except Exception as error:  # qtpy without a binding raises an error of its own
            if type(error).__module__.partition(".")[0] != "qtpy":
                raise
    raise ImportError('deliver_on(qt()) needs a Qt binding: pip install "wetlands_rx[pyqt]"')


_bridges: dict[str, tuple[weakref.ref[Any], _Bridge]] = {}


def _bridge() -> _Bridge:
    core: Any = _core()
    application = core.QCoreApplication.instance()
    if application is None:
        raise RuntimeError("deliver_on(qt()) needs a running Qt: make the QApplication first")
    of_application, bridge = _bridges.get(core.__name__, (None, None))
    if bridge is None or of_application is None or of_application() is not application:
        bridge = _new_bridge(core, application)
        _bridges[core.__name__] = weakref.ref(application), bridge
    return bridge


def _new_bridge(core: Any, application: Any) -> _Bridge:
    kind = core.QEvent.Type(core.QEvent.registerEventType())
    parent: Any = core.QObject
    works: Line[Work] = Line()

    def turn() -> None:
        # What is left goes on by a timer, not by another event: posted events would come before the user's clicks.
        if _do_some(works):
            core.QTimer.singleShot(0, turn)

    class Bridge(parent):  # type: ignore[misc]
        """Lives in the application's thread. One event is under way at a time."""

        def run_soon(self, work: Work) -> None:
            if works.put(work):
                if core.QCoreApplication.instance() is None:
                    raise RuntimeError("the Qt application is gone")
                core.QCoreApplication.postEvent(self, core.QEvent(kind))

        def event(self, event: Any) -> bool:
            if event.type() == kind:
                turn()
                return True
            handled: bool = parent.event(self, event)
            return handled

    bridge: Any = Bridge()
    bridge.moveToThread(application.thread())
    made: _Bridge = bridge
    return made


def _do_some(works: Line[Work]) -> bool:
    """Work for a moment, a little for each; True when there may be more."""
    until = time.monotonic() + TURN_S
    while (work := works.next()) is not None:
        if work(until):
            works.put(work)
        if time.monotonic() >= until:
            return True
    return False
