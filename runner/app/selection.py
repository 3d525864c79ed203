"""Which jobs a command is about: `--only`, `--tag`, `--kind`. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from runner.errors import UsageError
from runner.jobs.model import Spec
from runner.manifest import Manifest, Problem


def tenant_and_name(label: str) -> tuple[str, str]:
    """The two parts of TENANT/JOB.

    Raises:
        UsageError: it is written otherwise.
    """
    tenant, _, name = label.partition("/")
    if not (tenant and name):
        raise UsageError(f"{label}: name the job as TENANT/JOB")
    return tenant, name


@dataclass(frozen=True, slots=True)
class Selection:
    """A choice among jobs; an empty part chooses everything.

    Attributes:
        only: `tenant` or `tenant/job`, any of them.
        tags: a tenant has any of them.
        kind: export or report.
    """

    only: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    kind: Literal["export", "report"] | None = None

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return not (self.only or self.tags or self.kind)

    def takes(self, spec: Spec, tags: Iterable[str]) -> bool:
        """Whether a job that wants this is chosen; `tags` are its tenant's."""
        return self.takes_entry(spec.tenant, spec.name, spec.kind, tags)

    def takes_entry(self, tenant: str, job: str, kind: str, tags: Iterable[str]) -> bool:
        """Whether jobs of this name are chosen."""
        named = not self.only or tenant in self.only or f"{tenant}/{job}" in self.only
        tagged = not self.tags or not set(self.tags).isdisjoint(tags)
        return named and tagged and self.kind in (None, kind)

    def refuse_unknown(self, specs: Iterable[Spec]) -> None:
        """Refuse a part of `--only` that names nothing in the journal: it is a slip, whatever the others name.

        Raises:
            UsageError: it names what does not match.
        """
        known = {name for spec in specs for name in (spec.tenant, f"{spec.tenant}/{spec.name}")}
        for name in self.only:
            if name not in known:
                raise UsageError(
                    f"--only {name}: the selection matches no such job of the journal; "
                    "`runner status` shows what there is"
                )

    def concerns(self, problem: Problem) -> bool:
        """Whether a tenant's fault concerns what is chosen. Its jobs are not known, and not always its tags."""
        named = not self.only or problem.tenant in {name.partition("/")[0] for name in self.only}
        tagged = not self.tags or problem.tags is None or not set(self.tags).isdisjoint(problem.tags)
        return named and tagged

    def check(self, manifest: Manifest) -> None:
        """Refuse a choice, or a part of `--only`, that matches nothing: it is a slip.

        Raises:
            UsageError: it names what does not match.
        """
        jobs = [
            (tenant, entry.name, kind)
            for tenant in manifest.tenants
            for kind, entries in (("export", tenant.exports), ("report", tenant.reports))
            for entry in entries
        ]
        at_fault = {problem.tenant for problem in manifest.problems}
        for name in self.only:
            tenant_name = name.partition("/")[0]
            if tenant_name in at_fault:
                continue
            if not any(name in (tenant.name, f"{tenant.name}/{job}") for tenant, job, _ in jobs):
                raise UsageError(f"--only {name}: no such tenant or job in {manifest.path}")
        if not any(self.takes_entry(tenant.name, job, kind, tenant.tags) for tenant, job, kind in jobs):
            reasons = "\n".join(p.message for p in manifest.problems if self.concerns(p))
            raise UsageError("the selection matches no job" + (f":\n{reasons}" if reasons else ""))
