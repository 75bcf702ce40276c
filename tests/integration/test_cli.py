"""The real commands, each in a process of its own."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import psutil
import pytest

from wetlands_rx import EnvironmentManager, Task, TaskEvent, TaskStatus
from wetlands_rx._cli import demo, demo_lines, plain_tasks

COMMAND = [sys.executable, "-W", "error", "-m", "wetlands_rx"]
ENDS_WITHIN_S = 10.0

WORK = '''
import os


def measure(item, task):
    for step in (1, 2):
        task.update(f"\\x1b[31mstep {step}\\x1b[0m", current=step, maximum=2)
    if item.startswith("bad"):
        raise ValueError(f"{item} is no good\\x07")
    return {"item": item, "length": len(item)}


def wait_for_file(item, task):
    """The first waits for a file, which the second makes."""
    import time

    while item == "first" and not os.path.exists("second"):
        task.raise_if_canceled()
        time.sleep(0.01)
    if item == "second":
        open("second", "w").close()
    return item


def triple(number):
    return 3 * number


def same(item):
    return item


def file_of(item):
    with open(item) as file:
        return f"{item} {file.read()}"


def nothing():
    print("printed \\x1b[1mby the function")


def arrays(item):
    import array_maker

    return {"labels": array_maker.make(int(item)), "raw": b"12"}


def leave(item):
    if item == "now":
        os._exit(3)
    return item


def until_canceled(item, task):
    import time

    task.update("waits")
    while not task.cancel_requested:
        time.sleep(0.005)
    task.cancel()


def for_ever(item, task):
    import time

    task.update("waits")
    while True:
        time.sleep(1)
'''


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Environments that these tests share."""
    return tmp_path_factory.mktemp("root")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the user works."""
    (tmp_path / "work.py").write_text(WORK, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def wetlands(
    *words: str | Path, root: Path, variables: Mapping[str, str] | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, words)],
        env=environment(root, variables),
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def environment(root: Path, variables: Mapping[str, str] | None = None) -> dict[str, str]:
    return {**os.environ, "WETLANDS_RX_ROOT": str(root), **(variables or {})}


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def assert_plain(text: str) -> None:
    assert not re.findall(r"[^\n\x20-\x7e\xa0-\U0010ffff]", text)


def image_pixels(path: Path, python: Path) -> tuple[list[int], int, int]:
    """Shape, number of different values and largest value of an image, read where scikit-image is."""
    program = (
        "import sys, numpy, skimage.io; image = skimage.io.imread(sys.argv[1]);"
        "print(list(image.shape), len(numpy.unique(image)), image.max())"
    )
    answer = subprocess.run([python, "-c", program, path], capture_output=True, text=True, check=True).stdout
    shape, values, largest = re.fullmatch(r"(\[.*\]) (\d+) (\d+)\n", answer, re.ASCII).groups()  # type: ignore[union-attr]
    return json.loads(shape), int(values), int(largest)


# --- demo


@pytest.mark.network
def test_the_demo_counts_things_in_pictures_and_the_next_one_is_quick(folder: Path, root: Path) -> None:
    first = wetlands("demo", root=root)
    began_at = time.monotonic()
    again = wetlands("demo", "--out", "again", root=root)
    lasted_s = time.monotonic() - began_at
    for answer in (first, again):
        assert (answer.returncode, answer.stderr) == (0, "")
        assert_plain(answer.stdout)
        assert re.search(r"canceled at \d+/100: it was asked", answer.stdout)
        assert "FAILED: ValueError: no image called 'unicorns'" in answer.stdout
        assert 'demo_tasks.py", line' in answer.stdout
        assert "15 images, " in answer.stdout
    assert lasted_s < 60  # a person waits a few seconds; this machine may be busy with something else

    out = folder / "wetlands-demo"
    with (out / "counts.csv").open(encoding="utf-8") as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    images = set(demo.IMAGES) - {demo.NO_IMAGE}
    assert set(rows) == images
    assert rows["coins"]["count"] == "24"
    assert rows["cell"]["count"] == rows["horse"]["count"] == "1"
    (where,) = re.findall(r"^environment wetlands-demo is there: (.+)$", again.stdout, re.MULTILINE)
    python = Path(where) / "bin" / "python"
    for name in ("coins", "hubble_deep_field"):
        count = int(rows[name]["count"])
        size = [int(rows[name]["height"]), int(rows[name]["width"])]
        assert image_pixels(out / rows[name]["labels"], python) == (size, count + 1, count)
        shape, values, _ = image_pixels(out / rows[name]["overlay"], python)
        assert (shape[-1], values > 100) == (3, True)
    assert {path.stem for path in (out / "overlays").iterdir()} == images
    assert image_pixels(out / "overview.png", python)[0] == [960, 1600, 3]
    summary = (out / "summary.txt").read_text(encoding="utf-8")
    assert "15 images, " in summary
    assert "Traceback (most recent call last):" in summary
    assert (folder / "again" / "overview.png").is_file()


@pytest.fixture
def nowhere(tmp_path: Path) -> dict[str, str]:
    """Variables that send the installer to a port where nobody listens, with nothing in its cache."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    index = f"http://127.0.0.1:{port}/simple"
    return {
        "UV_DEFAULT_INDEX": index,
        "UV_INDEX_URL": index,
        "PIP_INDEX_URL": index,
        "UV_INDEX": "",
        "UV_EXTRA_INDEX_URL": "",
        "UV_FIND_LINKS": "",
        "UV_NO_CONFIG": "1",
        "UV_CACHE_DIR": str(tmp_path / "empty-cache"),
        "UV_HTTP_RETRIES": "0",
    }


def test_without_a_network_a_smaller_demo_runs_here(folder: Path, nowhere: dict[str, str]) -> None:
    answer = wetlands("demo", "--root", folder / "root", root=folder / "unused", variables=nowhere)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert_plain(answer.stdout)
    lines = answer.stdout.splitlines()
    (excuse,) = [line for line in lines if "smaller demo" in line]
    assert excuse.startswith("scikit-image cannot be installed here: a package index could not be reached; ")
    assert re.search(r"canceled at \d+/100: it was asked", answer.stdout)
    assert "FAILED: ValueError: no image called 'unicorns'" in answer.stdout
    out = folder / "wetlands-demo"
    with (out / "counts.csv").open(encoding="utf-8") as file:
        assert {row["image"] for row in csv.DictReader(file)} == set(plain_tasks.IMAGES)
    assert "12 images, " in (out / "summary.txt").read_text(encoding="utf-8")
    assert not (folder / "unused").exists()
    assert_lines_do_it(lines, folder)


def assert_lines_do_it(lines: Sequence[str], folder: Path) -> None:
    """Run what the demo printed as the lines that did it."""
    begin = lines.index("The lines that did it:") + 1
    names: dict[str, Any] = {**vars(demo_lines)}
    for name in ("this_interpreter", "is_half_way", "count_things"):
        del names[name]
    exec("\n".join(line.removeprefix("    ") for line in lines[begin:]), names)
    functions = folder / "plain_tasks.py"
    functions.write_bytes(Path(plain_tasks.__file__).read_bytes())
    told: list[tuple[str, str]] = []

    def show(name: str, event: TaskEvent[Any]) -> None:
        told.append((name, event.type.name))

    with EnvironmentManager(folder / "root", log_file_path=None) as manager:
        tasks: dict[str, Task[Any]] = names["count_things"](
            names["this_interpreter"](manager), functions, ["stars", "unicorns"], show
        )
    assert {name: task.status for name, task in tasks.items()} == {
        demo_lines.SEARCH: TaskStatus.CANCELED,
        "stars": TaskStatus.COMPLETED,
        "unicorns": TaskStatus.FAILED,
    }
    assert {("stars", "COMPLETION"), ("unicorns", "FAILURE"), (demo_lines.SEARCH, "CANCELATION")} <= set(told)


def test_a_demo_that_cannot_write_says_so(folder: Path, nowhere: dict[str, str]) -> None:
    answer = wetlands("demo", "--out", "work.py", root=folder / "root", variables=nowhere)
    assert (answer.returncode, answer.stderr) == (2, "wetlands-rx: cannot write to work.py: File exists\n")


def test_ctrl_c_ends_the_demo_and_leaves_nothing(folder: Path, nowhere: dict[str, str]) -> None:
    process = subprocess.Popen(
        [*COMMAND, "demo"],
        env=environment(folder / "root", nowhere),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    lines = cast(IO[str], process.stdout)
    while "berries" not in lines.readline():
        pass
    descendants = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate()[1] == "wetlands-rx: interrupted\n"
    assert (process.returncode, len(descendants)) == (130, 2)
    assert psutil.wait_procs(descendants, timeout=ENDS_WITHIN_S)[1] == []


# --- run: results


@pytest.mark.usefixtures("folder")
def test_results_come_in_the_order_of_the_items_and_a_failure_stays_with_its_item(root: Path) -> None:
    answer = wetlands("run", "work.py:measure", "a", "bad", "ccc", "bad too", "--workers", "2", root=root)
    assert answer.returncode == 1
    assert answer.stdout == 'a: {"item": "a", "length": 1}\nccc: {"item": "ccc", "length": 3}\n'
    assert "bad: FAILED: ValueError: bad is no good\n" in answer.stderr
    assert 'work.py", line' in answer.stderr
    assert "bad too: FAILED: ValueError: bad too is no good (at the same place as above)\n" in answer.stderr
    assert "2 of 4 done, 2 failed, in " in answer.stderr
    assert_plain(answer.stdout + answer.stderr)


def test_unordered_results_come_as_they_end(folder: Path, root: Path) -> None:
    words = ("run", "work.py:wait_for_file", "first", "other", "--workers", "2", "--unordered")
    with subprocess.Popen([*COMMAND, *words], env=environment(root), stdout=subprocess.PIPE, text=True) as process:
        lines = cast(IO[str], process.stdout)
        assert lines.readline() == "other: other\n"
        (folder / "second").touch()
        assert lines.readline() == "first: first\n"
    assert process.returncode == 0


@pytest.mark.usefixtures("folder")
def test_ordered_results_wait_for_the_first(root: Path) -> None:
    answer = wetlands("run", "work.py:wait_for_file", "first", "second", "--workers", "2", "--ordered", root=root)
    assert (answer.returncode, answer.stdout) == (0, "first: first\nsecond: second\n")


@pytest.mark.usefixtures("folder")
def test_json_events_tell_the_whole_story(root: Path) -> None:
    answer = wetlands("run", "--json", "work.py:measure", "ab", "bad", "--workers", "1", root=root)
    assert answer.returncode == 1
    told = events(answer.stdout)
    first, second, (summary,) = ([event for event in told if event.get("index") is index] for index in (0, 1, None))
    assert [event["event"] for event in first] == ["started", "update", "update", "result"]
    assert [event["event"] for event in second] == ["started", "update", "update", "failure"]
    assert first[0] == {"event": "started", "index": 0, "item": "ab", "worker": 0}
    assert (first[2]["message"], first[2]["current"], first[2]["maximum"]) == ("\x1b[31mstep 2\x1b[0m", 2, 2)
    assert first[3]["result"] == {"item": "ab", "length": 2}
    assert second[3]["error"] == second[3]["traceback"][-1] == "ValueError: bad is no good\x07"
    assert (
        told[-1]
        == summary
        == {
            "event": "summary",
            "total": 2,
            "done": 1,
            "failed": 1,
            "canceled": 0,
            "killed": 0,
            "interrupted": False,
            "seconds": summary["seconds"],
            "workers": 1,
        }
    )
    assert_plain(answer.stdout + answer.stderr)


@pytest.mark.usefixtures("folder")
def test_json_items_are_handed_over_as_values(root: Path) -> None:
    answer = wetlands("run", "work.py:triple", "--json-items", "14", "[1]", '"a"', root=root)
    assert answer.stdout == "14: 42\n[1]: [1, 1, 1]\na: aaa\n"


@pytest.mark.usefixtures("folder")
def test_items_are_read_from_stdin_and_stand_before_and_after_options(root: Path) -> None:
    answer = wetlands("run", "work.py:triple", "x", "--workers", "1", "-", root=root, stdin="one line\ntwo\n")
    assert answer.stdout == "x: xxx\none line: one lineone lineone line\ntwo: twotwotwo\n"


@pytest.mark.usefixtures("folder")
def test_without_items_the_function_is_called_once(root: Path) -> None:
    answer = wetlands("run", "work.py:nothing", root=root)
    assert (answer.returncode, answer.stdout) == (0, "nothing: null\n")
    assert "worker 0: printed by the function\n" in answer.stderr
    assert "1 of 1 done" in answer.stderr


@pytest.mark.usefixtures("folder")
def test_an_empty_list_of_items_is_nothing_to_do(root: Path) -> None:
    answer = wetlands("run", "work.py:triple", "-", root=root)
    assert (answer.returncode, answer.stdout) == (0, "")
    assert "0 of 0 done" in answer.stderr


def test_results_are_written_to_a_folder(folder: Path, root: Path) -> None:
    (folder / "array_maker.py").write_text(
        "import numpy\n\ndef make(n):\n    return numpy.arange(n)\n", encoding="utf-8"
    )
    words = ("run", "work.py:arrays", "3", "no number", "--out", "results", "--environment", sys.executable)
    answer = wetlands(*words, root=root)
    assert answer.returncode == 1
    out = folder / "results"
    assert sorted(path.name for path in out.iterdir()) == [
        "0001-3.json",
        "0001-3.labels.npy",
        "0001-3.raw.bin",
        "results.jsonl",
    ]
    assert np.load(out / "0001-3.labels.npy").tolist() == [0, 1, 2]
    assert (out / "0001-3.raw.bin").read_bytes() == b"12"
    lines = events((out / "results.jsonl").read_text(encoding="utf-8"))
    assert [(line["index"], line["item"], line["status"]) for line in lines] == [
        (0, "3", "completed"),
        (1, "no number", "failed"),
    ]
    assert lines[0]["files"] == ["0001-3.json", "0001-3.labels.npy", "0001-3.raw.bin"]
    assert lines[1]["error"].startswith("ValueError: invalid literal")


@pytest.mark.usefixtures("folder")
def test_a_worker_that_dies_is_one_failed_item(root: Path) -> None:
    answer = wetlands("run", "work.py:leave", "a", "now", "b", "--workers", "1", root=root)
    assert (answer.returncode, answer.stdout) == (1, "a: a\nb: b\n")
    assert "now: FAILED: the worker process ended with exit code 3" in answer.stderr


@pytest.mark.network
@pytest.mark.usefixtures("folder")
def test_packages_are_there_and_the_environment_is_used_again(folder: Path, root: Path) -> None:
    (folder / "needs.py").write_text("def version():\n    import iniconfig\n    return iniconfig.__name__\n")
    names: set[str] = set()
    for _ in range(2):
        answer = wetlands("run", "needs.py:version", "--pip", "iniconfig", root=root)
        assert (answer.returncode, answer.stdout) == (0, "version: iniconfig\n")
        names |= set(re.findall(r"^environment (run-iniconfig-\w+) ", answer.stderr, re.MULTILINE))
    assert len(names) == 1


# --- run: errors


@pytest.mark.usefixtures("folder")
def test_a_function_that_is_not_there_is_said_once_with_the_nearest_name(root: Path) -> None:
    answer = wetlands("run", "work.py:mesure", *"abcdefgh", root=root)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.splitlines()[1:] == ["wetlands-rx: work.py has no function 'mesure'. Did you mean 'measure'?"]


@pytest.mark.usefixtures("folder")
def test_a_python_that_is_not_here_is_answered_with_those_that_are(root: Path) -> None:
    answer = wetlands("run", "work.py:triple", "a", "--python", "3.99", root=root)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert "no Python 3.99" in answer.stderr
    assert "found: " in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.usefixtures("folder")
def test_a_package_that_cannot_be_had_is_an_error_of_the_environment(root: Path, nowhere: dict[str, str]) -> None:
    words = ("run", "work.py:triple", "a", "--pip", "iniconfig", "--json")
    answer = wetlands(*words, "--root", root / "offline", root=root, variables=nowhere)
    assert answer.returncode == 1
    (error,) = events(answer.stdout)
    assert (error["event"], error["exit_code"]) == ("error", 1)
    assert "a package index could not be reached" in error["message"]
    assert "Traceback" not in answer.stderr


# --- run: Ctrl-C


def started(words: Sequence[str], root: Path) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """A run in a session of its own whose functions have said that they wait, and all its descendants."""
    process = subprocess.Popen(
        [*COMMAND, *words], env=environment(root), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    waiting, lines = 0, cast(IO[str], process.stdout)
    while waiting < 2:
        waiting += json.loads(lines.readline())["event"] == "update"
    return process, psutil.Process(process.pid).children(recursive=True)


def finished(process: subprocess.Popen[str], descendants: list[psutil.Process]) -> list[dict[str, Any]]:
    told = events(process.communicate()[0])
    assert process.returncode == 130
    assert len(descendants) >= 2
    assert psutil.wait_procs(descendants, timeout=ENDS_WITHIN_S)[1] == []
    return told


@pytest.mark.usefixtures("folder")
def test_ctrl_c_cancels_what_waits_and_what_runs_and_leaves_nothing(root: Path) -> None:
    process, descendants = started(("run", "work.py:until_canceled", *"abcd", "--workers", "2", "--json"), root)
    os.killpg(process.pid, signal.SIGINT)
    told = finished(process, descendants)
    assert [event["index"] for event in told if event["event"] == "canceled"] == [0, 1, 2, 3]
    assert told[-1] == {**told[-1], "event": "summary", "canceled": 4, "killed": 0, "interrupted": True}


@pytest.mark.usefixtures("folder")
def test_ctrl_c_kills_what_does_not_stop_when_the_grace_is_over(root: Path) -> None:
    words = ("run", "work.py:for_ever", *"abc", "--workers", "2", "--json", "--grace", "0.1")
    process, descendants = started(words, root)
    os.killpg(process.pid, signal.SIGINT)
    told = finished(process, descendants)
    assert [event["index"] for event in told if event.get("killed") is True] == [0, 1]
    assert told[-1] == {**told[-1], "event": "summary", "canceled": 1, "killed": 2, "interrupted": True}


@pytest.mark.usefixtures("folder")
def test_a_second_ctrl_c_does_not_wait_for_the_grace(root: Path) -> None:
    words = ("run", "work.py:for_ever", *"abc", "--workers", "2", "--json", "--grace", "1000", "--unordered")
    process, descendants = started(words, root)
    os.killpg(process.pid, signal.SIGINT)
    assert json.loads(cast(IO[str], process.stdout).readline())["event"] == "canceled"  # the first has been heard
    os.killpg(process.pid, signal.SIGINT)
    assert finished(process, descendants)[-1]["killed"] == 2


# --- run: a terminal


def lines_of_terminal(command: Sequence[str], root: Path) -> Iterator[str]:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command, env=environment(root, {"TERM": "xterm"}), stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        with open(ours, "rb") as file:
            for piece in iter(partial(read_terminal, file), b""):
                yield piece.decode()
    assert process.returncode == 0


def read_terminal(file: io.BufferedReader) -> bytes:
    try:
        return file.read1(4096)
    except OSError:  # how Linux says that nobody has the other end any more
        return b""


@pytest.mark.usefixtures("folder")
def test_on_a_terminal_one_status_line_is_redrawn_under_the_results(root: Path) -> None:
    words = ("run", "work.py:wait_for_file", "second", "first", "--workers", "1")
    shown = "".join(lines_of_terminal([*COMMAND, *words], root))
    assert "\r\x1b[K[" in shown
    kept = [line.rpartition("\r\x1b[K")[2] for line in shown.replace("\r\n", "\n").split("\n")]
    assert [line for line in kept[1:] if ": " in line] == ["second: second", "first: first"]
    assert kept[-2].startswith("2 of 2 done, in ")
    assert set(re.findall(r"[^\n\x20-\x7e]", shown.replace("\r\x1b[K", "").replace("\r\n", "\n"))) == set()


@pytest.mark.parametrize("words", [("run", "work.py:triple", "a", "b"), ("demo",)], ids=lambda words: words[0])
def test_a_reader_that_leaves_early_ends_the_command_quietly(
    words: tuple[str, ...], folder: Path, nowhere: dict[str, str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with subprocess.Popen(
        [*COMMAND, *words],
        env=environment(folder / "root", nowhere),
        cwd=folder,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.close(writer)
        error = process.communicate()[1]
    assert process.returncode == 1
    assert "Traceback" not in error


# --- standard streams that cannot be used


def redirected(redirection: str, *words: str, root: Path, variables: Mapping[str, str]) -> tuple[int, str, str]:
    """Run a command as a shell would start it: exit code, stdout and stderr."""
    answer = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *COMMAND, *words],
        env=environment(root, variables),
        capture_output=True,
        check=False,
    )
    return answer.returncode, answer.stdout.decode(), answer.stderr.decode()


RUN_HERE = ("run", "work.py:same", "a", "b", "--workers", "1", "--environment", sys.executable)
RUN_JSON = (*RUN_HERE, "--json")
SUMMARY = re.compile(r"2 of 2 done, in .* with 1 worker\n")
IS_FULL = "wetlands-rx: cannot write to standard output: No space left on device\n"


@pytest.mark.parametrize("words", [RUN_HERE, RUN_JSON, ("demo",)], ids=["run", "json", "demo"])
def test_output_that_cannot_be_written_is_one_line_and_exit_code_1(
    words: tuple[str, ...], folder: Path, nowhere: dict[str, str]
) -> None:
    code, _, error = redirected(">/dev/full", *words, root=folder / "root", variables=nowhere)
    assert (code, error) == (1, IS_FULL)
    assert redirected(">/dev/full 2>&1", *words, root=folder / "root", variables=nowhere) == (1, "", "")


def test_notes_that_cannot_be_written_are_exit_code_1(folder: Path) -> None:
    code, output, error = redirected("2>/dev/full", *RUN_JSON, root=folder / "root", variables={})
    assert (code, error) == (1, "")
    assert events(output)[-1]["message"] == "cannot write to standard error: No space left on device"


def test_a_stream_that_is_closed_takes_everything(folder: Path) -> None:
    results = "a: a\nb: b\n"
    code, output, error = redirected(">&-", *RUN_HERE, root=folder / "root", variables={})
    assert (code, output) == (0, "")
    assert SUMMARY.fullmatch(error)
    assert redirected("2>&-", *RUN_HERE, root=folder / "root", variables={}) == (0, results, "")
    assert redirected("<&- >&- 2>&-", *RUN_HERE, "-", root=folder / "root", variables={}) == (0, "", "")


def test_a_demo_without_any_stream_still_writes_its_files(folder: Path, nowhere: dict[str, str]) -> None:
    answer = redirected("<&- >&- 2>&-", "demo", root=folder / "root", variables=nowhere)
    assert answer == (0, "", "")
    assert "12 images, " in (folder / "wetlands-demo" / "summary.txt").read_text(encoding="utf-8")


# --- text that is not UTF-8


@pytest.mark.parametrize("variables", [{}, {"LC_ALL": "C", "PYTHONUTF8": "0"}], ids=["any locale", "C locale"])
def test_an_item_that_is_no_text_is_handed_over_as_given_and_shown_with_escapes(
    folder: Path, variables: dict[str, str]
) -> None:
    item = os.fsdecode(b"caf\xe9")
    words = ("run", "work.py:file_of", item, "-", "--environment", sys.executable)
    (folder / os.fsdecode(b"caf\xe9")).write_text("of the item")
    answer = subprocess.run(
        [*COMMAND, *words],
        env=environment(folder / "root", variables),
        input=b"caf\xe9\n",
        capture_output=True,
        check=False,
    )
    shown = rb"caf\udce9: caf\udce9 of the item" + b"\n"
    assert (answer.returncode, answer.stdout) == (0, 2 * shown)
