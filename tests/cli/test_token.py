"""``tom token``: in the file while nothing runs, at the control socket while something does."""

import json

import pytest

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def data(tmp_path, tom):
    directory = tmp_path / "data"
    assert tom("config", "init", "--data", str(directory), "--user", "ada").returncode == 0
    return directory


def listed(tom, data, *more):
    return json.loads(tom("token", "list", "--json", "--data", str(data), *more).stdout)["tokens"]


def test_while_nothing_runs_the_file_is_changed(tom, data):
    made = tom("token", "create", "a script", "--scope", "chat", "--scope", "read", "--days", "7", "--data", str(data))
    assert made.returncode == 0
    assert made.stdout.startswith("tom_")
    assert "shown this once" in made.stderr
    assert "tom_" not in made.stderr
    (row,) = listed(tom, data)
    assert (row["name"], row["scopes"], row["last_used_at"]) == ("a script", ["chat", "read"], None)
    assert made.stdout.strip().split("_")[1] == row["id"]
    for_people = tom("token", "list", "--data", str(data)).stdout
    assert "a script" in for_people
    assert "chat read" in for_people
    assert made.stdout.strip() not in for_people
    assert tom("token", "revoke", row["id"], "--data", str(data)).returncode == 0
    assert listed(tom, data) == []
    again = tom("token", "revoke", row["id"], "--data", str(data), "--json")
    assert again.returncode == 5
    assert json.loads(again.stdout)["error"]["code"] == "token_not_found"


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("create", "a", "--scope", "root"), 1, "Unknown scope 'root'"),
        (("create", "a"), 2, "--scope"),
        (("create", "a", "--scope", "chat", "--days", "0"), 1, "'expires_in_days' must be 1 to 3650"),
        (("create", "a", "--scope", "chat", "--user", "bob"), 5, "User 'bob' is not configured"),
        (("list", "--user", "bob"), 5, "User 'bob' is not configured"),
        (("list", "--standalone", "--user", "bob"), 2, "one user, 'local'"),
        (("revoke", "nothing"), 5, "There is no such token"),
    ],
)
def test_what_cannot_be_done_is_named(tom, data, arguments, status, says):
    result = tom("token", *arguments, "--data", str(data))
    assert result.returncode == status, result.stderr
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_an_agent_alone_has_tokens_of_its_own(tom, data):
    made = json.loads(
        tom("token", "create", "a", "--scope", "chat,admin", "--standalone", "--json", "--data", str(data)).stdout
    )
    assert made.keys() == {"id", "token"}
    assert (data / "users" / "local" / "door.db").stat().st_mode & 0o077 == 0
    assert [row["scopes"] for row in listed(tom, data, "--standalone")] == [["chat", "admin"]]
    assert listed(tom, data, "--user", "ada") == []
