"""What `wetlands_rx.ndarray` is made of: blocks of memory by name, dtypes as plain values."""
