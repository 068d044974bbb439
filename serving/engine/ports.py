"""Which process listens on a loopback port.

This is checked before an engine starts and again when something answers. vLLM answers on its port
only many seconds after its start. In the meantime another program may listen there, such as an
engine of another home folder, and must not be mistaken for this one.
"""

import socket
from pathlib import Path

from serving.engine.command import HOST

LISTENING = "0A"  # in /proc/net/tcp


def free(port: int) -> bool:
    """Whether no process listens on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def listens(pid: int, port: int) -> bool:
    """Whether the process `pid` listens on the port. True on systems without /proc."""
    try:
        table = Path("/proc/net/tcp").read_text().splitlines()[1:]
        files = {str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir()}
    except FileNotFoundError:  # it closed a file in the meantime, or there is no /proc
        return not Path("/proc/net/tcp").exists()
    except PermissionError:
        return True
    sockets = [line.split() for line in table]
    return any(
        f"socket:[{words[9]}]" in files
        for words in sockets
        if words[3] == LISTENING and int(words[1].rpartition(":")[2], 16) == port
    )
