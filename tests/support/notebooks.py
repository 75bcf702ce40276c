"""Execute a notebook as a reader would; `python -m tests.support.notebooks` writes fresh outputs into all of them."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"


def read(file: Path) -> Any:
    """The notebook as nbformat's nested dictionaries, which have no types."""
    return cast(Any, nbformat).read(file, as_version=4)


def execute(notebook: Any, folder: Path, timeout_s: int = 60) -> Any:
    """Run all cells in a kernel of this interpreter, with `folder` as its working directory.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell raised.
    """
    with (
        tempfile.TemporaryDirectory(prefix="nb") as private,
        _environment(IPYTHONDIR=private, JUPYTER_RUNTIME_DIR=private),
    ):
        client = NotebookClient(
            notebook,
            timeout=timeout_s,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
            record_timing=False,
        )
        return asyncio.run(client.async_execute())  # its own `execute` leaves an event loop open


@contextmanager
def _environment(**variables: str) -> Generator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def printed(notebook: Any) -> list[str]:
    """What each code cell shows as text: its prints, then its last value."""
    return ["".join(map(_text, cell.outputs)) for cell in notebook.cells if cell.cell_type == "code"]


def _text(output: Any) -> str:
    if output.output_type == "stream":
        return str(output.text)
    return str(output.get("data", {}).get("text/plain", ""))


def refresh(file: Path) -> None:
    """Execute a notebook and keep its outputs, without what differs from machine to machine."""
    with tempfile.TemporaryDirectory() as folder:
        notebook = execute(read(file), Path(folder))
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {}
    cast(Any, nbformat).write(notebook, file)


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(map(str, FOLDER.glob("*.ipynb"))):
        refresh(Path(name))
