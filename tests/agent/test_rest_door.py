"""Sessions over REST: opened, listed, searched, changed, stopped, erased."""

import pytest

from tom.policy.permissions import LOGIN_SCOPES, VISITOR_SCOPES, Caller, Scope
from tom.testing.simulated_llm import Script

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

VISITOR = Caller("visitor", "visitor", VISITOR_SCOPES)
TOKEN = Caller("alice", "token", frozenset({Scope.CHAT}), "api_key:x")
LOGIN = Caller("alice", "cookie", LOGIN_SCOPES, "user:alice")


async def test_a_session_is_opened_with_an_empty_body_or_with_what_is_asked_for(open_rest):
    async with open_rest() as (rest, _):
        status, plain = await rest.ask("POST", "/sessions")
        assert status == 201
        assert rest.headers["Location"] == f"/sessions/{plain['id']}"
        assert set(plain) == {"id", "memory_limit", "created_at", "metadata"}
        assert (plain["memory_limit"], plain["metadata"]) == (10, {})
        _, asked = await rest.ask("POST", "/sessions", {"memory_limit": 20, "metadata": {"shop": 1}})
        assert (asked["memory_limit"], asked["metadata"]) == (20, {"shop": 1})
        status, shown = await rest.ask("GET", f"/sessions/{asked['id']}")
        assert status == 200
        assert shown | asked == shown
        assert (shown["state"], shown["history"], shown["usage"]["total_tokens"]) == ("idle", [], 0)


UNFIT = [
    ({"memory_limit": 51}, 400, "invalid_memory_limit", {"requested": 51, "maximum": 50}),
    ({"memory_limit": 0}, 422, "validation_error", None),
    ({"memory_limit": -3}, 422, "validation_error", None),
    ({"memory_limit": True}, 422, "validation_error", None),
    ({"memory_limit": 5.0}, 422, "validation_error", None),
    ({"memory_limit": "5"}, 422, "validation_error", None),
    ({"memory_limit": None}, 422, "validation_error", None),
    ({"metadata": []}, 422, "validation_error", None),
    ({"metadata": {"a": "x" * 16_400}}, 422, "metadata_too_large", {"limit": 16_384}),
    ({"metadata": {"a": "\ud800"}}, 422, "validation_error", None),
    ({"memory_limits": 5}, 422, "validation_error", None),
    ("[]", 400, "invalid_json", None),
    ("{", 400, "invalid_json", None),
    ('{"metadata":{},"metadata":{}}', 400, "invalid_json", None),
    ('{"a":' + "[" * 70 + "]" * 70 + "}", 400, "invalid_json", None),
]


async def test_a_body_that_does_not_fit_opens_nothing(open_rest):
    async with open_rest() as (rest, cell):
        for body, status, code, details in UNFIT:
            got, named, error = await rest.refused(
                "POST", "/sessions", body, headers={"Content-Type": "application/json"}
            )
            assert (got, named) == (status, code), (body, error)
            assert details in (None, error.get("details"))
            if code == "validation_error":
                (problem,) = error["details"]["errors"]
                assert set(problem) == {"loc", "msg", "type"}
                assert error["message"].startswith("Request validation failed: ")
        assert await cell.store.conversations() == ()


async def test_the_nearest_known_field_is_named(open_rest):
    async with open_rest() as (rest, _):
        _, _, error = await rest.refused("POST", "/sessions", {"memory_limits": 5})
        assert error["details"]["nearest"] == "memory_limit"
        assert error["details"]["errors"][0]["loc"] == ["body", "memory_limits"]


async def test_sessions_are_listed_page_by_page_and_searched(open_rest, llm):
    llm.otherwise(Script.text("The Aras weighs little."))
    async with open_rest() as (rest, cell):
        await cell.conversations.open("api", kind="api")
        names = {}
        for title in ("A tent", "A stove", "ЛАМПА"):
            session = await rest.open(metadata={"title": title})
            names[session] = title
            await rest.ask("PATCH", f"/sessions/{session}", {"title": title})
        await rest.say(session, "Wie schwer? Das Zelt für Åse!")
        seen, before = [], None
        while True:
            query = {"limit": 2} | ({"before": before} if before else {})
            _, page = await rest.ask("GET", "/sessions", params=query)
            seen += [names[one["id"]] for one in page["sessions"]]
            before = page["next"]
            if before is None:
                break
        assert seen == ["ЛАМПА", "A stove", "A tent"]
        for words, found in {
            "TENT": ["A tent"], "a": ["ЛАМПА", "A stove", "A tent"], "лампа": ["ЛАМПА"], "åse ZELT": ["ЛАМПА"],
            "aras LITTLE": ["ЛАМПА"], "tent stove": [], "%": [], "": ["ЛАМПА", "A stove", "A tent"],
        }.items():  # fmt: skip
            _, page = await rest.ask("GET", "/sessions", params={"q": words})
            assert [names[one["id"]] for one in page["sessions"]] == found, words
        for query in ({"limit": "0"}, {"limit": "201"}, {"limit": "x"}, {"q": "x" * 201}):
            assert (await rest.refused("GET", "/sessions", params=query))[:2] == (422, "validation_error")
        for cursor in ("x", "!!", "bm8"):
            assert (await rest.refused("GET", "/sessions", params={"before": cursor}))[:2] == (400, "invalid_cursor")


async def test_the_newest_200_messages_are_shown_oldest_first_and_no_instructions(open_rest, llm):
    llm.otherwise(Script.text("fine"))
    async with open_rest(doors={"initial_prompt": "SECRET"}, context_max_tokens=1500) as (rest, _):
        session = await rest.open()
        for number in range(105):
            await rest.say(session, f"number {number}")
        _, shown = await rest.ask("GET", f"/sessions/{session}")
        said = [(one["role"], one["content"]) for one in shown["history"]]
        assert len(said) == 200
        assert said[0] == ("user", "number 5")
        assert said[-2:] == [("user", "number 104"), ("assistant", "fine")]
        assert shown["usage"]["total_tokens"] > 0
        assert "SECRET" not in str(shown)
        _, events = await rest.ask("GET", f"/sessions/{session}/events")
        assert "SECRET" not in str(events)


async def test_a_session_is_changed_field_by_field(open_rest):
    async with open_rest() as (rest, _):
        session = await rest.open(metadata={"a": 1, "b": 2})
        path = f"/sessions/{session}"
        change = {"title": " My \n title ", "memory_limit": 3, "pinned": True, "metadata": {"c": 3}}
        status, changed = await rest.ask("PATCH", path, change)
        assert status == 200
        assert changed["title"] == "My title"
        assert (changed["memory_limit"], changed["pinned"], changed["metadata"]) == (3, True, {"c": 3})
        assert (await rest.ask("PATCH", path, {}))[1] == changed
        for body, status, code in (
            ({"memory_limit": 99}, 400, "invalid_memory_limit"), ({"title": 5}, 422, "validation_error"),
            ({"title": "x" * 201}, 422, "validation_error"), ({"pinned": 1}, 422, "validation_error"),
            ({"title": "\ud800"}, 422, "validation_error"), ({"titles": "x"}, 422, "validation_error"),
            ({"metadata": None}, 422, "validation_error"),
        ):  # fmt: skip
            assert (await rest.refused("PATCH", path, body))[:2] == (status, code), body
        assert (await rest.ask("GET", path))[1] == changed


async def test_an_erased_session_is_gone_and_its_run_is_cancelled_first(open_rest, llm):
    llm.otherwise(Script.chunks(200, 5, delay=0.02))
    async with open_rest() as (rest, cell):
        session = await rest.open()
        status, _ = await rest.say(session, "hello", headers={"Prefer": "respond-async"})
        assert status == 202
        assert await rest.ask("DELETE", f"/sessions/{session}") == (204, None)
        assert await cell.store.read(session) == ()
        for method in ("DELETE", "GET", "PATCH"):
            assert (await rest.refused(method, f"/sessions/{session}"))[:2] == (404, "session_not_found")


async def test_what_runs_is_stopped_and_what_does_not_is_no_error(open_rest, llm, until):
    llm.otherwise(Script.chunks(500, 5, delay=0.02))
    async with open_rest() as (rest, cell):
        session = await rest.open()
        path = f"/sessions/{session}/stop"
        assert await rest.ask("POST", path) == (200, {"stopped": False, "run_id": None})
        _, first = await rest.say(session, "hello", headers={"Prefer": "respond-async"})
        _, second = await rest.say(session, "more", headers={"Prefer": "respond-async"})
        assert (first["status"], second["status"]) == ("running", "queued") or first["status"] == "queued"
        await until(lambda: cell.feed.live(first["run_id"]) and cell.feed.live(first["run_id"]).text)
        assert await rest.ask("POST", path, {"queued": True}) == (200, {"stopped": True, "run_id": first["run_id"]})
        _, shown = await rest.ask("GET", f"/sessions/{session}")
        assert shown["state"] == "idle"
        (reply,) = [one for one in shown["history"] if one["role"] == "assistant"]
        assert reply["metadata"]["partial"] is True
        assert (await rest.refused("POST", path, {"run_id": "nobody"}))[:2] == (404, "run_not_found")
        for body in ({"run_id": 5}, {"queued": "yes"}, {"all": True}):
            assert (await rest.refused("POST", path, body))[:2] == (422, "validation_error")


@pytest.mark.parametrize("name", ["nobody", "x" * 200, "%00", "%F0%9F%98%80", "a%20b", "..%2f..", "%ff"])
async def test_an_id_that_is_no_sessions_is_not_found_whatever_it_looks_like(open_rest, name):
    async with open_rest() as (rest, _):
        from yarl import URL

        base = str(rest.http._base_url).rstrip("/")
        for method, rest_of_path in (
            ("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/stop"), ("GET", "/events"), ("GET", "/export"),
            ("POST", "/messages"), ("POST", "/runs/r1/retry"),
        ):  # fmt: skip
            body = {"content": "hello"} if rest_of_path == "/messages" else None
            url = URL(f"{base}/sessions/{name}{rest_of_path}", encoded=True)
            status, code, _ = await rest.refused(method, url, body)
            assert (status, code) in {(404, "session_not_found"), (404, "not_found")}, (method, rest_of_path)


async def test_a_visitor_holds_a_session_by_its_id_and_lists_nothing(open_rest, llm):
    llm.otherwise(Script.text("hello"))
    async with open_rest(caller=VISITOR, doors={"auth": "public"}) as (rest, _):
        session = await rest.open()
        assert (await rest.say(session, "hello"))[0] == 200
        _, events = await rest.ask("GET", f"/sessions/{session}/events")
        assert {event["model"] for event in events["events"]} == {None}
        _, exported = await rest.ask("GET", f"/sessions/{session}/export")
        assert {event["model"] for event in exported["events"]} == {None}
        for method, path in (("GET", "/sessions"), ("POST", "/sessions/import"), ("GET", "/approvals")):
            assert (await rest.refused(method, path))[:2] == (401, "authentication_required")
        assert rest.headers["WWW-Authenticate"] == "Bearer"


async def test_a_token_without_a_scope_is_told_which_it_lacks(open_rest):
    async with open_rest(caller=TOKEN) as (rest, _):
        status, code, error = await rest.refused("GET", "/sessions")
        assert (status, code, error["details"]) == (403, "scope_missing", {"scope": "read"})
        assert (await rest.ask("POST", "/sessions"))[0] == 201


async def test_a_lowered_maximum_acts_on_what_was_stored(open_rest, llm, tmp_path):
    from tom.store.memory import MemoryEventStore

    store = MemoryEventStore()
    async with open_rest(store=store) as (rest, _):
        session = await rest.open(memory_limit=40)
    async with open_rest(store=store, doors={"memory_max": 4, "memory_default": 2}) as (rest, _):
        _, shown = await rest.ask("GET", f"/sessions/{session}")
        assert shown["memory_limit"] == 4
        assert (await store.conversations(ids=[session]))[0].memory_limit == 40
