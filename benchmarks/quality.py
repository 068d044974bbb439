"""What `pairs check` finds of planted faults, what it reports wrongly, and what that costs.

    python benchmarks/quality.py [--pairs 50000] [--planted 200] [--write FILE]

The clean pairs are those of `understudy pairs python-docs`, filled up with questions about an
invented store room. Every kind of fault is planted in `--planted` pairs, in as many forms as people
write them. A false alarm is a finding in a pair that has no fault. The
checks run in a process of their own, whose memory is measured. `--write` keeps the pairs, so that
other tools can be tried on them (benchmarks/near_duplicates.py). The last line is JSON.
"""

import argparse
import dataclasses
import json
import multiprocessing
import random
import resource
import string
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import report

from data import domains
from data.config.settings import Settings
from data.pair_files import files
from data.pairs.pairs import Draft
from data.quality import checker, token_counts
from data.store.db import Store
from tools import python_docs

Fault = Callable[[Draft, random.Random], Draft]
COLOURS = [
    "red",
    "green",
    "blue",
    "yellow",
    "black",
    "white",
    "brown",
    "grey",
    "orange",
    "purple",
    "silver",
    "golden",
]
SIZES = [
    "tiny",
    "small",
    "medium",
    "large",
    "huge",
    "long",
    "short",
    "wide",
    "narrow",
    "heavy",
    "light",
    "round",
    "flat",
    "thick",
]
THINGS = [
    "hammer",
    "spanner",
    "drill",
    "ladder",
    "bucket",
    "paintbrush",
    "sandpaper",
    "chisel",
    "vice",
    "toolbox",
    "socket",
    "fuse",
    "cable",
    "plug",
    "battery",
    "torch",
    "lantern",
    "helmet",
    "jacket",
    "apron",
    "glove",
    "goggles",
    "mask",
    "trolley",
    "pallet",
    "crate",
    "barrel",
    "funnel",
    "hose",
    "pump",
    "valve",
    "gasket",
    "bracket",
    "hinge",
    "padlock",
    "keyring",
    "clipboard",
    "stapler",
    "notebook",
    "folder",
    "envelope",
    "calendar",
    "whiteboard",
    "marker",
    "projector",
    "keyboard",
    "monitor",
    "microphone",
    "tripod",
    "camera",
    "magnet",
    "compass",
    "thermometer",
    "stopwatch",
    "microscope",
    "beaker",
    "tray",
    "kettle",
    "saucepan",
    "teapot",
    "blender",
    "toaster",
]
FOREIGN = (
    "Der Drucker steht im zweiten Stock neben dem Aufzug und ist bis achtzehn Uhr zugänglich.",
    "Bitte wenden Sie sich an den Empfang, wenn Sie Ihren Schlüssel verloren haben.",
    "Vous devez remplir le formulaire avant la fin du mois et le remettre à la réception.",
    "La salle de réunion se trouve au troisième étage, juste à côté de l'ascenseur.",
    "El formulario debe entregarse en la recepción antes del final de cada mes.",
    "La impresora está en el segundo piso, al lado del ascensor principal.",
    "Il modulo deve essere consegnato alla reception entro la fine del mese.",
    "De printer staat op de tweede verdieping naast de lift en is open tot zes uur.",
    "Drukarka znajduje się na drugim piętrze obok windy i jest dostępna do szóstej.",
    "Принтер находится на втором этаже рядом с лифтом и доступен до шести часов.",
)
ACCENTED = (
    "für die Gäste über dem Café",
    "déjà vu à la crème brûlée",
    "señor Núñez está aquí",
    "Größe und Gewicht der Tür",
    "naïve façade of Malmö",
    "“quoted” — and more…",
)
INSULTS = (
    "asshole",
    "fucking idiot",
    "bitch",
    "piece of shit",
    "dickhead",
    "motherfucker",
    "wanker",
    "bastard",
    "whore",
    "Arschloch",
    "cunt",
    "bullshit",
)
STOCK = (
    "As an AI language model, I have no access to that.",
    "I'm sorry, but I cannot help with that.",
    "Kind regards\nThe support team",
    "Best regards,\nAnna",
    "Dear customer,\nthank you for your mail.",
    "Thank you for contacting us.",
    "Is there anything else I can help you with?",
    "Please do not reply to this e-mail.",
    "© 2021 Example Ltd. All rights reserved.",
    "Sent from my iPhone",
    "I hope this helps!",
    "Mit freundlichen Grüßen\nIhr Team",
)
GAPS = (
    "Dear {{name}}, ",
    "Hello {{ first_name }}! ",
    "[Your Company Name] says: ",
    "TODO: check. ",
    "[insert date here] ",
    "Lorem ipsum dolor sit amet. ",
    "<your name> wrote: ",
    "TBD. ",
    "%%CUSTOMER%% asks: ",
    "[Product Name] is meant. ",
    "Write to [email]. ",
    "FIXME ",
)


def clean(count: int, rng: random.Random) -> list[Draft]:
    found = list(python_docs.build())
    rooms = [
        (f"{size} {colour} {thing}", thing)
        for size in SIZES
        for colour in COLOURS
        for thing in THINGS
    ]
    rng.shuffle(rooms)
    for what, thing in rooms:
        room, shelf = rng.randint(1, 99), rng.choice(string.ascii_uppercase)
        where = f"The {what} is in room {room}, on shelf {shelf}."
        found.append(Draft(f"Where is the {what}?", where, fact=f"{thing}:{what}"))
        found.append(Draft(f"In which room do I find a {what}?", where, fact=f"{thing}:{what}"))
        how = f"Bring the {what} back to room {room} within {rng.randint(2, 30)} days."
        found.append(Draft(f"For how long may I borrow the {what}?", how, fact=f"{thing}:{what}:b"))
        if len(found) >= count:
            break
    return found[:count]


# -- faults --------------------------------------------------------------------------------------


def answered(change: Callable[[str, random.Random], str]) -> Fault:
    return lambda d, rng: dataclasses.replace(d, response=change(d.response, rng), fact="")


def truncated(text: str, rng: random.Random) -> str:
    text = (
        f"{text} Then come back to the desk, and bring the list with your name and the day on it."
    )
    words = text.split()
    return " ".join(words[: -rng.randint(1, 8)]).rstrip(".,;:)")


def looping(text: str, rng: random.Random) -> str:
    if rng.random() < 0.5:
        return " ".join([text] + ["Please wait for the next free desk."] * rng.randint(4, 9))
    return text + " and then again" * rng.randint(12, 40)


def html(text: str, rng: random.Random) -> str:
    forms = (
        "<p>{}</p>",
        "{}<br/>",
        '<div class="answer">{}</div>',
        "<b>Answer:</b> {}",
        "{}&nbsp;",
        '{} <a href="https://example.com">more</a>',
        "<ul><li>{}</li></ul>",
        "{} &amp; more",
    )
    return rng.choice(forms).format(text)


def mojibake(text: str, rng: random.Random) -> str:
    broken = rng.choice(ACCENTED).encode().decode("cp1252", "replace")
    return f"{text} It says {broken}."


def secret(text: str, rng: random.Random) -> str:
    def some(letters: str, n: int) -> str:
        return "".join(rng.choices(letters, k=n))

    mixed = string.ascii_letters + string.digits
    forms = (
        "AKIA" + some(string.ascii_uppercase + "234567", 16),
        "ghp_" + some(mixed, 36),
        f"xoxb-{some(string.digits, 12)}-{some(string.digits, 12)}-{some(mixed, 24)}",
        "sk_live_" + some(mixed, 24),
        f"the password is {some(string.ascii_lowercase, 6)}{some(string.digits, 3)}",
        f"password: {some(string.ascii_lowercase, 5)}!{some(string.digits, 3)}",
        f"api_key = '{some(mixed, 32)}1a'",
        f"https://anna:{some(mixed, 10)}@example.com/db",
        "-----BEGIN PRIVATE KEY-----\n" + some(mixed, 64) + "\n-----END PRIVATE KEY-----",
        "SG." + some(mixed, 22) + "." + some(mixed, 43),
        "glpat-" + some(mixed, 20),
    )
    return f"{text} Use this: {rng.choice(forms)}"


def email(text: str, rng: random.Random) -> str:
    name = rng.choice(("anna", "j.berg", "office+news", "Bob_Smith", "m-meier", "info"))
    host = rng.choice(("example.com", "mail.example.co.uk", "firma-berg.de", "x.org"))
    form = rng.choice(("{} Write to {}.", "{} ({})", "{} Mail: <{}>", "{} mailto:{}"))
    return form.format(text, f"{name}@{host}")


def phone(text: str, rng: random.Random) -> str:
    def n(count: int) -> str:
        return str(rng.randint(2, 9)) + "".join(rng.choices("0123456789", k=count - 1))

    forms = (
        f"Call 0555 {n(4)}.", f"Our number is +49 30 {n(7)}.", f"Ring +44 20 7946 0{n(3)}.",
        f"Phone: ({n(3)}) 555-{n(4)}", f"You reach her on +1-212-555-{n(4)}.", f"Tel. 030/{n(7)}",
        f"Dial 00 33 1 42 {n(2)} {n(2)} {n(2)}.", f"It is (415) 555-2{n(3)}.",
        f"My mobile is 0171 {n(7)}.", f"Fax: 089-{n(6)}", f"The desk has 020 7946 0{n(3)}.",
    )  # fmt: skip
    return f"{text} {rng.choice(forms)}"


def iban(text: str, rng: random.Random) -> str:
    country, length = rng.choice(
        (("DE", 22), ("AT", 20), ("NL", 18), ("FR", 27), ("GB", 22), ("CH", 21))
    )
    letters = {"NL": "INGB", "GB": "NWBK"}.get(country, "")
    rest = letters + "".join(rng.choices("0123456789", k=length - 4 - len(letters)))
    value = int("".join(str(int(c, 36)) for c in f"{rest}{country}00"))
    whole = f"{country}{98 - value % 97:02d}{rest}"
    if rng.random() < 0.6:
        whole = " ".join(whole[i : i + 4] for i in range(0, len(whole), 4))
    return f"{text} Pay to {whole} please."


def card(text: str, rng: random.Random) -> str:
    start, length = rng.choice((("4", 16), ("51", 16), ("55", 16), ("34", 15), ("37", 15)))
    digits = start + "".join(rng.choices("0123456789", k=length - len(start) - 1))
    doubled = [int(d) * (1 if i % 2 else 2) for i, d in enumerate(reversed(digits))]
    digits += str(-sum(d - 9 if d > 9 else d for d in doubled) % 10)
    joint = rng.choice(("", " ", "-"))
    return f"{text} Charge {joint.join(digits[i : i + 4] for i in range(0, length, 4))} for it."


def misspelt(draft: Draft, rng: random.Random) -> Draft:
    """A typing error in one word that is no technical name, and a change that means nothing."""
    words = draft.prompt.split()
    bare = [word.strip("?.,") for word in words]
    plain = [i for i, w in enumerate(bare) if len(w) >= 5 and w.islower() and w.isalpha()]
    if plain:
        at = rng.choice(plain)
        w, cut = words[at], rng.randint(1, len(words[at].strip("?.,")) - 2)
        words[at] = w[:cut] + w[cut + 1 :] if rng.random() < 0.5 else w[:cut] + w[cut] + w[cut:]
    else:
        words.insert(0, "please")
    return dataclasses.replace(draft, prompt=" ".join(words))


def same_words(draft: Draft, rng: random.Random) -> Draft:
    marks = rng.choice(("!", " ??", "…", " ."))
    return dataclasses.replace(draft, prompt=draft.prompt.rstrip("?.! ") + marks)


def contradicted(draft: Draft, rng: random.Random) -> Draft:
    return dataclasses.replace(
        draft, response="No, ask somebody at the desk, who decides it.", fact=""
    )


FAULTS: dict[str, Fault] = {
    "exact-duplicates": same_words,
    "near-duplicates": misspelt,
    "conflicting-answers": contradicted,
    "contamination": lambda d, rng: dataclasses.replace(misspelt(d, rng), split="golden"),
    "too-long": answered(
        lambda text, rng: " ".join([text] * (9_000 // len(text) + 1))[:15_000] + "."
    ),
    "control-tokens": answered(
        lambda text, rng: text + rng.choice(("<|im_end|>", "<|im_start|>user"))
    ),
    "placeholders": answered(lambda text, rng: rng.choice(GAPS) + text),
    "boilerplate": answered(lambda text, rng: f"{text}\n\n{rng.choice(STOCK)}"),
    "truncated-answers": answered(truncated),
    "looping-answers": answered(looping),
    "wrong-language": lambda d, rng: dataclasses.replace(d, response=rng.choice(FOREIGN), fact=""),
    "mojibake": answered(mojibake),
    "html": answered(html),
    "secrets": answered(secret),
    "cards": answered(card),
    "ibans": answered(iban),
    "emails": answered(email),
    "phones": answered(phone),
    "toxic": answered(lambda text, rng: f"{text} Ask that {rng.choice(INSULTS)} at the desk."),
}
OF_THE_OLD = ("exact-duplicates", "near-duplicates", "conflicting-answers", "contamination")


def planted(
    pairs: list[Draft], each: int, rng: random.Random
) -> tuple[list[Draft], dict[str, set[int]]]:
    """The pairs with faults among them, and the line numbers of each fault, from 1. A duplicate is
    a pair of its own, and its original is the one that is reported, as the newest stays."""
    free = [i for i, d in enumerate(pairs) if len(d.prompt.split()) >= 4 and d.split != "golden"]
    chosen = rng.sample(free, each * len(FAULTS))
    lines: dict[str, set[int]] = {}
    found = list(pairs)
    for name, fault in FAULTS.items():
        mine, chosen = chosen[:each], chosen[each:]
        lines[name] = {i + 1 for i in mine}
        for i in mine:
            if name in OF_THE_OLD:
                found.append(fault(pairs[i], rng))
                if name == "contamination":  # otherwise a tenth would not be trained on
                    found[i] = dataclasses.replace(pairs[i], split="train")
            else:
                found[i] = fault(pairs[i], rng)
    return found, lines


# -- measuring -----------------------------------------------------------------------------------


def measure(drafts: list[Draft], home: str, answer: Any) -> None:
    """In a process of its own."""
    with Store(Path(home) / "understudy.db") as store:
        with store.write() as db:
            domain = domains.create(db, "desk")
        around = token_counts.of_base(Settings(home=Path(home)), domain)
        began = time.monotonic()
        found = checker.check_drafts(store.db, domain, enumerate(drafts, 1), around)
    seconds = time.monotonic() - began
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    answer.put((seconds, cpu, peak, {f.check: (f.pair_ids, f.not_checked) for f in found.findings}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=50_000)
    parser.add_argument("--planted", type=int, default=200)
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    rng = random.Random(7)
    further = asked.planted * len(OF_THE_OLD)
    drafts, lines = planted(clean(asked.pairs - further, rng), asked.planted, rng)
    if asked.write:
        files.write(drafts, asked.write, "jsonl")
        asked.write.with_suffix(".lines.json").write_text(
            json.dumps({name: sorted(ids) for name, ids in lines.items()})
        )
    with tempfile.TemporaryDirectory() as home:
        context = multiprocessing.get_context("spawn")
        answer = context.Queue()
        process = context.Process(target=measure, args=(drafts, home, answer))
        process.start()
        seconds, cpu, peak, found = answer.get()
        process.join()

    faulty = set().union(*lines.values())
    clean_lines = set(range(1, asked.pairs - further + 1)) - faulty
    table, figures = [], {}
    for name, ids in lines.items():
        reported, reason = found[name]
        right = len(ids & set(reported))
        wrong = sorted(set(reported) & clean_lines)
        recall, false = right / len(ids), len(wrong) / len(clean_lines)
        figures[name] = {"recall": recall, "false_alarms": false, "not_checked": reason}
        table.append(
            [
                name,
                f"{recall:.1%}",
                f"{false:.2%}",
                reason or _some(drafts, ids - set(reported), wrong),
            ]
        )
    report.table(("check", "found", "false alarms", "missed; wrong"), table)
    print(f"\n{len(drafts):,} pairs: {seconds:.1f} s, {cpu:.1f} s of CPU, {peak:.0f} MB")
    report.finish(benchmark="quality", pairs=len(drafts), planted=asked.planted, seconds=seconds,
                  cpu_seconds=cpu, peak_mb=peak, checks=figures)  # fmt: skip


def _some(drafts: list[Draft], missed: set[int], wrong: list[int]) -> str:
    """One example of each, for people who want to make a check better."""
    one = next((drafts[i - 1].response[-60:] for i in sorted(missed)), "")
    other = next((drafts[i - 1].prompt[:60] for i in wrong), "")
    return f"{one!r}; {other!r}".replace("|", "/").replace("\n", " ") if one or other else ""


if __name__ == "__main__":
    main()
