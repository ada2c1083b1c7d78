"""The templates of the pages."""

from pathlib import Path

import jinja2


def page(name: str) -> jinja2.Template:
    """A template of this folder; what it is given is escaped, and what it is not given is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)
