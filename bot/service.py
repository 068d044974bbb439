"""The objects that every front end uses: the settings, the store and the chat."""

from dataclasses import dataclass

from bot.answering.chat import Chat
from data.config.settings import Settings
from data.store.db import Store


@dataclass(frozen=True)
class Service:
    settings: Settings
    store: Store
    chat: Chat
