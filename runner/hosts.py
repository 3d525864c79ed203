"""Which domains are Lucca's, so that a key goes nowhere else. Pure; knows nothing of tenants or sockets."""

import re
from collections.abc import Iterable

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_LUCCA_HOST = re.compile(
    rf"{_LABEL}\.(?:ilucca(?:-test|-demo)?\.(?:net|ch)|sandbox\.{_LABEL}\.luccasoftware\.com)"
)
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_HOST_MAX_CHARS = 253
# One label alone would let keys go to half the internet; these exist in private networks only.
_PRIVATE_SUFFIXES = frozenset({"example", "home", "internal", "invalid", "lan", "local", "localhost", "test"})


def parse_domain(text: str, allowed_suffixes: Iterable[str] = ()) -> str:
    """The domain in lower case, if it is a Lucca host or stands under an allowed suffix.

    Raises:
        ValueError: it is not; the message says why and never repeats the text.
    """
    # Before lower-casing: a few letters beyond ASCII (the Kelvin sign) become ASCII by it.
    if not text.isascii():
        raise ValueError("the domain has letters that are not ASCII; a look-alike is not the same host")
    domain = text.lower()
    if "://" in domain or "/" in domain:
        raise ValueError("write the bare domain, without https:// and without a path, like acme.ilucca.net")
    if "@" in domain or ":" in domain:
        raise ValueError("write the bare domain, without a port or a user, like acme.ilucca.net")
    if domain.endswith("."):
        raise ValueError("write the domain without the dot at its end")
    if len(domain) > _HOST_MAX_CHARS or not _HOST.fullmatch(domain):
        raise ValueError("not a domain; write it like acme.ilucca.net")
    if _LUCCA_HOST.fullmatch(domain):
        return domain
    if any(domain == suffix or domain.endswith(f".{suffix}") for suffix in allowed_suffixes):
        return domain
    raise ValueError(
        "not a Lucca host (NAME.ilucca.net, .ch, -test, -demo, or NAME.sandbox.SERVER.luccasoftware.com); "
        "RUNNER_ALLOWED_HOSTS allows others"
    )


def parse_suffix(text: str) -> str:
    """An allowed host suffix, in lower case and without the dot that it may begin with.

    Raises:
        ValueError: it is no part of a domain, or so short that it would allow strangers.
    """
    suffix = text.strip().lower().removeprefix(".")
    if not text.isascii() or len(suffix) > _HOST_MAX_CHARS or not _HOST.fullmatch(suffix):
        raise ValueError("a host suffix looks like example.net, without a port, a path or a star")
    if "." not in suffix and suffix not in _PRIVATE_SUFFIXES:
        raise ValueError(f"the host suffix {suffix} is too wide: keys would go to any host under it")
    return suffix
