"""What crosses the pipe between the caller and a worker: frames, messages and their coding."""
