"""The secret of the store, and digests that only this store can compute.

A digest recognises something without keeping it, such as an address or a person who was erased. An
ordinary hash of an address or of a user id could be found by trying all of them; a digest with a
secret key (HMAC, RFC 2104) cannot, without the store. The secret is random, is made with the
store, and never leaves it except in a backup.
"""

import hashlib
import hmac

from sqlite_utils import Database

from data.store.db import value
from data.store.errors import UnderstudyError

DIGEST_CHARS = 32  # 128 bits


def keyed_digest(db: Database, purpose: str, text: str) -> str:
    """A hexadecimal digest of `text`. Digests for different purposes cannot be compared."""
    secret = value(db, "SELECT secret FROM store_secret")
    if secret is None:
        raise UnderstudyError("The store has lost its secret. Restore it from a backup.")
    message = f"{purpose}\0{text}".encode("utf-8", "surrogatepass")
    return hmac.new(secret, message, hashlib.sha256).hexdigest()[:DIGEST_CHARS]
