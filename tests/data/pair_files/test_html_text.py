"""What people read in a page stays, and what they do not see goes."""

import pytest

from data.pair_files.html_text import PIECE, html_text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("plain text", "plain text"),
        ("<p>One.</p><p>Two.</p>", "One.\n\nTwo."),
        ("<p>One\n  line</p>\n<p><br></p>\n<p>Two</p>", "One line\n\nTwo"),
        ("a<br>b<br/><br>c", "a\nb\n\nc"),
        ("<div>a</div><div>b</div>", "a\n\nb"),
        ("5 &lt; 6 &amp; caf&eacute;&nbsp;&#8364;", "5 < 6 & café €"),
        ("<ul><li>a</li><li><p>b</p></li></ul>", "- a\n- b"),
        ("<ol><li>a<ul><li>b</li></ul></li><li>c</li></ol>", "1. a\n  - b\n2. c"),
        ("<p>x</p><ol><li>a</li></ol><p>y</p>", "x\n\n1. a\n\ny"),
        ('See <a href="https://x.io/a">the page</a>.', "See the page (https://x.io/a)."),
        ('See <a href="https://x.io/">https://x.io</a>', "See https://x.io"),
        ('<a href="#top">up</a> <a href="javascript:x()">x</a>', "up x"),
        ('<a href="mailto:a@b.io">write</a>', "write (a@b.io)"),
        ("Run <code>ls -l</code>.", "Run `ls -l`."),
        ("<pre><code>a:\n  b: 1</code></pre>", "```\na:\n  b: 1\n```"),
        ("<table><tr><th>A</th><th>B</th></tr><tr><td>1</td><td>2</td></tr></table>",
         "A | B\n1 | 2"),
        ("<script>alert('<p>1</p>')</script><style>p{}</style>x<img src=a>", "x"),
        ("<p>unclosed <b>bold", "unclosed bold"),
        ("", ""),
    ],
)  # fmt: skip
def test_the_text_of_a_page(source: str, text: str) -> None:
    assert html_text(source) == text


@pytest.mark.parametrize("mark", ["<a ", "<!--", '<a b="', "</", "<"])
def test_marks_that_do_not_end_take_no_time(mark: str) -> None:
    """`HTMLParser` looks at the rest of the text for each of them: these take it an hour."""
    assert html_text("<p>Open.</p>" + mark * 50_000).startswith("Open.")


def test_lists_in_one_another_are_indented_within_bounds() -> None:
    """The text of a list grew with the square of its depth."""
    assert len(html_text("<ul><li>x" * 3_000)) < 200_000


@pytest.mark.parametrize("before", range(PIECE - 12, PIECE + 1))
def test_what_lies_across_two_pieces_is_whole(before: int) -> None:
    page = f"<p>{'x' * before}&auml;<b>y</b><!-- {'z' * PIECE} --></p>"
    assert html_text(page) == f"{'x' * before}äy"


def test_a_long_address_and_a_long_comment_are_left_out() -> None:
    image = f'<img src="data:image/png;base64,{"A" * 3 * PIECE}">'
    assert html_text(f"<p>Open.{image}<!-- {'b' * 3 * PIECE} --> Yes.</p>") == "Open. Yes."
    assert html_text(f"Open.<!-- {'b' * 3 * PIECE}") == "Open."
    assert html_text("Less than <b") == "Less than <b"
