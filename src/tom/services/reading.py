"""Resources as a model sees them: a bounded list in its prompt, and the tool with which it reads one.

A resource's text is never put into a prompt by itself. What is listed and what is read are the services' words; who
offers this tool fences and labels them.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from tom.conversation.tool import ToolClass, ToolDefinition, ToolOutcome
from tom.errors import TomError
from tom.services import results
from tom.services.cleaning import clean_within
from tom.services.library import Library, ResourceEntry

LISTED_BYTES = 6_000
_LINE_BYTES = 300
_OWN_SCHEME = "description://"
"""Resources that are meant for Tom and not for the model."""

READ_RESOURCE = ToolDefinition(
    name="read_resource",
    service="tom",
    tool="read_resource",
    description=(
        "Read one of the listed resources of a service. A listed resource is written <service>::<uri>; "
        "fill in what stands in braces in the URI of a template."
    ),
    parameters={
        "type": "object",
        "properties": {
            "service": {"type": "string", "description": "The service that has the resource"},
            "uri": {"type": "string", "description": "The resource's URI"},
        },
        "required": ["service", "uri"],
        "additionalProperties": False,
    },
    tool_class=ToolClass.READ_PRIVATE,
    outward=True,
)
"""The tool to offer while any service has resources. Its result is untrusted unless its service is trusted.

A URI is told to its service as it is, so it can carry anything there: for a call the tool is `aimed`.
"""


def aimed(
    arguments: Mapping[str, Any], *, listed: Collection[tuple[str, str]], trusted: Collection[str]
) -> ToolDefinition:
    """`READ_RESOURCE` for one call: it reads from the service that the arguments name, and what comes back is its own.

    ``listed``: service and URI of every resource on offer that is no template; of these nothing is told that its
    service does not know. ``trusted``: the services whose text is no taint.
    """
    service, uri = _named(arguments)
    return replace(
        READ_RESOURCE,
        source=service,
        origin=f"resource:{service}::{uri}",
        outward=(service, uri) not in listed,
        trusted=service in trusted,
    )


def listed(resources: Iterable[ResourceEntry], *, size: int = LISTED_BYTES) -> str:
    """The resources, one a line as ``<service>::<uri> name: description``, in at most ``size`` bytes; "" when none.

    Text of the services, cleaned and cut; the ones that do not fit are counted.
    """
    lines = [_line(resource) for resource in resources if not resource.uri.startswith(_OWN_SCHEME)]
    kept: list[str] = []
    used = 0
    for line in lines:
        used += len(line.encode()) + 1
        if used > size - 40:  # room for the last line
            break
        kept.append(line)
    if len(kept) < len(lines):
        kept.append(f"… and {len(lines) - len(kept)} more")
    return "\n".join(kept)


async def read_resource(
    library: Library, arguments: Mapping[str, Any], *, services: Collection[str] | None = None, timeout: float = 60.0
) -> ToolOutcome:
    """What a call of `READ_RESOURCE` brings: the text, cut at 100,000 characters, and the pictures. Never raises.

    ``services``: those that may be read (default: all enabled ones).
    """
    service, uri = _named(arguments)
    if services is not None and service not in services:
        return results.failure(f"Resource '{service}::{uri}' not found")
    try:
        content = await library.read(service, uri, timeout=timeout)
    except TomError as error:
        return results.failure(error.message)
    return ToolOutcome(content.text or results.NOTHING, truncated=content.truncated, images=content.images)


def reading_problem(arguments: Mapping[str, Any]) -> str | None:
    """The message for the model when ``arguments`` do not fit `READ_RESOURCE`, else None."""
    for field in ("service", "uri"):
        if not isinstance(arguments.get(field), str) or not arguments[field]:
            why = "Field required" if field not in arguments else "Input should be a text that is not empty"
            return f"Parameter validation failed for tool 'read_resource': {field} - {why}"
    return None


def _named(arguments: Mapping[str, Any]) -> tuple[str, str]:
    """The service and the URI that a call means."""
    service, uri = str(arguments.get("service", "")), str(arguments.get("uri", ""))
    return service, uri.removeprefix(f"{service}::")  # models copy what is listed as a whole


def _line(resource: ResourceEntry) -> str:
    name = resource.title or resource.name
    about = ": ".join(part for part in (name, resource.description) if part)
    return clean_within(" ".join(f"{resource.service}::{resource.uri} {about}".split()), _LINE_BYTES)
