"""A value that has no text: it cannot be logged, formatted, pickled or rendered as JSON by accident."""

from typing import Any, NoReturn


class Secret:
    """A key, password or token. `reveal` is the only way to its value."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        """Hold ``value``."""
        self._value = value

    def reveal(self) -> str:
        """The value, for the one place that hands it to its owner."""
        return self._value

    def __bool__(self) -> bool:
        """Whether there is a value at all."""
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        """Equal to a secret with the same value, and to nothing else."""
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "***"

    def __reduce__(self) -> NoReturn:
        message = "a Secret cannot be pickled"
        raise TypeError(message)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Let pydantic read text into a Secret and never write it out."""
        from pydantic_core import core_schema  # noqa: PLC0415 - only where pydantic is in use already

        read = core_schema.no_info_after_validator_function(cls, core_schema.str_schema())
        same = core_schema.is_instance_schema(cls)
        hide = core_schema.plain_serializer_function_ser_schema(lambda _: "***")
        return core_schema.union_schema([same, read], serialization=hide)
