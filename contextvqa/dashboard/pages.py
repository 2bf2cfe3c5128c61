"""
rq-dashboard's templates, mended where they are read.

They are pages that scripts fill in with Underscore's templates: `<%= … %>` puts text in as HTML,
`<%- … %>` escapes it.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import jinja2

#: Shows what a request was refused for, until one of its kind succeeds.
TROUBLE = """
$(document).ajaxError(function(event, xhr, settings) {
    if (xhr.status >= 400 || xhr.status === 0) {
        $('#trouble').text(xhr.responseText || 'The dashboard does not answer.')
            .data('of', settings.type).show();
    }
}).ajaxSuccess(function(event, xhr, settings) {
    if ($('#trouble').data('of') === settings.type) { $('#trouble').hide(); }
});
"""

INTRO = """The {{ registry_name }} jobs of queue <strong>{{ queue.name }}</strong>.
<em>Requeue</em> generates a failed job's record again, as another attempt. No job can be deleted
here: <code>contextvqa pause</code> stops a run, and loses nothing."""


class Mend(NamedTuple):
    """One thing that is mended."""

    #: The end of the names of the templates concerned.
    template: str
    pattern: str
    replacement: str


MENDS = (
    # Escaped by hand in some places, and not in others.
    Mend(".html", r"<%= \$\('<div/>'\)\.text\((.*?)\)\.html\(\) %>", r"<%- \1 %>"),
    Mend(".html", r"<%=", "<%-"),
    Mend("base.html", r'<script type="text/javascript">', '<script nonce="{{ nonce }}">'),
    Mend(
        "base.html",
        r'<div class="container">',
        r'\g<0><p id="trouble" class="alert alert-danger" role="alert" style="display: none"></p>',
    ),
    Mend("inline_js.html", r"\Z", TROUBLE),
    # It takes the queue apart and puts it together again, in many steps.
    Mend(
        "jobs.html",
        r"(?s){% if registry_name == 'queued' %}\s*<a [^>]*id=\"compact-btn\".*?{% endif %}",
        "",
    ),
    Mend("jobs.html", r"This list below contains .*?</strong>\.", INTRO),
    # It would never look again.
    Mend("job.js", r"if \(err\) {\s*return;", "if (err) { return done();"),
)


class MendedTemplates(jinja2.PackageLoader):
    """Reads the templates of rq-dashboard and mends them."""

    def __init__(self) -> None:
        super().__init__("rq_dashboard")

    def get_source(
        self, environment: jinja2.Environment, template: str
    ) -> tuple[str, str, Callable[[], bool] | None]:
        """Return a template as it ought to be."""
        source, path, is_current = super().get_source(environment, template)
        for mend in MENDS:
            if template.endswith(mend.template):
                source = re.sub(mend.pattern, mend.replacement, source)
        return source, path, is_current
