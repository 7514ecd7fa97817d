BEGIN TRANSACTION;
CREATE TABLE behaviours (
    number      INTEGER PRIMARY KEY,
    module      TEXT NOT NULL,
    prompt      TEXT NOT NULL,
    key         TEXT NOT NULL,
    written_at  TEXT NOT NULL,
    undone_at   TEXT NOT NULL DEFAULT '',
    undone_key  TEXT NOT NULL DEFAULT ''
) STRICT;
INSERT INTO "behaviours" VALUES(1,'tone','Speak plainly.','','2026-01-01T00:00:00.000Z','','');
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
INSERT INTO "lists" VALUES('post','here','post 1','2025-06-18','{"name":"send_mail"}','Mail of the house.',60.0,'2026-01-01T00:00:00.000Z');
CREATE TABLE opening (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    epoch      TEXT NOT NULL,
    boot_epoch INTEGER NOT NULL,
    boot_id    TEXT NOT NULL,
    inode      INTEGER NOT NULL,
    clean      INTEGER NOT NULL DEFAULT 0,
    copied     INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO "opening" VALUES(1,'f0c53f872dfd5db47ca2d7ff8feacb57',1,'5393b1f5-4894-43ad-adc7-5b356521f3f9',2271645,1,0);
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
INSERT INTO "pins" VALUES('post','send_mail','sha256:1','here','{"name":"send_mail"}','write_external',0,1,0,'2026-01-01T00:00:00.000Z','alice','2026-01-02T00:00:00.000Z');
CREATE TABLE readings (
    service TEXT NOT NULL,
    what    TEXT NOT NULL,
    value   TEXT NOT NULL,
    PRIMARY KEY (service, what)
) STRICT, WITHOUT ROWID;
INSERT INTO "readings" VALUES('post','instructions','Mail of the house.');
CREATE TABLE schema_version (
    version    INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    applied_at TEXT NOT NULL
) STRICT;
INSERT INTO "schema_version" VALUES(1,'0001_services','2026-01-01T00:00:00.000Z');
CREATE INDEX behaviours_by_module ON behaviours (module, number);
CREATE UNIQUE INDEX behaviours_by_key ON behaviours (key) WHERE key <> '';
CREATE UNIQUE INDEX behaviours_by_undone_key ON behaviours (undone_key) WHERE undone_key <> '';
COMMIT;