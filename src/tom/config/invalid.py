"""How wrong settings are reported: all errors at once, each with where it stands, none with a secret."""

from tom.errors import OperatorError


class ConfigInvalid(OperatorError):
    """The configuration is not valid."""

    code = "config_invalid"

    def __init__(self, errors: list[str]) -> None:
        """``errors`` are whole lines for the operator."""
        self.errors = list(errors)
        super().__init__("\n".join(self.errors))


def problem(source: str, message: str) -> str:
    """One line: ``config: config.yml: users[1].rolle: unknown key, did you mean 'role'?``."""
    return f"config: {source}: {message}"
