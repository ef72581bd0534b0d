"""The model card of the bundle in service as a part of a page."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup

CARD_FILE = "MODEL_CARD.md"


class _Renderer(RendererHTML):
    """Tables that scroll by themselves on a narrow screen, in the look of the portal."""

    def table_open(self, tokens: Sequence[Token], at: int, *_: Any) -> str:
        """Name the frame after its table, since it can be scrolled by keyboard."""
        heading = next(
            tokens[place + 1].content
            for place in range(at, -1, -1)
            if tokens[place].type == "heading_open"
        )
        title = next(token.content for token in tokens[at:] if token.content)
        label = escape(f"{heading}: {title}")
        frame = f'<div class="dq-table-frame" tabindex="0" role="region" aria-label="{label}">'
        return f'{frame}<table class="nhsuk-table dq-table">'

    def table_close(self, *_: Any) -> str:
        return "</table></div>"


def live_card(weights: Path) -> Markup | None:
    """HTML of the live bundle's card, headings from level two; None without a bundle."""
    pointer = weights / "LIVE"
    if not pointer.is_file():
        return None
    card = weights / Path(pointer.read_text(encoding="utf-8").strip()).name / CARD_FILE
    if not card.is_file():
        return None
    # HTML in the text is shown and not obeyed, so what comes out is safe to put in a page.
    parser = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer).enable("table")
    tokens = parser.parse(card.read_text(encoding="utf-8"))
    for token in tokens:
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{int(token.tag[1]) + 1}"
        if token.type == "heading_open":
            token.attrSet("class", "nhsuk-heading-m" if token.tag == "h2" else "nhsuk-heading-s")
    return Markup(parser.renderer.render(tokens, parser.options, {}))  # noqa: S704 # nosec B704
