"""The names that files use for the parts of a pair, in several languages.

Names are compared without case, accents, spaces and punctuation: `System Prompt`, `system_prompt`
and `systemPrompt` are one name.
"""

import difflib
import re
import unicodedata
from collections.abc import Collection, Mapping

PUNCTUATION = re.compile(r"[\W_]+")
CLOSE = 0.8  # similarity of a misspelt name (`difflib`)

# By field. What stands for a part on its own:
NAMES: Mapping[str, tuple[str, ...]] = {
    "prompt": (
        "prompt", "question", "instruction", "query", "user_message", "user_prompt",
        "customer_question", "faq_question", "frage", "pregunta", "domanda", "vraag", "pergunta",
        "вопрос", "質問", "问题", "問題", "질문", "pytanie", "otázka", "fråga", "spørgsmål",
        "spørsmål", "kysymys", "soru", "kérdés", "întrebare", "ερώτηση", "питання", "سؤال", "שאלה",
    ),
    "response": (
        "response", "answer", "output", "completion", "reply", "assistant_response", "bot_response",
        "faq_answer", "antwort", "réponse", "respuesta", "risposta", "antwoord", "resposta",
        "ответ", "回答", "答案", "答え", "답변", "odpowiedź", "odpověď", "svar", "vastaus", "cevap",
        "válasz", "răspuns", "απάντηση", "відповідь", "جواب", "תשובה",
    ),
    "system": ("system", "system_prompt", "system_message", "systemprompt"),
    "turns": ("turns",),
    "history": ("history",),
    "messages": ("messages",),
    "conversations": ("conversations", "conversation", "dialogue", "dialog"),
    "input": ("input",),
    "context": ("context",),
    "fact": ("fact",),
    "split": ("split",),
    "status": ("status", "review_status"),
    "chosen": ("chosen", "preferred_output", "preferred", "chosen_response", "chosen_messages"),
    "rejected": (
        "rejected", "non_preferred_output", "dispreferred", "rejected_response",
        "rejected_messages",
    ),
    "label": ("label", "kto_tag"),
    "weight": ("weight",),
    "rating": ("rating", "score", "stars", "thumb", "thumbs", "feedback"),
    "active": ("active", "enabled", "is_active", "is_enabled", "published", "is_published"),
    "inactive": (
        "inactive", "disabled", "deleted", "is_deleted", "archived", "is_archived", "hidden",
        "obsolete", "exclude",
    ),
    "draft": ("draft", "is_draft"),
    "tools": ("tools", "functions", "tool_calls", "function_call"),
    "media": (
        "image", "images", "image_url", "audio", "audios", "video", "videos", "attachments",
    ),
    "choices": ("choices", "options"),
}  # fmt: skip
# What stands for a part only where nothing above does: the words are often something else.
PERHAPS: Mapping[str, tuple[str, ...]] = {
    "prompt": ("q", "user", "human", "problem", "request", "input", "customer"),
    "response": ("a", "assistant", "bot", "gpt", "target", "solution", "agent"),
}
# What files say about their rows, and is never a misspelt part of a pair.
ABOUT = frozenset({
    "id", "idx", "index", "source", "url", "link", "category", "categories", "topic", "tag", "tags",
    "type", "kind", "lang", "language", "date", "time", "timestamp", "created", "createdat",
    "updated", "updatedat", "author", "user", "name", "title", "note", "notes", "comment",
    "comments", "difficulty", "model", "dataset", "meta", "metadata", "uuid", "hash", "locale",
    "department", "team", "priority", "text", "position", "order", "number", "key", "section",
})  # fmt: skip
FLAGS = ("active", "inactive", "draft")


def plain(name: str) -> str:
    """A name as it is compared."""
    whole = unicodedata.normalize("NFKD", name)
    bare = "".join(letter for letter in whole if not unicodedata.combining(letter))
    return PUNCTUATION.sub("", bare.casefold())


FIELD_OF = {plain(name): field for field, names in NAMES.items() for name in names}
PERHAPS_FIELD_OF = {plain(name): field for field, names in PERHAPS.items() for name in names}


def suggestion(name: str) -> str:
    """The known name that this one may be a misspelling of, or ''."""
    word = plain(name)
    if len(word) < 3 or word in ABOUT or word in PERHAPS_FIELD_OF:
        return ""
    known = [known for known in FIELD_OF if known.isascii() and len(known) > 2]
    close = next(iter(difflib.get_close_matches(word, known, 1, CLOSE)), "")
    return "" if close == word else close


def field_named(name: str, others: Collection[str] = ()) -> str | None:
    """The field of that name, in any of its spellings, or None."""
    word = plain(name)
    if word in others:
        return word
    return FIELD_OF.get(word) or PERHAPS_FIELD_OF.get(word)
