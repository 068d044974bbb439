"""Encrypts the workspaces' tokens, so that a copy of the store is of no use to a thief.

Uses Fernet (AES-128-CBC with HMAC-SHA256) with keys from the settings. The first key encrypts, and
all keys decrypt, so a key can be replaced without reinstalling the bot.
https://cryptography.io/en/latest/fernet/
"""

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from data.store.errors import Invalid


def new_key() -> str:
    """A new key: 32 random bytes as 44 characters of base64."""
    return Fernet.generate_key().decode()


class TokenEncryption:
    def __init__(self, keys: str) -> None:
        """`keys`: one or more keys separated by commas, the newest first. Raises Invalid."""
        try:
            fernets = [Fernet(key.strip()) for key in keys.split(",")]
        except ValueError as error:
            raise Invalid(
                "[slack] token_key is not a valid key. `understudy slack key` creates one."
            ) from error

        self._newest, self._fernet = fernets[0], MultiFernet(fernets)

    def seal(self, text: str) -> str:
        return self._fernet.encrypt(text.encode()).decode()

    def open(self, sealed: str, whose: str) -> str:
        """The decrypted token. Raises Invalid, naming the workspace `whose`, if no key fits."""
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken as error:
            raise Invalid(
                f"The token of the Slack workspace {whose} was encrypted with another [slack] "
                "token_key. Append that key after a comma, or reinstall the bot in that workspace."
            ) from error

    def resealed(self, sealed: str) -> str | None:
        """The token encrypted with the newest key; None if it already is."""
        try:
            self._newest.decrypt(sealed)
        except InvalidToken:
            return self._fernet.rotate(sealed).decode()
        return None

    def opened_within(self, sealed: str, seconds: int) -> str | None:
        """The decrypted text if it was encrypted within the last `seconds`, otherwise None."""
        try:
            return self._fernet.decrypt(sealed, ttl=seconds).decode()
        except (InvalidToken, ValueError):  # ValueError: not even ASCII
            return None
