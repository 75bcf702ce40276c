"""One worker process, its connection, and the threads that all workers share."""
