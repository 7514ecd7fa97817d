-- One person's conversations. `chat_events` is the truth; the other tables follow from it (projection.py).

CREATE TABLE chat_events (
    id              TEXT PRIMARY KEY,
    conversation_id TEXT NOT NULL,
    seq             INTEGER,
    timestamp       TEXT,
    type            TEXT NOT NULL,
    role            TEXT,
    content         TEXT,
    tool_calls      TEXT,
    tool_call_id    TEXT,
    model           TEXT,
    usage           TEXT,
    extra           TEXT,
    token_count     INTEGER,
    request_id      TEXT
) STRICT;
CREATE UNIQUE INDEX chat_events_seq ON chat_events(conversation_id, seq);
CREATE UNIQUE INDEX chat_events_request ON chat_events(conversation_id, request_id)
    WHERE type = 'message.received' AND request_id IS NOT NULL;
CREATE INDEX chat_events_time ON chat_events(timestamp);
CREATE INDEX chat_events_call ON chat_events(conversation_id, tool_call_id) WHERE tool_call_id IS NOT NULL;

CREATE TABLE conversations (
    id                TEXT PRIMARY KEY,
    title             TEXT NOT NULL,
    kind              TEXT NOT NULL,
    surface           TEXT NOT NULL,
    state             TEXT NOT NULL,              -- idle, running, waiting
    memory_limit      INTEGER,
    system_prompt     TEXT,
    metadata          TEXT NOT NULL,              -- JSON object
    first_seq         INTEGER NOT NULL,
    last_seq          INTEGER NOT NULL,
    token_count       INTEGER NOT NULL,           -- sum over its events
    prompt_tokens     INTEGER NOT NULL,           -- usage: sums over its model calls
    completion_tokens INTEGER NOT NULL,
    estimated         INTEGER NOT NULL,
    pinned            INTEGER NOT NULL DEFAULT 0,
    archived_at       TEXT,
    created_at        TEXT NOT NULL,
    updated_at        TEXT NOT NULL               -- when its person last used it
) STRICT, WITHOUT ROWID;
CREATE INDEX conversations_used ON conversations(updated_at, id);

CREATE TABLE runs (
    number            INTEGER PRIMARY KEY,        -- the order in which they were accepted, whatever the clock said
    id                TEXT NOT NULL UNIQUE,
    conversation_id   TEXT NOT NULL,
    request_id        TEXT NOT NULL,
    payload_digest    TEXT NOT NULL,
    state             TEXT NOT NULL,              -- queued, running, waiting, completed, failed, cancelled
    lease             INTEGER NOT NULL DEFAULT 0, -- the boot epoch that last worked on it; 0: none yet
    recoveries        INTEGER NOT NULL DEFAULT 0,
    deadline          TEXT,
    first_seq         INTEGER NOT NULL,
    prompt_tokens     INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    estimated         INTEGER NOT NULL DEFAULT 0,
    created_at        TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX runs_request ON runs(request_id, conversation_id);
-- Not IN: SQLite fills a table with the three words each time a row is written, which costs as much as the row.
CREATE INDEX runs_unfinished ON runs(number, conversation_id, state)
    WHERE state = 'queued' OR state = 'running' OR state = 'waiting';

CREATE TABLE effects (
    run    TEXT NOT NULL,
    turn   INTEGER NOT NULL,
    call   TEXT NOT NULL,
    service TEXT NOT NULL,
    tool   TEXT NOT NULL,
    digest TEXT NOT NULL,
    key    TEXT UNIQUE,
    class  TEXT NOT NULL,
    state  TEXT NOT NULL,                         -- intent, done, failed, unknown
    result INTEGER,                               -- seq of the event that tells it
    PRIMARY KEY (run, turn, call)
) STRICT, WITHOUT ROWID;
