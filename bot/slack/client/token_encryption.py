"""Encrypts the tokens of workspaces: who reads the store or a backup of it cannot use them.

Fernet (AES-128-CBC with HMAC-SHA256), with keys from the settings. There may be several: the first
one encrypts and all of them decrypt, so that a key can be replaced without installing anew.
https://cryptography.io/en/latest/fernet/
"""

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from data.store.errors import Invalid


def new_key() -> str:
    """44 characters, 32 bytes of them random."""
    return Fernet.generate_key().decode()


class TokenEncryption:
    def __init__(self, keys: str) -> None:
        """`keys` are one or more with commas between, the newest first. Raises Invalid."""
        try:
            fernets = [Fernet(key.strip()) for key in keys.split(",")]
        except ValueError as error:
            raise Invalid(
                "[slack] token_key is not a key. `understudy slack key` makes one."
            ) from error

        self._newest, self._fernet = fernets[0], MultiFernet(fernets)

    def seal(self, text: str) -> str:
        return self._fernet.encrypt(text.encode()).decode()

    def open(self, sealed: str, whose: str) -> str:
        """Raises Invalid, naming `whose` it is, when none of the keys fits."""
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken as error:
            raise Invalid(
                f"The token of the Slack workspace {whose} was encrypted with another "
                "[slack] token_key. Add that key, after a comma, or install the bot there anew."
            ) from error

    def resealed(self, sealed: str) -> str | None:
        """What was encrypted with an older key, encrypted with the newest one; None when it is."""
        try:
            self._newest.decrypt(sealed)
        except InvalidToken:
            return self._fernet.rotate(sealed).decode()
        return None

    def opened_within(self, sealed: str, seconds: int) -> str | None:
        """What was sealed at most so many seconds ago; None for anything else."""
        try:
            return self._fernet.decrypt(sealed, ttl=seconds).decode()
        except (InvalidToken, ValueError):  # ValueError: not even ASCII
            return None
