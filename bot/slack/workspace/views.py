"""A form on somebody's screen: opened while its trigger lives, or changed where it is open."""

from bot.slack.client.web_api import Transport, failure
from bot.slack.render.blocks import Block
from bot.slack.workspace.context import WorkspaceContext
from data.store.errors import Invalid, Unavailable

TOO_LARGE = "view_too_large"  # 250 KB


async def show(workspace: WorkspaceContext, view: Block, trigger: str, view_id: str = "") -> None:
    """Raises Unavailable when Slack would not open it, Invalid when it never will."""
    try:
        if view_id:
            await workspace.api.in_turn(
                workspace.api.quick.views_update, view_id=view_id, view=view
            )
        else:
            await workspace.api.quick.views_open(trigger_id=trigger, view=view)
    except Transport as error:
        code = failure(error).code
        if code == TOO_LARGE:
            raise Invalid(
                "That is more than a form of Slack's takes, so it can't be shown there. "
                "Nothing was changed."
            ) from error
        raise Unavailable(
            f"Slack did not open the form ({code}). Nothing was changed; please try again."
        ) from error
