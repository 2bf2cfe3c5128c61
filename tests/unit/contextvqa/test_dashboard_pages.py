"""rq-dashboard's templates: each thing that we mend is still there to be mended, and is."""

import re
from pathlib import Path

import jinja2
import pytest
import rq_dashboard

from contextvqa.dashboard.pages import MENDS, Mend, MendedTemplates

TEMPLATES = Path(rq_dashboard.__file__).parent / "templates"
NAMES = [str(path.relative_to(TEMPLATES)) for path in TEMPLATES.rglob("*") if path.is_file()]


def mended(name: str) -> str:
    return MendedTemplates().get_source(jinja2.Environment(autoescape=True), name)[0]


@pytest.mark.parametrize("mend", MENDS, ids=lambda mend: mend.pattern)
def test_what_is_mended_is_there(mend: Mend) -> None:
    concerned = [name for name in NAMES if name.endswith(mend.template)]

    assert any(re.search(mend.pattern, (TEMPLATES / name).read_text()) for name in concerned)


@pytest.mark.parametrize("name", NAMES)
def test_no_page_puts_text_in_as_html(name: str) -> None:
    assert "<%=" not in mended(name)
    assert ".html() %>" not in mended(name)


def test_every_script_that_a_page_runs_has_the_nonce_or_is_a_file() -> None:
    elements = re.findall(r"<script[^>]*>", "".join(map(mended, NAMES)))

    run = [element for element in elements if "text/template" not in element]
    assert run
    assert all("nonce=" in element or "src=" in element for element in run)
