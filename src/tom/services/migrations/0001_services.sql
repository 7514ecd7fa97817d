-- What one person's services are remembered by.

-- A tool as it was first seen or last reviewed. Never removed: a tool that goes and comes back keeps its pin.
CREATE TABLE pins (
    service     TEXT NOT NULL,
    tool        TEXT NOT NULL,
    hash        TEXT NOT NULL,
    identity    TEXT NOT NULL,
    definition  TEXT NOT NULL,
    class       TEXT NOT NULL,
    proposed    INTEGER NOT NULL,
    outward     INTEGER NOT NULL,
    honours_key INTEGER NOT NULL,
    first_seen  TEXT NOT NULL,
    reviewed_by TEXT NOT NULL,
    reviewed_at TEXT NOT NULL,
    PRIMARY KEY (service, tool)
) STRICT, WITHOUT ROWID;

-- What a service listed last, so that its tools are on offer before it is reached again.
CREATE TABLE lists (
    service      TEXT PRIMARY KEY,
    place        TEXT NOT NULL,
    server       TEXT NOT NULL,
    revision     TEXT NOT NULL,
    tools        TEXT NOT NULL,
    instructions TEXT NOT NULL,
    ttl          REAL,
    listed_at    TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What a service offers to read, as it said last: its lists and descriptions, so that no prompt waits for it.
CREATE TABLE readings (
    service TEXT NOT NULL,
    what    TEXT NOT NULL,
    value   TEXT NOT NULL,
    PRIMARY KEY (service, what)
) STRICT, WITHOUT ROWID;

-- A person's own instructions for a service, or for all (module 'global'). The newest of a module that is not undone
-- holds; an empty prompt is none.
CREATE TABLE behaviours (
    number      INTEGER PRIMARY KEY,
    module      TEXT NOT NULL,
    prompt      TEXT NOT NULL,
    key         TEXT NOT NULL,
    written_at  TEXT NOT NULL,
    undone_at   TEXT NOT NULL DEFAULT '',
    undone_key  TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX behaviours_by_module ON behaviours (module, number);
CREATE UNIQUE INDEX behaviours_by_key ON behaviours (key) WHERE key <> '';
CREATE UNIQUE INDEX behaviours_by_undone_key ON behaviours (undone_key) WHERE undone_key <> '';
