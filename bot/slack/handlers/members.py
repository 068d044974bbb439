"""Registers the listeners for members: feedback, teaching, the Home tab and their data."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from bot.slack.handlers import (
    feedback,
    home,
    preference_buttons,
    privacy,
    recent_questions,
    refusal_buttons,
    teach,
)
from bot.slack.payloads import person, place_of, team_of
from bot.slack.render import answer_sources, blocks, feedback_forms
from bot.slack.workspace import manifest
from bot.slack.workspace.context import WorkspaceContext

Listener = Callable[..., Awaitable[None]]
OUTDATED = "This button or form is from an older version and no longer works. Nothing was changed."


def register(app: Any, at: Callable[[dict[str, Any]], WorkspaceContext]) -> None:
    """`at` returns the context of the workspace that a request comes from."""

    def listen(
        handle: Callable[[WorkspaceContext, Listener, dict[str, Any]], Awaitable[None]],
    ) -> Callable[..., Awaitable[None]]:
        async def on(ack: Listener, body: dict[str, Any]) -> None:
            await handle(at(body), ack, body)

        return on

    async def on_home(body: dict[str, Any]) -> None:
        event, workspace, team = body["event"], at(body), team_of(body)
        user, channel = str(event.get("user") or ""), str(event.get("channel") or "")
        if event.get("tab") == "messages" and channel:
            prompting = workspace.suggest_prompts(channel, person(team, user))
            workspace.tasks.start(prompting, "prompts")
        elif event.get("tab") == "home" and user:
            workspace.tasks.start(home.opened(workspace, team, user), "home")

    app.action(blocks.FEEDBACK)(listen(feedback.thumb_button))
    app.view(feedback_forms.CORRECTION)(listen(feedback.correction_sent))
    app.action(re.compile(f"^{preference_buttons.PREFER}"))(
        listen(preference_buttons.preference_button)
    )
    app.action(answer_sources.SUGGESTED)(listen(refusal_buttons.suggestion_button))
    app.action(answer_sources.PERSON)(listen(refusal_buttons.want_person_button))
    app.action(feedback_forms.TEACH_MORE)(listen(teach.more))
    app.message_shortcut(manifest.TEACH_THIS)(listen(teach.shortcut))
    app.view(teach.TEACH)(listen(teach.teach_form_sent))
    app.event("app_home_opened")(on_home)
    app.action(home.DOMAIN)(listen(home.domain_chosen))
    app.action(re.compile(f"^{recent_questions.HELPED}"))(listen(home.rating_outcomes))
    for action_id in home.BUTTONS:
        app.action(action_id)(listen(privacy.privacy_button))


def register_last(app: Any, at: Callable[[dict[str, Any]], WorkspaceContext]) -> None:
    """Register the fallback for buttons, forms and shortcuts that no other listener takes: they
    are from before an update."""

    async def on_outdated(ack: Listener, body: dict[str, Any]) -> None:
        inputs = [b for b in (body.get("view") or {}).get("blocks") or [] if b["type"] == "input"]
        if body["type"] == "view_submission" and inputs:  # keep the typed text, so it can be copied
            await ack(response_action="errors", errors={inputs[-1]["block_id"]: OUTDATED})
            return
        await ack()
        workspace, url = at(body), str(body.get("response_url") or "")
        workspace.tasks.start(workspace.tell(place_of(body), OUTDATED, url), "outdated")

    for kind in (app.action, app.view, app.shortcut):
        kind(re.compile(""))(on_outdated)
