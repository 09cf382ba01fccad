"""Comments as HTML: a subset of Markdown without HTML, images and headings."""

import re
from functools import lru_cache

from markdown_it import MarkdownIt
from markupsafe import Markup

MAX_NESTING = 12
CACHED_COMMENTS = 1_000
"""The slowest comment of 10,000 characters takes a fifth of a second, once."""
RULES = (
    "paragraph", "newline", "escape", "entity", "backticks", "code", "fence", "blockquote", "list", "emphasis",
    "strikethrough", "link", "autolink", "linkify",
)  # fmt: skip
SAFE_URL = re.compile(r"(https?|mailto):", re.IGNORECASE)


@lru_cache(maxsize=CACHED_COMMENTS)
def render_markdown(text: str) -> Markup:
    return Markup(_MARKDOWN.render(text))  # noqa: S704 - without the rules for HTML everything is escaped


def _parser() -> MarkdownIt:
    parser = MarkdownIt("zero", {"html": False, "linkify": True, "breaks": True, "maxNesting": MAX_NESTING})
    parser.enable(RULES)
    parser.validateLink = lambda url: bool(SAFE_URL.match(url))  # type: ignore[method-assign]
    if parser.linkify is not None:  # only what begins with a scheme: `load.py` is no address in Paraguay
        parser.linkify.set({"fuzzy_link": False, "fuzzy_email": False, "fuzzy_ip": False})
    parser.add_render_rule("link_open", _open_link)
    return parser


def _open_link(renderer, tokens, index, options, env):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    tokens[index].attrSet("rel", "noreferrer nofollow")
    return renderer.renderToken(tokens, index, options, env)


_MARKDOWN = _parser()
