"""The command line, `wetlands-rx` or `python -m wetlands_rx`: reads the arguments, hands them to `wetlands_rx._cli`.

Nothing heavy is imported before the arguments are understood, so `--help` answers at once.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from wetlands_rx import __version__
from wetlands_rx._cli import streams
from wetlands_rx.exceptions import WetlandsError

__all__ = ["main"]

_DEMO = """\
Count things in the photographs and micrographs that scikit-image ships, in an isolated environment with two workers.

Shows live progress, a task that fails and one that is canceled half way, and writes pictures, label images, a table of
counts and a summary. Where nothing can be installed, a smaller demo runs on this very interpreter."""

_RUN = """\
Run a function once per item, over the workers of an isolated environment, and print the results."""

_RUN_MORE = """\
items:
  ITEM        handed to the function unchanged, as a string, as its only positional argument
  -           the lines of stdin, each an item
  @FILE       the lines of a file, each an item (@@x is the item @x)
  Without any ITEM the function is called once, without arguments.
  --pip takes every word up to the next option: give the items before it, or end it with another option.

the function:
  A parameter named `task` receives a handle: task.update(message, current=, maximum=) reports progress,
  task.cancel_requested tells whether to stop, task.cancel() acknowledges that. Errors stay with their item.

output:
  stdout has a line for each result, stderr everything else. With --json, stdout has a JSON object a line, whose
  "event" is started, update, result, failure, canceled, summary or error; progress is left out when nobody reads it.
  --out DIR writes each result: an array as .npy, bytes as .bin, anything else as .json, where arrays and bytes
  inside are mentioned by the name of their own file; and a line about each item to results.jsonl.

exit code:
  0 every item has a result, 1 one failed or the environment could not be made, 2 the command line is wrong or the
  function is not there, 130 after Ctrl-C. Ctrl-C cancels: items that wait at once, running functions are asked to
  stop and are ended after the grace time.

examples:
  wetlands-rx run wetlands-demo/demo_tasks.py:segment coins page --pip scikit-image
  wetlands-rx run measure.py:measure images/*.tif --out results --workers 4 --pip tifffile "numpy<2"
  wetlands-rx run fit.py:fit --json --json-items 1.5 '{"order": 3}' --python 3.12"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command.

    Args:
        arguments: Without the program's name; by default those of this process.
    Returns:
        The exit code.
    Raises:
        SystemExit: `--help`, `--version`, or arguments that make no sense (code 2).
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    streams.prepare()
    parser, run_parser = _parsers()
    if words[:1] == ["run"]:
        options = run_parser.parse_intermixed_args(words[1:])  # items may stand before and after options
        return _guarded(lambda: _run(options), as_json=options.json)
    options = parser.parse_args(words)
    if options.command is None:
        parser.print_help(sys.stderr)
        return 2
    return _guarded(lambda: _demo(options), as_json=False)


def _parsers() -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    parser = argparse.ArgumentParser(
        prog="wetlands-rx", description="Run Python functions in isolated environments.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"wetlands-rx {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    demo = commands.add_parser(
        "demo",
        help="see the library at work: count things in pictures",
        description=_DEMO,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    demo.add_argument(
        "--out", type=Path, default=Path("wetlands-demo"), metavar="DIR", help="where to write (default: %(default)s)"
    )
    _add_root(demo)
    run = commands.add_parser(
        "run",
        help="run a function of yours, once per item",
        usage="wetlands-rx run FILE:FUNCTION [ITEM ...] [--pip PKG ...] [option ...]",
        description=_RUN,
        epilog=_RUN_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_run_arguments(run)
    _add_root(run)
    return parser, run


def _add_run_arguments(run: argparse.ArgumentParser) -> None:
    run.add_argument("target", metavar="FILE:FUNCTION", help="a Python file and the name of a function in it")
    run.add_argument("items", metavar="ITEM", nargs="*", help="what to call the function with, once each")
    run.add_argument("--json-items", action="store_true", help="each item is JSON: a number, a list, an object ...")
    where = run.add_argument_group("the environment")
    where.add_argument(
        "--pip", action="extend", nargs="+", default=[], metavar="PKG", help='packages, such as numpy or "numpy<2"'
    )
    where.add_argument("--python", metavar="3.X", help="version of Python (default: one that is there)")
    where.add_argument(
        "--environment", metavar="PATH", help="use this environment or interpreter; nothing is installed"
    )
    how = run.add_argument_group("how it runs")
    how.add_argument(
        "--workers", type=_positive, metavar="N", help="processes (default: one per processor, at most one per item)"
    )
    order = how.add_mutually_exclusive_group()
    order.add_argument("--ordered", action="store_true", default=True, help="results in the order of items (default)")
    order.add_argument("--unordered", action="store_false", dest="ordered", help="results as soon as each is there")
    how.add_argument(
        "--grace",
        type=_seconds,
        default=5.0,
        metavar="S",
        help="after Ctrl-C, seconds for running functions to stop (default: %(default)g)",
    )
    what = run.add_argument_group("what it tells")
    what.add_argument("--out", type=Path, metavar="DIR", help="write each result into DIR")
    what.add_argument("--json", action="store_true", help="events as JSON on stdout, one a line")


def _add_root(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        help="where environments are kept (default: $WETLANDS_RX_ROOT, else a folder in your cache)",
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError("a number of seconds, 0 or more")
    return number


def _demo(options: argparse.Namespace) -> int:
    from wetlands_rx._cli.demo import demo

    return demo(_root(options), options.out)


def _run(options: argparse.Namespace) -> int:
    from wetlands_rx._cli.run import RunOptions, run

    return run(
        RunOptions(
            target=options.target,
            items=options.items,
            json_items=options.json_items,
            pip=options.pip,
            python=options.python,
            environment=options.environment,
            workers=options.workers,
            ordered=options.ordered,
            out=options.out,
            json=options.json,
            grace=options.grace,
            root=_root(options),
        )
    )


def _root(options: argparse.Namespace) -> Path:
    from wetlands_rx._cli.places import default_root

    chosen: Path | None = options.root
    return chosen or default_root(sys.platform, os.environ, Path.home())


def _guarded(command: Callable[[], int], *, as_json: bool) -> int:
    """Carry out a command; errors that are somebody's to mend become a message and an exit code."""
    from wetlands_rx._cli.items import UsageError

    try:
        return command()
    except UsageError as error:
        return _fail(str(error), 2, as_json=as_json)
    except WetlandsError as error:
        return _fail(str(error), 1, as_json=as_json)
    except KeyboardInterrupt:
        return _fail("interrupted", 130, as_json=as_json)
    except streams.OutputError as error:
        return _fail(str(error), 1, as_json=as_json)
    except BrokenPipeError:  # whoever read our output has gone, as `head` does
        return 1
    finally:
        streams.give_up_broken()


def _fail(message: str, code: int, *, as_json: bool) -> int:
    from wetlands_rx._cli.progress_lines import clean_lines

    if as_json:
        event = json.dumps({"event": "error", "message": message, "exit_code": code})
        streams.try_to_put(sys.stdout, event + "\n")
    lines = clean_lines([f"wetlands-rx: {message}"])
    streams.try_to_put(sys.stderr, "\n".join(lines) + "\n")
    return code
