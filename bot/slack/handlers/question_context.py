"""What a question refers to: the text files sent with it, and the thread in which the bot is
mentioned for the first time.

Both are read once, bounded, and quoted in the prompt; nothing of them is stored. A note under the
answer says what was not read: a picture, a long file, or a thread that Slack did not let the bot
read. Some apps may read only one thread a minute.
https://docs.slack.dev/reference/methods/conversations.replies
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePath

from bot.answering.prompt import Quoted
from bot.slack.client.stream import SlackPlace
from bot.slack.client.web_api import Transport, failure
from bot.slack.inbound import thread
from bot.slack.payloads import files_of
from bot.slack.render import message_text
from bot.slack.workspace.context import WorkspaceContext
from data.slack.question_queue import AttachedFile, QueuedQuestion

log = logging.getLogger(__name__)

MAX_FILE = 16_000  # bytes of a file that is read
MAX_QUOTED = 4_000  # characters of all files together, and of the thread
MAX_MESSAGES = 12  # of a thread
READ_S = 3.0  # for all files, for the thread, and for its people's names
TEXT_ENDINGS = {".csv", ".json", ".log", ".md", ".toml", ".txt", ".xml", ".yaml", ".yml"}
UNKNOWN_PERSON = "somebody"
DID_NOT_FIT = "What came with your question was too long for me, so I answered the question alone."
NOT_LOOKED_UP = "Slack did not let me look up your question, so I answered its words alone."
THREAD_NOT_READ = (
    "Slack did not let me read this thread just now, so I answered your question alone."
)


async def read(
    workspace: WorkspaceContext, question: QueuedQuestion, place: SlackPlace, *, is_new: bool
) -> Quoted:
    """The files of a question, and the thread around it if the bot takes no part in it yet
    (`is_new`)."""
    files = await _read_files(workspace, question.files)
    in_thread = question.thread_ts != question.asked_ts and not question.response_url
    if not (is_new and in_thread):
        return files
    around = await _read_thread(workspace, place, question.asked_ts)
    return _joined([around, files])


async def read_again(
    workspace: WorkspaceContext, question: QueuedQuestion, place: SlackPlace, is_first: bool
) -> Quoted:
    """The same for another answer to a question: its message is looked up, because nothing of it
    was kept. `is_first`: whether the conversation began with it."""
    if question.response_url:
        return Quoted()
    try:
        async with asyncio.timeout(READ_S):
            message = await thread.message_at(
                workspace, place.channel, question.thread_ts, question.asked_ts
            )
    except Transport as error:
        log.info("A question was not looked up: %s", failure(error).code)
        return Quoted(note=NOT_LOOKED_UP)
    files = files_of((message or {}).get("files"))
    return await read(workspace, replace(question, files=files), place, is_new=is_first)


async def _read_files(workspace: WorkspaceContext, files: Sequence[AttachedFile]) -> Quoted:
    """All of them together are bounded in time and in characters."""
    until = asyncio.get_running_loop().time() + READ_S
    found: list[Quoted] = []
    for file in files:
        room = MAX_QUOTED - sum(len(one.text) for one in found)
        found.append(await _read_file(workspace, file, room, until))
    return _joined(found)


async def _read_file(
    workspace: WorkspaceContext, file: AttachedFile, room: int, until: float
) -> Quoted:
    """A file, of which at most `room` characters are quoted."""
    if room <= 0:
        return Quoted(note=f"I did not read {file.name}: there was too much to read.")
    if not _is_text(file):
        return Quoted(note=f"I can't read {file.name}: I read text files only.")
    if file.size > MAX_FILE:
        return Quoted(note=f"I did not read {file.name}: it is longer than {MAX_FILE // 1000} kB.")
    refused = Quoted(note=f"Slack did not let me read {file.name}.")
    try:
        async with asyncio.timeout_at(until):
            content = await workspace.api.read_file(file.url, MAX_FILE + 1)
    except Transport as error:
        log.info("A file was not read: %s", type(error).__name__)
        return refused
    if content is None:
        return refused
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return Quoted(note=f"I can't read {file.name}: it is not UTF-8 text.")
    if "\x00" in text:
        return Quoted(note=f"I can't read {file.name}: it is not text.")
    shown = text.strip()[:room]
    quotation = _quotation(f"The attached file {file.name}", shown)
    if len(text.strip()) > room:
        return Quoted(quotation, note=f"I read only the beginning of {file.name}.")
    return Quoted(quotation, read=f"I read {file.name}.")


def _is_text(file: AttachedFile) -> bool:
    return file.kind.startswith("text/") or PurePath(file.name).suffix.lower() in TEXT_ENDINGS


async def _read_thread(workspace: WorkspaceContext, place: SlackPlace, ts: str) -> Quoted:
    """The newest messages of the thread before the message `ts`."""
    try:
        async with asyncio.timeout(READ_S):
            lines = await thread.messages_before(workspace, place, ts)
    except Transport as error:
        log.info("A thread was not read: %s", failure(error).code)
        return Quoted(note=THREAD_NOT_READ)
    lines = lines[-MAX_MESSAGES:]
    me = workspace.identity.bot_user
    people = {line.user for line in lines}
    mentioned = {user for line in lines for user in message_text.people_in(line.text)}
    names = await _names(workspace, (people | mentioned) - {me, ""})
    said = [
        f"{names.get(line.user, UNKNOWN_PERSON)}: {message_text.plain_text(line.text, me, names)}"
        for line in lines
        if line.user != me
    ]
    while said and sum(map(len, said)) > MAX_QUOTED:
        said = said[1:] if len(said) > 1 else [said[0][:MAX_QUOTED]]
    title = "Earlier messages in this thread"
    return Quoted(_quotation(title, "\n".join(said))) if said else Quoted()


async def _names(workspace: WorkspaceContext, users: set[str]) -> dict[str, str]:
    """The names that are known in time, by user id."""
    asking = {user: asyncio.create_task(workspace.names.about(user)) for user in users}
    if asking:
        await asyncio.wait(asking.values(), timeout=READ_S)
    names = {}
    for user, task in asking.items():
        if not task.done():
            task.cancel()
        elif (profile := task.result()) is not None and profile.name:
            names[user] = profile.name
    return names


def _quotation(title: str, text: str) -> str:
    """The text with `> ` before each line, under a title, so that it can't pass for the question or
    an instruction of the operator."""
    lines = "\n".join(f"> {line}" for line in text.splitlines())
    return f"{title}:\n{lines}"


def _joined(parts: Sequence[Quoted]) -> Quoted:
    return Quoted(
        "\n\n".join(part.text for part in parts if part.text),
        " ".join(part.note for part in parts if part.note),
        " ".join(part.read for part in parts if part.read),
    )
