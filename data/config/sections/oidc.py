"""`[oidc]`: signing in to the console with an OpenID provider, such as Slack's."""

from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from data.config.sections.fields import Section, TextList, is_address

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class OidcSettings(Section):
    """Signing in to the console with an OpenID provider. The secret belongs in the environment."""

    issuer: str = Field(
        default="",
        description="The provider's issuer, such as `https://slack.com` or "
        "`https://login.example.com/realms/staff`. Empty: people sign in with links only. Register "
        "the service there with the address `https://HOST/console/sign-in/oidc/callback`.",
    )
    client_id: str = Field(default="", description="The client ID that the provider gave.")
    client_secret: SecretStr = Field(
        default=SecretStr(""), description="The client secret that the provider gave."
    )
    name: str = Field(
        default="your company", description="Whom people sign in with, for the link on the page."
    )
    email_domains: TextList = Field(
        default=(),
        description='Whose people may sign in, such as `["example.com"]`. Empty: everybody whom '
        "the provider signs in, which for a public provider is anybody.",
    )
    trust_email: bool = Field(
        default=False,
        description="Take an e-mail address as the person's although the provider does not say "
        "that it is verified. Only for a provider that lets nobody choose their address.",
    )

    @field_validator("issuer")
    @classmethod
    def _secure(cls, text: str) -> str:
        """Without TLS, anybody between the two could sign in as anybody."""
        if not text:
            return text
        if not is_address(text) or (
            urlsplit(text).scheme != "https" and urlsplit(text).hostname not in LOOPBACK
        ):
            raise ValueError("it must be an address that begins with https://")
        return text.rstrip("/")

    @model_validator(mode="after")
    def _complete(self) -> "OidcSettings":
        if self.issuer and not (self.client_id and self.client_secret.get_secret_value()):
            raise ValueError("[oidc] issuer needs client_id and client_secret, too")
        return self

    @property
    def enabled(self) -> bool:
        return bool(self.issuer)
