"""What the commands do; `wetlands_rx.cli` reads the command line."""
