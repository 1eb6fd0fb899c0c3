"""Every error Freelane raises on purpose, each with the exit code the command line answers.

FreelaneError                 message says what, which, what next; exit_code; hint
├ ConfigError                                                                      2
├ PluginError                                                                      2
│  ├ ProviderNotFound         no plugin brings a provider of that name
│  ├ ProviderUnavailable      it is known but cannot be used here (names the extra)
│  └ PluginInvalid            a plugin that does not keep the contract
├ CapabilityUnsupported       capability, provider, alternatives                   2
├ QuotaExceeded               quota id, limit, used, requested, resets_at          4
├ LifecycleError
│  ├ IllegalTransition        from, to                                             6
│  ├ JobFailed                job                                                  1
│  └ EndpointNotReady         endpoint                                             6
├ StateError                                                                       7
├ DeadlineExceeded                                                                 5
├ OutcomeUnknown              operation                                            8
└ ProviderError               provider, operation, request_id, retryable           5
   ├ AuthenticationFailed                                                          3
   ├ PermissionDenied                                                              3
   ├ ResourceNotFound                                                              6
   ├ ResourceConflict         holder                                               6
   ├ InvalidRequest                                                                2
   ├ ModelFailed              the user's model raised, hung or died                1
   ├ RateLimited              retry_after_s, quota_id, limit                        5
   ├ ProviderUnreachable                                                           5
   └ ProviderInternal                                                              5

Only primitives are carried, so that any floor may raise and any program may print them.
"""

from collections.abc import Sequence
from typing import ClassVar


class FreelaneError(Exception):
    """The root of the tree.

    Attributes:
        message: One line for a person: what happened, to which thing, what to do next.
        hint: A command or key that helps, or None when the message already says it.
        exit_code: What the command line answers.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def fields(self) -> dict[str, object]:
        """What a program may want beside type, message, exit code and hint; None is left out."""
        return {
            key: value
            for key, value in vars(self).items()
            if key not in {"message", "hint"} and value is not None
        }


class ConfigError(FreelaneError):
    """Something the user wrote, in a file, a variable or a flag, does not hold."""

    exit_code = 2


class PluginError(FreelaneError):
    """A provider's plugin is missing, broken or cannot be used here."""

    exit_code = 2


class ProviderNotFound(PluginError):
    """No installed plugin brings a provider of that name."""


class ProviderUnavailable(PluginError):
    """The provider is known, but an extra that it needs is not installed."""

    def __init__(self, message: str, *, extra: str | None = None, hint: str | None = None) -> None:
        super().__init__(
            message, hint=hint or (f"pip install 'freelane[{extra}]'" if extra else None)
        )
        self.extra = extra


class PluginInvalid(PluginError):
    """A plugin raised on import, declared another contract version or doubled a name."""

    def __init__(
        self, message: str, *, distribution: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.distribution = distribution


class CapabilityUnsupported(FreelaneError):
    """The provider does not do this; `alternatives` names configured ones that do."""

    exit_code = 2

    def __init__(
        self,
        message: str,
        *,
        capability: str,
        provider: str,
        alternatives: Sequence[str] = (),
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.capability = capability
        self.provider = provider
        self.alternatives = list(alternatives)


class QuotaExceeded(FreelaneError):
    """One line would pass its limit; nothing was held, nothing was sent.

    `limit`, `used` and `requested` are integers in the meter's own unit; `resets_at` is ISO 8601;
    `refusal` is what `freelane quota explain` takes; `retry_after_s` is set by an endpoint that
    holds its own rate.
    """

    exit_code = 4

    def __init__(  # noqa: PLR0913 - each is one fact of the refusal
        self,
        message: str,
        *,
        quota_id: str,
        limit: int,
        used: int,
        requested: int,
        resets_at: str | None = None,
        alternatives: Sequence[str] = (),
        refusal: str | None = None,
        retry_after_s: float | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.refusal = refusal
        self.retry_after_s = retry_after_s
        self.quota_id = quota_id
        self.limit = limit
        self.used = used
        self.requested = requested
        self.resets_at = resets_at
        self.alternatives = list(alternatives)


class LifecycleError(FreelaneError):
    """A job or an endpoint is not where the command needs it to be."""


class IllegalTransition(LifecycleError):
    """A command of ours asked for a step that its lifecycle table does not have."""

    exit_code = 6

    def __init__(self, message: str, *, current: str, requested: str) -> None:
        super().__init__(message)
        self.current = current
        self.requested = requested


class JobFailed(LifecycleError):
    """A job ended in FAILED; `reason` is the provider's, verbatim, of one line or many."""

    exit_code = 1

    def __init__(
        self, message: str, *, job: str, reason: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.job = job
        self.reason = reason


class EndpointNotReady(LifecycleError):
    """The endpoint exists and cannot answer now."""

    exit_code = 6

    def __init__(self, message: str, *, endpoint: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.endpoint = endpoint


class StateError(FreelaneError):
    """Freelane's own store (or the disk under it) cannot be read or written."""

    exit_code = 7


class DeadlineExceeded(FreelaneError):
    """Time ran out and nothing was changed."""

    exit_code = 5


class OutcomeUnknown(FreelaneError):
    """A call may or may not have taken effect; `freelane cleanup` finds out."""

    exit_code = 8

    def __init__(self, message: str, *, operation: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint or "freelane cleanup")
        self.operation = operation


class ProviderError(FreelaneError):
    """The provider answered with an error, or did not answer.

    Attributes:
        provider: The configured name of the provider.
        operation: What was asked of it, in its own words.
        request_id: The provider's own id of the request, for its support.
        retryable: Whether the same request may succeed later, unchanged.
    """

    exit_code = 5
    retryable_by_default: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        provider: str,
        operation: str | None = None,
        request_id: str | None = None,
        retryable: bool | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.provider = provider
        self.operation = operation
        self.request_id = request_id
        self.retryable = self.retryable_by_default if retryable is None else retryable


class AuthenticationFailed(ProviderError):
    """No credentials, or ones that no longer hold."""

    exit_code = 3


class PermissionDenied(ProviderError):
    """The credentials hold and may not do this."""

    exit_code = 3


class ResourceNotFound(ProviderError):
    """There is no such thing at the provider."""

    exit_code = 6


class ResourceConflict(ProviderError):
    """The name is taken; `holder` says by what, as far as it is known."""

    exit_code = 6

    def __init__(
        self,
        message: str,
        *,
        provider: str,
        holder: str | None = None,
        operation: str | None = None,
        request_id: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(
            message, provider=provider, operation=operation, request_id=request_id, hint=hint
        )
        self.holder = holder


class InvalidRequest(ProviderError):
    """The provider refuses the request as it is written."""

    exit_code = 2


class ModelFailed(ProviderError):
    """The user's own model raised, hung or died; the provider itself is well."""

    exit_code = 1


class RateLimited(ProviderError):
    """The provider asks for patience; `quota_id` tells a minute's limit from a day's.

    `quota_id` is a row of the provider's catalogue, and `limit` what the provider says of it.
    """

    retryable_by_default = True

    def __init__(  # noqa: PLR0913 - each is one fact of the refusal
        self,
        message: str,
        *,
        provider: str,
        retry_after_s: float | None = None,
        quota_id: str | None = None,
        limit: int | None = None,
        operation: str | None = None,
        request_id: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(
            message, provider=provider, operation=operation, request_id=request_id, hint=hint
        )
        self.retry_after_s = retry_after_s
        self.quota_id = quota_id
        self.limit = limit


class ProviderUnreachable(ProviderError):
    """No answer came: refused, reset, unresolved or timed out before anything was sent."""

    retryable_by_default = True


class ProviderInternal(ProviderError):
    """The provider broke on its own side."""

    retryable_by_default = True
