"""``GET /metrics`` of the gateway: what the whole house has counted."""

import asyncio

from tom.gateway.admin import AdminDoor
from tom.gateway.numbers import HouseNumbers
from tom.gateway.request import Reply, Request, json_reply
from tom.gateway.table import Access, Route
from tom.openapi.operations import Dialect
from tom.telemetry.metrics import PROMETHEUS_TYPE, json_body, load_exposition, prometheus_text, wants_prometheus


class MetricsDoor:
    """Shows the figures to admins, or to everybody."""

    def __init__(self, numbers: HouseNumbers, admin: AdminDoor, *, public: bool) -> None:
        """``public``: `metrics.public`, nobody is asked for an admin token."""
        self._numbers = numbers
        self._admin = admin
        self._public = public

    def routes(self) -> list[Route]:
        """The routes of this door."""
        return [
            Route(
                "GET",
                "/metrics",
                Access.OPEN if self._public else Access.ADMIN,
                self.show,
                dialect=Dialect.CHAT,
                quiet=True,
            )
        ]

    async def show(self, request: Request) -> Reply:
        """The figures, as JSON or as Prometheus reads them."""
        if not self._public:
            await self._admin.check(request)
        accept = request.headers.get(b"accept", b"").decode("latin-1")
        prometheus = wants_prometheus(request.query("format"), accept)
        gauges = await self._numbers.look()
        if prometheus:
            await asyncio.to_thread(load_exposition)
            kind = [(b"content-type", PROMETHEUS_TYPE.encode()), (b"cache-control", b"no-store")]
            return Reply(200, prometheus_text(self._numbers.numbers, gauges), kind)
        return json_reply(json_body(self._numbers.numbers, gauges))
