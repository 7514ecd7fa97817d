"""``/docs``: the document as one page. No script, nothing loaded from anywhere; it works printed, too."""

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib import resources
from typing import Any, Final, cast

from tom.openapi.document import document
from tom.openapi.faults import STATUSES
from tom.openapi.fields import kind_of, row, table_of, ticked

_ADDRESS: Final = "http://localhost:8000"

type Shown = Mapping[str, Any]


@cache
def rendered() -> bytes:
    """The page."""
    return _page(document()).encode()


@cache
def policy() -> str:
    """The content security policy under which the page works: its own style sheet, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@cache
def _style() -> str:
    return resources.files("tom.openapi").joinpath("page.css").read_text("utf-8")


def _page(told: Shown) -> str:
    groups = {tag["name"]: tag["description"] for tag in told["tags"]}
    operations = _by_group(told)
    sections = "".join(_section(name, text, operations[name], told) for name, text in groups.items())
    title = escape(told["info"]["title"])
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{title}: the chat door</title><link rel="icon" href="data:,"><style>{_style()}</style></head>'
        '<body><a class="skip" href="#content">To the text</a><div class="frame">'
        f'{_contents(operations)}<main id="content"><h1>{title}: the chat door</h1>'
        f'<div class="words"><p>The same as a document for programs: <a href="/openapi.json">openapi.json</a>.</p>'
        f"{_prose(told['info']['description'])}</div>{sections}{_shapes(told)}</main></div></body></html>"
    )


def _by_group(told: Shown) -> dict[str, list[tuple[str, str, Shown]]]:
    """Group -> (method, path, operation)."""
    found: dict[str, list[tuple[str, str, Shown]]] = {tag["name"]: [] for tag in told["tags"]}
    for path, methods in told["paths"].items():
        for method, one in methods.items():
            found[one["tags"][0]].append((method.upper(), path, one))
    return found


def _contents(operations: Mapping[str, list[tuple[str, str, Shown]]]) -> str:
    lists = "".join(
        f"<h2>{escape(name)}</h2><ul>"
        + "".join(f'<li><a href="#{one["operationId"]}">{escape(one["summary"])}</a></li>' for _, _, one in all_)
        + "</ul>"
        for name, all_ in operations.items()
    )
    end = '<h2>More</h2><ul><li><a href="#shapes">Shapes</a></li></ul>'
    folded = f'<details class="menu"><summary>Contents</summary><nav aria-label="Contents">{lists}{end}</nav></details>'
    return f'{folded}<nav class="side" aria-label="Contents"><p class="brand">Tom</p>{lists}{end}</nav>'


def _prose(markdown: str) -> str:
    from markdown_it import MarkdownIt  # noqa: PLC0415 - the page only

    return MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)


def _section(name: str, text: str, operations: list[tuple[str, str, Shown]], told: Shown) -> str:
    articles = "".join(_article(method, path, one, told) for method, path, one in operations)
    return f'<section aria-label="{escape(name)}"><h2>{escape(name)}</h2>{_prose(text)}{articles}</section>'


def _article(method: str, path: str, one: Shown, told: Shown) -> str:
    name = one["operationId"]
    return (
        f'<article id="{name}"><header><h3><a href="#{name}">{escape(one["summary"])}</a></h3>'
        f'<p class="route"><span class="method {method}">{method}</span>{escape(path)}</p>'
        f'<p class="needs">{_needs(one)}</p></header>'
        f'<div class="told">{_prose(one["description"])}{_parameters(one)}{_body(one, told)}{_answers(one, told)}</div>'
        f'<div class="examples">{_curl(method, path, one)}{_replies(one, told)}</div></article>'
    )


def _needs(one: Shown) -> str:
    security = one["security"]
    if not security:
        return "Open to everybody."
    ways = [way["bearer"] for way in security if way.get("bearer")]
    if not ways:
        return "Needs a login; behind a gateway only."
    told = " or ".join(" and ".join(f"<code>{escape(scope)}</code>" for scope in way) for way in ways)
    return f"Needs the scope {told}." if len(ways[0]) == 1 else f"Needs the scopes {told}."


def _parameters(one: Shown) -> str:
    if not one.get("parameters"):
        return ""
    rows = "".join(
        row(
            f"{parameter['name']}" + (" (header)" if parameter["in"] == "header" else ""),
            parameter["schema"],
            parameter["description"],
            required=parameter.get("required", False),
        )
        for parameter in one["parameters"]
    )
    return f'<h4>Parameters</h4><div class="scroll" tabindex="0" role="group" aria-label="Parameters"><table><tbody>{rows}</tbody></table></div>'


def _body(one: Shown, told: Shown) -> str:
    if "requestBody" not in one:
        return ""
    schema = one["requestBody"]["content"]["application/json"]["schema"]
    optional = "" if one["requestBody"]["required"] else ", which may be empty"
    return f"<h4>Body{optional}: {kind_of(schema)}</h4>{table_of(_resolved(schema, told))}"


def _answers(one: Shown, told: Shown) -> str:
    good, bad = "", ""
    for status, response in one["responses"].items():
        if "$ref" in response:
            codes = "".join(f"<code>{escape(code)}</code> " for code in _resolved(response, told)["content"][
                "application/json"]["examples"])  # fmt: skip
            words = STATUSES[int(status)]
            bad += f'<tr><th scope="row" class="status">{status}</th><td><p>{ticked(words)}</p><span class="codes">{codes}</span></td></tr>'
        else:
            kinds = ", ".join(_kind(kind, content) for kind, content in response.get("content", {}).items())
            good += (
                f'<tr><th scope="row" class="status">{status}</th><td><p>{ticked(response["description"])}</p>'
                f'<span class="kind">{kinds or "no body"}</span></td></tr>'
            )
    errors = f"<details><summary>Errors</summary><table><tbody>{bad}</tbody></table></details>"
    return f"<h4>Answers</h4><table><tbody>{good}</tbody></table>{errors if bad else ''}"


def _kind(kind: str, content: Shown) -> str:
    return f"{kind_of(content['schema'])} ({escape(kind)})"


def _curl(method: str, path: str, one: Shown) -> str:
    parameters = one.get("parameters", ())
    for parameter in parameters:
        if parameter["in"] == "path":
            path = path.replace("{" + parameter["name"] + "}", str(parameter["example"]))
    asked = [f"{p['name']}={_plain(p['example'])}" for p in parameters if p["in"] == "query" and "example" in p]
    target = f"{_ADDRESS}{path}" + (f"?{'&'.join(asked)}" if asked else "")
    lines = [f"curl {'' if method == 'GET' else f'-X {method} '}{_quoted(target)}"]
    if one["security"]:
        admin = one["tags"] == ["Admin"]
        lines.append('-H "X-Admin-Token: $ADMIN_TOKEN"' if admin else '-H "Authorization: Bearer $TOM_TOKEN"')
    if "requestBody" in one:
        examples: list[Any] = list(one["requestBody"]["content"]["application/json"]["examples"].values())
        lines += ["-H 'Content-Type: application/json'", f"-d {_quoted(_json(examples[-1]['value']))}"]
    return f'<h4>Try it</h4><div class="curl">{_pre(" \\\n  ".join(lines))}</div>'


def _replies(one: Shown, told: Shown) -> str:
    found = ""
    for status, response in one["responses"].items():
        opened = " open" if not found else ""
        for content in _resolved(response, told).get("content", {}).values():
            if "$ref" in response:
                continue
            for example in content.get("examples", {}).values():
                value = example["value"]
                shown = value if isinstance(value, str) else _json(value)
                summary = f'<span class="status">{status}</span> {escape(example["summary"])}'
                found += f"<details{opened}><summary>{summary}</summary>{_pre(shown)}</details>"
                opened = ""
    return f"<h4>Answers</h4>{found}" if found else ""


def _shapes(told: Shown) -> str:
    shapes = "".join(
        f'<div class="shape" id="shape-{name}"><h3><a href="#shape-{name}">{name}</a></h3>{_shape(schema)}</div>'
        for name, schema in sorted(told["components"]["schemas"].items())
    )
    return f'<section id="shapes" aria-label="Shapes"><h2>Shapes</h2><p>What bodies are made of.</p>{shapes}</section>'


def _shape(schema: Shown) -> str:
    words = f"<p>{ticked(schema['description'])}</p>" if "description" in schema else ""
    inner: Shown = schema["items"] if schema.get("type") == "array" else schema
    return words + (table_of(inner) or f'<p class="kind">{kind_of(schema)}</p>')


def _resolved(value: Shown, told: Shown) -> Shown:
    while "$ref" in value:
        place: Any = told
        for key in str(value["$ref"]).removeprefix("#/").split("/"):
            place = place[key]
        value = cast("Shown", place)
    return value


def _pre(text: str) -> str:
    return f'<pre tabindex="0"><code>{escape(text)}</code></pre>'


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
