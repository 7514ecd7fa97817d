"""Logging in and out: ``/auth``, ``/login``, ``/logout``."""

from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl

from tom.accounts.accounts import Accounts
from tom.accounts.devices import KEPT_SECONDS
from tom.accounts.refusals import InvalidCredentials, TooBusy, TooManyAttempts
from tom.audit.chain import Chain
from tom.errors import TomError, UnsupportedMediaType
from tom.gateway.identify import cleared_cookie, login_cookie
from tom.gateway.jsonbody import parse_object
from tom.gateway.problems import document, error_headers, problem, text_of
from tom.gateway.refusals import BadRequest
from tom.gateway.request import Reply, Request, json_reply, page_reply, redirect
from tom.openapi.operations import Dialect

LIMIT: Final = 8192
SECURE_DEVICE: Final = b"__Host-tom-device"
LOOPBACK_DEVICE: Final = b"tom_device"
_FORM: Final = b"application/x-www-form-urlencoded"
_NO: Final = frozenset({"", "0", "false", "no", "off"})


class LoginPage(Protocol):
    """Renders the login form; `tom.gateway.page.login_page` does."""

    def __call__(self, *, next_path: str, error: str | None = None, retry_after: float | None = None) -> str:
        """The form, with what went wrong; ``retry_after`` in seconds."""
        ...


@dataclass(frozen=True, slots=True)
class Credentials:
    """What was typed in."""

    username: str
    password: str
    remember: bool
    next_path: str
    form: bool


class LoginDoor:
    """The endpoints of logging in and out."""

    def __init__(self, accounts: Accounts, login_page: LoginPage, chain: Chain) -> None:
        """``login_page`` renders the form; ``chain`` is the record."""
        self._accounts = accounts
        self._chain = chain
        self._login_page = login_page

    async def show(self, request: Request) -> Reply:
        """``GET /auth``."""
        target = safe_next(request.query("next"))
        if request.identity.principal:
            return redirect(target)
        return page_reply(self._login_page(next_path=target))

    async def go_to_form(self, _request: Request) -> Reply:
        """``GET /login``: only shows the way; credentials in its query log nobody in."""
        return redirect("/auth")

    async def log_in(self, request: Request) -> Reply:
        """``POST /login``, ``POST /auth``."""
        given = await _credentials(request)
        if not given.username or not given.password:
            missing = "password" if given.username else "username"
            return self._refused(request, given, BadRequest(f"Missing '{missing}'"))
        device = device_of(request)
        try:
            token, login = await self._accounts.log_in(
                given.username,
                given.password,
                address=request.address,
                agent=request.headers.get(b"user-agent", b"").decode("latin-1"),
                remember=given.remember,
                device=device,
            )
        except (InvalidCredentials, TooManyAttempts, TooBusy) as error:
            if isinstance(error, InvalidCredentials):  # others were not looked at
                await self._chain.note("login.failed", who=given.username[:32], source=request.address)
            return self._refused(request, given, error)
        await self._chain.note("login", who=login.user, source=request.address, subject=login.id)
        await self._end_login(request)
        cookie = login_cookie(token, secure=request.secure, max_age=self._accounts.max_age(login))
        device = await self._accounts.remember_device(login.user, device)
        # The login cookie comes first: clients other than browsers keep the first one.
        headers = [(b"set-cookie", cookie), (b"set-cookie", _device_cookie(device, secure=request.secure))]
        if given.form:
            return redirect(given.next_path, headers)
        answer = {"status": "OK", "username": login.user, "expires_at": self._accounts.expires(login)}
        return json_reply(answer, headers=headers)

    async def log_out(self, request: Request) -> Reply:
        """``POST /logout``: the same answer with and without a login."""
        await self._end_login(request)
        headers = [(b"set-cookie", cleared_cookie(secure=request.secure))]
        if _speaks_json(request):
            return json_reply({"status": "OK"}, headers=headers)
        return redirect("/auth", headers)

    async def log_out_by_link(self, request: Request) -> Reply:
        """``GET /logout``: a link on a foreign page, or a look with HEAD, logs nobody out."""
        foreign = request.headers.get(b"sec-fetch-site", b"none") not in {b"none", b"same-origin"}
        if not foreign and request.method != "HEAD":
            return await self.log_out(request)
        button = (
            '<h1>Log out?</h1><form method="post" action="/logout"><button type="submit">Log out</button></form>'
            '<p><a href="/">Stay</a></p>'
        )
        return page_reply(document("Log out", button))

    async def _end_login(self, request: Request) -> None:
        """End the login that the request came with; a token is taken back elsewhere."""
        principal = request.identity.principal
        if principal and principal.login:
            await self._accounts.log_out(principal.login)
            await self._chain.note("logout", who=principal.user, source=request.address, subject=principal.login.id)

    def _refused(self, request: Request, given: Credentials, error: TomError) -> Reply:
        if not given.form:
            return problem(request, error, Dialect.TOM)
        wait = error.retry_after if isinstance(error, TooManyAttempts) else None
        page = self._login_page(next_path=given.next_path, error=text_of(error), retry_after=wait)
        return page_reply(page, error.http_status, error_headers(error))


def safe_next(target: str | None) -> str:
    """A path on this host to go on with; anything that could lead elsewhere becomes ``/``."""
    if not target or not target.startswith("/") or target.startswith("//") or "\\" in target:
        return "/"
    if any(ord(character) <= 32 or ord(character) == 127 for character in target):
        return "/"
    return target if target.isascii() else "/"


def device_of(request: Request) -> str:
    """What the browser kept of an earlier login; empty when nothing."""
    name = SECURE_DEVICE if request.secure else LOOPBACK_DEVICE
    for part in request.headers.get(b"cookie", b"").split(b";"):
        key, _, value = part.strip().partition(b"=")
        if key == name:
            return value.decode("latin-1")
    return ""


def _device_cookie(token: str, *, secure: bool) -> bytes:
    name, mark = (SECURE_DEVICE, b"; Secure") if secure else (LOOPBACK_DEVICE, b"")
    return b"%s=%s; Path=/; HttpOnly; SameSite=Strict; Max-Age=%d%s" % (name, token.encode(), KEPT_SECONDS, mark)


async def _credentials(request: Request) -> Credentials:
    kind = request.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    body = await request.body(LIMIT)
    if kind == _FORM:
        fields = _form(body)
    elif request.is_json:
        fields = _json(body)
    else:
        raise UnsupportedMediaType
    username, password, remember = fields.get("username"), fields.get("password"), fields.get("remember", True)
    if isinstance(remember, str):
        remember = remember.lower() not in _NO
    texts = [value if isinstance(value, str) else "" for value in (username, password)]
    target = safe_next(fields.get("next") if kind == _FORM else None)
    return Credentials(texts[0], texts[1], remember is not False, target, kind == _FORM)


def _form(body: bytes) -> dict[str, Any]:
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=20, errors="strict")
    except ValueError as error:
        raise BadRequest("The form cannot be read") from error
    return dict(pairs)


def _json(body: bytes) -> dict[str, Any]:
    known = parse_object(body)
    if any(isinstance(value, dict | list) for value in known.values()):
        raise BadRequest("Request body is not a flat JSON object")
    return known


def _speaks_json(request: Request) -> bool:
    kind = request.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind:
        return kind != _FORM
    return b"text/html" not in request.headers.get(b"accept", b"")
