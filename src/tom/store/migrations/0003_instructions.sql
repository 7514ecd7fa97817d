-- Instructions stand in front of every prompt, however long ago they were given: they are found without reading the rest.

CREATE INDEX chat_events_instructions ON chat_events(conversation_id, seq) WHERE type = 'prompt.set';
