def expensive_operation(item):
    return item * item


def long_computation(data, *, task=None):
    """The 'task' keyword argument is injected by Wetlands automatically."""
    results = []
    for i, item in enumerate(data):
        if task and task.cancel_requested:
            task.cancel()
            return None
        if task:
            task.update(f"Processing item {i}", current=i, maximum=len(data))
        result = expensive_operation(item)
        results.append(result)
        if task:
            task.set_output("partial_results", results.copy())
    return results
