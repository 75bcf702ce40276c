"""How a function object reaches a worker: found there by its file or its module, or sent itself."""
