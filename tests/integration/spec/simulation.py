import time


def run_simulation(params, task=None):
    for step in range(params["steps"]):
        if task and task.cancel_requested:
            task.cancel()
            return None
        if task:
            task.update("simulating", current=step, maximum=params["steps"])
        time.sleep(params["seconds"])
    return params["steps"]
