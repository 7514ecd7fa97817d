"""``GET /metrics`` of an agent alone, and what an agent tells its gateway: the numbers that it counted."""

import asyncio
from dataclasses import asdict
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tom.agent.answering import JsonAnswer, chat_error
from tom.agent.cell import Cell
from tom.agent.guarding import caller_of
from tom.errors import NotFoundHere, TomError
from tom.telemetry.metrics import (
    PROMETHEUS_TYPE,
    Gauges,
    Metrics,
    json_body,
    load_exposition,
    prometheus_text,
    wants_prometheus,
)
from tom.telemetry.numbers import encode_numbers

GATEWAY = "gateway"
"""The door of a gateway that asks for itself."""


class Admins(Protocol):
    """Lets admins in; `tom.agent.admindoor.AdminDoor` does."""

    async def check(self, request: Request) -> str:
        """Who the admin is. Raises for everybody else."""
        ...


class MetricsDoor:
    """Shows what was counted. Where metrics are off it has no routes."""

    def __init__(self, cell: Cell, *, alone: bool, admin: Admins | None) -> None:
        """``alone``: there is no gateway, which else shows the figures; ``admin`` knows who may see them."""
        self._cell = cell
        self._alone = alone
        self._admin = admin

    def routes(self) -> list[Route]:
        """The routes of this door."""
        metrics = self._cell.metrics
        if metrics is None:
            return []
        path, endpoint = ("/metrics", self._show) if self._alone else ("/internal/numbers", self._tell)
        name = "getMetrics" if self._alone else None

        async def answer(request: Request) -> Response:
            try:
                return await endpoint(request, metrics)
            except TomError as error:
                return chat_error(error, request.scope["tom.request_id"])

        return [Route(path, answer, methods=["GET"], name=name)]

    async def _show(self, request: Request, metrics: Metrics) -> Response:
        doors = self._cell.settings.doors
        if not is_local(self._cell, alone=self._alone) and not doors.metrics_public:
            if self._admin is None:
                raise NotFoundHere
            await self._admin.check(request)
        wanted = wants_prometheus(request.query_params.get("format"), request.headers.get("accept", ""))
        gauges = gauges_of(self._cell)
        headers = public_headers(self._cell, alone=self._alone) | {"Cache-Control": "no-store"}
        if wanted:
            await asyncio.to_thread(load_exposition)
            text = prometheus_text(metrics.numbers, gauges)
            return Response(text, headers=headers | {"Content-Type": PROMETHEUS_TYPE})
        return JsonAnswer(json_body(metrics.numbers, gauges), headers=headers)

    async def _tell(self, request: Request, metrics: Metrics) -> Response:
        if caller_of(request).door != GATEWAY:
            raise NotFoundHere
        told = {
            "boot": metrics.boot,
            "numbers": encode_numbers(metrics.numbers),
            "gauges": asdict(gauges_of(self._cell)),
        }
        return JsonAnswer(told)


def gauges_of(cell: Cell) -> Gauges:
    """What is so at the moment."""
    runs = cell.scheduler
    return Gauges(
        uptime=cell.uptime.seconds(),
        active=runs.active_runs,
        queued=runs.queued_runs,
        waiting=runs.waiting_runs,
        sockets=cell.sockets.open,
        archive_lag=cell.archive_lag(),
    )


def is_local(cell: Cell, *, alone: bool) -> bool:
    """Whether everybody who reaches this agent sits at its machine."""
    return alone and cell.settings.doors.auth == "local"


def public_headers(cell: Cell, *, alone: bool) -> dict[str, str]:
    """Any page may read health and figures of an agent in mode `local`; no credential is involved."""
    return {"Access-Control-Allow-Origin": "*"} if is_local(cell, alone=alone) else {}
