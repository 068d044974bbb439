"""`understudy base reading`: trains the reading adapter of a base on the shipped reading examples.

It learns to answer from references and to say that it does not know, on organisations that do not
exist. Runs with references start from it. An interrupted training resumes where it stopped.
"""

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data.bases import digest
from data.bases.digest import Digest
from data.config import base_precision
from data.config.settings import Settings
from data.search import layout
from data.store.clock import now_us
from data.store.errors import Conflict, Invalid
from data.wheels import Progress
from tuning.adapters import publish
from tuning.data import reading_examples, reading_set
from tuning.data.examples import Example, TooLong, encode
from tuning.model import base_model, chat_template, reading_adapter
from tuning.recipe.recipe import Recipe
from tuning.training import loop
from tuning.training.checkpoint import Checkpoints, identity

log = logging.getLogger(__name__)

REFERENCES = 4
TINY_RATE, RATE = 5e-3, 1e-3  # of bases below and above 50 million parameters
# Rank 16: with 30 layers of 576, as in SmolLM2-135M, 20 MB. Three passes: the loss of SmolLM2-135M
# falls within the first 10 steps. Neither the rank nor the number of passes has been measured.
DEFAULTS: dict[str, Any] = {
    "rank": 16, "alpha": 32.0, "target_modules": "all-linear", "batch_size": 16, "epochs": 3.0,
    "dropout": 0.0, "patience": 0, "evaluations": 1, "references": REFERENCES,
}  # fmt: skip


@dataclass(frozen=True)
class ReadingAdapter:
    """What a base's reading adapter was trained on, and how."""

    base: str
    base_digest: Digest
    layout: int
    organisations: int
    examples: int  # in a pass
    steps: int
    train_loss: float | None
    seconds: float
    made_at: int  # microseconds since 1970


def recipe_for(settings: Settings, overrides: Mapping[str, Any]) -> Recipe:
    """The recipe of a reading adapter. Raises Invalid for settings that cannot be used."""
    parameters = base_model.count_parameters(settings.base.path)
    rate = TINY_RATE if parameters < 50_000_000 else RATE
    positions = base_model.positions(settings.base.path)
    length = min(settings.serving.max_model_len, positions or settings.serving.max_model_len)
    recipe = Recipe.for_pairs(
        1000,
        base_parameters=parameters,
        max_length=length,
        served=base_precision.quantization(settings),
        overrides=DEFAULTS | {"learning_rate": rate} | dict(overrides),
    )
    recipe.check_servable(settings.serving.rank_limit)
    if not recipe.references:
        raise Invalid("A reading adapter needs references: set references to 1 or more.")
    return recipe


def train(
    settings: Settings,
    overrides: Mapping[str, Any],
    progress: Progress,
    *,
    again: bool = False,
) -> tuple[Path, ReadingAdapter]:
    """Train the reading adapter of the base in use and keep it with the base. Returns its folder.
    Raises Conflict when there is one, unless it is trained `again`, and Invalid or loop.Diverged
    when it cannot be trained."""
    final = reading_adapter.folder_of(settings)
    if reading_adapter.find(settings) is not None and not again:
        raise Conflict(f"There is a reading adapter already, in {final}. To replace it: --again.")
    recipe = recipe_for(settings, overrides)
    organisations, off_topic = reading_examples.organisations(), reading_examples.off_topic()
    base = base_model.load_base(settings.base.path, recipe)
    model = base_model.new_adapter(base, recipe)

    def epoch(number: int) -> Sequence[Example]:
        pairs = reading_set.reading_pairs(
            organisations,
            off_topic,
            references=recipe.references,
            missing_share=recipe.missing_share,
            refusal_share=recipe.refusal_share,
            seed=recipe.seed,
            number=number,
        )
        made = []
        for pair in pairs:
            try:
                made.append(
                    encode(
                        pair,
                        base.tokenizer,
                        system_prompt="",
                        stops=base.stops,
                        max_length=recipe.max_length,
                    )
                )
            except TooLong:  # the base has less room than the longest examples need
                continue
        return made

    first = epoch(0)
    scratch = final.with_name(f".{final.name}.making")
    saved = Checkpoints(scratch, identity(
        base=settings.base.model, recipe=recipe.model_dump(mode="json", exclude={"why"}),
        examples=[example.ids for example in first], shares_prefix=base.shares_prefix,
        skips_padding=base.skips_padding,
    ))  # fmt: skip
    outcome = loop.train(
        base, model, epoch, {}, (), recipe,
        lambda now: progress("Training", now.step / now.total_steps), saved,
    )  # fmt: skip
    about = ReadingAdapter(
        settings.base.model, digest.of_base(settings), layout.VERSION, len(organisations),
        len(first), outcome.steps,
        outcome.train_loss, round(outcome.seconds, 1), now_us(),
    )  # fmt: skip
    publish.write_files(scratch, model, settings.base.model)
    publish.write_recipe(scratch, recipe)
    chat_template.freeze(scratch, chat_template.template_of(base.tokenizer))
    (scratch / reading_adapter.RECORD).write_text(
        json.dumps(asdict(about), indent=2) + "\n", encoding="utf-8"
    )
    saved.file.unlink(missing_ok=True)
    if final.exists():
        shutil.rmtree(final)
    scratch.rename(final)
    return final, about
