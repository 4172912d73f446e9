"""Pictures, as a config says it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vae_model.config.section import Section

Side = Annotated[int, Field(ge=4, le=512)]
"""Of a picture, in pixels: ``networks.edges`` has no cells for less, and its sums would not be exact for more."""


class Image(Section):
    """The size that all pictures are brought to. What is looked for should still be seen at it."""

    height: Side
    """Rows of pixels. A picture of another size is scaled until it fits, its aspect kept, and continued by its
    outermost pixels."""
    width: Side
    """Columns of pixels."""
    channels: Literal[1, 3] = 1
    """1: grey. 3: red, green, blue."""
