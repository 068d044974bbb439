"""The bot's listening socket, which survives a restart of the bot.

`understudy up` opens the socket once and passes it to the bot. While a crashed bot restarts,
connections wait in the socket's queue instead of being refused. `understudy bot` on its own opens
the socket itself.
"""

import os
import socket

from data.config.settings import BotSettings
from data.store.errors import Unavailable

BACKLOG = 2048  # connections waiting to be accepted
VARIABLE = "UNDERSTUDY_LISTENER"  # the number of the inherited file descriptor


def listener(bot: BotSettings) -> socket.socket:
    """The inherited socket, or a new one. Raises Unavailable when the address is in use."""
    inherited = os.environ.pop(VARIABLE, None)  # removed, so that child processes do not see it
    return open_listener(bot) if inherited is None else socket.socket(fileno=int(inherited))


def open_listener(bot: BotSettings) -> socket.socket:
    """Open a new socket. Raises Unavailable when the address is in use."""
    family = socket.AF_INET6 if ":" in bot.host else socket.AF_INET
    try:
        return socket.create_server((bot.host, bot.port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error
        raise Unavailable(
            f"Cannot listen on {bot.host}:{bot.port}: {reason}. Perhaps the bot is already "
            "running. To use another port, set `[bot] port` in understudy.toml."
        ) from error
