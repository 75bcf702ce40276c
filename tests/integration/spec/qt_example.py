"""The Qt example of the specification, corrected: a `(float, str)` signal does not fit `QProgressBar.setValue(int)`."""

import sys
import tempfile

from PyQt6.QtCore import QObject, QThread, pyqtSignal, pyqtSlot
from PyQt6.QtWidgets import QApplication, QLabel, QProgressBar

from wetlands_rx import EnvironmentManager, TaskEvent, TaskEventType


class TaskBridge(QObject):
    progress = pyqtSignal(float, str)  # progress ratio, message
    completed = pyqtSignal(object)
    failed = pyqtSignal(str)


class Window(QObject):
    """Its slots run in the thread of the window."""

    def __init__(self) -> None:
        super().__init__()
        self.progress_bar = QProgressBar()
        self.progress_bar.setRange(0, 100)
        self.label = QLabel()
        self.error = ""
        self.result: object = None

    @pyqtSlot(float, str)
    def show_progress(self, ratio: float, message: str) -> None:
        assert QThread.currentThread() is self.thread()
        self.progress_bar.setValue(round(ratio * 100))
        self.label.setText(message)

    @pyqtSlot(object)
    def on_result(self, result: object) -> None:
        assert QThread.currentThread() is self.thread()
        self.result = result
        QApplication.quit()

    @pyqtSlot(str)
    def on_failed(self, error: str) -> None:
        assert QThread.currentThread() is self.thread()
        self.error = error
        QApplication.quit()


def main() -> None:
    app = QApplication([])
    window = Window()
    bridge = TaskBridge()  # made here, so that its signals are queued to this thread
    bridge.progress.connect(window.show_progress)
    bridge.completed.connect(window.on_result)
    bridge.failed.connect(window.on_failed)

    def on_event(event: TaskEvent) -> None:
        match event.type:
            case TaskEventType.UPDATE:
                bridge.progress.emit(event.task.progress or 0.0, event.task.message or "")
            case TaskEventType.COMPLETION:
                bridge.completed.emit(event.task.result)
            case TaskEventType.FAILURE:
                bridge.failed.emit(event.task.error or "Unknown error")

    with tempfile.TemporaryDirectory() as root, EnvironmentManager(root).load("numpy", sys.argv[1]) as env:
        env.launch()
        for image in (42, None):
            task = env.submit("qt_segment.py", "segment_image", args=(image,), start=False)
            task.listen(on_event).start()
            app.exec()
    print("bar", window.progress_bar.value())
    print("text", window.label.text())
    print("failed", window.error)
    print("done", window.result)


if __name__ == "__main__":
    main()
