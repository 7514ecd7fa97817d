"""Language models in the file: entries of `global.llms`, and the other table, `llm.providers`. See `sections`."""

import json
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, Field, field_validator

from tom.config.agent import Price
from tom.config.entries import Section, check_headers
from tom.config.values import Number, SecretText, Url, Whole

_FORBIDDEN_OPTIONS = frozenset(
    [
        "messages",
        "system",
        "model",
        "models",
        "tools",
        "tool_choice",
        "functions",
        "function_call",
        "stream",
        "stream_options",
        "n",
        "url",
        "base_url",
        "api_base",
        "api_key",
        "key",
        "headers",
        "extra_headers",
        "extra_body",
        "authorization",
    ]
)
_PRICE_FORM = "must be {input, output} per million tokens, or a list of three"
_Dialect = Literal["openai", "anthropic", "gemini", "ollama"]


def harmless_options(options: dict[str, Any]) -> dict[str, Any]:
    """The same options; ValueError when one would change what Tom itself sends, or is no JSON value."""
    for name in options:
        if name.lower() in _FORBIDDEN_OPTIONS:
            raise ValueError(f"must not set {name!r}")
    try:
        json.dumps(options, allow_nan=False)
    except (ValueError, TypeError):
        raise ValueError("must be JSON values") from None
    return options


def prices(value: Any) -> tuple[Price, ...]:
    """The prices of levels 0, 1 and 2; one mapping stands for all three. ValueError otherwise."""
    if isinstance(value, dict):
        return (_price(cast("dict[str, Any]", value)),) * 3
    if isinstance(value, list | tuple) and len(cast("list[Any]", value)) == 3:
        first, second, third = cast("list[Any]", value)
        return _price(first), _price(second), _price(third)
    raise ValueError(_PRICE_FORM)


def _price(value: Any) -> Price:
    if isinstance(value, Price):
        return value
    if not isinstance(value, dict) or cast("dict[str, Any]", value).keys() != {"input", "output"}:
        raise ValueError(_PRICE_FORM)
    given = cast("dict[str, Any]", value)
    for cost in given.values():
        if isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 <= cost < 1_000_000:
            raise ValueError("must hold numbers from 0 on")
    return Price(input=float(given["input"]), output=float(given["output"]))


Options = Annotated[dict[str, Any], AfterValidator(harmless_options)]
_VISION = "whether it sees pictures; unset: not known, they are sent"
_PRICE = "`{input, output}` per million tokens, or a list of three; unset: not known"


class LlmSection(Section):
    """One entry of `global.llms`. What is wrong with `api`, `env_var` or `models` skips the entry, with a warning."""

    api: SecretText | None = Field(default=None, description="the key; `none` for an endpoint without one")
    env_var: str | None = Field(
        default=None, description="variable that holds the key; wins over `api` when it is not empty"
    )
    models: Any = Field(
        default=None,
        title="text, or list of three",
        description="three names `provider/model` for levels 0, 1 and 2; one text stands for all three",
    )
    base_url: Url | None = Field(
        default=None, description="where it answers; needed for a provider that Tom does not know"
    )
    dialect: _Dialect | None = Field(
        default=None, description="`openai` or `anthropic`; default: by provider. `gemini`, `ollama` are read as openai"
    )
    options: Options = Field(default_factory=dict, title="mapping", description="sent with each request")
    options_by_level: list[Options] | None = Field(
        default=None, title="list of three", description="the same for levels 0, 1 and 2; win over `options`"
    )
    temperature: Number | None = Field(default=None, ge=0, le=2, description="sent with each request")
    max_tokens: Whole | None = Field(default=None, ge=1, description="most tokens of one reply")
    context_tokens: Whole | None = Field(default=None, ge=1, description="size of the models' context")
    price: Any = Field(default=None, title="mapping, or list of three", description=_PRICE)
    vision: bool | None = Field(default=None, description=_VISION)
    timeout: Number | None = Field(
        default=None, gt=0, le=3600, description="seconds without a byte; else `PROVIDER_TIMEOUT_SECONDS`"
    )

    @field_validator("options_by_level")
    @classmethod
    def _three(cls, options: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
        if options is not None and len(options) != 3:
            raise ValueError(f"needs 3 entries, has {len(options)}")
        return options

    @field_validator("price")
    @classmethod
    def _prices(cls, price: Any) -> Any:
        return None if price is None else prices(price)


class HttpClientSection(Section):
    """`llm.providers.<name>.http_client`."""

    connect_timeout: Number = Field(default=10, gt=0, le=300, description="seconds to connect")
    read_timeout: Number | None = Field(
        default=None, gt=0, le=3600, description="seconds without a byte; else `PROVIDER_TIMEOUT_SECONDS`"
    )
    max_connections: Whole = Field(default=20, ge=1, le=10_000, description="connections at once")
    concurrent_requests: Whole | None = Field(
        default=None, ge=1, le=10_000, description="requests at once; unset: as many as connections"
    )
    requests_per_minute: Number | None = Field(
        default=None, gt=0, le=1_000_000, description="requests a minute; unset: no bound"
    )
    max_retries: Whole = Field(default=2, ge=0, le=10, description="repetitions after a failure that may pass")
    backoff_factor: Number = Field(
        default=2, ge=1, le=10, description="each wait before a repetition is so many times the one before"
    )


class ProviderSection(Section):
    """One entry of `llm.providers`."""

    model: str = Field(min_length=1, description="the model's name, for all levels")
    dialect: _Dialect | None = Field(
        default=None, description="`openai` or `anthropic`; default: by name. `gemini`, `ollama` are read as openai"
    )
    base_url: Url | None = Field(
        default=None, description="where it answers; needed for a provider that Tom does not know"
    )
    api_key_env: str | None = Field(
        default=None, description="variable that holds the key; else the provider's usual one"
    )
    temperature: Number = Field(default=0.7, ge=0, le=2, description="sent with each request")
    max_tokens: Whole = Field(default=4096, ge=1, description="most tokens of one reply")
    top_p: Number | None = Field(default=None, ge=0, le=1, description="sent with each request")
    context_window: Whole | None = Field(default=None, ge=1, description="size of the model's context in tokens")
    vision: bool | None = Field(default=None, description=_VISION)
    price: Any = Field(default=None, title="mapping, or list of three", description=_PRICE)
    headers: dict[str, SecretText] = Field(default_factory=dict, description="sent with each request")
    http_client: HttpClientSection = Field(default_factory=HttpClientSection, description="")

    @field_validator("headers")
    @classmethod
    def _headers(cls, headers: dict[str, Any]) -> dict[str, Any]:
        return check_headers(headers)

    @field_validator("price")
    @classmethod
    def _prices(cls, price: Any) -> Any:
        return None if price is None else prices(price)


class LlmTableSection(Section):
    """`llm`: the other form of the same table."""

    active: str | None = Field(default=None, min_length=1, description="the default LLM, as `global.llm`")
    providers: dict[str, ProviderSection] = Field(default_factory=dict, description="")
    fallback: list[str] | None = Field(
        default=None, description="who is asked when an LLM fails, as `global.llm_fallbacks`"
    )
    client_models: Literal["any", "listed", "none"] = Field(
        default="any", description="which models clients may choose: any, those listed, none"
    )
    listed_models: list[str] = Field(
        default_factory=list, description="models that clients may choose; empty: those of the default LLM"
    )
