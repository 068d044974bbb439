"""`make unit` stays quick: no unit test starts a process."""

import os
import subprocess

import pytest


def test_a_unit_test_that_starts_a_process_fails() -> None:
    with pytest.raises(RuntimeError, match=r"mark it with @pytest\.mark\.integration"):
        subprocess.run(["true"])
    with pytest.raises(RuntimeError, match=r"test_a_unit_test_that_starts_a_process_fails"):
        os.fork()


@pytest.mark.integration
def test_an_integration_test_may_start_a_process() -> None:
    assert subprocess.run(["true"], check=True).returncode == 0
