"""The inside of `wetlands_rx.operators`, one file per family."""
