"""What docs/http.md says of routes, against the service itself."""

import re
from typing import Any

import pytest

from bot.api import problems
from tests.bot.api.test_routes import MEMBERS, REVIEWERS, routes
from tests.bot.conftest import Bot
from tools.reference import http, pages

BODIES: dict[str, dict[str, Any]] = {  # that would do, if what the path names were there
    "/v1/triggers": {"domain": "nothing", "settings": {"pairs": "3"}},
    "/v1/pairs/{pair_id}/review": {"status": "approved"},
    "/v1/adapters/{name}/accept": {"reason": "better"},
    "/v1/experiments/{experiment_id}/ramp": {"share": 0.2},
    "/v1/experiments/{experiment_id}/testers": {"person": "slack:T1/U2", "variant": "B"},
    "/v1/chat/completions": {
        "model": "nothing",
        "messages": [{"role": "user", "content": "When?"}],
    },
    "/v1/chat/answers": {"model": "nothing", "messages": [{"role": "user", "content": "When?"}]},
    "/v1/responses": {"model": "nothing", "input": "When?"},
    "/v1/completions": {"model": "nothing", "prompt": "When?"},
    "/v1/embeddings": {"model": "nothing", "input": "When?"},
    "/v1/feedback": {"reply_id": "nothing", "thumb": "up"},
    "/v1/voters/release": {"person": "slack:T1/U2", "domain": "nothing"},
    "/v1/voters/quarantine": {"person": "slack:T1/U2", "domain": "nothing", "why": "odd"},
    "/v1/unanswered/{group_id}/answer": {"response": "So."},
    "/v1/experiments": {"a": "1", "b": "2", "domain": "nothing"},
}


@pytest.fixture(scope="module")
def operations() -> list[http.Operation]:
    return http.operations()


def test_every_route_is_there_with_who_may_call_it(
    bot: Bot, operations: list[http.Operation]
) -> None:
    roles = {(o.method, o.path): o.role for o in operations}
    public = {route for route in routes(bot) if route[1].startswith("/v1/")}

    assert set(roles) == public | {("GET", "/health"), ("GET", "/metrics")}
    assert {route for route, role in roles.items() if role == "member"} == MEMBERS
    assert {route for route, role in roles.items() if role == "reviewer"} == REVIEWERS


def test_every_route_says_what_it_does_and_answers(operations: list[http.Operation]) -> None:
    silent = [o.title for o in operations if not o.description]
    default = [o.title for o in operations if "Successful Response" in o.responses.values()]

    assert silent == default == []


def test_every_field_of_a_request_is_described(operations: list[http.Operation]) -> None:
    rows = [
        (operation.title, row)
        for operation in operations
        if operation.body
        for row in http._fields(operation.body, operation.schemas)
    ]
    described = ("messages[].", "response_format.")  # by the field that holds them

    assert len(rows) > 40
    assert [
        (title, row[0])
        for title, row in rows
        if not row[3].removesuffix("Required.") and not row[0].strip("`").startswith(described)
    ] == []


def test_what_is_not_there_is_answered_as_documented(
    bot: Bot, operations: list[http.Operation]
) -> None:
    """404 where a route says so, for a domain, a number or a name that nothing has."""
    client = bot.http("admin")
    documented = [o for o in operations if "404" in o.responses]
    statuses = {}
    for operation in documented:
        path = re.sub(
            r"{(\w*id|number)}", "999", re.sub(r"{(name|domain)}", "nothing@9", operation.path)
        )
        query = {p["name"]: "nothing" for p in operation.parameters if p["name"] == "domain"}
        body = BODIES.get(operation.path, {"domain": "nothing"})
        response = client.request(
            operation.method, path, params=query, json=body if operation.body else None
        )
        statuses[operation.title] = response.status_code

    assert len(statuses) > 20
    assert {title: status for title, status in statuses.items() if status != 404} == {}


def test_every_kind_of_error_is_explained() -> None:
    text = (pages.TEMPLATES / "http.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"^\| `(\d+)` \| `(\w+)` \|", text, re.M))
    known = {(str(status), kind) for _, status, kind in problems.STATUS}
    known |= {(str(status), kind) for status, kind in problems.BY_STATUS.items()}
    unexpected = problems.unexpected("req-1")

    assert explained == known | {(str(unexpected.status), unexpected.type)}


def test_the_paths_that_slack_calls_are_named() -> None:
    from bot.slack.workspace import manifest

    text = (pages.TEMPLATES / "http.md").read_text(encoding="utf-8")
    paths = (manifest.PATH, manifest.INSTALL_PATH, manifest.REDIRECT_PATH)

    assert [path for path in paths if f"`{path}`" not in text] == []
