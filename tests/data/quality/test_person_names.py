"""Names in what people write to each other."""

import pytest

from data.quality.person_names import finder


def found(text: str, *known: str) -> list[str]:
    return [text[span.start : span.end] for span in finder(known)(text)]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Hi Ada,\nit works.", ["Ada"]),
        ("Dear Ada Lovelace, thank you", ["Ada Lovelace"]),
        ("Hallo Jürgen!", ["Jürgen"]),
        ("It works. Thanks Ben!", ["Ben"]),
        ("All done.\n\nKind regards,\nBen Okri", ["Ben Okri"]),
        ("Fertig.\nViele Grüße\nÖzlem", ["Özlem"]),
        ("Hi there, Hello all, Dear Sir or Madam,", []),
        ("Hi Support Team,", []),
        ("Best practice: restart.", []),
        ("Hi, is Ada open?", []),
    ],
)
def test_names_in_greetings_and_closings(text: str, names: list[str]) -> None:
    assert found(text) == names


def test_known_names_as_whole_words() -> None:
    text = "Ada Lovelace asked; Ada is in Canada, not ada."
    assert found(text, "Ada Lovelace") == ["Ada Lovelace", "Ada"]
