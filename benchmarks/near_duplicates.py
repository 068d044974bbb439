"""Near duplicates by the words of `pairs check`, and by MinHash of datasketch.

    python benchmarks/quality.py --write planted.jsonl
    python benchmarks/near_duplicates.py planted.jsonl words
    python benchmarks/near_duplicates.py planted.jsonl minhash

`minhash` needs `pip install datasketch`, in a virtual environment of its own: nothing of Understudy
is imported then. The pairs with a planted exact or near duplicate are to be found; a false alarm is
a pair in which nothing was planted. The last line is JSON.
"""

import argparse
import json
import resource
import time
from collections.abc import Iterable
from pathlib import Path

SHINGLE = 5  # characters
PERMUTATIONS = 128
THRESHOLDS = (0.8, 0.9)
COPIED = ("exact-duplicates", "near-duplicates", "conflicting-answers", "contamination")


def by_words(path: Path) -> set[int]:
    from data.pairs import files
    from data.pairs.pairs import Draft, Pair, fact_of, fingerprint
    from data.quality import duplicates
    from data.quality.findings import Rows

    drafts = [draft for draft in files.read(path) if isinstance(draft, Draft)]
    rows = Rows([
        Pair(i, 1, d.prompt, d.response, d.system, d.turns, d.fact or fact_of(d.response), d.split,
             "import", "", "", "approved", fingerprint(d), 0)
        for i, d in enumerate(drafts, 1)
    ])  # fmt: skip
    return {one.pair_id for check in (duplicates.exact, duplicates.near) for one in check(rows)}


def by_minhash(texts: Iterable[str], threshold: float) -> set[int]:
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS)
    found: set[int] = set()
    shingles = (
        {text[i : i + SHINGLE].casefold().encode() for i in range(max(1, len(text) - SHINGLE + 1))}
        for text in texts
    )
    for i, sketch in enumerate(MinHash.generator(shingles, num_perm=PERMUTATIONS), 1):
        found.update(index.query(sketch))
        index.insert(i, sketch)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("way", choices=("words", "minhash"))
    asked = parser.parse_args()
    with asked.file.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    lines = json.loads(asked.file.with_suffix(".lines.json").read_text(encoding="utf-8"))
    wanted = {*lines["exact-duplicates"], *lines["near-duplicates"]}
    faulty = {line for found in lines.values() for line in found}
    copies = sum(len(lines[name]) for name in COPIED)  # they stand at the end of the file
    clean = set(range(1, len(rows) - copies + 1)) - faulty
    figures = {}
    for threshold in THRESHOLDS if asked.way == "minhash" else (0.0,):
        began = time.process_time()
        if asked.way == "minhash":
            texts = [f"{row['prompt']}\n{row['response']}" for row in rows]
            found = by_minhash(texts, threshold)
        else:
            found = by_words(asked.file)
        name = f"{asked.way} {threshold:g}".removesuffix(" 0")
        figures[name] = {
            "recall": len(wanted & found) / len(wanted),
            "false_alarms": len(found & clean) / len(clean),
            "cpu_seconds": time.process_time() - began,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        print(name, figures[name])
    print(json.dumps({"benchmark": "near_duplicates", **figures}))


if __name__ == "__main__":
    main()
