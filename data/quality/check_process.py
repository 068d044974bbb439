"""Runs the checks in a process of its own, at low priority.

The checks of a large domain take a quarter of a minute of a core. In the process of a front end
they would slow down every answer.
"""

import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

import orjson

from data import domains
from data.config.settings import Settings
from data.processes import die_with_parent
from data.quality import checker, token_counts
from data.store.db import Store
from data.store.errors import Unavailable

log = logging.getLogger(__name__)
READ = {"home", "base", "serving"}  # the sections of the settings that the checks read


async def check_domain(settings: Settings, name: str, only: Sequence[str] = ()) -> dict[str, Any]:
    """The report of `checker.check_domain` as JSON values. Raises Unavailable if the process
    fails; the log says why."""
    given = {
        "settings": settings.model_dump(mode="json", include=READ),
        "domain": name,
        "only": list(only),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, str(os.getpid()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        output, errors = await process.communicate(orjson.dumps(given))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        log.error("the check of %s failed: %s", name, errors.decode("utf-8", "replace")[-2000:])
        raise Unavailable("The pairs could not be checked. The log of the service says why.")
    report: dict[str, Any] = orjson.loads(output)
    return report


def main() -> None:
    """Read what is asked from the standard input, and write the report to the standard output."""
    if not die_with_parent(parent=int(sys.argv[1])):
        return
    os.nice(10)
    given = orjson.loads(sys.stdin.buffer.read())
    settings = Settings.model_validate(given["settings"])
    with Store(settings.store_path) as store:
        domain = domains.get(store.db, given["domain"])
        around = token_counts.of_base(settings, domain)
        report = checker.check_domain(store.db, domain, around, only=given["only"])
    sys.stdout.buffer.write(orjson.dumps(report))


if __name__ == "__main__":
    main()
