"""Named kinds of tenants, from the prompt one to the one that never answers.

Owns what each mood means in the values of `scenario`; each is one function with one sentence. All take the domain, the
day of the run and the length of "the hour" that a client waits before it triggers again: a few seconds in the demo, a
true hour in tests with virtual time. Exports are asked for up to the latest Monday.
"""

from runner.sandbox.moods import exports, hosts, reports
from runner.sandbox.moods.kinds import DEMO_HOUR_SECONDS, MOODS, Mood

__all__ = ["DEMO_HOUR_SECONDS", "MOODS", "Mood", "exports", "hosts", "reports"]
