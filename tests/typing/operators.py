"""Read by the type checkers, never run: types go through `pipe`, whichever operators stand in it."""

from __future__ import annotations

import asyncio
from tkinter import Tk
from typing import Any, assert_type

from reactivex import Observable, abc
from reactivex import operators as ops
from reactivex.testing import TestScheduler

from wetlands_rx import ExecutionException, Task, TaskEvent
from wetlands_rx.environment import Environment
from wetlands_rx.operators import (
    Place,
    Run,
    asyncio_loop,
    buffer_bounded,
    concat_map_eager,
    conflate,
    deliver_on,
    exhaust_map_in,
    failures,
    fallback_to,
    from_items,
    hedge,
    iterate,
    library_scheduler,
    map_in,
    merge_map,
    outputs,
    progress,
    qt,
    results,
    retry_on_worker_death,
    retry_task,
    run_in,
    serialize,
    switch_map_in,
    terminal,
    thread,
    timeout_total,
    tk,
    updates,
)


def count(image: bytes) -> int:
    return len(image)


def scaled(image: bytes, factor: float, *, name: str = "") -> bytes:
    return image * int(factor) + name.encode()


def is_good(number: int) -> bool:
    return number > 0


def views(task: Task[int]) -> None:
    assert_type(task.pipe(updates()), Observable[TaskEvent[int]])
    assert_type(task.pipe(terminal()), Observable[TaskEvent[int]])
    assert_type(task.pipe(updates(), progress()), Observable[float])
    assert_type(task.pipe(outputs("mask")), Observable[Any])
    assert_type(task.pipe(results()), Observable[int])
    assert_type(task.pipe(results(on_error="skip"), ops.filter(is_good)), Observable[int])
    assert_type(task.pipe(failures()), Observable[ExecutionException])
    assert_type(list(task.pipe(results(), iterate(timeout=5))), list[int])


def work(env: Environment, images: list[bytes]) -> None:
    assert_type(from_items(images), Observable[bytes])
    assert_type(from_items(images).pipe(map_in(env, count)), Observable[int])
    assert_type(from_items(images).pipe(map_in(env, count, ordered=False, on_error="skip")), Observable[int])
    assert_type(from_items(images).pipe(map_in(env, count, on_error="emit")), Observable[int | Exception])
    assert_type(from_items(images).pipe(map_in(env, "count.py", "count", max_concurrent=3)), Observable[Any])
    assert_type(from_items(images).pipe(switch_map_in(env, count)), Observable[int])
    assert_type(from_items(images).pipe(switch_map_in(env, count, on_error="emit")), Observable[int | Exception])
    assert_type(from_items(images).pipe(switch_map_in(env, "count.py", "count")), Observable[Any])
    assert_type(from_items(images).pipe(exhaust_map_in(env, count), ops.filter(is_good)), Observable[int])
    assert_type(from_items(images).pipe(exhaust_map_in(env, count, on_error="emit")), Observable[int | Exception])
    assert_type(from_items(images).pipe(exhaust_map_in(env, "count.py", "count")), Observable[Any])


def again(env: Environment, other: Environment, image: bytes) -> None:
    assert_type(run_in(env, count, image), Run[int])
    assert_type(run_in(env, scaled, image, 2.0, name="a"), Run[bytes])
    assert_type(run_in(env, "count.py", "count", image), Run[Any])
    assert_type(run_in(env, count, image).pipe(retry_on_worker_death(2)), Observable[int])
    assert_type(
        run_in(env, count, image).pipe(retry_task(2, 0.5), hedge(10), fallback_to(other), timeout_total(60)),
        Observable[int],
    )


def inner_streams(env: Environment, images: Observable[bytes]) -> None:
    def run(image: bytes) -> Observable[int]:
        return run_in(env, count, image).pipe(retry_on_worker_death(1))

    assert_type(images.pipe(merge_map(run, 4)), Observable[int])
    assert_type(images.pipe(concat_map_eager(run, 4, window=8)), Observable[int])


def first_byte(image: bytes) -> int:
    return image[0]


def flow(images: Observable[bytes]) -> None:
    assert_type(images.pipe(conflate(0.1)), Observable[bytes])
    assert_type(images.pipe(conflate(0.1, first_byte, scheduler=TestScheduler())), Observable[bytes])
    assert_type(images.pipe(serialize(), buffer_bounded(4, "drop_oldest")), Observable[bytes])
    assert_type(images.pipe(timeout_total(3)), Observable[bytes])
    assert_type(library_scheduler(), abc.SchedulerBase)
    assert_type(images.pipe(ops.debounce(0.1, library_scheduler())), Observable[bytes])


def places(images: Observable[bytes], loop: asyncio.AbstractEventLoop, root: Tk) -> None:
    assert_type(qt(), Place)
    assert_type(images.pipe(deliver_on(qt())), Observable[bytes])
    assert_type(images.pipe(deliver_on(thread())), Observable[bytes])
    assert_type(images.pipe(deliver_on(asyncio_loop(loop))), Observable[bytes])
    assert_type(images.pipe(deliver_on(tk(root))), Observable[bytes])
