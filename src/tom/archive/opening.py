"""From settings to an archive."""

from tom.archive.archive import Archive
from tom.clock import Clock
from tom.config.agent import ArchiveSettings, RedisSettings


def open_archive(
    settings: ArchiveSettings, user: str, clock: Clock, *, redis: RedisSettings | None = None
) -> Archive | None:
    """The archive of ``user``, not connected yet; None where there is none. ``redis`` is used where no other is named.

    ``{user}`` in account, password, database and URL stands for the user.
    """

    def own(text: str) -> str:
        return text.replace("{user}", user)

    namespace, password, uri = settings.namespace, own(settings.password.reveal()), own(settings.uri.reveal())
    match settings.backend:
        case "mysql":
            from tom.archive.mysql import MysqlArchive, MysqlPlace  # noqa: PLC0415 - only the one that is used

            place = MysqlPlace(
                host=settings.host,
                port=settings.port,
                user=own(settings.user),
                password=password,
                database=own(settings.database),
                sessions=settings.sessions,
                messages=settings.messages,
            )
            return MysqlArchive(place, namespace=namespace, user=user, clock=clock)
        case "mongodb":
            from tom.archive.mongodb import MongodbArchive  # noqa: PLC0415 - as above

            return MongodbArchive(
                uri,
                database=own(settings.database),
                namespace=namespace,
                user=user,
                clock=clock,
                sessions=settings.sessions,
                messages=settings.messages,
            )
        case "redis":
            from tom.archive.redis import RedisArchive  # noqa: PLC0415 - as above

            url = uri or own((redis or RedisSettings()).url.reveal())
            return RedisArchive(url, namespace=namespace, user=user, clock=clock)
        case _:
            return None
