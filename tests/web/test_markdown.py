"""Comments as HTML: what is rendered, and what stays text."""

import re
import time

import pytest

from windsock.web.markdown import render_markdown


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("plain", "<p>plain</p>\n"),
        ("one\ntwo", "<p>one<br>\ntwo</p>\n"),
        ("**b** *i* ~~s~~ `c`", "<p><strong>b</strong> <em>i</em> <s>s</s> <code>c</code></p>\n"),
        ("- a\n- b", "<ul>\n<li>a</li>\n<li>b</li>\n</ul>\n"),
        ("> quoted", "<blockquote>\n<p>quoted</p>\n</blockquote>\n"),
        ("```\n  <x>\n```", "<pre><code>  &lt;x&gt;\n</code></pre>\n"),
        ("load_all_orders", "<p>load_all_orders</p>\n"),
        ("# no heading", "<p># no heading</p>\n"),
        ("see load.py and bank.de", "<p>see load.py and bank.de</p>\n"),
    ],
)
def test_markdown_is_rendered(text: str, html: str) -> None:
    assert render_markdown(text) == html


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("https://bank.example/a?b=1&c=2", "https://bank.example/a?b=1&amp;c=2"),
        ("(see http://bank.example).", "http://bank.example"),
        ("[runbook](https://wiki.example/x)", "https://wiki.example/x"),
        ("<https://wiki.example>", "https://wiki.example"),
        ("<mailto:team@example.com>", "mailto:team@example.com"),
    ],
)
def test_links_are_clickable(text: str, target: str) -> None:
    assert f'<a href="{target}" rel="noreferrer nofollow">' in render_markdown(text)


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        '<a href="x" onclick="alert(1)">',
        '"><img src=x onerror=alert(1)>',
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](&#106;avascript:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "[x](vbscript:x)",
        "[x](//elsewhere.example)",
        "[x](/sign-out)",
        "<javascript:alert(1)>",
        "![x](https://elsewhere.example/pixel.png)",
        '[x](https://a.example "t\\" onclick=\\"alert(1)")',
        "```<script>\nx\n```",
        "`<script>`",
        "ftp://elsewhere.example",
    ],
)
def test_markdown_contains_no_active_content(text: str) -> None:
    html = render_markdown(text)
    tags = re.findall(r"<(\w+)", html)
    assert set(tags) <= {"p", "a", "br", "pre", "code"}, html
    for target in re.findall(r'href="([^"]*)"', html):
        assert target.startswith(("http:", "https:", "mailto:")), html
    assert not re.search(r"<[^>]*\s(?:style|on\w+)=", re.sub(r'"[^"]*"', '""', html)), html


@pytest.mark.parametrize(
    "part", [">", "> ", "*a ", "[", "[a](", "![", "- ", "http://a ", "<", "&", "~~a ", "_a__b", "1. a\n", ">a\n", "`a"]
)
def test_hostile_markdown_is_rendered_in_bounded_time(part: str) -> None:
    text = (part * 10_000)[:10_000]
    begin = time.process_time()
    render_markdown.__wrapped__(text)
    assert time.process_time() - begin < 2
