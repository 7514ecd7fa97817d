"""The server that Tom is measured against: FastAPI, the openai SDK, one SQLite commit per event.

Written naively but honestly: one client for the model, WAL, an index, the last 20 messages as the prompt, the stream
passed on as it comes. No TLS, no logins, no isolation, no recovery.

    python bench/baseline/naive.py --port 20100 --upstream http://127.0.0.1:20101/v1 --database /tmp/naive.db
"""

import argparse
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import apsw
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI
from pydantic import BaseModel

WINDOW = 20


class Question(BaseModel):
    """What a client posts."""

    conversation_id: str
    text: str


class History:
    """All events in one table."""

    def __init__(self, path: str) -> None:
        self.connection = apsw.Connection(path)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute(
            "CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY, conversation_id TEXT NOT NULL, type TEXT NOT NULL,"
            " role TEXT, content TEXT, created REAL NOT NULL)"
        )
        self.connection.execute("CREATE INDEX IF NOT EXISTS by_conversation ON events (conversation_id, type, id)")

    def append(self, conversation_id: str, kind: str, role: str | None, content: str) -> None:
        """Store one event; every statement outside a transaction is a commit of its own."""
        self.connection.execute(
            "INSERT INTO events (conversation_id, type, role, content, created) VALUES (?, ?, ?, ?, ?)",
            (conversation_id, kind, role, content, time.time()),
        )

    def window(self, conversation_id: str) -> list[dict[str, Any]]:
        """The newest messages, oldest first."""
        rows = self.connection.execute(
            "SELECT role, content FROM events WHERE conversation_id = ? AND type = 'message' ORDER BY id DESC LIMIT ?",
            (conversation_id, WINDOW),
        ).fetchall()
        return [{"role": role, "content": content} for role, content in reversed(rows)]


def application(upstream: str, database: str) -> FastAPI:
    """The app with its one route."""
    history = History(database)
    client = AsyncOpenAI(base_url=upstream, api_key="none", max_retries=0)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await client.close()

    app = FastAPI(lifespan=lifespan)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/chat")
    async def chat(question: Question) -> StreamingResponse:
        history.append(question.conversation_id, "message", "user", question.text)
        return StreamingResponse(answer(client, history, question), media_type="text/event-stream")

    return app


async def answer(client: AsyncOpenAI, history: History, question: Question) -> AsyncIterator[str]:
    """Ask the model and pass on what it says, each fragment stored first."""
    ask: Callable[..., Any] = client.chat.completions.create
    stream = await ask(
        model="simulated",
        messages=history.window(question.conversation_id),
        stream=True,
        stream_options={"include_usage": True},
    )
    text, tokens = "", 0
    async for chunk in stream:
        if chunk.usage:
            tokens = chunk.usage.total_tokens
        delta = chunk.choices[0].delta.content if chunk.choices else None
        if delta:
            text += delta
            history.append(question.conversation_id, "delta", "assistant", delta)
            yield f"data: {json.dumps({'type': 'delta', 'text': delta})}\n\n"
    history.append(question.conversation_id, "message", "assistant", text)
    yield f"data: {json.dumps({'type': 'complete', 'tokens': tokens})}\n\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--database", required=True)
    options = parser.parse_args()
    app = application(options.upstream, options.database)
    # Clients keep their connections between turns; a server that drops them meanwhile would measure nothing.
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning", timeout_keep_alive=600)
