import time


def train_model(config, task):
    for epoch in range(config["epochs"]):
        if task.cancel_requested:
            task.cancel()
            return None
        task.update(f"epoch {epoch}", current=epoch, maximum=config["epochs"])
        time.sleep(config["seconds"])
    return "trained"
