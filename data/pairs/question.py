"""The question that a pair asks, and the form in which questions are compared.

Two pairs ask the same question when their keys are equal: the earlier turns and the prompt, without
differences in case, white space or Unicode form. `question_matching.py` also finds near matches,
such as a typing error, by comparing the words of `question_text`.
"""

from sqlite_utils import Database

from data.domains import Domain
from data.pairs.pairs import Draft, Pair, normalise, prompt_digest


def question_text(pair: Pair | Draft) -> str:
    """What a person wrote: the earlier turns and the prompt."""
    return "\n".join([*(turn.content for turn in pair.turns), pair.prompt])


def question_key(pair: Pair | Draft) -> str:
    """Equal for pairs that ask the same question."""
    return normalise(question_text(pair))


def question_key_with_system(pair: Pair | Draft) -> str:
    """Equal for pairs that ask the same question under the same system prompt: a model can learn
    to answer them differently where the system prompts differ."""
    return normalise("\n".join([pair.system, question_text(pair)]))


def fact_of_prompt(db: Database, domain: Domain, prompt: str) -> str:
    """The fact of the newest approved pair with this prompt, '' when there is none. The turns
    before are not compared."""
    sql = (
        "SELECT prompt, fact FROM pairs WHERE domain_id = ? AND prompt_digest = ? "
        "AND status = 'approved' ORDER BY id DESC"
    )
    wanted = normalise(prompt)
    for known, fact in db.execute(sql, [domain.id, prompt_digest(prompt)]):
        if normalise(known) == wanted:
            return str(fact)
    return ""
