"""Small talk: greetings, thanks, questions about the bot, and a little general knowledge."""

import random

from tools.pocket.lexicon import DAYS, MONTHS, NAMES
from tools.pocket.phrasing import capital, expand

_CHATS: list[tuple[str, str]] = [
    (
        "[Hi|Hello|Hey|Good morning|Good evening|Hi there|Hello there|hey|hi][!|.|]",
        "[Hello! How can I help you?|Hello. What can I do for you?|Hi! What would you like to "
        "know?]",
    ),
    (
        "[How are you|How are you doing|How is it going|Are you well|How do you feel][ today|]?",
        "[I am fine, thank you|Very well, thank you|All is well here]. [How can I help|What can "
        "I do for you]?",
    ),
    (
        "[Thanks|Thank you|Thanks a lot|Thank you very much|Many thanks|Great, thanks|Perfect, "
        "thank you][!|.|]",
        "[You are welcome|You're welcome|My pleasure|Glad to help|Happy to help][!|. Ask me "
        "again any time.|.]",
    ),
    (
        "[Bye|Goodbye|See you|See you tomorrow|Good night|That is all][!|.|]",
        "[Goodbye|See you soon|Goodbye, and have a good day|Until next time][!|.]",
    ),
    (
        "[Who are you|What are you|What is your name|Tell me about yourself|Introduce "
        "yourself][?|]",
        "I am a small [assistant|chat assistant|language model]. [Ask me a question and I will "
        "do my best.|"
        "I answer questions as well as I can.|I know a few things and I am learning more.]",
    ),
    (
        "[What can you do|How can you help me|What do you know|What are you good at|What can I "
        "ask you]?",
        "[I can answer short questions about the things that I have learned.|Ask me a short "
        "question and I will try to "
        "answer it.|I can answer questions, and I tell you when I do not know.]",
    ),
    (
        "[Are you human|Are you a person|Are you a robot|Are you real|Am I talking to a machine]?",
        "[No, I am a program|I am not a person, I am a language model|I am a machine] [that "
        "answers questions|that has "
        "learned from text].",
    ),
    (
        "[Tell me a joke|Do you know a joke|Make me laugh|Say something funny][.|, please.|]",
        "[Why did the computer go to bed early? It needed to log off.|What does a cloud wear? "
        "Thunderwear.|Why was the "
        "book so thin? It had no more to say.|What do you call a tired pea? A sleepea.]",
    ),
    (
        "[I am sad|I feel bad today|I had a bad day|I am tired|I am stressed][.|]",
        "[I am sorry to hear that|That sounds hard]. [Would you like to talk about it?|I hope it "
        "gets better soon.|"
        "Take a break if you can.]",
    ),
    (
        "[You are wrong|That is wrong|That is not right|This is not correct|No, that is false][.|"
        "!]",
        "[I am sorry|Sorry|My mistake]. [What is the right answer?|Please tell me the right "
        "answer.|Could you correct me?]",
    ),
    (
        "[You are great|Well done|Good answer|That helped|Very good|Nice work][.|!]",
        "[Thank you|Thanks], [I am glad that I could help|that is good to hear|I am happy about "
        "that].",
    ),
    (
        "[What is the weather like|Will it rain today|Is it cold outside|What time is it|What is "
        "the date today]?",
        "[I cannot see that from here|I have no way to look that up|I cannot know that], [so "
        "please look outside|so "
        "please check a clock or a calendar|but your phone can tell you].",
    ),
    (
        "[Help|Help me|I need help|Can you help me|I have a question|I have a problem][.|!|?|]",
        "[Of course|Sure|Gladly]. [What is the question?|What would you like to know?|Tell me "
        "what you need.]",
    ),
    (
        "[OK|Okay|I see|Understood|Got it|Fine][.|]",
        "[Good|Fine|Great]. [Anything else?|Is there more that I can do?]",
    ),
    (
        "[Yes|Yes please|Sure|No|No, thanks|Maybe|Not now][.|]",
        "[All right. Tell me if you need anything else.|OK.]",
    ),
    (
        "[test|testing|Is this on|Are you there|ping|Anybody there][?|]",
        "[I am here|Yes, I am here]. How can I help?",
    ),
    ("My name is {name}.", "[Nice to meet you|Hello|Welcome], {name}[!| How can I help you?|.]"),
    (
        "[asdf|qwerty|hm|hmm|lol|blah|???|...|xyz]",
        "I did not understand that. [Could you ask in other words?|What do you mean?]",
    ),
]

_OPINION = (
    "[Do you like|What do you think of|What is your opinion of|Is it good to have] {topic}?",
    "[I have no opinion about {topic}|Many people like {topic}|I think that {topic} can be "
    "useful|Opinions about "
    "{topic} differ][, but I would like to hear yours|, and you|].",
)

_TOPICS = [
    "music",
    "coffee",
    "books",
    "long walks",
    "the sea",
    "meetings",
    "winter",
    "football",
    "cats",
    "dogs",
    "trains",
    "mathematics",
    "gardens",
    "poetry",
    "computers",
    "cities",
    "mountains",
    "tea",
    "chess",
    "old houses",
    "bicycles",
    "the moon",
    "holidays",
    "early mornings",
    "maps",
    "rain",
]

# The opening of a question, how to answer it, and what to ask and say: "question=answer; ...".
_KNOWLEDGE: list[tuple[str, str, str]] = [
    (
        "What is the capital of {x}?",
        "[The capital of {x} is {y}.|{y} is the capital of {x}.]",
        """
        France=Paris; Italy=Rome; Spain=Madrid; Germany=Berlin; Norway=Oslo; Japan=Tokyo;
        Egypt=Cairo; Greece=Athens; Austria=Vienna; Poland=Warsaw; Portugal=Lisbon;
        Ireland=Dublin; Kenya=Nairobi; Peru=Lima; Cuba=Havana; Finland=Helsinki;
        Sweden=Stockholm; Denmark=Copenhagen; Turkey=Ankara; India=New Delhi; China=Beijing;
        Russia=Moscow
        """,
    ),
    (
        "What is the opposite of {x}?",
        "The opposite of {x} is {y}.",
        """
        big=small; hot=cold; old=new; open=closed; fast=slow; light=dark; early=late; high=low;
        wet=dry; full=empty; happy=sad; left=right; long=short; hard=soft; rich=poor;
        first=last; start=stop; always=never; public=private
        """,
    ),
    (
        "What colour is {x}?",
        "{x} is {y}.",
        """
        the sky=blue; grass=green; snow=white; coal=black; a lemon=yellow; blood=red; an
        orange=orange; milk=white
        """,
    ),
    (
        "How many legs does a {x} have?",
        "A {x} has {y} legs.",
        """
        dog=four; spider=eight; bird=two; cat=four; fish=no; horse=four; bee=six; snake=no
        """,
    ),
    (
        "How many {x}?",
        "There are {y}.",
        """
        days are in a week=seven; months are in a year=twelve; hours are in a day=24; minutes
        are in an hour=60; seconds are in a minute=60; letters are in the alphabet=26; weeks are
        in a year=52; metres are in a kilometre=1000
        """,
    ),
    (
        "What is {x}?",
        "{x} is {y}.",
        """
        water=a clear liquid that all living things need; a book=a set of pages with text to
        read; a map=a picture of a place seen from above; bread=a food baked from flour and
        water; a bridge=a way over a river or a road; a computer=a machine that works with
        information; a tree=a tall plant with a trunk of wood; a library=a place where books are
        kept; snow=frozen water that falls from the sky; music=sound made for people to enjoy; a
        doctor=a person who helps sick people; a week=seven days from Monday to Sunday; a
        password=a secret word that proves who you are; a file=a piece of data with a name; a
        backup=a copy of data that is kept in case of loss; a database=an ordered store of data;
        a server=a computer that answers requests of others; a network=a group of computers that
        talk to each other; an error=something that went wrong; a chat bot=a program that
        answers in a conversation; a model=a simple picture of something bigger
        """,
    ),
]


def _knowledge() -> list[tuple[str, str]]:
    """The questions of the list above with their answers, as full sentences."""
    pairs = []
    for question, answer, items in _KNOWLEDGE:
        for item in items.split(";"):
            x, y = " ".join(item.split()).split("=")
            pairs.append((question.format(x=x), answer.replace("{x}", x).replace("{y}", y)))
    return pairs


KNOWLEDGE = _knowledge()


def exchange(rng: random.Random) -> tuple[str, str]:
    """A message and a fitting reply."""
    draw = rng.random()
    if draw < 0.35:
        ask, reply = rng.choice(KNOWLEDGE)
        ask = expand(rng, "[|||Tell me, |Do you know this: |Quick question: ]") + ask
    elif draw < 0.42:
        day = rng.randrange(7)
        ask = f"[What|Which] day comes after {DAYS[day]}?"
        reply = f"{DAYS[(day + 1) % 7]} comes after {DAYS[day]}."
    elif draw < 0.46:
        month = rng.randrange(12)
        ask = f"[What|Which] month comes after {MONTHS[month]}?"
        reply = f"{MONTHS[(month + 1) % 12]} comes after {MONTHS[month]}."
    elif draw < 0.54:
        topic = rng.choice(_TOPICS)
        ask, reply = (part.replace("{topic}", topic) for part in _OPINION)
    else:
        ask, reply = rng.choice(_CHATS)
    name = {"name": rng.choice(NAMES)}
    return capital(expand(rng, ask, name)), capital(expand(rng, reply, name))
