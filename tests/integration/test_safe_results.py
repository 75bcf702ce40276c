"""With `results="safe"` every Python from 3.8 on may be in the worker, and what is allowed comes back as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.safe import remote
from tests.support.leaks import Ledger
from tests.support.oldest import interpreters
from wetlands_rx.environment_manager import EnvironmentManager
from wetlands_rx.exceptions import ExecutionException, SerializationError
from wetlands_rx.external_environment import ExternalEnvironment

pytestmark = pytest.mark.keeps("wetlands-delivery")  # the environments live on after the first test that uses them
FILE = Path(remote.__file__)
SOON = 60.0


@pytest.fixture(scope="module", params=list(interpreters()), ids=lambda version: ".".join(map(str, version)))
def env(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, ledger: Ledger
) -> Iterator[ExternalEnvironment]:
    with EnvironmentManager(tmp_path_factory.mktemp("safe"), log_file_path=None) as manager:
        with ledger.adopting():
            env = manager.load("safe", interpreters()[request.param])
            env.launch(results="safe")
            env.submit(FILE, "plain", ("nothing",)).wait_for(SOON)
        yield env


@pytest.mark.parametrize("name", remote.PLAIN)
def test_what_is_allowed_comes_back_as_it_was(env: ExternalEnvironment, name: str) -> None:
    task = env.submit(FILE, "plain", (name,)).wait_for(SOON)
    for value in (task.result, task.outputs[name]):
        assert repr(value) == repr(remote.PLAIN[name])
        assert value == remote.PLAIN[name]
    assert (task.message, task.current, task.maximum) == ("here", 1, 2)


@pytest.mark.parametrize("name", remote.OTHERS)
def test_what_is_not_allowed_is_refused_by_name(env: ExternalEnvironment, name: str) -> None:
    with pytest.raises(SerializationError) as failure:
        env.submit(FILE, "other", (name,)).wait_for(SOON)
    assert failure.value.path == "result['inside'][0]"
    assert failure.value.type_name


def test_items_come_back(env: ExternalEnvironment) -> None:
    assert list(env.map(FILE, "other", ["enum", "uuid"], on_error="skip")) == []
    values = list(env.map(FILE, "plain", list(remote.PLAIN), timeout=SOON))
    assert values == list(remote.PLAIN.values())


def test_a_failure_comes_in_words(env: ExternalEnvironment) -> None:
    with pytest.raises(ExecutionException, match="ValueError: outer") as failure:
        env.submit(FILE, "fails").wait_for(SOON)
    remote_error = failure.value.remote
    assert remote_error is not None
    assert remote_error.cause is not None
    assert remote_error.cause.message == "'inner'"
    assert failure.value.cause is None
