"""Whether anybody listens at an address: engines' own clients go on trying for minutes."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import suppress


def knock(addresses: Iterable[tuple[str, int]], timeout: float = 10) -> None:
    """Return as soon as one of the addresses accepts a connection. Raises OSError where none does."""
    addresses = list(addresses)
    for host, port in addresses[:-1]:
        with suppress(OSError):
            socket.create_connection((host, port), timeout).close()
            return
    socket.create_connection(addresses[-1], timeout).close()
