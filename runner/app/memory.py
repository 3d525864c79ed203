"""What is remembered of a domain from job to job and night to night, kept in the journal.

Owns what a run forgets of it, and how often. Must not know how anything of it was found out.
"""

from typing import Final

from runner.journal import Journal

_CONTENT_PATH: Final = "content_path"


class JournalMemory:
    """What is remembered of a domain, kept in the journal."""

    def __init__(self, journal: Journal, traits: dict[tuple[str, str], str]) -> None:
        """`traits`: what the journal knows already."""
        self._journal = journal
        self._traits = traits
        self._forgotten: set[tuple[str, str, str]] = set()

    def doubled(self, domain: str) -> bool:
        """Whether the content answers under the doubled path."""
        return self._traits.get((domain, _CONTENT_PATH)) == "doubled"

    async def remember_doubled(self, domain: str, doubled: bool) -> None:  # noqa: FBT001 - the fact itself
        """Remember which path answered, unless that is known, or what is taken for granted."""
        if doubled != self.doubled(domain):
            value = self._traits[domain, _CONTENT_PATH] = "doubled" if doubled else "plain"
            await self._journal.remember_trait(domain, _CONTENT_PATH, value)

    async def template(self, domain: str, sha256: str) -> int | None:
        """The template created for this content."""
        return await self._journal.template(domain, sha256)

    async def remember_template(self, domain: str, sha256: str, template_id: int) -> None:
        """Remember it."""
        await self._journal.remember_template(domain, sha256, template_id)

    async def forget_template(self, domain: str, sha256: str, template_id: int, tenant: str) -> bool:
        """Forget a template that this tenant can no longer use. Returns whether it may be made once more.

        That is once in a run for each tenant, since a key that may use no template would have one made by each of its
        jobs. Of a host's tenants each has its own key, which may reach no template but its own.
        """
        if await self.template(domain, sha256) != template_id:
            return True  # While this job stood aside, another had it made anew.
        if (domain, sha256, tenant) in self._forgotten:
            return False
        self._forgotten.add((domain, sha256, tenant))
        await self._journal.forget_template(domain, sha256)
        return True
