"""How long an import of 50,000 pairs takes, beside pandas' reading plus sqlite-utils' inserting.

    python benchmarks/import_pairs.py --pandas VENV/bin/python [--pairs 50000] [--rounds 3]

`--pandas` is the Python of a virtual environment with pandas and sqlite-utils, which the project
does not need. Both read the same CSV file (the clean pairs of benchmarks/quality.py) into a new
file. They take turns, each in a process of its own; the table shows the medians. An import also
recognises columns, compares questions with golden ones and with older answers, and builds the two
indexes that answers are searched in. The last line is JSON.
"""

import argparse
import csv
import json
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import report
from quality import clean

OURS = """
import json, sys, time
from pathlib import Path
from data import domains
from data.config.settings import Settings
from data.pair_files import importer
from data.quality import token_counts
from data.quality.unusable import UnusableDrafts
from data.store.db import Store
folder = Path(sys.argv[1])
with Store(folder / "understudy.db") as store:
    with store.write() as db:
        domain = domains.create(db, "desk")
    began, cpu = time.monotonic(), time.process_time()
    around = token_counts.of_base(Settings(home=folder), domain)
    unusable = UnusableDrafts(domain, around, "quarantine")
    done = importer.import_file(store, domain, Path(sys.argv[2]), unusable=unusable)
    took = time.monotonic() - began, time.process_time() - cpu
print(json.dumps([done.added, *took]))
"""
THEIRS = """
import json, sys, time
import pandas, sqlite_utils
began, cpu = time.monotonic(), time.process_time()
found = pandas.read_csv(sys.argv[2], keep_default_na=False)
db = sqlite_utils.Database(sys.argv[1] + "/pairs.db")
db["pairs"].insert_all(found.to_dict("records"))
print(json.dumps([db["pairs"].count, time.monotonic() - began, time.process_time() - cpu]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pandas", required=True, help="a Python with pandas and sqlite-utils")
    parser.add_argument("--pairs", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    took: dict[str, list[list[float]]] = {"understudy": [], "pandas and sqlite-utils": []}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pairs.csv"
        with file.open("w", newline="", encoding="utf-8") as out:
            rows = csv.writer(out)
            rows.writerow(("prompt", "response", "fact"))
            for draft in clean(asked.pairs, random.Random(7)):
                rows.writerow((draft.prompt, draft.response, draft.fact))
        for _ in range(asked.rounds):
            for name, python, program in (
                ("understudy", sys.executable, OURS),
                ("pandas and sqlite-utils", asked.pandas, THEIRS),
            ):
                with tempfile.TemporaryDirectory() as home:
                    said = subprocess.run(
                        [python, "-c", program, home, str(file)], capture_output=True, check=True
                    )
                took[name].append(json.loads(said.stdout))
    lines, figures = [], {}
    for name, rounds in took.items():
        stored = {int(one[0]) for one in rounds}
        wall, cpu = (statistics.median(one[i] for one in rounds) for i in (1, 2))
        figures[name.replace(" ", "_")] = {"stored": sorted(stored), "seconds": wall, "cpu": cpu}
        lines.append([name, f"{stored.pop():,}", f"{wall:.1f}", f"{cpu:.1f}"])
    ratios = [
        ours[2] / theirs[2]
        for ours, theirs in zip(took["understudy"], took["pandas and sqlite-utils"], strict=True)
    ]
    report.table(("what", "stored", "s", "s of CPU"), lines)
    ratio = statistics.median(ratios)
    print(f"\nCPU time of an import in that of pandas and sqlite-utils: {ratio:.2f}")
    report.finish(benchmark="import_pairs", pairs=asked.pairs, ratio=ratio, **figures)


if __name__ == "__main__":
    main()
