"""Uploads files and pictures: request an upload URL, send the bytes, share the file."""

import logging

from bot.slack.client.web_api import Transport, failure
from bot.slack.workspace.context import WorkspaceContext

log = logging.getLogger(__name__)


async def picture(
    workspace: WorkspaceContext, content: bytes, name: str, title: str, channel: str, thread_ts: str
) -> bool:
    """Upload a picture. Returns False if Slack rejects it, or if it is unclear whether Slack
    accepted it."""
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
    """As `picture`, for any file. `more` are further arguments for Slack."""
    api = workspace.api
    try:
        place = await api.patient.files_getUploadURLExternal(
            filename=name, length=len(content), **more
        )
        if not await api.send_file(str(place["upload_url"]), content):
            log.info("%s: Slack rejected the bytes", name)
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
