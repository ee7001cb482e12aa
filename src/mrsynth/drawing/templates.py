"""Templates of the pages: HTML with everything inside, so that a page opens from disk and asks nothing of anyone."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL.Image import Image as Picture

import mrsynth

ASSETS = Path(__file__).parent / "assets"


def render(template: str, **values: Any) -> str:
    """Return a page made of a template.

    Beside its values a template has `version`, that of mrsynth, and asset(name), the text of a file in assets/.

    Args:
        template: the name of a file in assets/.
        **values: what the template shows; text is escaped unless it is Markup, as it may come from outside.

    Raises:
        jinja2.UndefinedError: the template shows a value that is not given.
    """
    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(version=mrsynth.__version__, asset=asset)
    return environment.get_template(template).render(**values)


def asset(name: str) -> Markup:
    """Return the text of a file in assets/, as it stands there."""
    return Markup((ASSETS / name).read_text(encoding="utf-8"))


def data_uri(content: bytes, kind: str = "png") -> str:
    """Return a picture as an address that holds it.

    Args:
        content: the file's bytes.
        kind: of the file: png, jpeg or webp.
    """
    return f"data:image/{kind};base64," + base64.b64encode(content).decode("ascii")


def jpeg_uri(picture: Picture, quality: int) -> str:
    """Return a picture as an address that holds it, a fifth of the size of its PNG.

    Args:
        picture: the picture.
        quality: of the JPEG, 1 to 95.
    """
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return data_uri(stream.getvalue(), "jpeg")
