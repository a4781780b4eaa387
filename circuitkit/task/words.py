"""The words that tinypython and the tasks share.

A small vocabulary, so that a model with few weights can learn the cue of each
behaviour. Any name may have any type: a name alone never predicts what follows it.
"""

NAMES = (
    "count", "total", "size", "index", "value", "item", "name", "text", "line", "word", "key",
    "data", "rows", "table", "result", "seen", "found", "done", "ready", "flag", "first", "last",
    "left", "right", "start", "level", "score", "price", "node", "part", "group", "page",
    "current",
)  # fmt: skip
"""Variables, parameters and loop variables."""

FIELDS = ("name", "size", "data", "count", "text", "value", "total", "level", "rows", "seen")
"""Attributes of ``self``: a subset of the names."""

FUNCTIONS = ("load", "save", "read", "parse", "merge", "check", "build", "find", "make", "send")
"""Functions and methods, called and defined."""

CLASSES = ("Reader", "Writer", "Store", "Queue", "Cache", "User", "Board", "Shop")

WORDS = (
    "hello", "world", "good", "red", "blue", "green", "small", "big", "old", "new",
    "here", "there", "today", "never", "always", "file", "open", "cold", "warm", "done",
)  # fmt: skip
"""What strings and comments are made of."""

ASIDES = ("for", "in", "if", "set", "(now)", "[now]", "now:")
"""What a string may hold in the middle that looks like code."""

READ_FILES = ("input", "source", "config", "notes")
"""Files that are read: open them with 'r'."""

WRITE_FILES = ("output", "report", "backup", "log")
"""Files that are written: open them with 'w'."""

EXTENSIONS = (".txt", ".csv", ".json")

DIGITS = tuple("0123456789")
QUOTES = ("'", '"')
