"""`[search]`: how the approved pairs that bear on a question are found."""

from pydantic import Field, SecretStr, field_validator

from data.config.sections.fields import Section, is_address

ENCODERS = "encoders"  # the folder of added encoders, in the home folder


class SearchSettings(Section):
    """How the approved pairs that bear on a question are found."""

    encoder: str = Field(
        default="minilm",
        min_length=1,
        description='How questions are compared with pairs: `"minilm"` (shipped, English) compares '
        'meanings; `"all-mpnet-base-v2"` does, too, and finds more, once `understudy encoder add` '
        'has added it; `"words"` compares words, in any language. A folder that `python -m '
        "tools.export_encoder` wrote, or the address of a service with `/v1/embeddings`, such as "
        '`"http://10.0.0.5:8000/v1"`, compares meanings with a model of your choice.',
    )
    model: str = Field(
        default="",
        description='The model to ask for, if `encoder` is an address. `""`: the first that it '
        "lists.",
    )
    api_key: SecretStr = Field(
        default=SecretStr(""), description="The key to send, if `encoder` is an address."
    )

    @field_validator("encoder")
    @classmethod
    def _address(cls, encoder: str) -> str:
        if "://" in encoder and not is_address(encoder):
            raise ValueError(f"{encoder!r} is not an address such as http://10.0.0.5:8000/v1")
        return encoder
