"""What the doors go by, and the archive: from what files and variables say to what agents and the gateway are told."""

import ipaddress
from dataclasses import replace
from typing import Any, Final

from tom.config.agent import ArchiveSettings, DoorSettings, RateSettings, RedisSettings
from tom.config.faults import Faults
from tom.config.secret import Secret
from tom.config.sections import Root

LEAST_ADMIN_TOKEN: Final = 16
WEAK_ADMIN_TOKEN: Final = f"ADMIN_TOKEN must have {LEAST_ADMIN_TOKEN} characters or more, and not be that of an example"
_REDIS = ("redis://", "rediss://", "unix://")
_MONGODB = ("mongodb://", "mongodb+srv://")


def is_weak_admin_token(text: str) -> bool:
    """Whether this token could be guessed; none at all opens nothing."""
    return bool(text) and (len(text) < LEAST_ADMIN_TOKEN or text.lower() == "change-me")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address; a name other than ``localhost`` counts as reachable by all."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class DoorResolution:
    """Reads the sections of one `Root`. ``host`` is the address listened on, ``alone`` that there is no gateway."""

    def __init__(self, root: Root, faults: Faults, *, host: str, alone: bool) -> None:
        self._root = root
        self._faults = faults
        self._host = host
        self._alone = alone

    def doors(self) -> DoorSettings:
        """The settings of the doors."""
        root = self._root
        reading = root.rate_limits.read
        if root.memory_default > root.memory_max:
            written = next((key for key in ("memory_max", "memory_default") if self._faults.says((key,))), "memory_max")
            self._faults.plain((written,), "MEMORY_DEFAULT cannot exceed MEMORY_MAX.")
        return DoorSettings(
            auth=self._auth(),
            allow_credentials=root.chat.websocket.allow_credentials,
            public_hosts=tuple(root.global_.public_hosts),
            trusted_proxies=tuple(root.global_.trusted_proxies),
            admin_token=self._admin_token(),
            initial_prompt=root.mcp_agent_instruction or root.initial_system_prompt,
            memory_default=root.memory_default,
            memory_max=root.memory_max,
            rates=RateSettings(
                rps=root.rate_rps, burst=root.rate_burst, read_rps=reading.rps, read_burst=reading.burst
            ),
            redis=RedisSettings(url=self._redis_url("redis_url"), memory_ttl_hours=root.redis.memory_ttl_hours),
            metrics=root.metrics_enabled,
            metrics_public=root.metrics.public,
            api_retention_hours=root.history.api_retention_hours,
            rest_wait_seconds=root.chat.rest.wait_seconds,
            supervised=root.global_.supervised,
            audit_days=float(root.global_.audit_days),
        )

    def archive(self) -> ArchiveSettings:
        """Where conversations are mirrored to."""
        root = self._root
        settings = {"mysql": self._mysql, "mongodb": self._mongodb, "redis": self._redis, "none": self._none}
        found = settings[root.history_storage_backend]()
        if found.sessions == found.messages:
            place, kind = {"mysql": ("MYSQL", "TABLE"), "mongodb": ("MONGODB", "COLLECTION")}[found.backend]
            names = f"HISTORY_{place}_SESSION_{kind} and HISTORY_{place}_MESSAGE_{kind}"
            self._faults.plain(_key(f"HISTORY_{place}_MESSAGE_{kind}"), f"{names} must be different.")
        return found

    # --- the doors ---------------------------------------------------------------------------------------------

    def _auth(self) -> str:
        written = self._root.chat.auth
        if not self._alone:
            return "token"
        here = is_loopback(self._host)
        auth = written or ("local" if here else "token")
        if auth == "public":
            self._faults.warnings.append("⚠️ chat.auth is public: whoever reaches this address may chat")
        elif auth == "local" and not here:
            self._faults.warnings.append(
                f"⚠️ chat.auth is local on {self._host}: whoever reaches this address is the user, without a password"
            )
        return auth

    def _admin_token(self) -> Secret:
        token = self._secret("admin_token")
        text = token.reveal().strip()
        if not is_weak_admin_token(text):
            return Secret(text)
        sentence = WEAK_ADMIN_TOKEN
        if is_loopback(self._host):
            self._faults.warnings.append(f"⚠️ {sentence}: it is used all the same, on {self._host} only")
        else:
            self._faults.plain(("admin_token",), f"{sentence}, where others can reach {self._host}.")
        return Secret(text)

    # --- the archive -------------------------------------------------------------------------------------------

    def _none(self) -> ArchiveSettings:
        root = self._root
        return ArchiveSettings(
            namespace=root.history_namespace,
            retention=root.history.retention,
            full=root.history.full,
            outbox_max_mb=root.history.outbox_max_mb,
        )

    def _mysql(self) -> ArchiveSettings:
        root = self._root
        missing = [
            name
            for name, value in (
                ("HISTORY_MYSQL_HOST", "" if self._blank("HISTORY_MYSQL_HOST") else root.history_mysql_host),
                ("HISTORY_MYSQL_USER", root.history_mysql_user),
                ("HISTORY_MYSQL_DATABASE", root.history_mysql_database),
            )
            if not value
        ]
        if missing:
            self._require(f"MySQL history storage requires the following settings: {', '.join(missing)}")
        return self._with_backend(
            host=root.history_mysql_host,
            port=root.history_mysql_port,
            user=root.history_mysql_user,
            password=self._secret("history_mysql_password"),
            database=root.history_mysql_database,
            sessions=root.history_mysql_session_table,
            messages=root.history_mysql_message_table,
        )

    def _mongodb(self) -> ArchiveSettings:
        root = self._root
        for name in ("HISTORY_MONGODB_URI", "HISTORY_MONGODB_DATABASE"):
            if self._blank(name):
                self._require(f"MongoDB history storage requires {name} to be set.")
        uri = self._secret("history_mongodb_uri") or Secret("mongodb://localhost:27017")
        if not uri.reveal().startswith(_MONGODB):
            self._faults.plain(("history_mongodb_uri",), "HISTORY_MONGODB_URI must be a mongodb or mongodb+srv URL.")
        return self._with_backend(
            uri=uri,
            database=root.history_mongodb_database,
            sessions=root.history_mongodb_session_collection,
            messages=root.history_mongodb_message_collection,
        )

    def _redis(self) -> ArchiveSettings:
        own = self._redis_url("history_redis_url")
        uri = own or self._secret("redis_url")
        if not uri:
            self._require("Redis history storage requires HISTORY_REDIS_URL or REDIS_URL to be set.")
        return self._with_backend(uri=uri)

    def _with_backend(self, **told: Any) -> ArchiveSettings:
        return replace(self._none(), backend=self._root.history_storage_backend, **told)

    def _require(self, sentence: str) -> None:
        self._faults.plain(("history_storage_backend",), sentence)

    def _blank(self, name: str) -> bool:
        return self._faults.blank(name)

    # --- secrets -----------------------------------------------------------------------------------------------

    def _redis_url(self, key: str) -> Secret:
        url = self._secret(key)
        if url and not url.reveal().startswith(_REDIS):
            self._faults.plain((key,), f"{key.upper()} must be a redis, rediss or unix URL.")
        return url

    def _secret(self, key: str) -> Secret:
        return self._faults.secret((key,), getattr(self._root, key))


def _key(name: str) -> tuple[str]:
    return (name.lower(),)
