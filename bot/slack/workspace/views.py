"""Opens forms while their trigger is valid, and updates open ones."""

from bot.slack.client.web_api import Transport, failure
from bot.slack.render.blocks import Block
from bot.slack.workspace.context import WorkspaceContext
from data.store.errors import Invalid, Unavailable

TOO_LARGE = "view_too_large"  # 250 KB


async def show(workspace: WorkspaceContext, view: Block, trigger: str, view_id: str = "") -> str:
    """Open a form, or update the open form `view_id`. Returns its id. Raises Unavailable if Slack
    does not open it, and Invalid if it is too large."""
    try:
        if view_id:
            await workspace.api.throttled(
                workspace.api.quick.views_update, view_id=view_id, view=view
            )
            return view_id
        opened = await workspace.api.quick.views_open(trigger_id=trigger, view=view)
        return str(opened["view"]["id"])
    except Transport as error:
        code = failure(error).code
        if code == TOO_LARGE:
            raise Invalid(
                "This is too large for a Slack form, so I can't show it there. Nothing was changed."
            ) from error
        raise Unavailable(
            f"Slack could not open the form ({code}). Nothing was changed. Please try again."
        ) from error
