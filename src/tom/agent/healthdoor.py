"""``GET /health`` and ``GET /health/ready``: alive, and whether new work is taken."""

from contextlib import suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tom.agent.admindoor import AdminDoor, state_of
from tom.agent.answering import JsonAnswer
from tom.agent.cell import Cell
from tom.agent.metricsdoor import public_headers
from tom.errors import TomError
from tom.telemetry.health import health_body


class HealthDoor:
    """Tells how an agent is; more to the gateway, and to an admin."""

    def __init__(self, cell: Cell, *, alone: bool, admin: AdminDoor | None) -> None:
        """``alone``: there is no gateway; ``admin`` says who may see the parts."""
        self._cell = cell
        self._alone = alone
        self._admin = admin

    def routes(self) -> list[Route]:
        """The routes of this door."""
        return [
            Route("/health", self.live, methods=["GET"]),
            Route("/health/ready", self.ready, methods=["GET"]),
        ]

    async def live(self, request: Request) -> Response:
        """Alive; for the gateway also how busy, for an admin how each part is."""
        cell = self._cell
        body: dict[str, Any] = dict(health_body(cell.uptime, cell.metrics.numbers if cell.metrics else None))
        if not self._alone:
            body |= {"active_runs": cell.scheduler.unfinished_runs, "sockets": cell.sockets.open}
        with suppress(TomError):  # too many wrong tokens: this says that the program lives, whoever asks
            if self._admin is not None and await self._admin.shows_token(request):
                body["details"] = self._details()
        return JsonAnswer(body, headers=public_headers(cell, alone=self._alone) | {"Cache-Control": "no-store"})

    async def ready(self, request: Request) -> Response:  # noqa: ARG002 - an endpoint
        """Whether new work is taken."""
        ready = self._is_ready()
        return JsonAnswer({"ready": ready}, 200 if ready else 503)

    def _is_ready(self) -> bool:
        cell = self._cell
        return cell.ready and not cell.scheduler.draining and not cell.store.lost

    def _details(self) -> dict[str, Any]:
        cell = self._cell
        state = state_of(cell)
        return {
            "store": {"status": "lost" if cell.store.lost else "ok", "epoch": cell.store.epoch},
            "scheduler": {
                "active": cell.scheduler.active_runs,
                "queued": cell.scheduler.queued_runs,
                "waiting": cell.scheduler.waiting_runs,
                "draining": cell.scheduler.draining,
            },
            "archive": cell.mirror.state() if cell.mirror else {"backend": "none"},
            "redis": {"configured": bool(cell.settings.doors.redis.url), "limiter": state["limiter"]},
            "services": state["services"],
            "websocket_connections": cell.sockets.open,
        }
