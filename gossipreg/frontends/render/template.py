"""Templates: reads and renders one, and says where it is wrong. Needs jinja2, which the extra ``render`` installs."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import attrs
import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from gossipreg.errors import GossipregError, TemplateError
from gossipreg.frontends.render.escaping import FORMS, form_of, is_ip, slug, unique_name
from gossipreg.frontends.render.template_data import TemplateData
from gossipreg.values import frozen


@frozen
class Template:
    """A file in jinja2's language. It and what it includes from beside it are read anew when they have changed.

    It is rendered in a sandbox: it cannot change anything, nor reach for more than it is given. The filter ``quoted``
    escapes for the file that is made, ``out``, by its suffix; without one by the template's own.
    """

    file: Path
    out: Path | None = None
    _environment: jinja2.Environment = attrs.field(init=False, repr=False)

    @_environment.default
    def _(self) -> jinja2.Environment:
        environment = ImmutableSandboxedEnvironment(
            loader=jinja2.FileSystemLoader(self.file.parent),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            autoescape=False,  # what is rendered is no HTML: see `escaping`
        )
        quoted = form_of(self.out or self.file)
        environment.filters |= {"slug": slug, "unique_name": unique_name, "quoted": quoted, **FORMS}
        environment.tests["ip"] = is_ip
        return environment

    def check(self) -> None:
        """Raise ``TemplateError``, naming file and line, unless it can be read."""
        try:
            self._environment.get_template(self.file.name)
        except (jinja2.TemplateError, OSError, UnicodeDecodeError) as error:
            raise self._wrong(error) from None

    def render(self, known: TemplateData) -> str:
        """The text that it makes of what is ``known``. Raises ``TemplateError``, and whatever asking raises."""
        try:
            return self._environment.get_template(self.file.name).render(known.variables())
        except (GossipregError, AssertionError):
            raise
        except Exception as error:  # noqa: BLE001 -- an expression of the user's may raise anything
            raise self._wrong(error) from None

    def _wrong(self, error: Exception) -> TemplateError:
        match error:
            case jinja2.TemplateSyntaxError():
                where, why = f"{error.filename or self.file}, line {error.lineno}", error.message
            case jinja2.TemplateNotFound(name=name) if name == self.file.name:
                where, why = str(self.file), "there is no such file that can be read"
            case jinja2.TemplateNotFound():
                where, why = self._place(error.__traceback__), f"includes {error.name}, which is not beside it"
            case jinja2.TemplateError():
                where, why = self._place(error.__traceback__), error.message
            case _:
                where, why = self._place(error.__traceback__), f"{type(error).__name__}: {error}"
        return TemplateError(f"{where}: {' '.join(str(why).split())}")

    def _place(self, trace: TracebackType | None) -> str:
        """The innermost line of a template in a traceback."""
        place = str(self.file)
        while trace is not None:
            if "__jinja_exception__" in trace.tb_frame.f_globals:  # jinja2 puts its templates' lines into tracebacks
                place = f"{trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno}"
            trace = trace.tb_next
        return place
