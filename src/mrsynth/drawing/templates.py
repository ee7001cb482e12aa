"""Templates of the pages: HTML with everything inside, so that a page opens from disk and asks nothing of anyone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

ASSETS = Path(__file__).parent / "assets"


def render(template: str, **values: Any) -> str:
    """Return a page made of a template.

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
    return environment.get_template(template).render(**values)
