"""dlt as a sync uses it: with a configuration of ours alone, and without a trace in the process that calls.

dlt looks for each of some hundred settings under long and short names, in the environment, the project and the home
folder: `REFRESH=drop_data` meant for another pipeline would empty the warehouse. The promises rest on what stands
here, so nothing else is read. The user's own word, where a destination lies and who may write to it, is let through
by its full name.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from dlt.common.configuration.container import Container
from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.configuration.providers import CustomLoaderDocProvider
from dlt.common.configuration.providers.provider import ConfigProvider
from dlt.common.configuration.specs import RuntimeConfiguration
from dlt.common.configuration.specs.config_providers_context import ConfigProvidersContainer
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
from dlt.common.pipeline import PipelineContext
from dlt.common.runtime.run_context import RunContext

from pipelines.errors import ConfigurationError

#: What dlt must do otherwise than by default.
SETTINGS: dict[str, Any] = {
    "runtime": {"intercept_signals": False},  # an interrupt ends the sync at once; nothing is lost by it
    "pipelines": {"enable_runtime_trace": False},  # nor is it told to anyone
    "schema": {"naming": "snake_case"},  # its default is a variable of the environment
    "normalize": {"parquet_normalizer": {"add_dlt_load_id": True}},
    "load": {
        "truncate_staging_dataset": True,  # or the file stays twice as large
        "delete_completed_jobs": True,
    },
}

_changing = threading.Lock()


@contextlib.contextmanager
def confined(*let_through: str) -> Iterator[None]:
    """Let dlt read `SETTINGS` and nothing else, in this thread and in the pools that it starts meanwhile.

    `let_through` is a section of the user's configuration that counts too. Other threads of this process have their
    own configuration all along; afterwards everything is as it was, the active pipeline included.
    """
    container = Container()
    thread = Container.thread_pool_prefix()
    with _same_pipeline(container), _shared(container, vaults=bool(let_through)) as shared:
        own: list[ConfigProvider] = [CustomLoaderDocProvider("apiframe-warehouse", lambda: SETTINGS)]
        if let_through:
            own += [_Section(provider, let_through) for provider in shared.former.providers]
        outer = shared.own.get(thread)
        shared.own[thread] = own
        try:
            yield
        finally:
            if outer is None:
                del shared.own[thread]
            else:
                shared.own[thread] = outer


@contextlib.contextmanager
def _same_pipeline(container: Container) -> Iterator[None]:
    """Leave the pipeline active that was; dlt activates each one that it makes or runs."""
    pipelines = container[PipelineContext]
    former = pipelines.pipeline() if pipelines.is_active() else None
    try:
        yield
    finally:
        if former is None:
            pipelines.deactivate()
        else:
            pipelines.activate(former)


class _Section(ConfigProvider):
    """A provider of the user's, asked for one section only: a short name may be meant for anything."""

    def __init__(self, provider: ConfigProvider, section: tuple[str, ...]) -> None:
        self._provider = provider
        self._section = section

    def get_value(self, key: str, hint: type[Any], pipeline_name: str | None, *sections: str) -> tuple[Any, str]:
        if sections[: len(self._section)] != self._section:
            return None, key
        return self._provider.get_value(key, hint, pipeline_name, *sections)

    @property
    def supports_secrets(self) -> bool:
        return self._provider.supports_secrets

    @property
    def supports_sections(self) -> bool:
        return self._provider.supports_sections

    @property
    def name(self) -> str:
        return self._provider.name

    @property
    def is_empty(self) -> bool:
        return self._provider.is_empty


class _PerThread(ConfigProvidersContainer):
    """Shows each thread that is confined its own providers, and every other the former ones."""

    def __init__(self, former: ConfigProvidersContainer) -> None:
        self.former = former
        self.context_provider = former.context_provider
        self.own: dict[str, list[ConfigProvider]] = {}  # by the prefix that dlt names a thread's pools with
        self.users = 0

    @property
    def providers(self) -> list[ConfigProvider]:  # type: ignore[override]
        here, name = Container.thread_pool_prefix(), threading.current_thread().name
        own = (found for prefix, found in self.own.copy().items() if prefix == here or name.startswith(prefix))
        return next(own, self.former.providers)


class _Quiet(RunContext):
    """The run context of a process that has none yet: starts neither dlt's logging nor its telemetry."""

    def initialize_runtime(self, runtime_config: RuntimeConfiguration | None = None) -> None:
        self._runtime_config = runtime_config or RuntimeConfiguration()


@contextlib.contextmanager
def _shared(container: Container, *, vaults: bool) -> Iterator[_PerThread]:
    """Put `_PerThread` in front of the process's providers while anyone needs it; `vaults` where a secret may be."""
    with _changing:
        if PluggableRunContext not in container:
            made = PluggableRunContext(_Quiet(None))
            made.extras_added = not vaults
            try:
                container[PluggableRunContext] = made
            except ConfigurationException as problem:
                reason = str(problem).split("\n", 1)[0]
                raise ConfigurationError(f"dlt cannot read its configuration: {reason}") from None
        context = container[PluggableRunContext]
        if not isinstance(context.providers, _PerThread):
            context.providers = _PerThread(context.providers)
        shared = context.providers
        shared.users += 1
    try:
        yield shared
    finally:
        with _changing:
            shared.users -= 1
            if not shared.users and context.providers is shared:
                context.providers = shared.former
                if isinstance(context.context, _Quiet):  # whoever comes next makes it as is usual
                    del container[PluggableRunContext]
