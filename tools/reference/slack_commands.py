"""The commands after `/understudy` in Slack, by role."""

from tools.reference import markdown
from tools.reference.markdown import code

ROLES = {
    "member": "Everyone who may ask the bot can use these commands.",
    "reviewer": "Reviewers and admins can use these commands.",
    "admin": "Only admins can use these commands.",
}


def commands() -> list[tuple[str, str, str]]:
    """Every command as (role, usage, description)."""
    from bot.commands import registry

    return [(verb.role, verb.usage, verb.explained) for verb in registry.listed()]


def reference() -> str:
    """A section for each role."""
    parts = []
    for role, intro in ROLES.items():
        rows = [
            (code(f"/understudy {usage}"), markdown.sentence(text[:1].upper() + text[1:]))
            for needs, usage, text in commands()
            if needs == role
        ]
        title = f"## For {role}s" if role != "member" else "## For everyone"
        parts.append(f"{title}\n\n{intro}\n\n{markdown.table(('Command', 'Description'), rows)}")
    return "\n".join(parts)
