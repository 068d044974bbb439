"""Greetings, thanks and goodbyes, which no approved pair has to answer.

Only a message that is nothing else counts: "thanks, and on Sundays?" is a question. The replies say
nothing about the domain's facts. A domain that has pairs for small talk answers from these.
"""

import re
import unicodedata

from data.domains import Domain

GREETINGS = """
hello | hi | hey | hi there | hello there | hey there | good morning | good afternoon | good evening
hallo | guten tag | guten morgen | guten abend | moin | servus | grüß gott
bonjour | bonsoir | salut | hola | buenos días | buenas tardes | buenas noches
ciao | buongiorno | buonasera | olá | bom dia | boa tarde | boa noite
hoi | goedemorgen | goedendag
"""
THANKS = """
thanks | thank you | thanks a lot | many thanks | thank you very much | thank you so much | thx | ty
great thanks | ok thanks | perfect thanks | cheers | that helped | that helps
ok | okay | great | perfect | got it | alright | all right | nice
danke | vielen dank | danke schön | dankeschön | danke sehr | merci | merci beaucoup
gracias | muchas gracias | grazie | grazie mille | obrigado | obrigada | dank je | bedankt
"""
GOODBYES = """
bye | goodbye | bye bye | see you | see you later | good night | have a nice day
tschüss | tschüs | auf wiedersehen | au revoir | adiós | hasta luego
arrivederci | tchau | tot ziens
"""
LONGEST = 40  # characters; anything longer says more than hello


def reply(text: str, domain: Domain) -> str:
    """The reply to small talk; '' if `text` is anything else."""
    if len(text) > LONGEST:
        return ""
    said = _plain(text)
    if said in KNOWN[0]:
        return f"Hello! I answer questions about {domain.title}. What would you like to know?"
    if said in KNOWN[1]:
        return f"You're welcome. Ask me anything else about {domain.title}."
    if said in KNOWN[2]:
        return "Goodbye!"
    return ""


def _plain(text: str) -> str:
    """The words alone, without case, punctuation and emoji."""
    words = re.findall(r"[^\W\d_]+", unicodedata.normalize("NFC", text).casefold())
    return " ".join(words)


KNOWN = tuple(
    frozenset(_plain(phrase) for line in phrases.split("\n") for phrase in line.split("|")) - {""}
    for phrases in (GREETINGS, THANKS, GOODBYES)
)
