"""Editing config.yml: comments stay, the change is whole or not there at all."""

import os
import threading

import pytest

from tom.config.edit import add_user, change_user, remove_user, write_atomically
from tom.config.settings import ConfigInvalid, Settings

TEXT = """\
# first line
global:
  llm: scripted  # offline
  persona: {name: "Ada"}
users:
  # the one who pays
  - username: alice
    role: admin   # hers
    personal_context: >-
      likes tea,
      not coffee
# last line
"""


def test_people_come_change_and_go_and_the_rest_stays(write):
    path = write(TEXT) / "config.yml"
    add_user(path, "bob", password_hash="$argon2id$v=19$m=1,t=1,p=1$c2FsdA$aGFzaA")
    change_user(path, "bob", disabled=True, role=None)
    settings = Settings.load(path.parent, env={})
    assert [(user.username, user.role, user.disabled) for user in settings.users] == [
        ("alice", "admin", False),
        ("bob", "user", True),
    ]
    assert settings.users[0].personal_context == "likes tea, not coffee"
    text = path.read_text()
    for comment in ("# first line", "# offline", "# the one who pays", "# hers", "# last line", '"Ada"'):
        assert comment in text
    remove_user(path, "bob")
    assert path.read_text() == TEXT


@pytest.mark.parametrize("text", ["", "global: {}\n", "users:\n", "users: []\n", "# nothing\n"])
def test_the_first_person_is_entered_into_any_file(write, text):
    path = write(text) / "config.yml"
    add_user(path, "alice")
    assert [user.username for user in Settings.load(path.parent, env={}).users] == ["alice"]


def test_what_cannot_be_is_refused_and_the_file_is_as_it_was(write):
    path = write(TEXT) / "config.yml"
    for attempt, reason in [
        (lambda: add_user(path, "alice"), "there already"),
        (lambda: add_user(path, "Not Allowed"), "must be 1 to 32"),
        (lambda: remove_user(path, "mallory"), "not in config.yml"),
        (lambda: change_user(path, "mallory", role="admin"), "not in config.yml"),
    ]:
        with pytest.raises(ConfigInvalid, match=reason):
            attempt()
    assert path.read_text() == TEXT


@pytest.mark.parametrize("text", ["users: [", "users: {a: 1}\n", "users: [1]\n", "- a\n", "chat: {}\nchat: {}\n"])
def test_a_file_that_cannot_be_read_is_not_written(write, text):
    path = write(text) / "config.yml"
    with pytest.raises(ConfigInvalid):
        add_user(path, "bob")
    assert path.read_text() == text


def test_an_edit_that_would_change_something_else_is_not_made(write):
    text = "users:\n  - username: alice\n    personal_context: {born: 2001-12-14t21:59:43.10-05:00}\n"
    path = write(text) / "config.yml"
    with pytest.raises(ConfigInvalid, match="cannot be edited without loss"):
        add_user(path, "bob")
    assert path.read_text() == text


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigInvalid, match="Configuration not found"):
        add_user(tmp_path / "config.yml", "bob")


def test_mode_and_link_stay(write, tmp_path):
    path = write(TEXT) / "config.yml"
    path.chmod(0o640)
    link = tmp_path / "link.yml"
    link.symlink_to(path)
    add_user(link, "bob")
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert "bob" in path.read_text()


def test_two_editors_at_once_lose_nothing(write):
    path = write(TEXT) / "config.yml"
    threads = [threading.Thread(target=add_user, args=(path, f"user{n}")) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(Settings.load(path.parent, env={}).users) == 7


def test_a_full_disk_leaves_the_old_file(write, monkeypatch):
    path = write(TEXT) / "config.yml"

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, "users: []\n")
    assert path.read_text() == TEXT
    assert [entry.name for entry in path.parent.iterdir()] == ["config.yml"]
