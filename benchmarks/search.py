"""What a search finds, and what it costs.

    python benchmarks/search.py                      # about five minutes
    python benchmarks/search.py --sizes 2000         # the costs of one size
    python benchmarks/search.py --skip-quality
    python benchmarks/search.py --skip-cost --encoder FOLDER --domain DOMAIN_FOLDER

Quality: the right fact first, among three and among five, for the golden questions of the demo
domain, of its advanced file, and for the far-worded questions and the conversations of the bicycle
workshop, by the shipped encoder and by words; what becomes of the questions with the shipped
confidence; and what would become of them with thresholds of similarity.

Cost: domains with generated pairs, 3 to 8 of a fact. Their vectors are random, because the cost
does not depend on them, and near each other within a fact, so all its pairs are read. Questions
are the demo's golden ones and are really encoded. Times are of one question after the other, with
the store on disk. CPU time is that of the whole process, so it is comparable on a busy machine. The
last line is JSON.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import report
from sqlite_utils import Database

from data import domains
from data.config.settings import SearchSettings
from data.conversations.conversations import Message
from data.domains import Domain
from data.pair_files import importer
from data.pairs import golden, pairs
from data.pairs.pairs import Draft
from data.search import domain_calibration, vectors
from data.search.encoder import SHIPPED
from data.search.onnx_encoder import OnnxEncoder
from data.search.search import PairSearch
from data.store.db import Store

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "data" / "examples" / "helpdesk"
WORKSHOP = ROOT / "benchmarks" / "domains" / "bicycle_workshop"
QUESTIONS = 400  # timed for each size and method
ENCODED = 100  # pairs whose encoding is timed
PHRASINGS = (3, 8)  # of a fact, at least and at most
SPREAD = 0.5  # of the vectors of a fact; that of all facts is 1
THRESHOLDS = (0.25, 0.32, 0.4, 0.44, 0.48, 0.55, 0.65)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def memory_mb() -> float:
    """Resident memory of this process."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    raise RuntimeError("this system does not say how much memory a process takes")


@dataclass(frozen=True)
class Asked:
    text: str
    fact: str = ""  # that answers; '': none does
    earlier: tuple[Message, ...] = ()


@dataclass(frozen=True)
class Result:
    answerable: bool
    rank: int  # of the right fact, from 0
    similarity: float
    answered: bool | None  # by the shipped confidence; None: not known


# -- quality ---------------------------------------------------------------------------------------


def quality(folder: Path, encoder: str, tested: Path, only: str) -> dict[str, Any]:
    workshop = lines(tested / "test.jsonl")
    title = tested.name.replace("bicycle_workshop", "workshop").replace("_", " ")
    sets: dict[str, tuple[Path, list[Asked] | None]] = {
        "helpdesk golden": (DEMO / "pairs.jsonl", None),
        "helpdesk advanced": (DEMO / "advanced.jsonl", None),
        f"{title}, far wording": (
            tested / "pairs.jsonl",
            [Asked(q["question"], q["fact"]) for q in workshop if q["kind"] == "far"],
        ),
        f"{title}, conversations": (
            tested / "pairs.jsonl",
            [
                Asked(q["question"], q["fact"] or "", earlier(q))
                for q in workshop
                if q["kind"] == "conversation"
            ],
        ),
    }
    if (tested / "near.jsonl").is_file():
        sets[f"{title}, near wording"] = (
            tested / "pairs.jsonl",
            [Asked(q["question"], q["fact"]) for q in lines(tested / "near.jsonl")],
        )
    unanswerable = {
        kind: [Asked(q["question"]) for q in workshop if q["kind"] == kind]
        for kind in ("off_topic", "near_miss")
    }
    sets = {name: each for name, each in sets.items() if only in name}
    found: dict[str, Any] = {}
    quoted = []
    table = []
    for method in (encoder, "words"):
        for name, (path, given) in sets.items():
            with Store(folder / f"{method} {name}.db") as store:
                with store.write() as db:
                    domain = domains.create(db, "domain")
                importer.import_file(store, domain, path)
                search = PairSearch(store, SearchSettings(encoder=method))
                search.complete(domain)
                asked = given or [
                    Asked(q.prompt, q.fact) for q in golden.list_golden(store.db, domain)
                ]
                results = ask(store.db, search, domain, asked)
                ranks = [result.rank for result in results]
                label = short(method)
                quoted.append((label, name, *outcomes(results)))
                for kind, questions in unanswerable.items():
                    if "helpdesk" not in name and "far" not in name:
                        continue  # near misses are those of the other domain's pairs
                    if kind == "off_topic" or "far" in name:
                        about = f"{name.split(',')[0]}: {kind.replace('_', ' ')}"
                        quoted.append(
                            (label, about, *outcomes(ask(store.db, search, domain, questions)))
                        )
            method_and_name = f"{method} {name}"
            shares = [sum(rank < n for rank in ranks) / len(asked) for n in (1, 3, 5)]
            table.append((label, name, len(asked), *(f"{share:.3f}" for share in shares)))
            found[method_and_name] = {"found": shares, "questions": len(asked)}
    report.table(("encoder", "questions", "number", "first", "in three", "in five"), table)
    print()
    print("Right / declined / wrong, in per cent, if the first hit is given from the shipped")
    print("confidence on, or from a similarity on:")
    report.table(("encoder", "questions", "confidence", *map(str, THRESHOLDS)), quoted)
    found["given"] = [list(line) for line in quoted]
    return found


def short(encoder: str) -> str:
    """The encoder as the table shows it."""
    return Path(encoder).name


def earlier(question: dict[str, Any]) -> tuple[Message, ...]:
    """The conversation before a question."""
    return tuple(Message(turn["role"], turn["content"]) for turn in question["turns"])


def ask(db: Database, search: PairSearch, domain: Domain, asked: Sequence[Asked]) -> list[Result]:
    """What the search finds for each question."""
    results = []
    for question in asked:
        found = search.find(domain, question.text, question.earlier, limit=5)
        facts = [reference.fact for reference in found.references]
        rank = facts.index(question.fact) if question.fact in facts else 99
        thresholds = domain_calibration.thresholds(db, domain, found.encoder)
        sure = None
        if thresholds is not None and found.confidence is not None:
            sure = found.confidence >= thresholds.answer_from
        results.append(Result(bool(question.fact), rank, found.similarity, sure))
    return results


def outcomes(results: Sequence[Result]) -> list[str]:
    """Per cent right, declined and wrong, by confidence and at each threshold of similarity."""
    by_confidence = [result.answered for result in results]
    known = [answered for answered in by_confidence if answered is not None]
    found = [shares(results, known) if len(known) == len(results) else "-"]
    for least in THRESHOLDS:
        found.append(shares(results, [result.similarity >= least for result in results]))
    return found


def shares(results: Sequence[Result], answered: Sequence[bool]) -> str:
    """A question that no pair answers is right when it is declined."""
    right = declined = 0
    for result, given in zip(results, answered, strict=True):
        right += given and result.rank == 0
        declined += not given
    counts = (right, declined, len(results) - right - declined)
    return " / ".join(f"{100 * count / len(results):.0f}" for count in counts)


# -- cost ------------------------------------------------------------------------------------------


def cost(folder: Path, size: int, encoder: OnnxEncoder) -> list[tuple[object, ...]]:
    """One line for each method. Every size runs in a fresh store."""
    rng = random.Random(0)
    asked = [p["prompt"] for p in lines(DEMO / "pairs.jsonl") if p.get("split") == "golden"]
    questions = [rng.choice(asked) for _ in range(QUESTIONS)]
    with Store(folder / f"{size}.db") as store:
        with store.write() as db:
            domain = domains.create(db, "domain")
        start = time.process_time()
        fill(store, domain, size, rng)
        stored_s = time.process_time() - start
        fill_vectors(store, domain, encoder)
        table: list[tuple[object, ...]] = []
        for method in ("minilm", "words"):
            added = memory_of(store.path, method)
            search = PairSearch(store, SearchSettings(encoder=method))
            start = time.perf_counter()
            search.find(domain, asked[0])
            first_s = time.perf_counter() - start
            wall, cpu = times(search, domain, questions)
            together_cpu = at_once(search, domain, questions)
            if (search.find(domain, asked[0]).method == "words") != (method == "words"):
                raise SystemExit(f"{size} pairs were not searched by {method}")
            approve(store, domain)
            start = time.perf_counter()
            search.find(domain, "Which colour has the new bridge?")
            fresh_s = time.perf_counter() - start
            search.close()
            table.append(
                (
                    f"{size:,}",
                    method,
                    *(report.percentile(wall, share) * 1e3 for share in (0.5, 0.99)),
                    *(report.percentile(cpu, share) * 1e3 for share in (0.5, 0.99)),
                    together_cpu * 1e3,
                    first_s,
                    fresh_s * 1e3,
                    added,
                    stored_s / size * 1e6,
                )
            )
    return table


MEMORY = """
import sys
from pathlib import Path
from benchmarks.search import memory_mb
from data import domains
from data.config.settings import SearchSettings
from data.search.search import PairSearch
from data.store.db import Store
with Store(Path(sys.argv[1])) as store:
    domain = domains.get(store.db, "domain")
    before = memory_mb()
    search = PairSearch(store, SearchSettings(encoder=sys.argv[2]))
    for question in ("Who is it?", "How do I start a retrain of the domain?") * 20:
        search.find(domain, question)
    print(memory_mb() - before)
"""


def memory_of(path: Path, method: str) -> float:
    """MB that search adds to a process: onnxruntime, the encoder and the index."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(path), method],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'benchmarks'}"},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def times(
    search: PairSearch, domain: Domain, questions: Sequence[str]
) -> tuple[list[float], list[float]]:
    """Seconds of each question, by the clock and of CPU time."""
    wall, cpu = [], []
    for question in questions:
        start, start_cpu = time.perf_counter(), time.process_time()
        search.find(domain, question)
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
    return wall, cpu


def at_once(search: PairSearch, domain: Domain, questions: Sequence[str]) -> float:
    """CPU seconds of a question when 16 come together."""
    start = time.process_time()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda question: search.find(domain, question), questions))
    return (time.process_time() - start) / len(questions)


def fill(store: Store, domain: Domain, size: int, rng: random.Random) -> None:
    """Facts of 3 to 8 phrasings: questions of 6 to 13 words that share most, and an answer of 10 to
    40 words, all drawn from the demo's. The answer repeats the shared words: the check of the
    language needs something to find."""
    words = sorted({w for p in lines(DEMO / "pairs.jsonl") for w in p["response"].split()})

    def text(least: int, most: int) -> str:
        return " ".join(rng.choices(words, k=rng.randint(least, most)))

    drafts: list[Draft] = []
    for fact in range(size):
        about = text(5, 10)
        response = f"{about} {text(6, 32)}."
        prompts = [f"{about} {text(1, 3)}?" for _ in range(rng.randint(*PHRASINGS))]
        drafts += [Draft(prompt, response, fact=f"fact-{fact}") for prompt in prompts]
        if len(drafts) >= size:
            break
    for start in range(0, size, 1_000):
        with store.write() as db:
            some = drafts[start : min(start + 1_000, size)]
            pairs.add(db, domain, some, source="benchmark", status="approved")


def fill_vectors(store: Store, domain: Domain, encoder: OnnxEncoder) -> None:
    """Random vectors, those of one fact near each other."""
    rng = np.random.default_rng(0)
    facts: dict[int, str] = dict(store.db.execute("SELECT id, fact FROM pairs").fetchall())
    number = {fact: n for n, fact in enumerate(dict.fromkeys(facts.values()))}
    shape = (len(number), vectors.VECTORS, encoder.dimensions)
    centres = rng.standard_normal(shape).astype(np.float16)
    after = 0
    while some := vectors.without_vectors(store.db, domain, encoder, after, 1_000):
        after = some[-1].pair_id
        own = centres[[number[facts[pair.pair_id]] for pair in some]]
        drawn = own + SPREAD * rng.standard_normal(own.shape)
        drawn /= np.linalg.norm(drawn, axis=2, keepdims=True)
        with store.write() as db:
            vectors.save(db, encoder.digest, some, drawn.astype(np.float16))


def approve(store: Store, domain: Domain) -> None:
    """One more pair, whose vectors the next question has to make."""
    draft = Draft("Which colour has the new bridge?", f"Red, since {time.time_ns()}.")
    with store.write() as db:
        pairs.add(db, domain, [draft], source="benchmark", status="approved")


def encoding(encoder: OnnxEncoder) -> float:
    """CPU seconds to encode a pair of the demo domain."""
    some = [
        vectors.PairWords(n, p["prompt"], p["response"], "[]")
        for n, p in enumerate(lines(DEMO / "pairs.jsonl")[:ENCODED])
    ]
    start = time.process_time()
    for n in range(0, len(some), 16):
        vectors.encode(encoder, some[n : n + 16])
    return (time.process_time() - start) / len(some)


def costs(folder: Path, sizes: Sequence[int]) -> dict[str, Any]:
    """What search costs, as a table and as figures."""
    encoder = OnnxEncoder(SHIPPED)
    encoder.encode(["Who?"])
    encoding_ms = encoding(encoder) * 1e3
    table = [line for size in sizes for line in cost(folder, size, encoder)]
    headers = (
        "pairs",
        "encoder",
        "p50, ms",
        "p99, ms",
        "CPU p50, ms",
        "CPU p99, ms",
        "16 at once, CPU ms",
        "first question, s",
        "after an approval, ms",
        "memory, MB",
        "storing a pair, CPU µs",
    )
    report.table(headers, table)
    print(f"\nencoding a pair: {encoding_ms:.1f} ms of CPU\n")
    return {
        "encode_pair_cpu_ms": encoding_ms,
        "cost": [dict(zip(headers, line, strict=True)) for line in table],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=[2_000, 50_000])
    parser.add_argument("--skip-quality", action="store_true")
    parser.add_argument("--skip-cost", action="store_true")
    parser.add_argument("--encoder", default="minilm", help="[search] encoder, for the quality")
    parser.add_argument("--domain", type=Path, default=WORKSHOP, help="in place of the workshop")
    parser.add_argument("--only", default="", help="only sets of questions whose name has this")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not options.skip_cost:
            figures |= costs(folder, options.sizes)
        if not options.skip_quality:
            figures["quality"] = quality(folder, options.encoder, options.domain, options.only)
    report.finish(benchmark="search", **figures)


if __name__ == "__main__":
    main()
