"""The table of settings: their names, flags, defaults and help. Imports next to nothing: `--help` is made of it.

What a value means, and which are valid, is known by `settings`; a test keeps the two equal.
"""

from dataclasses import dataclass

ENV_PREFIX = "RUNNER_"


@dataclass(frozen=True, slots=True)
class Setting:
    """One row: what a setting is called, and what is said of it.

    Attributes:
        name: its attribute of `Settings`, such as `max_concurrency`.
        metavar: what stands for its value in `--help`.
        default: the default in words.
        help: one line.
    """

    name: str
    metavar: str
    default: str
    help: str

    @property
    def env(self) -> str:
        """Its environment variable."""
        return ENV_PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        """Its flag."""
        return "--" + self.name.replace("_", "-")


SETTINGS: tuple[Setting, ...] = (
    Setting("manifest", "PATH", "tenants.yaml", "The manifest; also the first argument."),
    Setting("output", "DIR", "output", "Where the files go."),
    Setting("output_group", "GROUP", "none", "Let this group read the files (0750 and 0640)."),
    Setting("state", "PATH", "<output>/.runner/journal.db", "The journal, on a local disk."),
    Setting("timezone", "ZONE", "the system's", "Of the batch date and of HH:MM, such as Europe/Paris."),
    Setting("gateway", "URL", "none", "Send every request here instead of https://<domain>."),
    Setting("max_concurrency", "N", "64", "Requests in flight, all tenants together."),
    Setting("max_concurrency_per_domain", "N", "2", "Requests in flight, for one domain."),
    Setting("requests_per_minute", "N", "25", "Per domain, in any 60 s; a tenant's own value comes first."),
    Setting("trigger_timeout", "DURATION", "15s", "How long the answer to an export's POST is awaited."),
    Setting("request_timeout", "DURATION", "60s", "Of any other request that moves no data."),
    Setting("export_poll_interval", "DURATION", "30s", "The longest wait between two polls of an export."),
    Setting("report_poll_interval", "DURATION", "10s", "Between two polls of a report."),
    Setting("report_timeout", "DURATION", "1h", "A report pending longer counts as an error."),
    Setting("retrigger_after", "DURATION", "1h", "No second trigger of the same export sooner."),
    Setting("max_triggers", "N", "3", "Triggers of one export, in all."),
    Setting("until", "TIME", "8h", "A duration or HH:MM: stop then, leave the rest to the next run."),
    Setting("log_format", "FORMAT", "console on a terminal, else json", "console or json, on stderr."),
    Setting("log_level", "LEVEL", "info", "debug, info, warning, error or critical."),
    Setting("language", "LANG", "fr", "fr or en: the morning page and the notices."),
    Setting("allowed_hosts", "SUFFIXES", "none", "Further host suffixes, comma-separated."),
)

BY_NAME = {setting.name: setting for setting in SETTINGS}
