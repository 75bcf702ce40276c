"""Arrays between callers and workers whose numpys differ, from 1.19 to the newest: real environments, real pairs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.leaks import Ledger
from wetlands_rx._provision.interpreters import discover
from wetlands_rx.environment_manager import EnvironmentManager
from wetlands_rx.exceptions import SerializationError
from wetlands_rx.external_environment import ExternalEnvironment

pytestmark = pytest.mark.network

FILE = Path(__file__).parent / "arrays" / "remote.py"
COUNT = 30_000
"""Elements: the larger arrays go through shared memory, every tenth of them through the pipe."""
MINORS = {each.version[:2] for each in discover() if len(each.version) == 3}
VERSIONS = [
    (minor, numpy)
    for minor, numpy in [
        ((3, 8), "1.19.5"),
        ((3, 8), "1.24.4"),
        ((3, 9), "1.26.4"),
        ((3, 9), "2.0.2"),
        ((3, 10), "2.2.6"),
        ((3, 12), "1.26.4"),
        ((3, 13), "2.*"),
    ]
    if minor in MINORS
]
NAMES = [f"Python {minor[0]}.{minor[1]}, numpy {numpy}" for minor, numpy in VERSIONS]
STRUCTURED = np.dtype([("x", "<f4"), ("label", "U5"), ("box", "i2", (2, 2))])
ALIGNED = np.dtype([("a", "u1"), ("b", "f8")], align=True)


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory, ledger: Ledger) -> Generator[EnvironmentManager, None, None]:
    with ledger.adopting():
        manager = EnvironmentManager(tmp_path_factory.mktemp("numpys"))
    with manager:
        yield manager


@pytest.fixture(scope="module", params=VERSIONS, ids=NAMES)
def env(
    request: pytest.FixtureRequest, manager: EnvironmentManager, ledger: Ledger
) -> Generator[ExternalEnvironment, None, None]:
    (major, minor), numpy = request.param
    name = f"py{major}{minor}-np" + "".join(filter(str.isdigit, numpy))
    with ledger.adopting():
        made = manager.create(name, {"python": f"{major}.{minor}", "pip": [f"numpy=={numpy}"]})
        made.launch()
        made.submit(FILE, "same", (1,)).listen(lambda _: None).wait_for(60.0)  # all threads that there will be
        made.execute(FILE, "same", ({1},))
    yield made
    made.exit()


def values(count: int) -> dict[str, Any]:
    numbers: Any = np.arange(count)
    text = numbers.astype("U7")
    masked: Any = np.ma.masked_array(numbers * 1.0, mask=numbers % 3 == 0)
    return {
        "f4": numbers.astype("f4"),
        "f2": (numbers % 100).astype("f2"),
        "big endian": numbers.astype(">i4"),
        "bool": numbers % 2 == 0,
        "complex": numbers * 1j,
        "dates": numbers.astype("M8[s]"),
        "times": numbers.astype("m8[ms]"),
        "text": text,
        "bytes": text.astype("S7"),
        "void": np.zeros(count, "V5"),
        "structured": np.ones(count, [("x", "<f4"), ("box", "i2", (2, 2))]),
        "with text": np.zeros(count, STRUCTURED),
        "aligned": np.ones(count, ALIGNED),
        "F order": np.asfortranarray(numbers.reshape(10, -1)),
        "transposed": numbers.reshape(5, -1, 2).transpose(2, 0, 1),
        "strided": numbers[::2],
        "objects": np.array([None, "x", 3] * 10, dtype=object),
        "0-d": np.array(2.5),
        "empty": np.zeros((0, 3)),
        "masked": masked,
        "records": np.ones(count, [("x", "f4")]).view(np.recarray),
        "scalars": [np.float64(1.5), np.int8(3), np.bool_(True), np.datetime64("2026-11-28"), np.str_("é")],
        "dtypes": [np.dtype("f4"), STRUCTURED],
        "nested": {"a": [numbers, (numbers[::3], {"b": text})]},
    }


def same(back: Any, value: Any) -> None:
    assert type(back) is type(value)
    if hasattr(value, "dtype"):
        assert (back.dtype, back.shape, back.flags.writeable) == (value.dtype, value.shape, True)
    if type(value) is np.ma.MaskedArray:
        np.testing.assert_array_equal(back.mask, value.mask)
    np.testing.assert_equal(back, value)


@pytest.mark.parametrize("count", [30, COUNT // 10, COUNT])
def test_every_kind_there_and_back(env: ExternalEnvironment, count: int) -> None:
    sent = values(count)
    for name, back in zip(sent, env.map(FILE, "same", sent.values(), on_error="return"), strict=True):
        assert not isinstance(back, Exception), (name, back)
        same(back, sent[name])
    for value in sent.values():
        same(env.execute(FILE, "same", (value,)), value)


def test_every_kind_from_a_worker_that_is_not_trusted(env: ExternalEnvironment, tmp_path: Path) -> None:
    with EnvironmentManager(tmp_path / "safe") as manager:
        safe = manager.load("safe", env.prefix.python)
        safe.launch(results="safe")
        for count in (30, COUNT):
            sent = values(count)
            for name, back in zip(sent, safe.map(FILE, "same", sent.values(), on_error="return"), strict=True):
                if name in ("objects", "dtypes"):
                    assert isinstance(back, SerializationError), name
                else:
                    assert not isinstance(back, Exception), (name, back)
                    same(back, sent[name])


def test_arrays_that_are_made_there(env: ExternalEnvironment) -> None:
    same(env.execute(FILE, "zeros", (COUNT, 2.0)), np.full(COUNT, 2.0))
    task = env.submit(FILE, "publish", (np.arange(COUNT),)).wait_for(60.0)
    np.testing.assert_array_equal(task.outputs["image"], np.arange(COUNT) + 4)


def test_what_no_other_numpy_understands_fails_that_task_alone(env: ExternalEnvironment) -> None:
    (back,) = env.map(FILE, "same", [np.random.default_rng(1)], on_error="return")
    if isinstance(back, Exception):
        assert isinstance(back, SerializationError)
        assert "numpy" in str(back)
    else:
        assert back.integers(1000) == np.random.default_rng(1).integers(1000)
    assert env.execute(FILE, "total", (np.ones(COUNT),)) == COUNT


CALLER = """
import json, sys
import numpy as np
from wetlands_rx import EnvironmentManager
from tests.integration.test_numpy_versions import COUNT, FILE, same, values
env = EnvironmentManager(sys.argv[1]).load("there", sys.argv[2])
env.launch()
for count in (30, COUNT):
    sent = values(count)
    for name, back in zip(sent, env.map(FILE, "same", sent.values())):
        same(back, sent[name])
env.exit()
print(json.dumps([np.__version__, len(sent)]))
"""


@pytest.mark.parametrize("numpy", ["1.26.4", "2.0.2"])
def test_a_caller_with_another_numpy(numpy: str, env: ExternalEnvironment, tmp_path_factory: Any) -> None:
    """The caller's own numpy is put before the one of this environment."""
    folder = tmp_path_factory.getbasetemp() / f"numpy-{numpy}"
    if not folder.exists():
        from uv import find_uv_bin

        command = [find_uv_bin(), "pip", "install", "-q", "--only-binary", ":all:", "--target", str(folder)]
        subprocess.run([*command, "--python", sys.executable, f"numpy=={numpy}"], check=True, timeout=100)
    root = Path(__file__).parents[2]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(root)])}
    command = [sys.executable, "-c", CALLER, str(tmp_path_factory.mktemp("root")), str(env.prefix.python)]
    answer = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=100, check=False)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout) == [numpy, len(values(30))]
