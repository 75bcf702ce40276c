"""`sphinx-build docs build/docs` makes the pages into a site."""

from pathlib import Path

from sphinx.application import Sphinx

project = "wetlands_rx"
author = "the wetlands_rx authors"
extensions = ["myst_parser"]
myst_heading_anchors = 3
html_theme = "furo"
suppress_warnings = ["myst.xref_missing"]  # links to files beside docs/; the tests check that all links lead somewhere

FOLDERS = ("tutorial", "how-to", "explanation", "reference", "changes")


def add_contents(app: Sphinx, docname: str, source: list[str]) -> None:
    """Give the first page the list of pages, which would be noise in the Markdown."""
    if docname == "index":
        folders = [file for folder in FOLDERS for file in sorted(Path(app.srcdir, folder).glob("*.md"))]
        files = [*folders, Path(app.srcdir, "benchmarks.md")]
        pages = [file.relative_to(app.srcdir).as_posix() for file in files]
        source[0] += "\n```{toctree}\n:hidden:\n\n" + "\n".join(pages) + "\n```\n"


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", add_contents)
