"""The socket that the bot answers on, and how it outlives the bot.

`understudy up` opens it once and hands it to the bot, so that while a bot that crashed is started
again nobody is refused: connections wait in the socket's queue. Alone, the bot opens it itself.
"""

import os
import socket

from data.config.settings import BotSettings
from data.store.errors import Unavailable

BACKLOG = 2048  # connections that wait to be taken
VARIABLE = "UNDERSTUDY_LISTENER"  # the number of the file descriptor that was handed over


def listener(bot: BotSettings) -> socket.socket:
    """The socket that was handed over, or a new one. Raises Unavailable when the address is
    taken."""
    handed_over = os.environ.pop(VARIABLE, None)  # not for our own children
    return open_listener(bot) if handed_over is None else socket.socket(fileno=int(handed_over))


def open_listener(bot: BotSettings) -> socket.socket:
    """Raises Unavailable when the address is taken."""
    family = socket.AF_INET6 if ":" in bot.host else socket.AF_INET
    try:
        return socket.create_server((bot.host, bot.port), family=family, backlog=BACKLOG)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error
        raise Unavailable(
            f"Cannot answer at {bot.host}:{bot.port}: {why}. "
            "Is it running already? `[bot] port` in understudy.toml names another port."
        ) from error
