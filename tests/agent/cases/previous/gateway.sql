BEGIN TRANSACTION;
CREATE TABLE devices (
    user          TEXT NOT NULL,
    digest        TEXT NOT NULL,        -- SHA-256 of the cookie's value
    last_login_at TEXT NOT NULL,
    PRIMARY KEY (user, digest)
) STRICT, WITHOUT ROWID;
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
INSERT INTO "logins" VALUES('01M7ZRCF7BREEJZY7SB6RXHYY5','f6523911f6ee167088f19b5dce3a304d230a8a850c1f91dd3c23ca73e584be21','alice','2026-01-01T00:00:00.000Z','2026-01-01T00:00:00.000Z',1,'10.0.0.1','');
CREATE TABLE opening (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    epoch      TEXT NOT NULL,
    boot_epoch INTEGER NOT NULL,
    boot_id    TEXT NOT NULL,
    inode      INTEGER NOT NULL,
    clean      INTEGER NOT NULL DEFAULT 0,
    copied     INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO "opening" VALUES(1,'0acbacc34347e8fea8c4894c3f078a41',1,'5393b1f5-4894-43ad-adc7-5b356521f3f9',2271656,1,0);
CREATE TABLE schema_version (
    version    INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    applied_at TEXT NOT NULL
) STRICT;
INSERT INTO "schema_version" VALUES(1,'0001_accounts','2026-01-01T00:00:00.000Z');
INSERT INTO "schema_version" VALUES(2,'0002_devices','2026-01-01T00:00:00.000Z');
CREATE TABLE throttle (
    key      TEXT PRIMARY KEY,          -- account:… or address:…
    failures INTEGER NOT NULL,
    last_at  TEXT NOT NULL
) STRICT;
CREATE TABLE users (
    name          TEXT PRIMARY KEY,
    password_hash TEXT,             -- argon2id; NULL: no password login
    file_hash     TEXT,             -- argon2id of what config.yml said when it was last compared; NULL: it says nothing
    role          TEXT NOT NULL,
    changed_at    TEXT NOT NULL
) STRICT;
INSERT INTO "users" VALUES('alice','$argon2id$v=19$m=19456,t=2,p=1$Cc5N7WJBiCRJoR03kPlSFA$TN7pQ1V2tGebIwP1iJT3XTG/4YLt8RF4bl0dZT/zdqI','$argon2id$v=19$m=19456,t=2,p=1$Cc5N7WJBiCRJoR03kPlSFA$TN7pQ1V2tGebIwP1iJT3XTG/4YLt8RF4bl0dZT/zdqI','user','2026-01-01T00:00:00.000Z');
CREATE INDEX logins_by_user ON logins (user);
COMMIT;