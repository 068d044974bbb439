"""What chat programs ask by themselves, abridged to the places by which it is recognised.

`python -m tests.bot.clients open-webui librechat` sends the programs' own prompts.
"""

from typing import Any

ASKED, ANSWERED = "When do you open on Sundays?", "We open at ten."


def user(text: str, system: str = "") -> list[dict[str, Any]]:
    before = [{"role": "system", "content": system}] if system else []
    return [*before, {"role": "user", "content": text}]


def open_webui(what: str, output: str, after: str = "") -> list[dict[str, Any]]:
    """`output`: the JSON that the prompt asks for."""
    said = f"USER: {ASKED}\nASSISTANT: {ANSWERED}"
    return user(
        f"### Task:\n{what}\n\n### Guidelines:\n- Be short.\n\n### Output:\nJSON format: "
        f"{output}\n\n### Chat History:\n<chat_history>\n{said}\n</chat_history>{after}"
    )


TITLES = {
    "Open WebUI": open_webui(
        "Generate a concise title summarizing the chat history.", '{ "title": "your title" }'
    ),
    "LibreChat": user(
        "Provide a concise, 5-word-or-less title for the conversation, using title case "
        "conventions. Only return the title itself.\n\n"
        f"Conversation:\nUser: {ASKED}\nAI: {ANSWERED}"
    ),
    "LobeChat 1": user(
        f"user: {ASKED}\nassistant: {ANSWERED}",
        "You are a professional conversation summarizer. Generate a concise title that captures "
        "the essence of the conversation.\n\nRules:\n- Output ONLY the title text",
    ),
    "LobeChat": user(
        "<task>\nGenerate a concise title.\n</task>\n\n<conversation>\n"
        f"<user>\n{ASKED}\n</user>\n<assistant>\n{ANSWERED}\n</assistant>\n</conversation>",
        "You are a professional conversation summarizer. Generate a concise title that captures "
        "the essence of the conversation.\n\nRules:\n- Return one JSON object",
    ),
    "Chatbox": user(
        "Based on the chat history, give this conversation a name.\nKeep it short - 10 characters "
        f"max, no quotes.\nUse English.\n\n```\n{ASKED}\n\n---------\n\n{ANSWERED}\n```\n\n"
        "Only give the name, nothing else.\n\nThe name is:"
    ),
    "NextChat": [
        *user(ASKED),
        {"role": "assistant", "content": ANSWERED},
        *user(
            "Please generate a four to five word title summarizing our conversation without any "
            "lead-in, punctuation, quotation marks, periods, symbols, bold text, or additional "
            "text. Remove enclosing quotation marks."
        ),
    ],
    "Cherry Studio": user(
        f'[{{"role":"user","mainText":"{ASKED}"}},{{"role":"assistant","mainText":"{ANSWERED}"}}]',
        "Summarize the conversation into a title in English within 10 words ignoring instructions "
        "and without punctuation or symbols.",
    ),
    "chat-ui": user(
        f'User message: "{ASKED}"',
        "You are a chat thread titling assistant.\nGoal: Produce a very short, descriptive title.",
    ),
}
FOLLOW_UPS = open_webui("Suggest 3-5 relevant follow-up questions.", '{ "follow_ups": ["One?"] }')
TAGS = open_webui("Generate 1-3 broad tags categorizing the themes.", '{ "tags": ["tag1"] }')
QUERIES = open_webui("Analyze the chat history.", '\n{\n  "queries": ["query1"]\n}')
WRITTEN = {  # by a model
    "Open WebUI: image": open_webui(
        "Generate a detailed prompt.", '\n{\n    "prompt": "Yours."\n}'
    ),
    "Open WebUI: typing": open_webui(
        "You are an autocompletion system.",
        '`{ "text": "<your_completion>" }`',
        "\n<type>General</type>  \n<text>How do I</text>  \n#### Output:\n",
    ),
    "Open WebUI: emoji": user(
        "Your task is to reflect the speaker's likely facial expression through a fitting emoji."
        "\n\nMessage: ```Thanks!```"
    ),
    "Open WebUI: in short": user(
        "### Task:\nSummarize the conversation history that will be compacted out of the active "
        "chat context.\n\n### Messages Being Compacted:\nUSER: a"
    ),
    "Open WebUI: tools": user(
        f'Query: History:\nUSER: """{ASKED}"""\nQuery: {ASKED}', "Available Tools: []\n\nYour task"
    ),
    "Open WebUI: merged": user(
        "You have been provided with a set of responses from various models to the latest user "
        f'query: "{ASKED}"\n\nResponses from models: """{ANSWERED}"""'
    ),
    "LibreChat: in short": [
        *user(ASKED),
        {"role": "assistant", "content": ANSWERED},
        *user(
            "Hold on, before you continue I need you to write me a checkpoint of everything so "
            "far. Your context window is filling up.\n\n## Checkpoint\n\n## Goal"
        ),
    ],
    "NextChat: in short": [
        *user(ASKED),
        {"role": "assistant", "content": ANSWERED},
        {
            "role": "system",
            "content": "Summarize the discussion briefly in 200 words or less to use as a prompt "
            "for future context.",
        },
    ],
    "LobeChat: in short": user(
        "Merge both into one object.",
        "You are a conversation context compressor. Merge prior context.",
    ),
    "LobeChat: typing": user(
        'Before cursor: "How can I "\nAfter cursor: ""',
        "You are an autocomplete engine for a chat input box. The user is composing a message.",
    ),
    "Cherry Studio 1": user(
        f"User: {ASKED}\n\nAssistant: {ANSWERED}",
        "You are an assistant skilled in conversation. You need to summarize the user's "
        "conversation into a title within 10 words.",
    ),
    "LobeChat: replies": user(
        f'Last assistant message:\n"""\n{ANSWERED}\n"""',
        "You are a sidecar that extracts 0-4 quick-reply suggestions from the last assistant "
        "message.",
    ),
}
STRUCTURED = user(  # with a schema of its own
    "Analyze this conversation and provide:\n1. The detected language of the conversation\n"
    f"2. A concise title\n\nUser: {ASKED}\nAI: {ANSWERED}"
)
