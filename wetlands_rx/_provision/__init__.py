"""Make an environment on disk: what is wanted, who makes it, where it stands."""
