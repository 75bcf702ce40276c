"""A task: what decides about it (pure), and the object that carries it."""
