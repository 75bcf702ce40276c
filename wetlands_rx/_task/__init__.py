"""The pure part of a task."""
