"""A browser in coarse words, such as "Firefox on Windows": enough to know one's own again.

The header itself is not stored: with its versions it would tell one person from another.
"""

# The first that fits counts: most browsers also carry the names of those they descend from.
_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Macintosh", "Mac"),
    ("Linux", "Linux"),
)
UNKNOWN_BROWSER = "A browser"
UNKNOWN_SYSTEM = "another system"


def device_label(user_agent: str) -> str:
    """Browser and system by the names in a User-Agent header."""
    browser = _first(_BROWSERS, user_agent) or UNKNOWN_BROWSER
    return f"{browser} on {_first(_SYSTEMS, user_agent) or UNKNOWN_SYSTEM}"


def _first(names: tuple[tuple[str, str], ...], user_agent: str) -> str | None:
    return next((words for mark, words in names if mark in user_agent), None)
