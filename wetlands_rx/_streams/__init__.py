"""Streams that user code cannot break: serialised, isolated, delivered on threads of their own."""
