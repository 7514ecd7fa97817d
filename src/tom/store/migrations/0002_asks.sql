-- Asks, what was used day by day, and what a conversation's row says of itself. All of it follows from events.

ALTER TABLE conversations ADD COLUMN title_by TEXT NOT NULL DEFAULT 'message';  -- message, model, person
ALTER TABLE conversations ADD COLUMN services TEXT;                             -- pinned for triage: JSON list, or null
ALTER TABLE conversations ADD COLUMN allowed TEXT NOT NULL DEFAULT '{}';        -- standing yeses: JSON, full tool name -> pin
ALTER TABLE conversations ADD COLUMN cost INTEGER NOT NULL DEFAULT 0;           -- millionths of the currency
ALTER TABLE runs ADD COLUMN cost INTEGER NOT NULL DEFAULT 0;

CREATE TABLE approvals (
    id           TEXT PRIMARY KEY,
    kind         TEXT NOT NULL,                   -- approval, elicitation
    conversation TEXT NOT NULL,
    run          TEXT NOT NULL,
    turn         INTEGER NOT NULL,
    call         TEXT NOT NULL,
    digest       TEXT NOT NULL,                   -- of the arguments that were asked about; after the answer, of those allowed
    pin          TEXT NOT NULL,
    state        TEXT NOT NULL,                   -- pending, allowed, edited, denied, accepted, declined, expired, cancelled
    asked_at     TEXT NOT NULL,
    expires_at   TEXT,
    decided_at   TEXT,
    decided_by   TEXT
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX approvals_call ON approvals(run, turn, call) WHERE kind = 'approval';
CREATE INDEX approvals_run ON approvals(run);
CREATE INDEX approvals_pending ON approvals(run, call) WHERE state = 'pending';

CREATE TABLE ledger (
    day               TEXT PRIMARY KEY,           -- UTC, YYYY-MM-DD
    prompt_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    estimated         INTEGER NOT NULL,
    cost              INTEGER NOT NULL,
    runs              INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX chat_events_summary ON chat_events(conversation_id, seq) WHERE type = 'history.compacted';
