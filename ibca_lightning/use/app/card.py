"""The model card beside a checkpoint as HTML."""

from pathlib import Path

from markdown_it import MarkdownIt
from markupsafe import Markup

from ibca_lightning.run.model_card import MAX_CARD, NAME
from ibca_lightning.system.strangers import read_bytes


def card_beside(checkpoint: Path) -> Markup:
    """The card, in which no HTML, picture or link of its own is live; empty where there is none that can be read."""
    try:
        text = read_bytes(checkpoint.resolve().parent / NAME, MAX_CARD).decode()
    except (OSError, ValueError):
        return Markup()
    text = text.partition("<!-- ibca-facts")[0]
    markdown = MarkdownIt("js-default").disable(["image", "link", "autolink"])
    tokens = markdown.parse(text)
    for token in tokens:
        token.attrs.pop("style", None)  # the policy of the page allows none within
    page = markdown.renderer.render(tokens, markdown.options, {})
    return Markup(page.replace("_", "_<wbr>"))  # a long name breaks there
