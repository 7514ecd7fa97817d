"""``tom user``: the files are changed, or the running gateway is asked; both end in a person who can log in."""

import json
import re
import ssl
import urllib.request

import pytest

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
GIVEN = "a password of my own"


@pytest.fixture
def data(tmp_path, tom):
    directory = tmp_path / "data"
    assert tom("config", "init", "--data", str(directory), "--user", "ada").returncode == 0
    return directory


@pytest.fixture
def serve(start, data, free_port, until):
    async def begin():
        house = start("up", "--data", str(data), "--port", str(free_port))
        await until(house.said("nothing is lost"), seconds=20, what="the house has started")
        return house

    return begin


def log_in(data, port, user, password):
    """The status of a login over HTTPS."""
    context = ssl.create_default_context(cafile=data / "tls" / "cert.pem")
    body = json.dumps({"username": user, "password": password}).encode()
    headers = {"content-type": "application/json", "x-tom-client": "test"}
    request = urllib.request.Request(f"https://localhost:{port}/login", body, headers)
    try:
        with urllib.request.urlopen(request, context=context, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code


async def test_a_person_added_while_nothing_runs_can_log_in(tom, serve, data, free_port):
    added = tom("user", "add", "bob", "--data", str(data))
    assert added.returncode == 0
    password = re.search(r"password: (\S+)", added.stdout)[1]
    assert password not in (data / "config.yml").read_text()
    await serve()
    assert log_in(data, free_port, "bob", password) == 200
    assert log_in(data, free_port, "bob", password + "x") == 401


async def test_a_person_added_to_a_running_house_can_log_in_at_once(tom, serve, data, free_port):
    await serve()
    added = tom("user", "add", "bob", "--admin", "--password-stdin", "--json", "--data", str(data), stdin=f"{GIVEN}\n")
    assert added.returncode == 0, added.stderr
    assert json.loads(added.stdout) == {"user": "bob", "role": "admin"}
    assert log_in(data, free_port, "bob", GIVEN) == 200


async def test_a_new_password_replaces_the_old_one_in_a_running_house(tom, serve, data, free_port):
    old = json.loads(tom("user", "passwd", "ada", "--json", "--data", str(data)).stdout)["password"]
    await serve()
    assert log_in(data, free_port, "ada", old) == 200
    result = tom("user", "passwd", "ada", "--password-stdin", "--data", str(data), stdin=f"{GIVEN}\n")
    assert result.returncode == 0, result.stderr
    assert log_in(data, free_port, "ada", old) == 401
    assert log_in(data, free_port, "ada", GIVEN) == 200


async def test_the_list_names_everybody_and_no_password(tom, data):
    tom("user", "add", "bob", "--data", str(data))
    people = json.loads(tom("user", "list", "--json", "--data", str(data)).stdout)["users"]
    assert [(person["user"], person["role"]) for person in people] == [("ada", "admin"), ("bob", "user")]
    assert not any("password" in key for person in people for key in person)
    printed = tom("user", "list", "--data", str(data)).stdout.splitlines()
    assert printed[0].split()[:2] == ["user", "role"]
    assert len(printed) == 3


@pytest.mark.parametrize(
    ("arguments", "stdin", "status", "says"),
    [
        (("add", "ada"), "", 1, "is there already"),
        (("add", "Bob Smith"), "", 2, "a-z"),
        (("add", "tom"), "", 2, "name"),
        (("add", "bob", "--password-stdin"), "short\n", 2, "12 characters"),
        (("add", "bob", "--password-stdin"), "", 2, "12 characters"),
        (("passwd", "nobody"), "", 5, "no such user"),
        (("add",), "", 2, "Missing argument"),
        (("remove", "ada"), "", 2, "No such command"),
    ],
)
async def test_bad_input_is_refused_in_a_sentence_and_changes_nothing(tom, data, arguments, stdin, status, says):
    before = (data / "config.yml").read_text()
    result = tom("user", *arguments, "--data", str(data), stdin=stdin)
    assert result.returncode == status
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert (data / "config.yml").read_text() == before


async def test_scripts_get_errors_as_json_on_stdout(tom, data):
    result = tom("user", "add", "ada", "--json", "--data", str(data))
    assert result.returncode == 1
    assert json.loads(result.stdout)["error"]["code"] == "user_exists"
    assert "❌" not in result.stdout


async def test_without_a_data_directory_the_cure_is_named(tom, tmp_path):
    result = tom("user", "list", "--data", str(tmp_path / "nowhere"))
    assert result.returncode == 3
    assert "tom up" in result.stderr
