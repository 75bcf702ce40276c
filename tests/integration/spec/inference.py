import os


def predict(batch):
    return batch, os.environ["CUDA_VISIBLE_DEVICES"], os.getpid()
