"""How what comes from a worker is read: of one that is trusted, and of one that is not."""

from __future__ import annotations

from typing import Callable, List, NamedTuple, Optional

from wetlands_rx._wire.codec import decode_up
from wetlands_rx._wire.frames import Frame
from wetlands_rx._wire.items import read_records
from wetlands_rx._wire.leases import Leases
from wetlands_rx._wire.messages import Outcome, Up


class Decoders(NamedTuple):
    """What reads the frames of a worker, and the records that it left behind."""

    up: Callable[[Frame, Optional[Leases]], List[Up]]
    records: Callable[[memoryview, Optional[Leases]], List[Outcome]]


TRUSTED = Decoders(decode_up, read_records)


def decoders_for(results: str) -> Decoders:
    """Those for workers whose results are `"pickle"` or `"safe"`."""
    if results == "pickle":
        return TRUSTED
    from wetlands_rx._wire import untrusted  # what it needs, nobody else does

    return Decoders(untrusted.decode_up, untrusted.read_records)
