"""`python -m wetlands_rx` is `wetlands-rx`."""

from wetlands_rx.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
