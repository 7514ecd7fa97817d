"""Constructs that Tom's own code never uses, because each has been somebody's hole.

A rule yields the places that break it; ``EXCEPTIONS`` names the files where a rule's reason does not apply.
"""

import ast
import re
from collections.abc import Callable, Iterator

import pytest

SECRET_NAME = re.compile(r"(^|_)(secret|password|passwd|token|cookie|api_key|csrf|mac|signature)$")
LOG_VERBS = {"debug", "info", "warning", "error", "critical", "exception", "log"}
CLIENTS = {"aiohttp.ClientSession", "httpx2.AsyncClient", "httpx2.Client", "urllib.request.urlopen", "requests.get"}

EXCEPTIONS: dict[str, dict[str, str]] = {
    "wall_clock": {
        "src/tom/clock.py": "the injected clock's own reading",
        "src/tom/ids.py": "a ULID begins with the time",
        "src/tom/telemetry/line.py": "a log line begins with the time",
        "src/tom/telemetry/writer.py": "a log line begins with the time",
        "src/tom/cli/up.py": "a certificate's dates",
        "src/tom/cli/checks/settings.py": "a certificate's dates",
        "src/tom/cli/checks/machine.py": "whether the machine's clock is set",
    },
    "bare_except": {"src/tom/spawner/cell.py": "a forked child ends there, whatever happened"},
    "unowned_task": {
        "src/tom/agent/journal.py": "a commit is waited for, also when its waiter is cancelled",
        "src/tom/agent/worker.py": "a commit that is awaited in the same function",
        "src/tom/agent/serving.py": "a signal or the server's end, whichever comes first; awaited or cancelled there",
        "src/tom/agent/lasting.py": "awaited in the same function, or cancelled and awaited there",
        "src/tom/agent/sse.py": "a stream's next piece and its writer; awaited or cancelled where they are made",
        "src/tom/agent/websocket.py": "a socket's writer, cancelled and awaited when its reader ends",
        "src/tom/gateway/proxy.py": "watches for the client's going; cancelled when the answer is over",
        "src/tom/gateway/relay.py": "a protocol's callback cannot wait; the set that holds it is emptied at the end",
    },
    "unverified_tls": {"src/tom/cli/client.py": "the person at the terminal asks for it with --insecure"},
    "http_client": {
        "src/tom/config/vendors.py": "asks a known vendor once, at a first run, which models a key may use"
    },
}


def shell(source) -> Iterator[ast.AST]:
    """A shell reads metacharacters in what it is given."""
    for name, call in source.calls():
        if name in {"os.system", "os.popen", "asyncio.create_subprocess_shell", "subprocess.getoutput"}:
            yield call
        yield from (word for word in call.keywords if word.arg == "shell" and not is_constant(word.value, False))


def sql_from_strings(source) -> Iterator[ast.AST]:
    """Parameters are bound, never written into the statement."""
    for _, call in source.calls():
        method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if method in {"execute", "executemany", "executescript"} and call.args and built(call.args[0]):
            yield call


def built(node: ast.AST) -> bool:
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
        return True
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format"


def code_from_text(source) -> Iterator[ast.AST]:
    """Text stays text."""
    banned = {"eval", "exec", "yaml.load", "yaml.unsafe_load", "marshal.loads", "marshal.load", "builtins.eval"}
    modules = {name.split(".")[0] for name in source.names_imported().values()} | {"eval", "exec"}
    for name, call in source.calls():
        wrong = name in banned or name.startswith(("pickle.", "shelve.", "dill."))
        if wrong and name.split(".")[0] in modules:
            yield call


def unverified_tls(source) -> Iterator[ast.AST]:
    """A certificate is checked."""
    for name, call in source.calls():
        if name == "ssl._create_unverified_context":
            yield call
        off = {"verify", "ssl", "check_hostname", "verify_ssl"}
        yield from (word for word in call.keywords if word.arg in off and is_constant(word.value, False))
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and node.attr in {"CERT_NONE", "AutoAddPolicy"}:
            yield node
        if isinstance(node, ast.Assign) and is_constant(node.value, False):
            yield from (t for t in node.targets if isinstance(t, ast.Attribute) and t.attr == "check_hostname")


def secrets_compared(source) -> Iterator[ast.AST]:
    """``==`` tells by its duration how much of a secret was right: `tom.ids.same_secret` does not."""
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq | ast.NotEq):
            continue
        sides = [node.left, *node.comparators]
        if not any(isinstance(side, ast.Constant) for side in sides) and any(
            SECRET_NAME.search(last(s)) for s in sides
        ):
            yield node


def last(node: ast.AST) -> str:
    if isinstance(node, ast.Call):
        return last(node.func.value) if isinstance(node.func, ast.Attribute) else ""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def wall_clock(source) -> Iterator[ast.AST]:
    """Durations come from a monotonic clock, and time from the injected one."""
    for name, call in source.calls():
        if name in {"time.time", "time.time_ns", "datetime.datetime.now", "datetime.datetime.utcnow"}:
            yield call


def bare_except(source) -> Iterator[ast.AST]:
    """Swallowing a cancellation hangs a shutdown."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ExceptHandler):
            caught = {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)} if node.type else {"BaseException"}
            if "BaseException" in caught and not any(isinstance(n, ast.Raise) for n in ast.walk(node)):
                yield node


def unowned_task(source) -> Iterator[ast.AST]:
    """A task belongs to a TaskGroup, which waits for it and hears of its failure."""
    for name, call in source.calls():
        if name in {"asyncio.create_task", "asyncio.ensure_future"} or name.endswith(
            ("loop.create_task", "?.create_task")
        ):
            yield call


def url_in_authorisation(source) -> Iterator[ast.AST]:
    """Authorisation looks at the matched route; a URL's text, made of Host and path, is the client's to choose."""
    if source.path.startswith(("src/tom/gateway/", "src/tom/accounts/")):
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Attribute) and source.dotted(node) in {"request.url", "request.base_url"}:
                yield node


def secret_in_log(source) -> Iterator[ast.AST]:
    """A secret is not revealed to a log, a print or an error."""
    for node in ast.walk(source.tree):
        told = isinstance(node, ast.Raise) or (
            isinstance(node, ast.Call)
            and (
                last(node.func) == "print"
                or (
                    isinstance(node.func, ast.Attribute)
                    and node.func.attr in LOG_VERBS
                    and last(node.func.value) == "log"
                )
            )
        )
        if told:
            yield from (n for n in ast.walk(node) if isinstance(n, ast.Attribute) and n.attr == "reveal")


def http_client(source) -> Iterator[ast.AST]:
    """Outgoing requests leave by few doors, so that one guard can stand at each."""
    doors = ("src/tom/llm/", "src/tom/services/", "src/tom/gateway/", "src/tom/cli/", "src/tom/testing/")
    if not source.path.startswith(doors):
        yield from (call for name, call in source.calls() if name in CLIENTS)


def is_constant(node: ast.AST, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


RULES: tuple[Callable[..., Iterator[ast.AST]], ...] = (
    *(shell, sql_from_strings, code_from_text, unverified_tls, secrets_compared, wall_clock, bare_except),
    *(unowned_task, url_in_authorisation, secret_in_log, http_client),
)

BREAKS = {
    shell: "import subprocess\nsubprocess.run(x, shell=True)",
    sql_from_strings: "connection.execute(f'SELECT {column}')",
    code_from_text: "from pickle import loads\nloads(b)",
    unverified_tls: "client.get(url, verify=False)",
    secrets_compared: "given == self.agent_secret",
    wall_clock: "from time import time\nstarted = time()",
    bare_except: "try:\n  f()\nexcept BaseException:\n  g()",
    unowned_task: "import asyncio\nasyncio.create_task(f())",
    url_in_authorisation: "request.url.path.startswith('/admin')",
    secret_in_log: "log.info('key', key=key.reveal())",
    http_client: "import aiohttp\naiohttp.ClientSession()",
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_no_source_breaks_the_rule(rule, tree):
    allowed = EXCEPTIONS.get(rule.__name__, {})
    wrong = [
        f"{source.path}:{getattr(node, 'lineno', '?')}"
        for source in tree.python("src")
        if source.path not in allowed
        for node in rule(source)
    ]
    assert not wrong, rule.__doc__


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rule_finds_what_it_bans(rule, tree):
    path = "src/tom/gateway/example.py" if rule is url_in_authorisation else "src/tom/agent/example.py"
    kind = type(tree.source("src/tom/errors/tree.py"))
    assert list(rule(kind(path, BREAKS[rule], ast.parse(BREAKS[rule]))))


def test_every_exception_is_still_needed(tree):
    rules = {rule.__name__: rule for rule in RULES}
    stale = [
        (name, path) for name, paths in EXCEPTIONS.items() for path in paths if not list(rules[name](tree.source(path)))
    ]
    assert not stale
