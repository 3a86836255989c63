"""A badge that a client can show in its README."""

from __future__ import annotations

from pathlib import Path

import jinja2

_CHARACTER = 6.6  # pixels, about: the text is stretched to the width that this gives
_MARGIN = 12


def svg(label: str, text: str, colour: str) -> str:
    """Return a picture of two words side by side, the second on ``colour``."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    left, right = (round(len(one) * _CHARACTER) + _MARGIN for one in (label, text))
    template = environment.get_template("badge.svg.jinja")
    return template.render(
        label=label, text=text, colour=colour, left=left, width=left + right
    )
