-- Every statement of the store, by name. All values are bound.

-- name: insert_event
INSERT INTO chat_events (id, conversation_id, seq, timestamp, type, role, content, tool_calls, tool_call_id, model, usage,
                         extra, token_count, request_id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: events_after
SELECT id, conversation_id, seq, timestamp, type, role, content, tool_calls, tool_call_id, model, usage, extra,
       token_count, request_id
FROM chat_events WHERE conversation_id = ? AND seq > ? ORDER BY seq LIMIT ?;

-- name: events_backwards
SELECT id, conversation_id, seq, timestamp, type, role, content, tool_calls, tool_call_id, model, usage, extra,
       token_count, request_id
FROM chat_events WHERE conversation_id = ? ORDER BY seq DESC LIMIT ?;

-- name: last_seq
SELECT last_seq FROM conversations WHERE id = ?;

-- name: insert_conversation
INSERT INTO conversations (id, title, kind, surface, state, memory_limit, system_prompt, metadata, first_seq, last_seq,
                           token_count, prompt_tokens, completion_tokens, estimated, created_at, updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: update_conversation
UPDATE conversations
SET last_seq = ?, token_count = token_count + ?, prompt_tokens = prompt_tokens + ?,
    completion_tokens = completion_tokens + ?, estimated = max(estimated, ?), state = coalesce(?, state),
    title = CASE title WHEN '' THEN ? ELSE title END, system_prompt = coalesce(?, system_prompt)
WHERE id = ?;

-- name: use_conversation
UPDATE conversations
SET updated_at = ?, last_seq = ?, token_count = token_count + ?, prompt_tokens = prompt_tokens + ?,
    completion_tokens = completion_tokens + ?, estimated = max(estimated, ?), state = coalesce(?, state),
    title = CASE title WHEN '' THEN ? ELSE title END, system_prompt = coalesce(?, system_prompt)
WHERE id = ?;

-- name: states_of_unfinished
SELECT DISTINCT state FROM runs INDEXED BY runs_unfinished
WHERE (state = 'queued' OR state = 'running' OR state = 'waiting') AND conversation_id = ?;

-- name: insert_run
INSERT INTO runs (id, conversation_id, request_id, payload_digest, state, first_seq, created_at)
VALUES (?, ?, ?, ?, 'queued', ?, ?)
ON CONFLICT (request_id, conversation_id) DO NOTHING;

-- name: insert_retry
INSERT INTO runs (id, conversation_id, request_id, payload_digest, state, first_seq, created_at)
SELECT ?1, ?2, ?3, coalesce((SELECT payload_digest FROM runs WHERE id = ?4 AND conversation_id = ?2), ''), 'queued', ?5, ?6
WHERE true
ON CONFLICT (request_id, conversation_id) DO NOTHING;

-- name: take_run
UPDATE runs SET state = 'running', lease = ?, recoveries = recoveries + ?
WHERE id = ? AND lease <= ? AND (state = 'queued' OR state = 'running' OR state = 'waiting');

-- name: update_run
UPDATE runs
SET state = coalesce(?, state),
    prompt_tokens = prompt_tokens + ?,
    completion_tokens = completion_tokens + ?,
    estimated = max(estimated, ?)
WHERE id = ? AND (lease = ? OR (? AND state = 'queued')) AND (state = 'queued' OR state = 'running' OR state = 'waiting');

-- name: intend_effect
INSERT INTO effects (run, turn, call, service, tool, digest, key, class, state)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'intent')
ON CONFLICT (run, turn, call) DO UPDATE
SET service = excluded.service, tool = excluded.tool, digest = excluded.digest, key = excluded.key,
    class = excluded.class, state = 'intent', result = NULL;

-- name: end_effect
UPDATE effects SET state = ?, result = ? WHERE run = ? AND turn = ? AND call = ?;

-- name: conversations
SELECT id, title, kind, surface, state, memory_limit, metadata, first_seq, last_seq, prompt_tokens, completion_tokens,
       estimated, created_at, updated_at
FROM conversations
WHERE (updated_at, id) < (:before_time, :before_id) AND (:surface IS NULL OR surface = :surface)
ORDER BY updated_at DESC, id DESC LIMIT :limit;

-- name: conversations_by_id
SELECT id, title, kind, surface, state, memory_limit, metadata, first_seq, last_seq, prompt_tokens, completion_tokens,
       estimated, created_at, updated_at
FROM conversations
WHERE id IN (SELECT value FROM json_each(:ids))
  AND (updated_at, id) < (:before_time, :before_id) AND (:surface IS NULL OR surface = :surface)
ORDER BY updated_at DESC, id DESC LIMIT :limit;

-- name: run_of_request
SELECT id, conversation_id, request_id, payload_digest, state, lease, first_seq, created_at, prompt_tokens,
       completion_tokens, estimated
FROM runs WHERE conversation_id = ? AND request_id = ?;

-- name: runs_by_id
SELECT id, conversation_id, request_id, payload_digest, state, lease, first_seq, created_at, prompt_tokens,
       completion_tokens, estimated
FROM runs
WHERE id = :run_id
  AND (:conversation_id IS NULL OR conversation_id = :conversation_id)
  AND (:request_id IS NULL OR request_id = :request_id)
  AND (:since IS NULL OR created_at >= :since)
  AND (:states IS NULL OR state IN (SELECT value FROM json_each(:states)))
ORDER BY number LIMIT :limit;

-- name: runs_by_request
SELECT id, conversation_id, request_id, payload_digest, state, lease, first_seq, created_at, prompt_tokens,
       completion_tokens, estimated
FROM runs
WHERE request_id = :request_id
  AND (:conversation_id IS NULL OR conversation_id = :conversation_id)
  AND (:since IS NULL OR created_at >= :since)
  AND (:states IS NULL OR state IN (SELECT value FROM json_each(:states)))
ORDER BY number LIMIT :limit;

-- name: runs_of_conversation
SELECT id, conversation_id, request_id, payload_digest, state, lease, first_seq, created_at, prompt_tokens,
       completion_tokens, estimated
FROM runs
WHERE id IN (SELECT extra ->> 'run_id' FROM chat_events
             WHERE conversation_id = :conversation_id AND type IN ('message.received', 'run.retried'))
  AND conversation_id = :conversation_id
  AND (:since IS NULL OR created_at >= :since)
  AND (:states IS NULL OR state IN (SELECT value FROM json_each(:states)))
ORDER BY number LIMIT :limit;

-- name: runs_unfinished
SELECT id, conversation_id, request_id, payload_digest, state, lease, first_seq, created_at, prompt_tokens,
       completion_tokens, estimated
FROM runs INDEXED BY runs_unfinished
WHERE (state = 'queued' OR state = 'running' OR state = 'waiting')
  AND (:since IS NULL OR created_at >= :since)
  AND state IN (SELECT value FROM json_each(:states))
ORDER BY number LIMIT :limit;

-- name: runs
SELECT id, conversation_id, request_id, payload_digest, state, lease, first_seq, created_at, prompt_tokens,
       completion_tokens, estimated
FROM runs
WHERE (:since IS NULL OR created_at >= :since)
  AND (:states IS NULL OR state IN (SELECT value FROM json_each(:states)))
ORDER BY number LIMIT :limit;

-- name: erase_effects
DELETE FROM effects
WHERE run IN (SELECT extra ->> 'run_id' FROM chat_events
              WHERE conversation_id = ? AND type IN ('message.received', 'run.retried'));

-- name: erase_runs
DELETE FROM runs
WHERE conversation_id = ?1
  AND id IN (SELECT extra ->> 'run_id' FROM chat_events
             WHERE conversation_id = ?1 AND type IN ('message.received', 'run.retried'));

-- name: erase_events
DELETE FROM chat_events WHERE conversation_id = ?;

-- name: erase_conversation
DELETE FROM conversations WHERE id = ?;

-- name: count_everything
SELECT (SELECT count(*) FROM conversations), (SELECT count(*) FROM chat_events);
