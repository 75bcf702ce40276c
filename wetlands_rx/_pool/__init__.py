"""Which call goes to which worker, and what becomes of a batch."""
