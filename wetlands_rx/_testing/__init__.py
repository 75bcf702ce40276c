"""What `wetlands_rx.testing` is made of."""
