"""What must not be in a log: values under telling names, texts that look like keys, user info and query of URLs.

Works on texts whose origin is unknown; a value that is known to be secret is a `Secret` and has no text at all.
"""

import re

MASK = "***"
_TELLING = frozenset(
    ("password", "passwd", "passphrase", "token", "secret", "key", "authorization", "cookie", "api", "credential"),
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_KEY_SHAPES = re.compile(
    r"""
      \b(?:sk|pk|rk)-[A-Za-z0-9_-]{6,}                      # OpenAI, OpenRouter, Anthropic and their like
    | \btom_[A-Za-z0-9]+_[A-Za-z0-9_-]{8,}                  # Tom's own API tokens
    | \b(?:gsk|ghp|gho|ghs|glpat|hf|xox[abprs])[_-][A-Za-z0-9_-]{8,}
    | \bgithub_pat_\w{8,}
    | \bAIza[A-Za-z0-9_-]{8,}
    | \bAKIA[A-Z0-9]{12,}
    | \beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]+){0,2}     # no dot needed: to look for one takes quadratic time
    | \$argon2[a-z]*\$[^\s'"]+
    | (?<=__Host-tom=)[^\s;'"]+
    | (?<=tom_login=)[^\s;'"]+
    | (?<=__Host-tom-device=)[^\s;'"]+
    | (?<=tom_device=)[^\s;'"]+
    """,
    re.VERBOSE,
)
# Base64 has more than small letters in it; a word that follows "basic" has not.
_SCHEME = re.compile(r"""\b((?i:bearer)|(?i:basic)(?=\s+[^\s'",;]*[A-Z0-9+/=]))\s+[^\s'",;]+""")
# It begins at the telling word: whatever stands before it would be looked through again from every place in it. A text
# that was cut inside its quotes is hidden as well.
_ASSIGNED = re.compile(
    r"""(?i)((?:password|passwd|passphrase|secret|token|api[_-]?key|authorization|cookie)["']?\s*[=:]\s*)"""
    r"""("[^"]*(?:"|\Z)|'[^']*(?:'|\Z)|(?!\*\*\*)[^\s,;&'"}\])]+)"""
)
_URL = re.compile(r"\b([a-zA-Z][a-zA-Z0-9+.-]{1,20}://)([^\s'\"<>|]+)")
_HINTS = re.compile(r"[=:$]|-|_|eyJ|AIza|AKIA|bearer|basic", re.IGNORECASE)


def telling(name: str) -> bool:
    """Whether a value under this name is to be hidden: one of its words is password, token, secret, key, ….

    ``prompt_tokens`` is no secret: the word there is ``tokens``.
    """
    return any(word.lower() in _TELLING for word in _WORD.findall(name))


def redact(text: str) -> str:
    """The text with key-shaped parts as ``***`` and URLs without user info, query and fragment."""
    if not _HINTS.search(text):
        return text
    if "://" in text:
        text = _URL.sub(_bare_url, text)
    text = _SCHEME.sub(rf"\1 {MASK}", text)
    text = _KEY_SHAPES.sub(MASK, text)
    return _ASSIGNED.sub(_masked_value, text)


def _bare_url(match: re.Match[str]) -> str:
    rest = match[2]
    cut = min((i for i in (rest.find("?"), rest.find("#")) if i >= 0), default=len(rest))
    rest = rest[:cut]
    authority, slash, path = rest.partition("/")
    return match[1] + authority.rpartition("@")[2] + slash + path


def _masked_value(match: re.Match[str]) -> str:
    quote = match[2][0] if match[2][0] in "'\"" else ""
    return f"{match[1]}{quote}{MASK}{quote}"
