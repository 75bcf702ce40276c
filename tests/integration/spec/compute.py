import numpy as np


def heavy_computation(data):
    return float(np.linalg.norm(np.asarray(data)))


def fibonacci(n):
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a


fib = fibonacci


def long_work(data, task=None):
    total = 0
    for place, item in enumerate(data):
        total += item
        if task:
            task.update(f"item {place}", current=place + 1, maximum=len(data))
    return total


def numpy_version():
    return np.__version__


def same(value):
    return value
