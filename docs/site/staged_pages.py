"""Pages of the repository as the site shows them: links lead to pages of the site, formulas show.

The text of a page is as it stands. Links to files that the site lacks lead to the repository.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from posixpath import dirname, normpath

from places import BLOB, HOME, RAW, ROOT, in_site, relative

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")
LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\])\(([^)\s]+)\)")
DISPLAY = re.compile(r"^\$\$(.+?)\$\$$", re.MULTILINE)
INLINE = re.compile(r"\$([^$\n]+?)\$")
NAMED = re.compile(r"^```(\w+) (\S+)$", re.MULTILINE)
"""A block of code with the name of its file, as docs/tasks.md has them."""

SETMINUS = "&#x029F5;"
"""Few fonts have it; a backslash looks the same."""

LIST_AFTER_TEXT = re.compile(r"^((?![-*|>#\s]|\d+\. ).+)\n(?=[-*] |1\. )", re.MULTILINE)


def staged(text: str, source: str, page: str, all_pages: dict[str, str]) -> str:
    """The text of a page that lies at ``source`` in the repository and at ``page`` in the site."""

    def link(found: re.Match[str]) -> str:
        return f"{found[1]}({_address(found[2], source, page, all_pages)})"

    text = NAMED.sub(r'```\1 title="\2"', text)
    text = outside(FENCE, text, lambda part: LIST_AFTER_TEXT.sub(r"\1\n\n", part))
    text = outside(FENCE, text, lambda part: LINK.sub(link, part))
    return outside(FENCE, text, lambda part: outside(CODE, part, with_formulas))


def outside(kept: re.Pattern[str], text: str, change: Callable[[str], str]) -> str:
    """The text with everything changed that the pattern does not match."""
    done, at = [], 0
    for found in kept.finditer(text):
        done += [change(text[at : found.start()]), found.group()]
        at = found.end()
    return "".join([*done, change(text[at:])])


def with_formulas(text: str) -> str:
    """Formulas as MathML, which browsers draw without a script."""
    text = DISPLAY.sub(lambda found: f'<div class="math">{_formula(found[1], "block")}</div>', text)
    return INLINE.sub(lambda found: f"<span>{_formula(found[1], 'inline')}</span>", text)


def _formula(latex: str, display: str) -> str:
    from latex2mathml.converter import convert

    made = convert(latex, display=display).replace(SETMINUS, "&#92;")
    return re.sub(r"[*_\\`\[\]]", lambda sign: f"&#{ord(sign.group())};", made)


def _address(link: str, source: str, page: str, all_pages: dict[str, str]) -> str:
    """A link as it has to be in the site."""
    path, hash_, anchor = link.partition("#")
    for start in (BLOB, RAW, f"{HOME}/tree/main/"):
        if path.startswith(start):
            path = path.removeprefix(start)
            break
    else:
        if not path or "://" in path:
            return link
        path = normpath(f"{dirname(source)}/{path}" if dirname(source) else path)
    found = in_site(path, all_pages)
    if found is None:
        if not (ROOT / path).exists():
            raise SystemExit(f"{source} links {link}, which is not in the repository")
        return f"{BLOB}{path}{hash_}{anchor}"
    return f"{relative(found, page)}{hash_}{anchor}"
