"""What is public in `wetlands_rx.operators` is described, and seen by the type checkers."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

from wetlands_rx import operators

TYPING = Path(__file__).parents[2] / "typing" / "operators.py"

NO_OPERATORS = frozenset(
    {
        "Place",
        "Run",
        "asyncio_loop",
        "from_items",
        "iterate",
        "library_scheduler",
        "qt",
        "run_in",
        "thread",
        "tk",
    }
)
"""Sources, places, a scheduler, and the end of a `pipe`: these need no diagram, though some have one."""

OPERATORS = sorted(frozenset(operators.__all__) - NO_OPERATORS)

_LABEL = r"    +(?P<who>\S.*?):? {2,}"
_TIME = r"(?=.*-)[-+#|()\w]+(?: {2,}\S.*)?"
_TIMELINE = re.compile(rf"^{_LABEL}{_TIME}$", re.MULTILINE)


def timelines(name: str) -> list[str]:
    """Whose time is drawn in an operator's description, line by line."""
    description = inspect.getdoc(getattr(operators, name)) or ""
    return [match["who"] for match in _TIMELINE.finditer(description)]


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_draws_what_comes_in_and_what_goes_out(name: str) -> None:
    drawn = timelines(name)
    assert any(who.startswith((f"{name}(", "...")) for who in drawn), f"no line of {name}'s own: {drawn}"
    assert any(not who.startswith((f"{name}(", "...")) for who in drawn), f"no line of a source: {drawn}"


def test_what_is_no_operator_is_public_all_the_same() -> None:
    assert frozenset(operators.__all__) >= NO_OPERATORS


@pytest.mark.parametrize("name", operators.__all__)
def test_the_type_checkers_see_it_used(name: str) -> None:
    used = {node.id for node in ast.walk(ast.parse(TYPING.read_text(encoding="utf-8"))) if isinstance(node, ast.Name)}
    assert name in used
