"""The files of a session go out with it and come in again: what they are is looked at, and all of it is taken or nothing."""

import base64
import copy
import hashlib
import io
import json

import pytest

from tom.testing.simulated_llm import Script

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + bytes(20)
GIF = b"GIF89a" + bytes(20)
PICTURE = {"type": "image", "media_type": "image/png", "data": base64.b64encode(PNG).decode(), "name": "a.png"}
NOTE = {"type": "text", "name": "note.txt", "data": "The key is under the چادر."}


def named(content):
    return hashlib.sha256(content).hexdigest()


def coded(content):
    return base64.b64encode(content).decode()


async def exported(rest, llm):
    """A session with a picture and a text, written out."""
    llm.otherwise(Script.text("I see."))
    session = await rest.open(metadata={"shop": 1})
    assert (await rest.say(session, "look", attachments=[PICTURE, NOTE]))[0] == 200
    return (await rest.ask("GET", f"/sessions/{session}/export"))[1]


def shown_to_model(llm):
    sent = json.dumps(llm.requests[-1].messages, ensure_ascii=False)
    return coded(PNG) in sent, NOTE["data"] in sent


async def test_the_model_of_an_imported_session_gets_picture_and_text(open_rest, llm):
    async with open_rest(vision=True) as (rest, _):
        given = await exported(rest, llm)
        text = NOTE["data"].encode()
        assert given["files"] == {
            named(PNG): {"media_type": "image/png", "data": coded(PNG)},
            named(text): {"data": coded(text)},
        }
        status, opened = await rest.ask("POST", "/sessions/import", given)
        assert (status, opened["metadata"]) == (201, {"shop": 1, "imported_from": given["conversation"]["id"]})
        await rest.ask("DELETE", f"/sessions/{given['conversation']['id']}")
        await rest.say(opened["id"], "and now?")
        assert shown_to_model(llm) == (True, True)
        _, again = await rest.ask("GET", f"/sessions/{opened['id']}/export")
        assert again["files"] == given["files"]


async def test_files_that_did_not_come_along_are_named(open_rest, llm):
    async with open_rest(vision=True) as (rest, cell):
        given = await exported(rest, llm)
        lost = named(PNG)
        await cell.files.retain(given["conversation"]["id"], {named(NOTE["data"].encode())})
        _, without = await rest.ask("GET", f"/sessions/{given['conversation']['id']}/export")
        assert lost not in without["files"]
        _, opened = await rest.ask("POST", "/sessions/import", without)
        assert opened["metadata"]["missing_files"] == {"count": 1, "names": [lost]}
        older = {name: value for name, value in given.items() if name != "files"}
        _, opened = await rest.ask("POST", "/sessions/import", older)
        assert opened["metadata"]["missing_files"]["count"] == 2
        assert (await rest.say(opened["id"], "and now?"))[0] == 200


def _spoiled():
    name, text = named(PNG), named(NOTE["data"].encode())
    yield "no object", lambda files: [], ["files"]
    yield "a file that is none", lambda files: files | {name: "x"}, ["files", name]
    yield "more keys", lambda files: files | {name: files[name] | {"path": "/etc"}}, ["files", name]
    yield "no data", lambda files: files | {name: {}}, ["files", name, "data"]
    yield "no base64", lambda files: files | {name: {"data": "!!"}}, ["files", name, "data"]
    yield "other content", lambda files: files | {name: {"data": coded(PNG + b"x")}}, ["files", name, "data"]
    yield (
        "another kind",
        lambda files: files | {name: files[name] | {"media_type": "image/gif"}},
        ["files", name, "media_type"],
    )
    yield "nobody's", lambda files: files | {named(GIF): {"data": coded(GIF)}}, ["files"]
    yield "a way out", lambda files: files | {"../../x": {"data": coded(PNG)}}, ["files"]
    yield "swapped", lambda files: files | {text: files[name]}, ["files", text, "data"]


@pytest.mark.parametrize(("spoil", "place"), [one[1:] for one in _spoiled()], ids=[one[0] for one in _spoiled()])
async def test_a_wrong_file_is_named_and_nothing_is_taken_in(open_rest, llm, spoil, place):
    async with open_rest(vision=True) as (rest, cell):
        given = await exported(rest, llm)
        rows, kept = await cell.store.conversations(), sorted(cell.settings.home.rglob("*"))
        body = copy.deepcopy(given)
        body["files"] = spoil(body["files"])
        status, code, error = await rest.refused("POST", "/sessions/import", body)
        assert (status, code) == (422, "validation_error")
        assert error["details"]["errors"][0]["loc"] == ["body", *place]
        assert await cell.store.conversations() == rows
        assert sorted(cell.settings.home.rglob("*")) == kept


@pytest.mark.parametrize(
    "content", [PNG + bytes(5 * 1024 * 1024), GIF, b"<svg onload=alert(1)>"], ids=["large", "gif", "svg"]
)
async def test_a_picture_is_what_may_be_attached_as_one(open_rest, llm, content):
    """Also when events, names and contents agree with each other."""
    async with open_rest(vision=True) as (rest, _):
        given = await exported(rest, llm)
        body = json.loads(json.dumps(given).replace(named(PNG), named(content)))
        for event in body["events"]:
            for kept in (event["extra"] or {}).get("attachments", ()):
                if kept["type"] == "image":
                    kept["size"] = len(content)
        body["files"][named(content)] = {"data": coded(content)}
        sent, kind = io.BytesIO(json.dumps(body).encode()), {"Content-Type": "application/json"}
        async with rest.http.post("/sessions/import", data=sent, headers=kind) as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (422, "validation_error")


async def test_an_import_that_the_disk_has_no_room_for_leaves_nothing(open_rest, llm, monkeypatch):
    async with open_rest(vision=True) as (rest, cell):
        given = await exported(rest, llm)
        rows, kept = await cell.store.conversations(), sorted(cell.settings.home.rglob("*"))
        used = len(PNG) + len(NOTE["data"].encode())
        monkeypatch.setattr(cell.files, "_most", used + len(PNG))  # room for the first of two
        status, code, _ = await rest.refused("POST", "/sessions/import", given)
        assert (status, code) == (507, "storage_full")
        assert await cell.store.conversations() == rows
        assert sorted(cell.settings.home.rglob("*")) == kept


async def test_the_houses_own_instruction_stands_where_the_other_houses_stood(open_rest, llm):
    """What the session itself set stays after it, and so has the last word."""
    llm.otherwise(Script.text("ok"))
    async with open_rest(doors={"initial_prompt": "Be the other house's."}) as (rest, _):
        session = await rest.open()
        await rest.say(session, "Answer in verse.", role="system")
        await rest.say(session, "hello")
        given = (await rest.ask("GET", f"/sessions/{session}/export"))[1]
    async with open_rest(doors={"initial_prompt": "Be this house's."}) as (rest, _):
        _, opened = await rest.ask("POST", "/sessions/import", given)
        await rest.say(opened["id"], "hello again")
        sent = json.dumps(llm.requests[-1].messages)
        assert "other house" not in sent
        assert 0 < sent.index("Be this house's.") < sent.index("Answer in verse.")
        _, back = await rest.ask("GET", f"/sessions/{opened['id']}/export")
        assert [event["type"] for event in back["events"][: len(given["events"])]] == [
            event["type"] for event in given["events"]
        ]
