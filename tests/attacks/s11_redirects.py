"""S11: redirects of a teacher, which would carry the key to another server."""

from tests.attacks.corpus import Attack

ATTACKS = tuple(
    Attack(
        f"a redirect with {status}",
        "endpoint",
        lambda directory, parts, status=status: parts.endpoint.url(f"redirect-{status}"),
        "redirect|refused|30",
    )
    for status in (301, 302, 303, 307, 308)
)
