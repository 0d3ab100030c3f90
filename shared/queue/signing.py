"""Sign messages with a secret that director and workers share, and verify the signatures. Pure."""

import hashlib
import hmac
from collections.abc import Sequence

SHORTEST_SECRET = 16
PREFIX = "hmac-sha256="


class Signer:
    """Signs message bodies with the first of several secrets, and accepts signatures made with any of them."""

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        """Sign nothing and accept everything if there are no `secrets`."""
        self._keys = [secret.encode() for secret in secrets]

    def sign(self, body: str) -> str | None:
        """Return the signature of a body, or None if there is no secret."""
        return _signature(self._keys[0], body) if self._keys else None

    def accepts(self, body: str, signature: str | None) -> bool:
        """Return whether a body was signed with one of the secrets; True if there are none."""
        if not self._keys:
            return True
        given = (signature or "").encode()
        return any(hmac.compare_digest(_signature(key, body).encode(), given) for key in self._keys)

    def renew(self, before: str, signature: str | None, body: str) -> str | None:
        """Return the signature for a body that replaces another; an unsigned message stays unsigned."""
        if self._keys and self.accepts(before, signature):
            return self.sign(body)
        return signature if body == before else None


def _signature(key: bytes, body: str) -> str:
    return PREFIX + hmac.new(key, body.encode(), hashlib.sha256).hexdigest()


SIGNATURE_BYTES = len(PREFIX) + 2 * hashlib.sha256().digest_size


def check_secrets(secrets: tuple[str, ...]) -> tuple[str, ...]:
    """Return the secrets unchanged. Raises: ValueError: if one is short enough to be guessed."""
    if any(len(secret) < SHORTEST_SECRET for secret in secrets):
        raise ValueError(f"each secret must have at least {SHORTEST_SECRET} characters")
    return secrets
