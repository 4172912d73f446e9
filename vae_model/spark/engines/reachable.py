"""Whether a server is there: engines' own clients go on trying for minutes."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import suppress


def check_reachable(addresses: Iterable[tuple[str, int]], timeout: float = 10) -> None:
    """Return as soon as one of the addresses accepts a connection. Raises OSError where none does."""
    addresses = list(addresses)
    for host, port in addresses[:-1]:
        with suppress(OSError):
            socket.create_connection((host, port), timeout).close()
            return
    socket.create_connection(addresses[-1], timeout).close()


def is_gone(error: BaseException | None) -> bool:
    """Whether an error, or one it was made from, says that the server no longer answers."""
    while error is not None:
        if "StatusCode.UNAVAILABLE" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
