"""The entries of `users`, resolved and checked against each other."""

from tom.config import schema
from tom.config.entries import UserSection
from tom.config.expand import Lookup, refers
from tom.config.faults import Faults
from tom.config.llms import Llms
from tom.config.secret import Secret
from tom.config.sections import Root
from tom.config.settings import UserEntry

_SHORT_PASSWORD = 12


def resolve_users(root: Root, lookup: Lookup, llms: Llms, zone: str, faults: Faults) -> dict[str, UserEntry]:
    """All users by name, in file order."""
    people: dict[str, UserEntry] = {}
    for place, section in enumerate(root.users):
        where: schema.Path = ("users", place)
        if section.username in people:
            faults.refuse((*where, "username"), f"{section.username!r} is there twice")
        llm = section.llm or ""
        if llm and not llms.usable(llm):
            faults.warnings.append(f"⚠️ {schema.dotted((*where, 'llm'))}: {llm!r} is not usable, using the default")
            llm = ""
        people[section.username] = UserEntry(
            username=section.username,
            password=_password(where, section, lookup, faults),
            password_hash=_hash(where, section, lookup, faults),
            role=section.role,
            groups=tuple(section.groups),
            disabled=section.disabled,
            personal_context=section.personal_context or "",
            timezone=section.timezone or zone,
            language=section.language or root.global_.language,
            llm=llm,
            max_level=section.max_level,
        )
    return people


def _password(where: schema.Path, section: UserSection, lookup: Lookup, faults: Faults) -> Secret | None:
    if section.password is None:
        return None
    path = (*where, "password")
    if not refers(section.password):
        hint = f"run 'tom user hash {section.username}' and use password_hash"
        faults.warnings.append(f"⚠️ {schema.dotted(path)} is in clear text; {hint}")
        if not section.password:
            faults.refuse(path, "must not be empty")
    password = faults.looked_up(path, section.password, lookup)
    if 0 < len(password.reveal()) < _SHORT_PASSWORD:
        faults.warnings.append(f"⚠️ {schema.dotted(path)} is shorter than {_SHORT_PASSWORD} characters")
    return password


def _hash(where: schema.Path, section: UserSection, lookup: Lookup, faults: Faults) -> Secret | None:
    if section.password_hash is None:
        return None
    if section.password is not None:
        faults.refuse(where, "has both 'password' and 'password_hash'")
    path = (*where, "password_hash")
    found = faults.looked_up(path, section.password_hash, lookup)
    if (found or not refers(section.password_hash)) and not found.reveal().startswith("$argon2id$"):
        faults.refuse(path, "must be an argon2id string")
    return found
