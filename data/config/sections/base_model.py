"""`[base]`: the base model of the deployment."""

import re
from pathlib import Path
from typing import Self

from pydantic import Field, PrivateAttr

from data.config.sections.fields import Section

POCKET = Path(__file__).parents[2] / "pocket"
BASES = "bases"  # the folder of added base models, in the home folder
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")  # of an added base model


class BaseModelSettings(Section):
    """The model that adapters are trained on and served with. One per deployment."""

    model: str = Field(
        default="pocket",
        min_length=1,
        description='The base model: `"pocket"` (shipped), the name of one that `understudy base '
        'add` has added, such as `"smollm2-135m"`, a local folder, or a name on a model hub, such '
        'as `"Qwen/Qwen3-4B-Instruct-2507"`.',
    )
    accept_licence: str = Field(
        default="",
        description="The name of the model's licence, if that licence is restrictive and you have "
        "checked that it allows your use.",
    )

    _added: Path | None = PrivateAttr(default=None)  # the folder of added base models

    @property
    def path(self) -> str:
        """The path or name for transformers and vLLM."""
        if self.model == "pocket":
            return str(POCKET)
        if self._added and NAME.fullmatch(self.model) and (self._added / self.model).is_dir():
            return str(self._added / self.model)
        return self.model

    def named(self, model: str) -> Self:
        """These settings with another base model: a name, a local folder or a name on a hub."""
        local = Path(model)
        is_path = "/" in model or model.startswith(".")
        found = str(local.resolve()) if is_path and local.is_dir() else model
        return self.model_copy(update={"model": found})

    def added_in(self, folder: Path) -> Self:
        """These settings, where names stand for the base models in `folder`."""
        copy = self.model_copy()
        copy._added = folder
        return copy
