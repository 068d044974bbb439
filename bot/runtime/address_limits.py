"""What one address may take: connections, and requests in progress behind a trusted proxy.

A connection counts for the address that opened it, an IPv6 address for its network of 64 bits. A
trusted proxy carries the requests of many people on its connections, so there each request counts
for the address that the proxy names in `X-Forwarded-For`. From anybody else, that header is
ignored. An address whose requests are refused again and again is not listened to for a while. The
counts are those of this process: with several bot processes, each one has its own.

Only connections that are admitted count in the total, so one address takes its own share and no
more. A connection too many is told so and stays open until its peer has read that, but only a few
at a time do: the others are dropped at once, because each takes a file descriptor.
"""

import ipaddress
import logging
import time
from collections import Counter
from collections.abc import Sequence
from enum import Enum

from data.people.identities import address_block

log = logging.getLogger(__name__)

LOG_EVERY_S = 60.0
MAX_REFUSED = 20  # malformed or oversized requests of one address in `SHUN_S`
SHUN_S = 10.0  # how long such an address is not listened to
MAX_SHUNNED = 10_000  # addresses that are remembered
MAX_TOLD = 8  # connections too many of one address that are open at a time
MAX_ALL_TOLD = 128  # and of all addresses
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(listed: Sequence[str]) -> tuple[Network, ...]:
    """Addresses and networks, such as `10.0.0.0/8`. Raises ValueError."""
    return tuple(ipaddress.ip_network(one, strict=False) for one in listed)


class Connecting(Enum):
    """What becomes of a new connection."""

    ADMITTED = "admitted"
    TOLD = "told that it is one too many"
    DROPPED = "dropped without a word"


class AddressLimits:
    """The counts of one server. Use it from one event loop."""

    def __init__(self, trusted: Sequence[str], per_address: int, total: int) -> None:
        """Both limits are numbers of connections. Raises ValueError for an invalid network."""
        self._trusted = networks(trusted)
        self._per_address = per_address
        self._total = total
        self._open: Counter[str] = Counter()  # connections that were admitted
        self._all_open = 0
        self._told: Counter[str] = Counter()  # connections too many that are still open
        self._all_told = 0
        self._in_progress: Counter[str] = Counter()  # requests that came through a trusted proxy
        self._refused: Counter[str] = Counter()  # since the last line in the log
        self._faults: dict[str, tuple[float, int]] = {}  # by address: since when, how many
        self._logged_at = -LOG_EVERY_S

    def trusts(self, address: str) -> bool:
        """Whether an address belongs to a trusted proxy."""
        try:
            found = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(found, "ipv4_mapped", None)
        return any((mapped or found) in network for network in self._trusted)

    def connected(self, address: str) -> Connecting:
        """Count a new connection, which `disconnected` ends."""
        block = address_block(address)
        if self.shuns(address):
            return Connecting.DROPPED
        if self._all_open < self._total and (
            self._open[block] < self._per_address or self.trusts(address)
        ):
            self._open[block] += 1
            self._all_open += 1
            return Connecting.ADMITTED
        if self._told[block] >= MAX_TOLD or self._all_told >= MAX_ALL_TOLD:
            return Connecting.DROPPED
        self._told[block] += 1
        self._all_told += 1
        return Connecting.TOLD

    def shuns(self, address: str) -> bool:
        """Whether new connections of an address are closed unread."""
        since, faults = self._faults.get(address_block(address), (0.0, 0))
        return faults >= MAX_REFUSED and time.monotonic() - since < SHUN_S

    def fault(self, address: str) -> None:
        """Count a malformed or oversized request."""
        if self.trusts(address):  # what it forwards is not its own fault
            return
        block, now = address_block(address), time.monotonic()
        since, faults = self._faults.pop(block, (now, 0))
        fresh = now - since >= SHUN_S
        self._faults[block] = (now, 1) if fresh else (since, faults + 1)
        if len(self._faults) > MAX_SHUNNED:
            del self._faults[next(iter(self._faults))]

    def disconnected(self, address: str, was: Connecting) -> None:
        """`was`: what `connected` returned."""
        if was is Connecting.ADMITTED:
            _decrease(self._open, address_block(address))
            self._all_open -= 1
        elif was is Connecting.TOLD:
            _decrease(self._told, address_block(address))
            self._all_told -= 1

    def begun(self, address: str) -> bool:
        """Count a request of a proxy's visitor, which `ended` ends. False if it is one too many."""
        block = address_block(address)
        self._in_progress[block] += 1
        return self._in_progress[block] <= self._per_address or self.trusts(address)

    def ended(self, address: str) -> None:
        _decrease(self._in_progress, address_block(address))

    def visitor(self, peer: str, forwarded_for: str) -> str:
        """The address that a request comes from: the last one in `X-Forwarded-For` that no trusted
        proxy has, if the peer is a trusted proxy; otherwise the peer."""
        address = peer
        for named in reversed(forwarded_for.split(",")):
            hop = _bare(named.strip())
            if not self.trusts(address) or not hop:
                break
            address = hop
        return address

    def refused(self, reason: str) -> None:
        """Log a refused request or connection: at most one line a minute, with the counts."""
        self._refused[reason] += 1
        now = time.monotonic()
        if now - self._logged_at >= LOG_EVERY_S:
            counts = ", ".join(f"{number} {why}" for why, number in self._refused.most_common())
            log.warning("Refused at the HTTP server: %s", counts)
            self._refused.clear()
            self._logged_at = now


def _bare(address: str) -> str:
    """The address without brackets and port; '' for anything that is no address."""
    if address.startswith("["):
        address = address[1:].partition("]")[0]
    elif address.count(":") == 1:
        address = address.partition(":")[0]
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return ""


def _decrease(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
