"""The Slack app manifest, with exactly the scopes and events that the code uses.

`understudy slack manifest` prints it, to be pasted at api.slack.com/apps, "From a manifest". A test
compares it with the registered listeners and the Web API methods that the code calls.
"""

from typing import Any

from bot.commands import registry
from data.store.errors import Invalid

COMMAND = "/understudy"
TEACH_THIS = "teach_this"  # the message shortcut
PATH = "/slack/events"
INSTALL_PATH = "/slack/install"
REDIRECT_PATH = "/slack/oauth_redirect"
NAME = "Understudy"

# event -> the scopes that it requires
EVENTS: dict[str, tuple[str, ...]] = {
    "agent_session_stopped": ("assistant:write",),
    "app_home_opened": (),
    "app_mention": ("app_mentions:read",),
    "app_uninstalled": (),
    "message.channels": ("channels:history",),
    "message.groups": ("groups:history",),
    "message.im": ("im:history",),
    "message.mpim": ("mpim:history",),
    "reaction_added": ("reactions:read",),
    "reaction_removed": ("reactions:read",),
    "tokens_revoked": (),
}
READ_FILES = "files:read"  # to download the text files that people send with a question
# Web API method -> the scopes that it requires
METHODS: dict[str, tuple[str, ...]] = {
    "apps.connections.open": (),
    "assistant.threads.setStatus": ("assistant:write",),
    "assistant.threads.setSuggestedPrompts": ("assistant:write",),
    "assistant.threads.setTitle": ("assistant:write",),
    "auth.revoke": (),
    "auth.test": (),
    "chat.appendStream": ("chat:write",),
    "chat.delete": ("chat:write",),
    "chat.getPermalink": (),
    "chat.postEphemeral": ("chat:write",),
    "chat.postMessage": ("chat:write",),
    "chat.startStream": ("chat:write",),
    "chat.stopStream": ("chat:write",),
    "chat.update": ("chat:write",),
    "conversations.history": (
        "channels:history",
        "groups:history",
        "im:history",
        "mpim:history",
    ),
    "conversations.replies": (
        "channels:history",
        "groups:history",
        "im:history",
        "mpim:history",
    ),
    "files.completeUploadExternal": ("files:write",),
    "files.getUploadURLExternal": ("files:write",),
    "oauth.v2.access": (),
    "usergroups.users.list": ("usergroups:read",),
    "users.info": ("users:read",),
    "views.open": (),
    "views.publish": (),
    "views.update": (),
}


def scopes() -> list[str]:
    """The bot scopes, sorted."""
    needed = {"commands", READ_FILES}
    for group in (*EVENTS.values(), *METHODS.values()):
        needed.update(group)
    return sorted(needed)


def manifest(url: str | None, oauth: bool = False) -> dict[str, Any]:
    """The manifest for Socket Mode, or for signed HTTP at `url` (https://…). With `oauth`, for an
    app that several workspaces can install. Raises Invalid."""
    if oauth and not url:
        raise Invalid("Several workspaces can install the bot only over HTTP. Add --url.")
    address = _address(url)
    command: dict[str, Any] = {
        "command": COMMAND,
        "description": "Ask a question, follow the training, manage the bot",
        "usage_hint": " | ".join(verb.typed[0] for verb in registry.listed()[:3]) + " | …",
        "should_escape": True,  # sends people and channels as ids
    }
    subscriptions: dict[str, Any] = {"bot_events": sorted(EVENTS)}
    interactivity: dict[str, Any] = {"is_enabled": True}
    if address:
        command["url"] = address
        subscriptions["request_url"] = address
        interactivity["request_url"] = address
    sent_back = [address.removesuffix(PATH) + REDIRECT_PATH]
    return {
        "_metadata": {"major_version": 2},
        "display_information": {
            "name": NAME,
            "description": "Answers questions about your own topics and learns from your feedback",
        },
        "features": {
            "app_home": {
                "home_tab_enabled": True,
                "messages_tab_enabled": True,
                "messages_tab_read_only_enabled": False,
            },
            "agent_view": {
                "agent_description": "Answers questions about your organisation's topics."
            },
            "bot_user": {"display_name": NAME, "always_online": True},
            "shortcuts": [
                {
                    "name": "Teach this",
                    "type": "message",
                    "callback_id": TEACH_THIS,
                    "description": "Suggest this question and answer for the bot to learn",
                }
            ],
            "slash_commands": [command],
        },
        "oauth_config": {
            "scopes": {"bot": scopes()},
            **({"redirect_urls": sent_back} if oauth else {}),
        },
        "settings": {
            "event_subscriptions": subscriptions,
            "interactivity": interactivity,
            "org_deploy_enabled": False,
            "socket_mode_enabled": not address,
            "token_rotation_enabled": False,
        },
    }


def _address(url: str | None) -> str:
    if url is None:
        return ""
    if (
        not url.startswith("https://")
        or len(url) <= len("https://")
        or any(c.isspace() for c in url)
    ):
        raise Invalid(f"Slack needs an https:// address, and {url!r} is not one.")
    return url if url.endswith(PATH) else url.rstrip("/") + PATH
