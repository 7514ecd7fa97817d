-- Every statement of the store, by name. All values are bound.

-- name: insert_event
INSERT INTO chat_events (id, conversation_id, seq, timestamp, type, role, content, tool_calls, tool_call_id, model, usage,
                         extra, token_count, request_id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: events_after
SELECT id, conversation_id, seq, timestamp, type, role, content, tool_calls, tool_call_id, model, usage, extra,
       token_count, request_id
FROM chat_events
WHERE conversation_id = ?1 AND seq > max(?2, coalesce((SELECT first_seq FROM conversations WHERE id = ?1), 1) - 1)
ORDER BY seq LIMIT ?3;

-- name: events_backwards
SELECT id, conversation_id, seq, timestamp, type, role, content, tool_calls, tool_call_id, model, usage, extra,
       token_count, request_id
FROM chat_events
WHERE conversation_id = ?1 AND seq >= coalesce((SELECT first_seq FROM conversations WHERE id = ?1), 1)
ORDER BY seq DESC LIMIT ?2;

-- name: instructions
SELECT id, conversation_id, seq, timestamp, type, role, content, tool_calls, tool_call_id, model, usage, extra,
       token_count, request_id
FROM chat_events INDEXED BY chat_events_instructions
WHERE conversation_id = ? AND type = 'prompt.set' AND seq < ? ORDER BY seq;

-- name: newest_summary
SELECT id, conversation_id, seq, timestamp, type, role, content, tool_calls, tool_call_id, model, usage, extra,
       token_count, request_id
FROM chat_events INDEXED BY chat_events_summary
WHERE conversation_id = ? AND type = 'history.compacted' ORDER BY seq DESC LIMIT 1;

-- name: summed
SELECT DISTINCT conversation_id FROM chat_events INDEXED BY chat_events_summary WHERE type = 'history.compacted';

-- name: instructed
SELECT DISTINCT conversation_id FROM chat_events INDEXED BY chat_events_instructions WHERE type = 'prompt.set';

-- name: last_seq
SELECT last_seq FROM conversations WHERE id = ?;

-- name: insert_conversation
INSERT INTO conversations (id, title, kind, surface, state, memory_limit, system_prompt, metadata, first_seq, last_seq,
                           token_count, prompt_tokens, completion_tokens, estimated, cost, created_at, updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: take_in_conversation
INSERT INTO conversations (id, title, kind, surface, state, memory_limit, system_prompt, metadata, first_seq, last_seq,
                           token_count, prompt_tokens, completion_tokens, estimated, cost, created_at, updated_at, title_by,
                           pinned, services)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING;

-- name: take_in_run
INSERT INTO runs (id, conversation_id, request_id, payload_digest, state, first_seq, created_at, prompt_tokens,
                  completion_tokens, estimated, cost)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: update_conversation
UPDATE conversations
SET last_seq = ?, token_count = token_count + ?, prompt_tokens = prompt_tokens + ?,
    completion_tokens = completion_tokens + ?, estimated = max(estimated, ?), cost = cost + ?, state = coalesce(?, state),
    title = CASE title WHEN '' THEN ? ELSE title END, system_prompt = coalesce(?, system_prompt)
WHERE id = ?;

-- name: use_conversation
UPDATE conversations
SET updated_at = ?, last_seq = ?, token_count = token_count + ?, prompt_tokens = prompt_tokens + ?,
    completion_tokens = completion_tokens + ?, estimated = max(estimated, ?), cost = cost + ?, state = coalesce(?, state),
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
    estimated = max(estimated, ?),
    cost = cost + ?
WHERE id = ? AND (lease = ? OR (? AND state != 'running')) AND (state = 'queued' OR state = 'running' OR state = 'waiting');

-- name: make_ask
INSERT INTO approvals (id, kind, conversation, run, turn, call, digest, pin, state, asked_at, expires_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'pending', ?, ?)
ON CONFLICT DO NOTHING;

-- name: answer_ask
UPDATE approvals
SET state = :state, decided_at = :decided_at, decided_by = :decided_by, digest = coalesce(:digest, digest)
WHERE id = :ask_id AND run = :run_id AND state = 'pending'
  AND EXISTS (SELECT 1 FROM runs WHERE runs.id = :run_id AND runs.state IN ('running', 'waiting'));

-- name: cancel_asks
UPDATE approvals INDEXED BY approvals_pending
SET state = 'cancelled', decided_at = :decided_at, decided_by = 'cancel'
WHERE run = :run_id AND (:call_id IS NULL OR call = :call_id) AND state = 'pending';

-- name: runs_asking
SELECT DISTINCT run FROM approvals INDEXED BY approvals_pending WHERE state = 'pending';

-- name: state_of_run
SELECT state FROM runs WHERE id = ?;

-- name: spend
INSERT INTO ledger (day, prompt_tokens, completion_tokens, estimated, cost, runs) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (day) DO UPDATE
SET prompt_tokens = prompt_tokens + excluded.prompt_tokens,
    completion_tokens = completion_tokens + excluded.completion_tokens,
    estimated = max(estimated, excluded.estimated), cost = cost + excluded.cost, runs = runs + excluded.runs;

-- name: spent
SELECT day, prompt_tokens, completion_tokens, estimated, cost, runs FROM ledger
WHERE day BETWEEN ? AND coalesce(?, '~') ORDER BY day;

-- name: edit_conversation
UPDATE conversations
SET title = CASE WHEN :title IS NULL OR (:title_by = 'model' AND title_by = 'person') THEN title ELSE :title END,
    title_by = CASE WHEN :title IS NULL OR (:title_by = 'model' AND title_by = 'person') THEN title_by
                    ELSE coalesce(:title_by, 'person') END,
    pinned = coalesce(:pinned, pinned),
    metadata = coalesce(:metadata, metadata),
    memory_limit = CASE WHEN :has_memory_limit THEN :memory_limit ELSE memory_limit END,
    services = CASE WHEN :has_services THEN :services ELSE services END,
    allowed = json_patch(allowed, coalesce(:allowed, '{}'))
WHERE id = :id;

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
       estimated, created_at, updated_at, cost, title_by, pinned, services, allowed, token_count, system_prompt
FROM conversations
WHERE (updated_at, id) < (:before_time, :before_id) AND (:surface IS NULL OR surface = :surface)
  AND (:kind IS NULL OR kind = :kind)
ORDER BY updated_at DESC, id DESC LIMIT :limit;

-- name: conversations_matching
SELECT id, title, kind, surface, state, memory_limit, metadata, first_seq, last_seq, prompt_tokens, completion_tokens,
       estimated, created_at, updated_at, cost, title_by, pinned, services, allowed, token_count, system_prompt
FROM conversations
WHERE (updated_at, id) < (:before_time, :before_id) AND (:surface IS NULL OR surface = :surface)
  AND (:kind IS NULL OR kind = :kind)
  AND ((NOT EXISTS (SELECT 1 FROM json_each(:likes) WHERE title NOT LIKE value ESCAPE '\')
        AND NOT EXISTS (SELECT 1 FROM json_each(:globs) WHERE title NOT GLOB value))
    OR EXISTS (SELECT 1 FROM chat_events
               WHERE conversation_id = conversations.id AND seq >= conversations.first_seq
                 AND type IN ('message.received', 'model.replied') AND content != ''
                 AND NOT EXISTS (SELECT 1 FROM json_each(:likes) WHERE content NOT LIKE value ESCAPE '\')
                 AND NOT EXISTS (SELECT 1 FROM json_each(:globs) WHERE content NOT GLOB value)))
ORDER BY updated_at DESC, id DESC LIMIT :limit;

-- name: conversations_by_id
SELECT id, title, kind, surface, state, memory_limit, metadata, first_seq, last_seq, prompt_tokens, completion_tokens,
       estimated, created_at, updated_at, cost, title_by, pinned, services, allowed, token_count, system_prompt
FROM conversations
WHERE id IN (SELECT value FROM json_each(:ids))
  AND (updated_at, id) < (:before_time, :before_id) AND (:surface IS NULL OR surface = :surface)
  AND (:kind IS NULL OR kind = :kind)
ORDER BY updated_at DESC, id DESC LIMIT :limit;

-- name: run_of_request
SELECT id, conversation_id, request_id, payload_digest, state, lease, first_seq, created_at, prompt_tokens,
       completion_tokens, estimated, cost
FROM runs WHERE conversation_id = ? AND request_id = ?;

-- name: runs_by_id
SELECT id, conversation_id, request_id, payload_digest, state, lease, first_seq, created_at, prompt_tokens,
       completion_tokens, estimated, cost
FROM runs
WHERE id = :run_id
  AND (:conversation_id IS NULL OR conversation_id = :conversation_id)
  AND (:request_id IS NULL OR request_id = :request_id)
  AND (:since IS NULL OR created_at >= :since)
  AND (:states IS NULL OR state IN (SELECT value FROM json_each(:states)))
ORDER BY number LIMIT :limit;

-- name: runs_by_ask
SELECT id, conversation_id, request_id, payload_digest, state, lease, first_seq, created_at, prompt_tokens,
       completion_tokens, estimated, cost
FROM runs
WHERE id = (SELECT run FROM approvals WHERE id = :asked)
  AND (:run_id IS NULL OR id = :run_id)
  AND (:conversation_id IS NULL OR conversation_id = :conversation_id)
  AND (:request_id IS NULL OR request_id = :request_id)
  AND (:since IS NULL OR created_at >= :since)
  AND (:states IS NULL OR state IN (SELECT value FROM json_each(:states)))
ORDER BY number LIMIT :limit;

-- name: runs_by_request
SELECT id, conversation_id, request_id, payload_digest, state, lease, first_seq, created_at, prompt_tokens,
       completion_tokens, estimated, cost
FROM runs
WHERE request_id = :request_id
  AND (:conversation_id IS NULL OR conversation_id = :conversation_id)
  AND (:since IS NULL OR created_at >= :since)
  AND (:states IS NULL OR state IN (SELECT value FROM json_each(:states)))
ORDER BY number LIMIT :limit;

-- name: runs_of_conversation
SELECT id, conversation_id, request_id, payload_digest, state, lease, first_seq, created_at, prompt_tokens,
       completion_tokens, estimated, cost
FROM runs
WHERE id IN (SELECT extra ->> 'run_id' FROM chat_events
             WHERE conversation_id = :conversation_id AND type IN ('message.received', 'run.retried'))
  AND conversation_id = :conversation_id
  AND (:since IS NULL OR created_at >= :since)
  AND (:states IS NULL OR state IN (SELECT value FROM json_each(:states)))
ORDER BY number LIMIT :limit;

-- name: runs_unfinished
SELECT id, conversation_id, request_id, payload_digest, state, lease, first_seq, created_at, prompt_tokens,
       completion_tokens, estimated, cost
FROM runs INDEXED BY runs_unfinished
WHERE (state = 'queued' OR state = 'running' OR state = 'waiting')
  AND (:conversation_id IS NULL OR conversation_id = :conversation_id)
  AND (:since IS NULL OR created_at >= :since)
  AND state IN (SELECT value FROM json_each(:states))
ORDER BY number LIMIT :limit;

-- name: runs
SELECT id, conversation_id, request_id, payload_digest, state, lease, first_seq, created_at, prompt_tokens,
       completion_tokens, estimated, cost
FROM runs
WHERE (:since IS NULL OR created_at >= :since)
  AND (:states IS NULL OR state IN (SELECT value FROM json_each(:states)))
ORDER BY number LIMIT :limit;

-- name: erase_effects
DELETE FROM effects
WHERE run IN (SELECT extra ->> 'run_id' FROM chat_events
             WHERE conversation_id = ?1 AND seq < coalesce(?2, 9223372036854775807)
               AND type IN ('message.received', 'run.retried'));

-- name: erase_asks
DELETE FROM approvals
WHERE run IN (SELECT extra ->> 'run_id' FROM chat_events
             WHERE conversation_id = ?1 AND seq < coalesce(?2, 9223372036854775807)
               AND type IN ('message.received', 'run.retried'));

-- name: erase_runs
DELETE FROM runs
WHERE conversation_id = ?1
  AND id IN (SELECT extra ->> 'run_id' FROM chat_events
             WHERE conversation_id = ?1 AND seq < coalesce(?2, 9223372036854775807)
               AND type IN ('message.received', 'run.retried'));

-- name: needed_from
WITH RECURSIVE needed(id, first_seq) AS (
    SELECT id, first_seq FROM runs INDEXED BY runs_unfinished
    WHERE (state = 'queued' OR state = 'running' OR state = 'waiting') AND conversation_id = ?1
    UNION
    SELECT runs.id, runs.first_seq FROM needed
    JOIN chat_events ON chat_events.conversation_id = ?1 AND chat_events.seq = needed.first_seq
    JOIN runs ON runs.id = chat_events.extra ->> 'retry_of' AND runs.conversation_id = ?1
)
SELECT min(first_seq) FROM needed;

-- name: tokens_before
SELECT coalesce(sum(token_count), 0) FROM chat_events
WHERE conversation_id = ?1 AND seq < ?2 AND seq >= (SELECT first_seq FROM conversations WHERE id = ?1);

-- name: erase_events
DELETE FROM chat_events
WHERE conversation_id = ?1 AND seq < coalesce(?2, 9223372036854775807) AND (?2 IS NULL OR type != 'prompt.set');

-- name: first_message
SELECT content FROM chat_events
WHERE conversation_id = ? AND type = 'message.received' AND role = 'user' ORDER BY seq LIMIT 1;

-- name: retire_conversation
UPDATE conversations
SET first_seq = ?, token_count = token_count - ?, title = CASE title_by WHEN 'message' THEN ? ELSE title END
WHERE id = ?;

-- name: erase_conversation
DELETE FROM conversations WHERE id = ?;

-- name: count_everything
SELECT (SELECT count(*) FROM conversations), (SELECT count(*) FROM chat_events);

-- name: queue
INSERT OR REPLACE INTO outbox (target, dedup_key, conversation, kind, run, seq, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: mirrors
SELECT target, place, whole, keep, off FROM mirrors;

-- name: set_mirror
INSERT OR REPLACE INTO mirrors (target, place, whole, keep, off) VALUES (?, ?, ?, ?, ?);

-- name: note_erased
INSERT OR REPLACE INTO stale (conversation, erased) SELECT id, 1 FROM conversations WHERE id = ? AND surface = ?;

-- name: note_cut
INSERT INTO stale (conversation, erased) SELECT id, 0 FROM conversations WHERE id = ? AND surface = ?
ON CONFLICT (conversation) DO NOTHING;

-- name: note_elsewhere
INSERT OR REPLACE INTO stale (conversation, erased) VALUES (?, 1);

-- name: stale
SELECT id, conversation, erased FROM stale WHERE id > ? ORDER BY id LIMIT ?;

-- name: stale_of
SELECT erased FROM stale WHERE conversation = ?;

-- name: settle
DELETE FROM stale WHERE id IN (SELECT value FROM json_each(?));

-- name: restored
DELETE FROM stale WHERE conversation = ?;

-- name: ids_after
SELECT id FROM conversations WHERE id > ? ORDER BY id LIMIT ?;

-- name: forget_queued
DELETE FROM outbox WHERE conversation = ?1 AND (?2 IS NULL OR (kind IN ('exchange', 'prompt') AND seq < ?2));

-- name: erasures_due
SELECT id, kind, conversation, run, seq, body, tries, reason FROM outbox INDEXED BY outbox_erasures
WHERE kind = 'erase' AND next_at <= :now ORDER BY id LIMIT :limit;

-- name: entries_due
SELECT id, kind, conversation, run, seq, body, tries, reason FROM outbox AS entry
WHERE kind != 'erase'
  AND NOT EXISTS (SELECT 1 FROM outbox AS held INDEXED BY outbox_held
                  WHERE held.next_at != '' AND held.conversation = entry.conversation AND held.id <= entry.id
                    AND held.next_at > :now)
ORDER BY id LIMIT :limit;

-- name: waiting_of
SELECT id, kind, conversation, run, seq, body, tries, reason FROM outbox
WHERE conversation = ? AND body IS NULL AND kind = 'exchange' ORDER BY id;

-- name: parked
SELECT id, kind, conversation, run, seq, body, tries, reason FROM outbox INDEXED BY outbox_held
WHERE next_at != '' AND parked ORDER BY id LIMIT ?;

-- name: held
SELECT count(*) FROM outbox AS entry
WHERE EXISTS (SELECT 1 FROM outbox AS held INDEXED BY outbox_held
              WHERE held.next_at != '' AND held.conversation = entry.conversation AND held.id <= entry.id AND held.parked);

-- name: owed
SELECT conversation FROM outbox INDEXED BY outbox_erasures WHERE kind = 'erase' ORDER BY id;

-- name: confirm
DELETE FROM outbox WHERE id IN (SELECT value FROM json_each(?));

-- name: postpone
UPDATE outbox SET tries = tries + 1, next_at = ?, parked = ?, reason = ? WHERE id = ?;

-- name: written_out
SELECT coalesce(sum(octet_length(body)), 0) FROM outbox;

-- name: write_out
UPDATE outbox SET body = ? WHERE id = ?;

-- name: lag
SELECT count(*), min(created_at), min(CASE WHEN next_at != '' AND NOT parked THEN next_at END) FROM outbox;

-- name: release
UPDATE outbox SET tries = 0, next_at = '', parked = 0, reason = ''
WHERE next_at != '' AND (?1 IS NULL OR conversation = ?1);

-- name: refill_sessions
INSERT INTO outbox (target, dedup_key, conversation, kind, seq, created_at)
SELECT :target, 'session:' || id, id, 'session', last_seq, :at FROM conversations
WHERE :conversation IS NULL OR id = :conversation ORDER BY created_at, id
ON CONFLICT (target, dedup_key) DO NOTHING;

-- name: refill_exchanges
INSERT INTO outbox (target, dedup_key, conversation, kind, run, seq, created_at)
SELECT :target, 'exchange:' || (extra ->> 'run_id'), conversation_id, 'exchange', extra ->> 'run_id', seq, :at FROM chat_events
WHERE type = 'run.completed' AND extra ->> 'run_id' IS NOT NULL AND extra ->> 'adopted' IS NULL AND (:conversation IS NULL OR conversation_id = :conversation)
ORDER BY conversation_id, seq
ON CONFLICT (target, dedup_key) DO NOTHING;

-- name: refill_prompts
INSERT INTO outbox (target, dedup_key, conversation, kind, seq, created_at)
SELECT :target, 'prompt:' || conversation_id || ':' || seq, conversation_id, 'prompt', seq, :at FROM chat_events
WHERE type = 'prompt.set' AND extra ->> 'run_id' IS NULL AND (:conversation IS NULL OR conversation_id = :conversation)
  AND (:keep OR seq >= (SELECT first_seq FROM conversations WHERE id = conversation_id))
ORDER BY conversation_id, seq
ON CONFLICT (target, dedup_key) DO NOTHING;

-- name: first_of_run
SELECT first_seq FROM runs WHERE id = ? AND conversation_id = ?;

-- name: beginning_of_run
SELECT chat_events.id, chat_events.conversation_id, seq, timestamp, type, role, content, tool_calls, tool_call_id, model, usage,
       extra, token_count, chat_events.request_id
FROM runs JOIN chat_events ON chat_events.conversation_id = runs.conversation_id AND chat_events.seq = runs.first_seq
WHERE runs.id = ? AND runs.conversation_id = ?;

-- name: events_between
SELECT id, conversation_id, seq, timestamp, type, role, content, tool_calls, tool_call_id, model, usage, extra,
       token_count, request_id
FROM chat_events
WHERE conversation_id = ? AND seq BETWEEN ? AND ? ORDER BY seq;

-- name: said_between
SELECT id, conversation_id, seq, timestamp, type, role, content, tool_calls, tool_call_id, model, usage, extra,
       token_count, request_id
FROM chat_events
WHERE conversation_id = ? AND seq BETWEEN ? AND ?
  AND type IN ('message.received', 'run.retried', 'prompt.set', 'model.replied')
ORDER BY seq;
