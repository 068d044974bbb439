"""Signing in with an OpenID provider: the authorisation code flow with PKCE.

The ID token comes straight from the provider's token endpoint over TLS, which stands in for a check
of its signature (OpenID Connect Core 1.0, section 3.1.3.7, rule 6). Its issuer, audience, time and
nonce are checked. So no library for signatures is needed.
"""

import base64
import hashlib
import json
import secrets
import time
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp

from data.config.settings import OidcSettings
from data.people import identities, sign_in_links
from data.store.errors import Forbidden, Unavailable

TIMEOUT_S = 10
MOST_BYTES = 1_000_000  # of an answer of the provider
LEEWAY_S = 120  # between the clocks
SCOPE = "openid email profile"
SLACK_TEAM, SLACK_USER = "https://slack.com/team_id", "https://slack.com/user_id"


@dataclass(frozen=True)
class OpenIdAttempt:
    """What has to come back from the provider; kept in a signed cookie meanwhile."""

    state: str
    nonce: str
    verifier: str

    @property
    def packed(self) -> str:
        return base64.urlsafe_b64encode(json.dumps(asdict(self)).encode()).decode()

    @classmethod
    def unpacked(cls, text: str) -> "OpenIdAttempt":
        """Raises ValueError."""
        try:
            return cls(**json.loads(base64.urlsafe_b64decode(text.encode())))
        except TypeError as error:
            raise ValueError("no attempt") from error


def new_attempt() -> OpenIdAttempt:
    return OpenIdAttempt(*(secrets.token_urlsafe(32) for _ in range(3)))


async def authorization_address(
    settings: OidcSettings, attempt: OpenIdAttempt, redirect: str
) -> str:
    """Where the browser goes to sign in. Raises Unavailable."""
    known = await _discover(settings)
    challenge = hashlib.sha256(attempt.verifier.encode()).digest()
    query = {
        "response_type": "code",
        "client_id": settings.client_id,
        "redirect_uri": redirect,
        "scope": SCOPE,
        "state": attempt.state,
        "nonce": attempt.nonce,
        "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    address = str(known["authorization_endpoint"])
    return f"{address}{'&' if '?' in address else '?'}{urlencode(query)}"


async def person_of_code(
    settings: OidcSettings, attempt: OpenIdAttempt, code: str, redirect: str
) -> str:
    """The id of the person whom the provider has signed in. Raises Unavailable, and Forbidden for
    an answer that is not for this attempt or a person who may not sign in."""
    known = await _discover(settings)
    given = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect,
        "client_id": settings.client_id,
        "client_secret": settings.client_secret.get_secret_value(),
        "code_verifier": attempt.verifier,
    }
    answer = await _fetch(settings, "POST", str(known["token_endpoint"]), given)
    claims = _claims(answer.get("id_token"))
    _check(settings, claims, str(known["issuer"]), attempt.nonce)
    return person_of_claims(settings, claims)


def person_of_claims(settings: OidcSettings, claims: dict[str, Any]) -> str:
    """`slack:T1/U2` for Slack, otherwise `user:ADDRESS`. Raises Forbidden."""
    team, user, email = claims.get(SLACK_TEAM), claims.get(SLACK_USER), claims.get("email")
    verified = isinstance(email, str) and (
        claims.get("email_verified") is True or settings.trust_email
    )
    domain = str(email).rpartition("@")[2].lower() if verified else ""
    if settings.email_domains and domain not in {d.lower() for d in settings.email_domains}:
        raise Forbidden("People with your e-mail address may not sign in here.")
    if settings.issuer == "https://slack.com" and team and user:
        return identities.normalised(f"slack:{team}/{user}")
    if not verified:
        raise Forbidden(
            f"Signing in with {settings.name} needs an e-mail address that is verified there. Ask "
            "an admin for a sign-in link."
        )
    return sign_in_links.person_of_name(str(email))


def _check(settings: OidcSettings, claims: dict[str, Any], issuer: str, nonce: str) -> None:
    """Raises Forbidden."""
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    expires = claims.get("exp")
    sound = (
        claims.get("iss") == issuer
        and issuer.rstrip("/") == settings.issuer
        and settings.client_id in audiences
        and (len(audiences) == 1 or claims.get("azp") == settings.client_id)
        and isinstance(expires, int | float)
        and expires > time.time() - LEEWAY_S
        and secrets.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode())
    )
    if not sound:
        raise Forbidden("The answer of the sign-in service is not for this attempt. Sign in again.")


def _claims(token: object) -> dict[str, Any]:
    """Raises Unavailable for what is no ID token."""
    try:
        payload = str(token).split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError) as error:
        raise Unavailable("The sign-in service gave no ID token.") from error
    if not isinstance(found, dict):
        raise Unavailable("The sign-in service gave no ID token.")
    return found


async def _discover(settings: OidcSettings) -> dict[str, Any]:
    address = f"{settings.issuer}/.well-known/openid-configuration"
    known = await _fetch(settings, "GET", address)
    for name in ("issuer", "authorization_endpoint", "token_endpoint"):
        if not isinstance(known.get(name), str):
            raise Unavailable(f"{address} does not name the {name.replace('_', ' ')}.")
    for name in ("authorization_endpoint", "token_endpoint"):
        if settings.issuer.startswith("https://") and not known[name].startswith("https://"):
            raise Unavailable(f"The {name.replace('_', ' ')} of {settings.issuer} is not secure.")
    return known


async def _fetch(
    settings: OidcSettings, method: str, address: str, form: dict[str, str] | None = None
) -> dict[str, Any]:
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    failed = f"Signing in with {settings.name} failed:"
    body = bytearray()
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
            session.request(method, address, data=form, allow_redirects=False) as response,
        ):
            async for piece in response.content.iter_any():
                body += piece
                if len(body) > MOST_BYTES:
                    raise Unavailable(f"{failed} {address} sends more than {MOST_BYTES:,} bytes.")
    except TimeoutError:
        raise Unavailable(f"{failed} {address} did not answer in {TIMEOUT_S} seconds.") from None
    except aiohttp.ClientError as error:
        raise Unavailable(f"{failed} {address} cannot be reached ({error}).") from error
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if response.status != 200 or not isinstance(found, dict):
        code = found.get("error") if isinstance(found, dict) else None
        reason = f"status {response.status}{f', {code}' if code else ''}"
        raise Unavailable(f"{failed} {address} refused it or gave no JSON ({reason}).")
    return found
