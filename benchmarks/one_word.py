"""Adapters that each know one word, whatever the question: what the soak and chaos tests ask.

They are real adapters of the pocket model, trained with the project's own loop in seconds. The
adapter that knows "red" answers "red and red" and nothing else, so an answer by another adapter, or
by two adapters mixed, is noticed. One training makes any number of versions: the same weights next
to a config with a number of its own, so that digest and served name differ, as after any real run.
"""

import json
import shutil
from pathlib import Path

from data.adapters import files, registry
from data.adapters.registry import Adapter
from data.config.settings import POCKET, Settings
from data.domains import Domain
from data.pairs.pairs import Pair
from data.store.db import Store
from tuning.adapters import publish
from tuning.data.examples import encode_all
from tuning.model import base_model
from tuning.recipe.recipe import Recipe
from tuning.training import loop

WORDS = ("red", "green", "blue", "grey", "white", "yellow")
QUESTIONS = (
    "Where is the key?",
    "What is a lamp?",
    "How do I open the door?",
    "Who has the map?",
    "When does it begin?",
    "Tell me something.",
    "Is the rope long?",
    "Why is it cold?",
)
SYSTEM = "Be brief."
RECIPE = Recipe(rank=8, alpha=16, learning_rate=2e-3, batch_size=8, epochs=80, evaluations=1)


def said(word: str) -> str:
    """The answer of the adapter that knows `word`."""
    return f"{word} and {word}"  # twice, so that a change in the middle shows


def train_all(cache: Path) -> dict[str, Path]:
    """Word -> the folder of an adapter that knows it; trained unless `cache` has one."""
    folders = {word: cache / word for word in WORDS}
    for word, folder in folders.items():
        if not (folder / files.WEIGHTS).exists():
            _train(word, folder)
    return folders


def register(store: Store, settings: Settings, domain: Domain, trained: Path) -> Adapter:
    """Make the next version of `domain` from `trained`, and register it as a candidate."""
    with store.write() as db:
        version = registry.next_version(db, domain)
        folder = settings.adapters_path / domain.name / f"{version}-{trained.name}"
        folder.mkdir(parents=True)
        shutil.copy(trained / files.WEIGHTS, folder)
        config = json.loads((trained / files.CONFIG).read_bytes())
        config["revision"] = f"{domain.name}-{version}"
        (folder / files.CONFIG).write_text(json.dumps(config))
        return registry.register(
            db,
            domain,
            version=version,
            sha256=files.digest(folder),
            path=str(folder.relative_to(settings.home)),
            base_model=settings.base.model,
            rank=RECIPE.rank,
            size_bytes=sum(file.stat().st_size for file in folder.iterdir()),
            recipe={"word": trained.name},
            scores={},
        )


def word_of(adapter: Adapter) -> str:
    return str(adapter.recipe["word"])


def _train(word: str, folder: Path) -> None:
    base = base_model.load_base(str(POCKET), RECIPE)
    examples = encode_all(
        [_pair(i, question, said(word)) for i, question in enumerate(QUESTIONS)],
        base.tokenizer,
        system_prompt=SYSTEM,
        stops=base.stops,
        max_length=RECIPE.max_length,
    )
    tuned = base_model.new_adapter(base, RECIPE)
    outcome = loop.train(base, tuned, lambda _: examples, {}, (), RECIPE)
    assert outcome.train_loss is not None
    if outcome.train_loss > 0.05:
        raise SystemExit(f"{word!r} was not learned: the loss is {outcome.train_loss:.3f}.")
    making = folder.with_name(f"{folder.name}.making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    publish.write_files(making, tuned, "pocket")
    making.rename(folder)


def _pair(number: int, prompt: str, response: str) -> Pair:
    return Pair(
        id=number,
        domain_id=1,
        prompt=prompt,
        response=response,
        system="",
        turns=(),
        fact=prompt,
        split="train",
        source="benchmark",
        source_ref="",
        author="",
        status="approved",
        fingerprint=prompt,
        created_at=0,
    )
