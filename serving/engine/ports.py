"""Who has a port of loopback: asked before an engine is started there, and again when something
answers.

vLLM takes its port at once and answers on it many seconds later. Meanwhile another program may
begin to listen there, an engine of another home say, and must not be taken for ours.
"""

import socket
from pathlib import Path

from serving.engine.command import HOST

LISTENING = "0A"  # in /proc/net/tcp


def free(port: int) -> bool:
    """Whether nobody listens on it now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def listens(pid: int, port: int) -> bool:
    """Whether it is this process that listens on the port. True where the kernel does not say (it
    is asked through /proc)."""
    try:
        table = Path("/proc/net/tcp").read_text().splitlines()[1:]
        files = {str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir()}
    except FileNotFoundError:  # it closed one of its files meanwhile, or there is no /proc
        return not Path("/proc/net/tcp").exists()
    except PermissionError:
        return True
    sockets = [line.split() for line in table]
    return any(
        f"socket:[{words[9]}]" in files
        for words in sockets
        if words[3] == LISTENING and int(words[1].rpartition(":")[2], 16) == port
    )
