BEGIN TRANSACTION;
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
INSERT INTO "approvals" VALUES('01M7ZRCEBY9MH608P515KPDECE','approval','c-asks','01M7ZRCEBEAX2V3NWNC5WTB0CJ',0,'call_simulated_0','sha256:7b66264d9a5b3e864eabcfcda8c9cfe0faf3a49f1a58be5aefcb41db13e01d96','','pending','2026-01-01T00:00:00.000Z','2026-01-04T00:00:00.000Z',NULL,NULL);
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
INSERT INTO "chat_events" VALUES('01M7ZRCE65JMPPS7RKFBNRV7WY','c-done',1,'2026-01-01T00:00:00.000Z','conversation.opened',NULL,NULL,NULL,NULL,NULL,NULL,'{"kind":"chat","surface":"ws","memory_limit":null,"metadata":{}}',0,NULL);
INSERT INTO "chat_events" VALUES('01M7ZRCE65JMPPS7RKFBNRV7WZ','c-done',2,'2026-01-01T00:00:00.000Z','message.received','user','Find a tent',NULL,NULL,NULL,NULL,'{"run_id":"01M7ZRCE65JMPPS7RKFBNRV7WX","payload_digest":"23a1ccf65f2d9d1bee16ea0c4788595ea15d55d10a45a72da4f92a897eb27c2b","surface":"ws"}',6,'q1');
INSERT INTO "chat_events" VALUES('01M7ZRCE6FZVCR817B4C8NEGY5','c-done',3,'2026-01-01T00:00:00.000Z','run.started',NULL,NULL,NULL,NULL,NULL,NULL,'{"run_id":"01M7ZRCE65JMPPS7RKFBNRV7WX","level":1,"services":["post"]}',0,NULL);
INSERT INTO "chat_events" VALUES('01M7ZRCE6FZVCR817B4C8NEGY6','c-done',4,'2026-01-01T00:00:00.000Z','triage.decided',NULL,NULL,NULL,NULL,NULL,NULL,'{"run_id":"01M7ZRCE65JMPPS7RKFBNRV7WX","services":["post"],"level":1,"ms":0,"how":"skipped","reason":"default level"}',0,NULL);
INSERT INTO "chat_events" VALUES('01M7ZRCE6VQ29A2AZJ45XPGKH3','c-done',5,'2026-01-01T00:00:00.000Z','model.replied','assistant','','[{"id":"call_simulated_0","type":"function","function":{"name":"search","arguments":"{}"}}]',NULL,'m','{"prompt_tokens":11,"completion_tokens":1,"total_tokens":12,"estimated":false}','{"run_id":"01M7ZRCE65JMPPS7RKFBNRV7WX","turn":0,"attempt":1,"finish_reason":"tool_calls"}',5,NULL);
INSERT INTO "chat_events" VALUES('01M7ZRCEABAK0FNFJWFXPB4DA1','c-done',6,'2026-01-01T00:00:00.000Z','tool.called',NULL,NULL,NULL,'call_simulated_0',NULL,NULL,'{"run_id":"01M7ZRCE65JMPPS7RKFBNRV7WX","turn":0,"service":"post","tool":"search","arguments":{},"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","class":"read_private","key":"c423053e3fcc89d444a6ff9c0ac5186b21b935d2081b2eb25588acc848ea9e99","pin":"","verdict":"allow"}',0,NULL);
INSERT INTO "chat_events" VALUES('01M7ZRCEAM97TY546TCXZDS48T','c-done',7,'2026-01-01T00:00:00.000Z','tool.returned','tool','found a tent',NULL,'call_simulated_0',NULL,NULL,'{"run_id":"01M7ZRCE65JMPPS7RKFBNRV7WX","turn":0,"is_error":false,"duration_ms":0,"service":"post","tool":"search","class":"read_private","taint":true,"label":{"untrusted":["post.search"],"private":["post"]}}',7,NULL);
INSERT INTO "chat_events" VALUES('01M7ZRCEAWZG0DKRD73YWNJGD4','c-done',8,'2026-01-01T00:00:00.000Z','model.replied','assistant','I found a tent.',NULL,NULL,'m','{"prompt_tokens":11,"completion_tokens":4,"total_tokens":15,"estimated":false}','{"run_id":"01M7ZRCE65JMPPS7RKFBNRV7WX","turn":1,"attempt":1,"finish_reason":"stop","taint":true,"label":{"untrusted":["post.search"],"private":["post"]}}',8,NULL);
INSERT INTO "chat_events" VALUES('01M7ZRCEAWZG0DKRD73YWNJGD5','c-done',9,'2026-01-01T00:00:00.000Z','run.completed',NULL,NULL,NULL,NULL,NULL,'{"prompt_tokens":22,"completion_tokens":5,"total_tokens":27,"estimated":false}','{"run_id":"01M7ZRCE65JMPPS7RKFBNRV7WX","finish_reason":"stop","hops":2}',0,NULL);
INSERT INTO "chat_events" VALUES('01M7ZRCEBJWPDNVGR2AV3Y30ND','c-asks',1,'2026-01-01T00:00:00.000Z','conversation.opened',NULL,NULL,NULL,NULL,NULL,NULL,'{"kind":"chat","surface":"ws","memory_limit":null,"metadata":{}}',0,NULL);
INSERT INTO "chat_events" VALUES('01M7ZRCEBJWPDNVGR2AV3Y30NE','c-asks',2,'2026-01-01T00:00:00.000Z','message.received','user','Write to Bob',NULL,NULL,NULL,NULL,'{"run_id":"01M7ZRCEBEAX2V3NWNC5WTB0CJ","payload_digest":"8e59f89bd346f6e11c95cabcd32289de868b29e99bbc1ec8c70fdb59911a653d","surface":"ws"}',7,'q2');
INSERT INTO "chat_events" VALUES('01M7ZRCEBTBESB82KN532WAP2H','c-asks',3,'2026-01-01T00:00:00.000Z','run.started',NULL,NULL,NULL,NULL,NULL,NULL,'{"run_id":"01M7ZRCEBEAX2V3NWNC5WTB0CJ","level":1,"services":["post"]}',0,NULL);
INSERT INTO "chat_events" VALUES('01M7ZRCEBTBESB82KN532WAP2J','c-asks',4,'2026-01-01T00:00:00.000Z','triage.decided',NULL,NULL,NULL,NULL,NULL,NULL,'{"run_id":"01M7ZRCEBEAX2V3NWNC5WTB0CJ","services":["post"],"level":1,"ms":0,"how":"skipped","reason":"default level"}',0,NULL);
INSERT INTO "chat_events" VALUES('01M7ZRCEBWP79E21KYCBDSXW0A','c-asks',5,'2026-01-01T00:00:00.000Z','model.replied','assistant','','[{"id":"call_simulated_0","type":"function","function":{"name":"send_mail","arguments":"{\"to\": \"bob\"}"}}]',NULL,'m','{"prompt_tokens":11,"completion_tokens":1,"total_tokens":12,"estimated":false}','{"run_id":"01M7ZRCEBEAX2V3NWNC5WTB0CJ","turn":0,"attempt":1,"finish_reason":"tool_calls"}',10,NULL);
INSERT INTO "chat_events" VALUES('01M7ZRCEBY9MH608P515KPDECF','c-asks',6,'2026-01-01T00:00:00.000Z','approval.requested',NULL,NULL,NULL,'call_simulated_0',NULL,NULL,'{"run_id":"01M7ZRCEBEAX2V3NWNC5WTB0CJ","turn":0,"approval_id":"01M7ZRCEBY9MH608P515KPDECE","service":"post","tool":"send_mail","class":"write_external","arguments":{"to":"bob"},"arguments_digest":"sha256:7b66264d9a5b3e864eabcfcda8c9cfe0faf3a49f1a58be5aefcb41db13e01d96","pin":"","reason":"It changes things outside.","tainted":false,"sources":[],"expires_at":"2026-01-04T00:00:00.000Z","may_remember":true,"hidden":[]}',0,NULL);
INSERT INTO "chat_events" VALUES('01M7ZRCEBY9MH608P515KPDECG','c-asks',7,'2026-01-01T00:00:00.000Z','run.waiting',NULL,NULL,NULL,NULL,NULL,NULL,'{"run_id":"01M7ZRCEBEAX2V3NWNC5WTB0CJ","reason":"approval"}',0,NULL);
INSERT INTO "chat_events" VALUES('01M7ZRCECG8F50X1SJ0N50D9BG','c-failed',1,'2026-01-01T00:00:00.000Z','conversation.opened',NULL,NULL,NULL,NULL,NULL,NULL,'{"kind":"chat","surface":"ws","memory_limit":null,"metadata":{}}',0,NULL);
INSERT INTO "chat_events" VALUES('01M7ZRCECG8F50X1SJ0N50D9BH','c-failed',2,'2026-01-01T00:00:00.000Z','message.received','user','Will fail',NULL,NULL,NULL,NULL,'{"run_id":"01M7ZRCECG8F50X1SJ0N50D9BF","payload_digest":"b63d79811216980e5aec2ab50c1d2e8bd156100d76b02791d25030e52d55718e","surface":"ws"}',6,'q3');
INSERT INTO "chat_events" VALUES('01M7ZRCECR36HZMRGAF8FFEWCN','c-failed',3,'2026-01-01T00:00:00.000Z','run.started',NULL,NULL,NULL,NULL,NULL,NULL,'{"run_id":"01M7ZRCECG8F50X1SJ0N50D9BF","level":1,"services":["post"]}',0,NULL);
INSERT INTO "chat_events" VALUES('01M7ZRCECR36HZMRGAF8FFEWCP','c-failed',4,'2026-01-01T00:00:00.000Z','triage.decided',NULL,NULL,NULL,NULL,NULL,NULL,'{"run_id":"01M7ZRCECG8F50X1SJ0N50D9BF","services":["post"],"level":1,"ms":0,"how":"skipped","reason":"default level"}',0,NULL);
INSERT INTO "chat_events" VALUES('01M7ZRCECVF6D930C6FQQFM1BD','c-failed',5,'2026-01-01T00:00:00.000Z','model.failed',NULL,NULL,NULL,NULL,NULL,NULL,'{"run_id":"01M7ZRCECG8F50X1SJ0N50D9BF","turn":0,"attempt":1,"code":"provider_refused","retryable":false}',0,NULL);
INSERT INTO "chat_events" VALUES('01M7ZRCECVF6D930C6FQQFM1BE','c-failed',6,'2026-01-01T00:00:00.000Z','run.failed',NULL,NULL,NULL,NULL,NULL,'{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0,"estimated":false}','{"run_id":"01M7ZRCECG8F50X1SJ0N50D9BF","code":"provider_error","reason":"The language model''s provider refused the key, the account or the model''s name."}',0,NULL);
INSERT INTO "chat_events" VALUES('01M7ZRCED4PSD9YYCV3PBT95KX','c-cut',1,'2026-01-01T00:00:00.000Z','conversation.opened',NULL,NULL,NULL,NULL,NULL,NULL,'{"kind":"chat","surface":"rest","memory_limit":null,"metadata":{}}',0,NULL);
INSERT INTO "chat_events" VALUES('01M7ZRCED4PSD9YYCV3PBT95KY','c-cut',2,'2026-01-01T00:00:00.000Z','message.received','user','Count',NULL,NULL,NULL,NULL,'{"run_id":"01M7ZRCED3BJMTQTRTDG81WMM6","payload_digest":"f1bfe933a38e44527f2bce7c9c7b4c988c1a73710be68568ae69ff847f1c69d4","surface":"rest"}',4,'q4');
INSERT INTO "chat_events" VALUES('01M7ZRCED7VHNS1X4MD33CKD37','c-cut',3,'2026-01-01T00:00:00.000Z','message.received','user','And then?',NULL,NULL,NULL,NULL,'{"run_id":"01M7ZRCED7VHNS1X4MD33CKD36","payload_digest":"ac9e719c53e66fde56388d0d56eb949f0069150e48228928e928dd2aaaa9f1c2","surface":"ws"}',6,'q5');
INSERT INTO "chat_events" VALUES('01M7ZRCED7VHNS1X4MD33CKD38','c-cut',4,'2026-01-01T00:00:00.000Z','run.started',NULL,NULL,NULL,NULL,NULL,NULL,'{"run_id":"01M7ZRCED3BJMTQTRTDG81WMM6","level":1,"services":["post"]}',0,NULL);
INSERT INTO "chat_events" VALUES('01M7ZRCED7VHNS1X4MD33CKD39','c-cut',5,'2026-01-01T00:00:00.000Z','triage.decided',NULL,NULL,NULL,NULL,NULL,NULL,'{"run_id":"01M7ZRCED3BJMTQTRTDG81WMM6","services":["post"],"level":1,"ms":0,"how":"skipped","reason":"default level"}',0,NULL);
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
, title_by TEXT NOT NULL DEFAULT 'message', services TEXT, allowed TEXT NOT NULL DEFAULT '{}', cost INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;
INSERT INTO "conversations" VALUES('c-asks','Write to Bob','chat','ws','waiting',NULL,NULL,'{}',1,7,17,11,1,0,0,NULL,'2026-01-01T00:00:00.000Z','2026-01-01T00:00:00.000Z','message',NULL,'{}',0);
INSERT INTO "conversations" VALUES('c-cut','Count','chat','rest','running',NULL,NULL,'{}',1,5,10,0,0,0,0,NULL,'2026-01-01T00:00:00.000Z','2026-01-01T00:00:00.000Z','message',NULL,'{}',0);
INSERT INTO "conversations" VALUES('c-done','Find a tent','chat','ws','idle',NULL,NULL,'{}',1,9,26,22,5,0,0,NULL,'2026-01-01T00:00:00.000Z','2026-01-01T00:00:00.000Z','message',NULL,'{}',0);
INSERT INTO "conversations" VALUES('c-failed','Will fail','chat','ws','idle',NULL,NULL,'{}',1,6,6,0,0,0,0,NULL,'2026-01-01T00:00:00.000Z','2026-01-01T00:00:00.000Z','message',NULL,'{}',0);
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
INSERT INTO "effects" VALUES('01M7ZRCE65JMPPS7RKFBNRV7WX',0,'call_simulated_0','post','search','sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a','c423053e3fcc89d444a6ff9c0ac5186b21b935d2081b2eb25588acc848ea9e99','read_private','done',7);
CREATE TABLE ledger (
    day               TEXT PRIMARY KEY,           -- UTC, YYYY-MM-DD
    prompt_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    estimated         INTEGER NOT NULL,
    cost              INTEGER NOT NULL,
    runs              INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "ledger" VALUES('2026-01-01',33,6,0,0,5);
CREATE TABLE opening (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    epoch      TEXT NOT NULL,
    boot_epoch INTEGER NOT NULL,
    boot_id    TEXT NOT NULL,
    inode      INTEGER NOT NULL,
    clean      INTEGER NOT NULL DEFAULT 0,
    copied     INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO "opening" VALUES(1,'4d1e6635c2e9d322ba240abad7cbfc18',1,'5393b1f5-4894-43ad-adc7-5b356521f3f9',2271637,1,0);
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
, cost INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO "runs" VALUES(1,'01M7ZRCE65JMPPS7RKFBNRV7WX','c-done','q1','23a1ccf65f2d9d1bee16ea0c4788595ea15d55d10a45a72da4f92a897eb27c2b','completed',1,0,NULL,2,22,5,0,'2026-01-01T00:00:00.000Z',0);
INSERT INTO "runs" VALUES(2,'01M7ZRCEBEAX2V3NWNC5WTB0CJ','c-asks','q2','8e59f89bd346f6e11c95cabcd32289de868b29e99bbc1ec8c70fdb59911a653d','waiting',1,0,NULL,2,11,1,0,'2026-01-01T00:00:00.000Z',0);
INSERT INTO "runs" VALUES(3,'01M7ZRCECG8F50X1SJ0N50D9BF','c-failed','q3','b63d79811216980e5aec2ab50c1d2e8bd156100d76b02791d25030e52d55718e','failed',1,0,NULL,2,0,0,0,'2026-01-01T00:00:00.000Z',0);
INSERT INTO "runs" VALUES(4,'01M7ZRCED3BJMTQTRTDG81WMM6','c-cut','q4','f1bfe933a38e44527f2bce7c9c7b4c988c1a73710be68568ae69ff847f1c69d4','running',1,0,NULL,2,0,0,0,'2026-01-01T00:00:00.000Z',0);
INSERT INTO "runs" VALUES(5,'01M7ZRCED7VHNS1X4MD33CKD36','c-cut','q5','ac9e719c53e66fde56388d0d56eb949f0069150e48228928e928dd2aaaa9f1c2','queued',0,0,NULL,3,0,0,0,'2026-01-01T00:00:00.000Z',0);
CREATE TABLE schema_version (
    version    INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    applied_at TEXT NOT NULL
) STRICT;
INSERT INTO "schema_version" VALUES(1,'0001_history','2026-01-01T00:00:00.000Z');
INSERT INTO "schema_version" VALUES(2,'0002_asks','2026-01-01T00:00:00.000Z');
INSERT INTO "schema_version" VALUES(3,'0003_instructions','2026-01-01T00:00:00.000Z');
CREATE UNIQUE INDEX chat_events_seq ON chat_events(conversation_id, seq);
CREATE UNIQUE INDEX chat_events_request ON chat_events(conversation_id, request_id)
    WHERE type = 'message.received' AND request_id IS NOT NULL;
CREATE INDEX chat_events_time ON chat_events(timestamp);
CREATE INDEX chat_events_call ON chat_events(conversation_id, tool_call_id) WHERE tool_call_id IS NOT NULL;
CREATE INDEX conversations_used ON conversations(updated_at, id);
CREATE UNIQUE INDEX runs_request ON runs(request_id, conversation_id);
CREATE INDEX runs_unfinished ON runs(number, conversation_id, state)
    WHERE state = 'queued' OR state = 'running' OR state = 'waiting';
CREATE UNIQUE INDEX approvals_call ON approvals(run, turn, call) WHERE kind = 'approval';
CREATE INDEX approvals_run ON approvals(run);
CREATE INDEX approvals_pending ON approvals(run, call) WHERE state = 'pending';
CREATE INDEX chat_events_summary ON chat_events(conversation_id, seq) WHERE type = 'history.compacted';
CREATE INDEX chat_events_instructions ON chat_events(conversation_id, seq) WHERE type = 'prompt.set';
COMMIT;