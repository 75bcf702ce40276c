"""The standard streams of a worker, over a pipe that this process reads itself."""

from __future__ import annotations

import io
import os
import pickle
import select
import threading
from collections.abc import Callable, Iterator

import pytest

from wetlands_rx._remote.output import MarkedWriter, Printer, Printers
from wetlands_rx._wire.printed import BEGIN
from wetlands_rx._worker.output_lines import OutputLines, PrintedLine

TARGET = "a.py:f"


class Pipe:
    """A writer into a pipe, and what comes out of it."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        self.printers = Printers()
        self.writer = MarkedWriter(self.write_end, "<stdout>", self.printers)

    def read(self) -> bytes:
        found = b""
        while select.select([self.read_end], [], [], 0)[0]:
            found += os.read(self.read_end, 1 << 16)
        return found

    def lines(self) -> list[PrintedLine]:
        lines = OutputLines()
        return lines.received(self.read()) + lines.ended()

    def run(self, number: int) -> Printer:
        self.printers.running = Printer(number, "/somewhere/a.py", "f")
        return self.printers.running


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    os.close(made.read_end)
    os.close(made.write_end)


def in_thread(function: Callable[[], object]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def test_text_bears_the_call_that_printed_it(pipe: Pipe) -> None:
    pipe.run(7)
    pipe.writer.write(b"one\n")
    pipe.run(8)
    pipe.writer.write(b"two\n")
    assert pipe.lines() == [PrintedLine("one", 7, TARGET), PrintedLine("two", 8, TARGET)]


def test_between_calls_text_goes_out_as_it_is(pipe: Pipe) -> None:
    pipe.writer.write(b"nobody's\n")
    assert pipe.read() == b"nobody's\n"


def test_a_line_is_held_until_it_ends(pipe: Pipe) -> None:
    pipe.run(7)
    pipe.writer.write(b"begun")
    assert pipe.read() == b""
    pipe.writer.write(b", ended\n")
    assert pipe.lines() == [PrintedLine("begun, ended", 7, TARGET)]


def test_a_flush_sends_what_is_held_of_all_threads(pipe: Pipe) -> None:
    pipe.run(7)
    pipe.writer.write(b"mine ")
    in_thread(lambda: pipe.writer.write(b"another's"))
    pipe.writer.flush()
    assert sorted(line.text for line in pipe.lines()) == ["another's", "mine "]


def test_the_end_of_a_call_ends_its_line_and_no_other(pipe: Pipe) -> None:
    printer = pipe.run(7)
    pipe.writer.write(b"begun")
    pipe.printers.running = None
    pipe.writer.finish(printer)
    lines = OutputLines()
    assert lines.received(pipe.read()) == [PrintedLine("begun", 7, TARGET)]
    pipe.writer.finish(printer)
    assert pipe.read() == b""


def test_what_was_begun_before_the_call_is_not_the_calls(pipe: Pipe) -> None:
    pipe.writer.write(b"before ")
    pipe.run(7)
    pipe.writer.write(b"within\n")
    assert pipe.lines() == [PrintedLine("within", 7, TARGET), PrintedLine("before ")]


@pytest.mark.parametrize("size", [1, 2048, 2049, 4096, 50_000])
def test_no_write_is_longer_than_the_kernel_keeps_in_one_piece(pipe: Pipe, size: int) -> None:
    pipe.run(7)
    pipe.writer.write(b"x" * size + b"\n")
    sent, lines = pipe.read(), OutputLines()
    assert lines.received(sent) == [PrintedLine("x" * size, 7, TARGET)]
    assert all(len(BEGIN + part) <= select.PIPE_BUF for part in sent.split(BEGIN))


def test_threads_keep_their_lines_apart(pipe: Pipe) -> None:
    pipe.run(7)
    pipe.writer.write(b"main ")
    in_thread(lambda: pipe.writer.write(b"thread\n"))
    pipe.writer.write(b"again\n")
    assert [line.text for line in pipe.lines()] == ["thread", "main again"]


def test_a_descriptor_that_the_user_has_put_elsewhere_bears_no_marks(pipe: Pipe) -> None:
    other_read, other_write = os.pipe()
    try:
        printer = pipe.run(7)
        os.dup2(other_write, pipe.write_end)
        pipe.writer.write(b"to a file\n")
        pipe.writer.write(b"begun")
        pipe.writer.finish(printer)
        assert os.read(other_read, 100) == b"to a file\nbegun"
    finally:
        os.close(other_read)
        os.close(other_write)


def test_a_writer_is_a_binary_stream_like_any_other(pipe: Pipe) -> None:
    text = io.TextIOWrapper(pipe.writer, encoding="utf-8", write_through=True)
    pipe.run(7)
    print("é", 1, sep="-", file=text)
    text.buffer.write(memoryview(b"bytes\n"))
    assert [line.text for line in pipe.lines()] == ["é-1", "bytes"]
    assert (text.fileno(), text.isatty(), text.name, pipe.writer.mode) == (pipe.write_end, False, "<stdout>", "wb")
    text.close()
    os.fstat(pipe.write_end)  # stays open
    with pytest.raises(ValueError, match="closed file"):
        pipe.writer.write(b"late")


def test_a_writer_cannot_be_sent_elsewhere(pipe: Pipe) -> None:
    with pytest.raises(TypeError, match="cannot pickle '<stdout>'"):
        pickle.dumps(pipe.writer)


def test_a_full_pipe_that_does_not_block_is_waited_for(pipe: Pipe) -> None:
    os.set_blocking(pipe.write_end, False)
    pipe.run(7)
    thread = threading.Thread(target=lambda: [pipe.writer.write(b"x" * 999 + b"\n") for _ in range(200)])
    thread.start()
    received, lines = OutputLines(), list[PrintedLine]()
    while len(lines) < 200:
        lines += received.received(os.read(pipe.read_end, 1 << 16))
    thread.join()
    assert {line.text for line in lines} == {"x" * 999}


def test_a_write_that_interrupts_a_write_of_the_same_thread_goes_on(pipe: Pipe) -> None:
    """A finalizer or a signal handler prints while its thread is within `write`, with the lock."""
    pipe.run(7)

    class Nosy(Printer):
        def mark(self, text_bytes: int) -> bytes:
            pipe.printers.running = None
            pipe.writer.write(b"interrupted\n")
            return super().mark(text_bytes)

    pipe.printers.running = Nosy(7, "a.py", "f")
    pipe.writer.write(b"a line\n")
    assert pipe.lines() == [PrintedLine("interrupted"), PrintedLine("a line", 7, TARGET)]


def test_a_forked_child_prints_for_the_call_and_not_what_the_parent_holds(pipe: Pipe) -> None:
    pipe.run(7)
    pipe.writer.write(b"the parent's ")
    pipe.writer.renew()  # as in the child
    pipe.writer.write(b"the child's\n")
    assert pipe.lines() == [PrintedLine("the child's", 7, TARGET)]
