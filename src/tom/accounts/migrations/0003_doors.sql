-- Credentials of programs, addresses that no rate is counted for, and the record of who changed what.

CREATE TABLE tokens (
    id           TEXT PRIMARY KEY,
    secret_hash  TEXT NOT NULL UNIQUE,  -- SHA-256 of the whole token
    user         TEXT NOT NULL,
    name         TEXT NOT NULL,
    scopes       TEXT NOT NULL,         -- names, with a space between
    created_at   TEXT NOT NULL,
    expires_at   TEXT,                  -- NULL: never
    last_used_at TEXT                   -- written at most once a minute
) STRICT;

CREATE INDEX tokens_by_user ON tokens (user);

CREATE TABLE bypass (
    ip         TEXT PRIMARY KEY,        -- an address or a network, in one spelling
    note       TEXT NOT NULL DEFAULT '',
    created_at TEXT NOT NULL,
    expires_at TEXT,                    -- NULL: never
    created_by TEXT NOT NULL
) STRICT;

CREATE TABLE audit (
    number  INTEGER PRIMARY KEY,        -- 1, 2, 3, … without holes
    at      TEXT NOT NULL,
    kind    TEXT NOT NULL,
    who     TEXT NOT NULL,
    source  TEXT NOT NULL,              -- from where: an address, control, …
    subject TEXT NOT NULL DEFAULT '',
    before  TEXT,                       -- JSON
    after   TEXT,                       -- JSON
    hash    TEXT NOT NULL,              -- of this row and the hash of the row before it
    mac     TEXT NOT NULL
) STRICT;

CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT raise(ABORT, 'the record is not changed'); END;

CREATE TRIGGER audit_is_not_replaced BEFORE INSERT ON audit
WHEN NEW.number <= (SELECT coalesce(max(number), 0) FROM audit)
BEGIN SELECT raise(ABORT, 'the record is not changed'); END;

CREATE TABLE audit_segments (
    first     INTEGER PRIMARY KEY,      -- the rows from here
    last      INTEGER NOT NULL,         -- to here lie in the file audit/FIRST-LAST.jsonl.gz
    hash      TEXT NOT NULL,            -- of the last of them: it opens what follows
    sealed_at TEXT NOT NULL,
    mac       TEXT NOT NULL
) STRICT;

CREATE TRIGGER audit_is_not_shortened BEFORE DELETE ON audit
WHEN OLD.number > (SELECT coalesce(max(last), 0) FROM audit_segments)
BEGIN SELECT raise(ABORT, 'the record is not shortened'); END;

CREATE TRIGGER segments_are_not_changed BEFORE UPDATE ON audit_segments
BEGIN SELECT raise(ABORT, 'the record is not changed'); END;

CREATE TRIGGER segments_stay BEFORE DELETE ON audit_segments
BEGIN SELECT raise(ABORT, 'the record is not shortened'); END;
