"""The worker's side: receive a call, run it, answer. Standard library only, Python 3.8 or newer."""
