-- What is still to be told to the archive. Rows refer to events; only what retention erases first is written out here.

CREATE TABLE outbox (
    id           INTEGER PRIMARY KEY AUTOINCREMENT, -- the order in which it is told; a number never means another row
    target       TEXT NOT NULL,                     -- archive
    dedup_key    TEXT NOT NULL,
    conversation TEXT NOT NULL,
    kind         TEXT NOT NULL,                     -- exchange, prompt, session, erase, cut
    run          TEXT NOT NULL DEFAULT '',
    seq          INTEGER NOT NULL,                  -- the event it follows from; of a cut: what is smaller goes
    body         TEXT,                              -- JSON: the events, once they are no longer in chat_events
    tries        INTEGER NOT NULL DEFAULT 0,
    next_at      TEXT NOT NULL DEFAULT '',          -- not before; empty: now
    parked       INTEGER NOT NULL DEFAULT 0,
    reason       TEXT NOT NULL DEFAULT '',
    created_at   TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX outbox_dedup ON outbox(target, dedup_key);
CREATE INDEX outbox_conversation ON outbox(conversation, id);
CREATE INDEX outbox_held ON outbox(conversation, id) WHERE next_at != '';
CREATE INDEX outbox_erasures ON outbox(id) WHERE kind = 'erase';
