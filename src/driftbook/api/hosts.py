"""The names that a server goes by: a page of another site that has its own name point here is told.

Source: DNS rebinding; RFC 9112, section 3.2, on requests with no name or several.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

# A name or an address as in a URL, and perhaps a port.
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[^\x00-\x20\x7f/@:\[\]]+)(?::[0-9]{0,5})?")
_OWN = ("localhost", "127.0.0.1", "[::1]")


def list_known_hosts(host: str, allowed: Iterable[str]) -> frozenset[str] | None:
    """Return the names of a server that listens on ``host``; ``None``: any.

    ``allowed``: the setting ``serving.allowed_hosts``. This machine's own names are always known.

    >>> sorted(list_known_hosts("::1", ["api.example.org"]))
    ['127.0.0.1', '[::1]', 'api.example.org', 'localhost']
    >>> list_known_hosts("0.0.0.0", []) is None
    True
    """
    named = {name.lower().rstrip(".") for name in allowed}
    if "*" in named or not (named or is_loopback(host)):
        return None
    own = f"[{host}]" if ":" in host else host
    return frozenset({*named, *_OWN, own.lower()}) - {""}


def is_known_host(given: bytes, known: frozenset[str]) -> bool:
    """Return whether a request's ``Host`` is one of the names, with whatever port.

    >>> known = frozenset({"localhost", "[::1]", "*.example.org"})
    >>> [is_known_host(h, known) for h in (b"LocalHost:80", b"[::1]:8000", b"a.b.example.org")]
    [True, True, True]
    >>> [is_known_host(h, known) for h in (b"evil.org", b"example.org", b"localhost:80@evil.org")]
    [False, False, False]
    """
    found = _HOST.fullmatch(given)
    if found is None:
        return False
    name = found[1].decode("latin-1").lower().rstrip(".")
    if name in known:
        return True
    parts = name.split(".")
    return any(f"*.{'.'.join(parts[i:])}" in known for i in range(1, len(parts)))


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach ``host``.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
