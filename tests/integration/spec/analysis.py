import time


def process(dataset, task):
    for place, item in enumerate(dataset):
        task.update(f"item {item}", current=place + 1, maximum=len(dataset))
    return sum(dataset)


def process_and_fail(dataset, task):
    task.update("about to fail", current=1, maximum=2)
    raise ValueError(f"cannot analyze {dataset!r}")


def analyze(dataset):
    time.sleep(dataset / 1000)
    return dataset
