-- Where there are or were copies of conversations, and what of them must not stay as it is.

CREATE TABLE mirrors (
    target TEXT PRIMARY KEY,        -- archive, memory
    place  TEXT NOT NULL,           -- tells one archive from another
    whole  INTEGER NOT NULL,        -- instructions and tool calls, too
    keep   INTEGER NOT NULL,        -- also what retention erases
    off    INTEGER NOT NULL         -- there is none at the moment: what happens is not told
) STRICT;

CREATE TABLE stale (                -- the copies in a shared memory of sessions that were erased or cut here
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation TEXT NOT NULL UNIQUE,
    erased       INTEGER NOT NULL   -- 1: all of it; 0: its oldest part
) STRICT;
