"""People's programs against the running bot: those that install within seconds, then the others.

Without a network, Node or a JDK, what cannot be tried is skipped, and the output says why.
"""

from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from tests.bot.clients.__main__ import CLIENTS, Tried, trying

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
QUICK = [name for name, client in CLIENTS.items() if client.quick]
OTHERS = [name for name, client in CLIENTS.items() if not client.quick]


@pytest.fixture(scope="module")
def tried(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Tried]]]:
    """What becomes of each client that is selected, two of them at a time."""
    here = [i for i in request.session.items if i.module is request.module]
    names = [i.callspec.params["name"] for i in here if hasattr(i, "callspec")]
    with trying() as begin:
        yield {name: begin(name) for name in names}


def check(tried: Tried) -> None:
    if tried.missing:
        print(tried.missing)
        pytest.skip("the client cannot be installed")
    assert not tried.error, tried.error
    assert tried.works


@pytest.mark.parametrize("name", QUICK)
def test_a_client_that_installs_quickly(tried: dict[str, Future[Tried]], name: str) -> None:
    check(tried[name].result())


@pytest.mark.long
@pytest.mark.parametrize("name", OTHERS)
def test_another_client(tried: dict[str, Future[Tried]], name: str) -> None:
    check(tried[name].result())
