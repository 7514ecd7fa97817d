"""Connecting to a user's agent, whatever its state was a moment ago."""

from collections.abc import Awaitable, Callable

from tom.gateway.agentlink import NotReachable
from tom.gateway.pool import Lease, Pool
from tom.gateway.refusals import AgentUnavailable
from tom.spawner.spawner import AgentHandle
from tom.telemetry import logs

log = logs.get("proxy")


async def reach[T](pool: Pool, user: str, connect: Callable[[AgentHandle], Awaitable[T]]) -> tuple[Lease, T]:
    """Take the user's agent and connect to it; the caller releases the lease.

    When nobody listens the agent has just ended, even if its parent has not said so yet: its restart is waited for,
    once, since nothing was sent. Raises
    `AgentUnavailable`, and what ``connect`` raises besides `NotReachable`.
    """
    for last in (False, True):
        lease = await pool.take(user)
        try:
            return lease, await connect(lease.handle)
        except NotReachable as error:
            lease.release()
            if last or not await pool.ended(user):
                log.warning(f"⚠️ Agent of '{user}' cannot be reached: {error}", event="agent_unreachable")
                raise AgentUnavailable(user) from error
        except BaseException:
            lease.release()
            raise
    raise AssertionError
