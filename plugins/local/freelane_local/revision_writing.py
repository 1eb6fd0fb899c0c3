"""Writes what an endpoint is to serve: the code, and all that a server is started with."""

import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from freelane.contract.capability import Capability
from freelane.contract.provider import ProviderContext, RateLedger
from freelane.errors import CapabilityUnsupported, ResourceNotFound
from freelane.model.endpoint import NO_RATE, EndpointMode, EndpointSpec
from freelane.model.operation import Operation
from freelane.runtime import bundle
from freelane_local import frameworks, gpu, records, server_order, variables, venv
from freelane_local.config import LocalConfig, LocalDeployConfig
from freelane_local.revisions import RevisionFolder
from freelane_local.space import check_space

_SECTION = "providers.{}.deploy"


class RevisionWriter:
    """Checks and writes revisions; `root` holds the local cloud and may not exist yet."""

    def __init__(self, root: Path, config: LocalConfig, context: ProviderContext) -> None:
        self.root = root
        self._config = config
        self._context = context
        self._section = _SECTION.format(context.name)

    def options(self, spec: EndpointSpec) -> LocalDeployConfig:
        """What only this provider has, as the spec asks for it."""
        if isinstance(spec.options, LocalDeployConfig):
            return spec.options
        return self._config.deploy

    def handed_over(self, spec: EndpointSpec) -> dict[str, str]:
        """The variables that the supervisor needs for it, and that stand in no file.

        Raises:
            ConfigError: A secret is not set.
        """
        environ = self._context.environ
        variables.check_secrets(spec.secrets, environ, verb="deploy")
        return {**{name: environ[name] for name in spec.secrets}, **self._own_env(spec)}

    def check(self, spec: EndpointSpec) -> gpu.Want:
        """See that it can be served here; answers the cards that it wants.

        Raises:
            CapabilityUnsupported, ConfigError, ResourceNotFound, StateError: It cannot.
        """
        name, options = self._context.name, self.options(spec)
        if spec.mode is EndpointMode.ASYNC:
            raise CapabilityUnsupported(
                f'{name} serves nothing asynchronously; set mode = "auto" in [deploy]',
                capability=Capability.DEPLOY,
                provider=name,
            )
        variables.check_secrets(spec.secrets, self._context.environ, verb="deploy")
        artifact = Path(spec.artifact.uri)
        if not ((artifact / "manifest.json").is_file() and (artifact / "model").is_dir()):
            raise ResourceNotFound(
                f"{name}: artifact {spec.artifact.digest[:12]} is not in its store; "
                "train again, or import the model again",
                provider=name,
                operation="deploy",
            )
        current = options.python == "current"
        if spec.framework is not None and current:
            frameworks.check_installed(spec.framework, section=self._section)
        uses_torch = current and gpu.script_imports_torch(spec.source / spec.script)
        want = gpu.choose(
            spec.resources.accelerator,
            self._context.environ,
            provider=name,
            torch_folder=gpu.torch_folder() if uses_torch else None,
        )
        check_space(self.root, spec, least_bytes=self._config.min_free_disk)
        return want

    def write(
        self, revision: RevisionFolder, spec: EndpointSpec, operation: Operation, want: gpu.Want
    ) -> None:
        """Fill the folder, which is there and empty.

        Raises:
            ConfigError: The code, or a key, does not hold.
            StateError: The disk is full, read-only or denies access.
        """
        options = self.options(spec)
        server = server_order.wishes(spec, options, section=self._section)
        revision.bundle.mkdir()
        written = bundle.write(spec, revision.bundle)
        needs_none = options.python == "current" or spec.engine is not None
        environment = None if needs_none else venv.asked_by(spec)
        ledger = self._context.rates or RateLedger(folder=self.root / "rates")
        server["rate"] = server_order.rate_order(
            ledger,
            spec.rate,
            provider=self._context.name,
            subject=f"{self._context.owner}/{spec.name}",
            emulated=self._context.emulated,
        )
        document: dict[str, object] = {
            "schema_version": 1,
            "operation": operation.id,
            "created": time.time(),
            "artifact": {"digest": spec.artifact.digest, "uri": spec.artifact.uri},
            "rate": asdict(spec.rate),
            "python": sys.executable,
            "environment": environment.to_json() if environment else None,
            "env": {**written.env, **self._serving_env(spec)},
            "secrets": list(spec.secrets),
            "variables": sorted(self._own_env(spec)),
            "gpus": {
                "count": want.count,
                "uuids": list(want.uuids),
                "folder": str(self.root / "gpus"),
            },
            "memory_bytes": spec.resources.memory_bytes,
            "access_log": options.access_log,
            "note": "; ".join(_notes(spec, options, want)),
            "server": server,
        }
        records.write_json(revision.record, document)

    def _own_env(self, spec: EndpointSpec) -> dict[str, str]:
        """What the server itself needs: to count its rate, to ask its engine."""
        ledger, environ = self._context.rates, self._context.environ
        env = {} if ledger is None or spec.rate == NO_RATE else dict(ledger.env)
        key = None if spec.engine is None else spec.engine.key_variable
        if key is not None and key in environ:
            env[key] = environ[key]
        return env

    def _serving_env(self, spec: EndpointSpec) -> dict[str, str]:
        env = {"FREELANE_PROVIDER": self._context.name, "PYTHONUNBUFFERED": "1"}
        if spec.resources.cpus is not None:
            env["FREELANE_NUM_CPUS"] = str(max(1, int(spec.resources.cpus)))
        return env


def _notes(spec: EndpointSpec, options: LocalDeployConfig, want: gpu.Want) -> Iterator[str]:
    if options.isolation == "none" and spec.replicas.max > 1:
        yield f'isolation = "none" has one model, whatever replicas.max = {spec.replicas.max}'
    if want.note:
        yield want.note
