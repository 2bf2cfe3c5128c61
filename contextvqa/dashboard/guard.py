"""Who may ask the dashboard for what: looked at before every request, and said with every answer."""

import hmac
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from flask import Response, abort, g, request

from contextvqa.queueing.job_hash import ANY_JOB_ID
from contextvqa.queueing.jobs import QUEUES
from contextvqa.settings import is_loopback

#: Views that show.
READS = {
    "static",
    *(
        f"rq_dashboard.{name}"
        for name in (
            *("static", "favicon", "queues_overview", "workers_overview", "jobs_overview"),
            *("job_view", "list_queues", "list_workers", "list_jobs", "job_info"),
        )
    ),
}
#: Views that change something. Those of rq-dashboard that are in neither are closed.
CHANGES = {"rq_dashboard.requeue_job_view", "rq_dashboard.requeue_all"}

REGISTRIES = {"queued", "started", "deferred", "scheduled", "finished", "failed", "canceled"}
#: Most jobs on a page: each costs a round trip.
MAX_PER_PAGE = 200
MAX_PAGE = 10**9

CLOSED = (
    "Jobs are not deleted, and queues not emptied or compacted, from here: their records would be "
    "pending for ever, until `contextvqa audit` calls them missing and `contextvqa enqueue` brings "
    "them back. `contextvqa pause RUN` stops a run and loses nothing."
)

#: Styles stand in the pages' elements, and Underscore compiles templates: neither lets markup that
#: came with a job run. Scripts of other hosts, inline handlers and script elements do not run.
POLICY = "; ".join(
    (
        *("default-src 'none'", "script-src 'self' 'nonce-{nonce}' 'unsafe-eval'"),
        *("style-src 'self' 'unsafe-inline'", "img-src 'self' data:", "connect-src 'self'"),
        *("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
    )
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Guard:
    """Lets requests in, or not."""

    #: Reached from this machine alone, and so by its names alone.
    is_local: bool
    password: str | None

    def check(self) -> Response | None:
        """Answer a request that must not get through; let the others pass."""
        g.nonce = secrets.token_urlsafe(16)
        if self.is_local and not is_loopback(_hostname(request.host)):
            # Some page's own name, made to lead here.
            abort(403, "This dashboard is reached as localhost or 127.0.0.1 alone.")
        if self.password is not None and not _knows(self.password):
            headers = {"WWW-Authenticate": 'Basic realm="contextvqa dashboard", charset="UTF-8"'}
            return Response("The password, please.", 401, headers)
        if request.endpoint is not None:
            _check_method(request.endpoint)
            _check_arguments(request.view_args or {})
        return None


def protect(response: Response) -> Response:
    """Tell the browser what the pages may do."""
    nonce = g.get("nonce", "")
    response.headers.update(
        {
            "Content-Security-Policy": POLICY.format(nonce=nonce),
            "X-Frame-Options": "DENY",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
    )
    return response


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _knows(password: str) -> bool:
    given = request.authorization.password if request.authorization else None
    return hmac.compare_digest((given or "").encode(), password.encode())


def _check_method(endpoint: str) -> None:
    if endpoint in READS:
        if request.method not in {"GET", "HEAD"}:
            abort(405)
    elif endpoint not in CHANGES:
        abort(403, CLOSED)
    elif request.method != "POST":
        abort(405)
    elif not _is_from_here():
        abort(403, "This came from another site's page, or from no browser.")


def _is_from_here() -> bool:
    """Whether one of our own pages asks, as far as a browser can be made to say otherwise."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    # Told to localhost and over HTTPS alone.
    return urlsplit(request.headers.get("Origin", "")).netloc == request.host


def _check_arguments(arguments: dict[str, object]) -> None:
    """Refuse what no page of ours asks for."""
    known: dict[str, set[Any]] = {
        "instance_number": {0},
        "queue_name": {None, *QUEUES.values()},
        "registry_name": REGISTRIES,
        "order": {"asc", "dsc"},
    }
    for name, value in arguments.items():
        if name in known and value not in known[name]:
            abort(404)
    if not ANY_JOB_ID.fullmatch(str(arguments.get("job_id", "none"))):
        abort(404)
    for name, largest in (("per_page", MAX_PER_PAGE), ("page", MAX_PAGE)):
        text = str(arguments.get(name, 1))
        if not (text.isascii() and text.isdecimal() and 1 <= int(text[:11]) <= largest):
            abort(404)
