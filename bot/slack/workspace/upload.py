"""A file or a picture, put where people see it: a place for it is asked for, filled, and shown."""

import logging

from bot.slack.client.web_api import Transport, failure
from bot.slack.workspace.context import WorkspaceContext

log = logging.getLogger(__name__)


async def picture(
    workspace: WorkspaceContext, content: bytes, name: str, title: str, channel: str, thread_ts: str
) -> bool:
    """False when Slack would not take it, or it is not clear whether it did."""
    return await file(workspace, content, name, title, channel, thread_ts, alt_txt=title)


async def file(
    workspace: WorkspaceContext,
    content: bytes,
    name: str,
    title: str,
    channel: str,
    thread_ts: str = "",
    **more: str,
) -> bool:
    """As `picture`, for any file; `more` is said to Slack about it."""
    api = workspace.api
    try:
        place = await api.patient.files_getUploadURLExternal(
            filename=name, length=len(content), **more
        )
        if not await api.send_file(str(place["upload_url"]), content):
            log.info("%s: Slack did not take the bytes", name)
            return False
        await api.patient.files_completeUploadExternal(
            files=[{"id": str(place["file_id"]), "title": title}],
            channel_id=channel,
            thread_ts=thread_ts or None,
        )
    except Transport as error:
        log.info("%s was not uploaded: %s", name, failure(error).code)
        return False
    return True
