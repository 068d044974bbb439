"""What chat programs send: who asks, and tasks of their own such as titles and tags.

Chat programs ask the model of a chat for a title, tags, suggestions or search queries, with a
prompt of their own. `PROMPTS` has the ways in which these prompts begin and end, and in which the
conversation stands in them. A prompt counts only as a whole, so no question of a person is taken
for one, not even a question about such a prompt. A program whose prompts were changed can name its
task in the header `X-Understudy-Task`.

`bot/answering/task_answers.py` answers them.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import orjson
from starlette.datastructures import Headers

from bot.answering.prompt import ChatTask, TaskKind
from bot.api.answer_request import MAX_USER
from bot.api.completion_request import ChatMessage
from data.conversations.conversations import Message
from data.store.errors import Invalid

USER_HEADER = "x-openwebui-user-id"  # Open WebUI has no other place for the person
TASK_HEADER = "x-understudy-task"
# The values of the header, which are Open WebUI's names; any other value is some other task
NAMED: Mapping[str, TaskKind] = {
    "title_generation": "title",
    "tags_generation": "tags",
    "follow_up_generation": "follow_ups",
    "query_generation": "queries",
}
# What NextChat says to get a summary of a long conversation, as a system message at its end
NEXTCHAT_SUMMARY = "Summarize the discussion briefly in 200 words or less to use as a prompt for "
Said = tuple[Message, ...]


def user(headers: Headers) -> str | None:
    """The person who asks, by the program's own id; None if it names nobody. Raises Invalid."""
    named = headers.get(USER_HEADER, "").strip()
    if len(named) > MAX_USER:
        raise Invalid(f"The header {USER_HEADER} is longer than {MAX_USER} characters.")
    return named or None


def task(messages: Sequence[ChatMessage], headers: Headers) -> ChatTask | None:
    """The program's own task in a request; None for a person's question."""
    return recognise(messages, headers.get(TASK_HEADER, ""))


def recognise(messages: Sequence[ChatMessage], named: str = "") -> ChatTask | None:
    """The same. `named`: the value of the header."""
    if messages and messages[-1].role == "system":
        return _at_the_end(messages[-1].content.strip(), messages[:-1], named.strip())
    system = "\n\n".join(m.content for m in messages if m.role in ("system", "developer")).strip()
    turns = [m for m in messages if m.role in ("user", "assistant") and m.content.strip()]
    if not turns or turns[-1].role != "user":
        return None
    *earlier, last = turns
    prompt = last.content.strip()
    if not earlier and (found := _of_open_webui(prompt)) is not None:
        return found
    for known in PROMPTS:
        if known.matches(system, prompt) and not (known.alone and earlier):
            said = known.read(prompt) if known.alone else _messages(earlier)
            return ChatTask(known.kind, said, "JSON object" in system)
    if not named.strip():
        return None
    form = _chat_history(prompt)
    return ChatTask(NAMED.get(named.strip(), "other"), form[1] if form else (), as_json=True)


def _at_the_end(instruction: str, earlier: Sequence[ChatMessage], named: str) -> ChatTask | None:
    """The task of a system message at the end of the conversation itself."""
    turns = [m for m in earlier if m.role in ("user", "assistant") and m.content.strip()]
    if turns and instruction.startswith(NEXTCHAT_SUMMARY):
        return ChatTask("other", _messages(turns))
    if turns and named:
        return ChatTask(NAMED.get(named, "other"), _messages(turns), as_json=True)
    return None


# -- how a conversation stands in a prompt ------------------------------------------------------


def _messages(turns: Sequence[ChatMessage]) -> Said:
    return tuple(Message("user" if m.role == "user" else "assistant", m.content) for m in turns)


def _labelled(user: str, assistant: str) -> Callable[[str], Said]:
    """Each message begins with a label and a colon at the beginning of a line."""
    label = re.compile(rf"^({user}|{assistant}): ?", re.MULTILINE)

    def read(text: str) -> Said:
        _, *parts = label.split(text)
        pairs = zip(parts[::2], parts[1::2], strict=True)
        return tuple(
            Message("user" if who == user else "assistant", said.strip()) for who, said in pairs
        )

    return read


def _tagged(text: str) -> Said:
    """Each message stands in a tag with the name of its role; in older versions after a label."""
    _, *parts = re.split(r"^<(user|assistant)>\n", text, flags=re.MULTILINE)
    pairs = zip(parts[::2], parts[1::2], strict=True)
    said = tuple(
        Message("user" if who == "user" else "assistant", said.partition(f"\n</{who}>")[0])
        for who, said in pairs
    )
    return said or _labelled("user", "assistant")(text)


def _as_json(text: str) -> Said:
    """A JSON list of messages, in Cherry Studio's form."""
    try:
        given = orjson.loads(text)
        said = tuple(
            Message("user" if m["role"] == "user" else "assistant", m["mainText"]) for m in given
        )
        return said if all(isinstance(m.text, str) for m in said) else ()
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ()


def _quoted(text: str) -> Said:
    """The first question alone, in quotation marks."""
    return (Message("user", text.partition('"')[2].rpartition('"')[0]),)


def _fenced(text: str) -> Said:
    """The beginnings of the first messages, in a code block, with lines between them."""
    block = text.partition("```\n")[2].rpartition("\n```")[0]
    return (Message("user", block.partition("\n\n---------\n\n")[0]),)


def _nothing(text: str) -> Said:
    return ()


# -- the prompts --------------------------------------------------------------------------------


@dataclass(frozen=True)
class TaskPrompt:
    """How a prompt of a chat program can be told from a question."""

    program: str
    kind: TaskKind
    system: str = ""  # the beginning of the system message
    begins: str = ""  # the beginning of the last message
    holds: str = ""  # what stands in it
    ends: str = ""  # its end
    read: Callable[[str], Said] = _nothing
    alone: bool = True  # False: it stands at the end of the conversation itself

    def matches(self, system: str, last: str) -> bool:
        return (
            system.startswith(self.system)
            and last.startswith(self.begins)
            and self.holds in last
            and last.endswith(self.ends)
        )


# Open WebUI's prompts have one form, whatever their words; a JSON key says what is wanted
BEGINS, OPENS, CLOSES = "### Task:\n", "<chat_history>\n", "</chat_history>"
TYPED = "<type>"  # after the conversation, only where a text that is being typed is to be completed
OUTPUT = re.compile(r"^#+ \**Output", re.MULTILINE)
KEYS: Mapping[str, TaskKind] = {
    "title": "title",
    "tags": "tags",
    "follow_ups": "follow_ups",
    "queries": "queries",
    "prompt": "other",  # of an image
    "text": "other",
}
KEY = re.compile(rf'\{{\s*"({"|".join(KEYS)})":')


def _chat_history(prompt: str) -> tuple[str, Said] | None:
    """What stands before the conversation, and the conversation; None for another form. It takes
    time in proportion to the length of the prompt, whatever stands in it."""
    what, opened, rest = prompt.partition(OPENS)
    block, closed, after = rest.rpartition(CLOSES)
    if not (opened and closed and what.startswith(BEGINS)):
        return None
    if after.strip() and not after.lstrip().startswith(TYPED):
        return None
    return what, _labelled("USER", "ASSISTANT")(block)


def _of_open_webui(prompt: str) -> ChatTask | None:
    form = _chat_history(prompt)
    heading = OUTPUT.search(form[0]) if form else None
    key = KEY.search(form[0], heading.end()) if form and heading else None
    return ChatTask(KEYS[key[1]], form[1], as_json=True) if form and key else None


PROMPTS = (
    TaskPrompt(
        "Open WebUI: the conversation in short",
        "other",
        begins="### Task:\nSummarize the conversation history that will be compacted out of the ",
        holds="\n### Messages Being Compacted:\n",
    ),
    TaskPrompt(
        "Open WebUI: which tool to call",
        "other",
        system="Available Tools: ",
        begins="Query: History:\n",
        holds="\nQuery: ",
    ),
    TaskPrompt(
        "Open WebUI: an emoji for a message",
        "other",
        begins="Your task is to reflect the speaker's likely facial expression through a fitting ",
        holds="\n\nMessage: ```",
        ends="```",
    ),
    TaskPrompt(
        "Open WebUI: one answer from those of several models",
        "other",
        begins="You have been provided with a set of responses from various models to the latest ",
        holds="\n\nResponses from models: ",
    ),
    TaskPrompt(
        "LibreChat",
        "title",
        begins="Provide a concise, 5-word-or-less title for the conversation, using ",
        holds="\n\nConversation:\n",
        read=_labelled("User", "AI"),
    ),
    TaskPrompt(
        "LibreChat, with titleMethod: structured or functions",
        "title",
        begins="Analyze this conversation and provide:\n1. The detected language of the ",
        read=_labelled("User", "AI"),
    ),
    TaskPrompt(
        "LibreChat: the conversation in short",
        "other",
        begins="Hold on, before you continue I need you to write me a checkpoint of everything so ",
        holds="\n## Checkpoint\n",
        alone=False,
    ),
    TaskPrompt(
        "LibreChat: the conversation in short, again",
        "other",
        begins="Hold on again, update your checkpoint. Merge the new messages into your existing ",
        alone=False,
    ),
    TaskPrompt(
        "LobeChat",
        "title",
        system="You are a professional conversation summarizer. Generate a concise title that ",
        read=_tagged,
    ),
    TaskPrompt(
        "LobeChat: quick replies",
        "other",
        system="You are a sidecar that extracts 0-4 quick-reply suggestions from the last ",
        begins='Last assistant message:\n"""\n',
        ends='"""',
    ),
    TaskPrompt(
        "LobeChat: the conversation in short",
        "other",
        system="You're an assistant who's good at extracting key takeaways from conversations and ",
        holds="<chat_history>",
    ),
    TaskPrompt(
        "LobeChat: a topic in short",
        "other",
        system="Summarize the conversation for future reference.\n\nRequirements:\n",
    ),
    TaskPrompt(
        "LobeChat: the conversation in short, as JSON",
        "other",
        system="You are a conversation context compressor. ",
    ),
    TaskPrompt(
        "LobeChat: what is being typed",
        "other",
        system="You are an autocomplete engine for a chat input box. ",
        begins='Before cursor: "',
        holds='\nAfter cursor: "',
    ),
    TaskPrompt(
        "Chatbox",
        "title",
        begins="Based on the chat history, give this conversation a name.\nKeep it short - ",
        ends="The name is:",
        read=_fenced,
    ),
    TaskPrompt(
        "NextChat",
        "title",
        begins="Please generate a four to five word title summarizing our conversation without ",
        ends="or additional text. Remove enclosing quotation marks.",
        alone=False,
    ),
    TaskPrompt(
        "Cherry Studio",
        "title",
        system="Summarize the conversation into a title in ",
        begins='[{"role":',
        ends="]",
        read=_as_json,
    ),
    TaskPrompt(
        "Cherry Studio 1",
        "title",
        system="You are an assistant skilled in conversation. You need to summarize the user's ",
        read=_as_json,
    ),
    TaskPrompt(
        "Hugging Face's chat-ui",
        "title",
        system="You are a chat thread titling assistant.\nGoal: ",
        begins='User message: "',
        ends='"',
        read=_quoted,
    ),
)
