-- Who may come in. Times are RFC 3339 UTC with milliseconds, so that text order is time order.

CREATE TABLE users (
    name          TEXT PRIMARY KEY,
    password_hash TEXT,             -- argon2id; NULL: no password login
    file_hash     TEXT,             -- argon2id of what config.yml said when it was last compared; NULL: it says nothing
    role          TEXT NOT NULL,
    changed_at    TEXT NOT NULL
) STRICT;

CREATE TABLE logins (
    id           TEXT PRIMARY KEY,
    token_hash   TEXT NOT NULL UNIQUE,  -- SHA-256 of the cookie's value
    user         TEXT NOT NULL,
    created_at   TEXT NOT NULL,
    last_seen_at TEXT NOT NULL,
    remember     INTEGER NOT NULL,      -- 0: the cookie ends with the browser
    address      TEXT NOT NULL,
    agent        TEXT NOT NULL          -- the User-Agent, cut
) STRICT;

CREATE INDEX logins_by_user ON logins (user);

CREATE TABLE throttle (
    key      TEXT PRIMARY KEY,          -- account:… or address:…
    failures INTEGER NOT NULL,
    last_at  TEXT NOT NULL
) STRICT;
