"""The dashboard as a WSGI app: rq-dashboard's pages with our guard, templates and jobs in it."""

from pathlib import Path
from typing import Any

import redis
import rq_dashboard
import rq_dashboard.web
from flask import Flask, Response, current_app, g, jsonify, request
from markupsafe import escape
from rq.exceptions import NoSuchJobError
from werkzeug.exceptions import HTTPException

from contextvqa.dashboard.guard import Guard, protect
from contextvqa.dashboard.jobs import ShownJob, ShownQueue, ShownWorker
from contextvqa.dashboard.pages import MendedTemplates
from contextvqa.errors import one_line
from contextvqa.queueing.queues import OrjsonSerializer
from contextvqa.queueing.requeue import requeue

#: Seconds after which a page that found no Redis looks again.
LOOK_AGAIN_S = 5

#: Views that people look at, not scripts.
PAGES = {
    f"rq_dashboard.{name}"
    for name in ("queues_overview", "workers_overview", "jobs_overview", "job_view")
}
#: What is shown in place of a page.
APOLOGY = '<!doctype html><meta charset="utf-8"><title>contextvqa dashboard</title><h1>{}</h1>'


def create_app(
    connection: redis.Redis, *, address: str, is_local: bool, password: str | None
) -> Flask:
    """
    Return the app.

    Args:
        address: The server's, as the pages show it: without a password.
        is_local: Only this machine can reach it, so that other names than its own are refused.
        password: What browsers have to know, if anything.

    """
    static = Path(rq_dashboard.__file__).parent / "static"
    app = Flask(__name__, static_folder=static)
    app.config.update(RQ_DASHBOARD_REDIS_URL=(address,), RQ_DASHBOARD_DISABLE_DELETE=True)
    app.jinja_loader = MendedTemplates()
    # Flask's own choice leaves out scripts, into which the pages put text too.
    app.jinja_options = {"autoescape": True}
    app.redis_conn = connection  # type: ignore[attr-defined] # where rq-dashboard looks for it
    app.before_request(Guard(is_local=is_local, password=password).check)
    app.before_request(_look_for_redis)
    app.after_request(protect)
    app.context_processor(lambda: {"nonce": g.nonce})
    app.register_error_handler(redis.RedisError, _without_redis)
    app.register_error_handler(NoSuchJobError, _without_job)
    app.register_error_handler(HTTPException, _refused)
    _adapt(rq_dashboard.web)
    app.register_blueprint(rq_dashboard.blueprint)
    app.view_functions["rq_dashboard.requeue_job_view"] = _requeue_job
    app.view_functions["rq_dashboard.requeue_all"] = _requeue_all
    return app


def _adapt(web: Any) -> None:
    """Give rq-dashboard's views our classes by the names that they know rq's by."""
    web.config.serializer = OrjsonSerializer
    web.Job, web.Queue, web.Worker = ShownJob, ShownQueue, ShownWorker
    # It connects anew for each page, without timeouts.
    web.from_url = lambda *_, **__: (None, _connection())


def _connection() -> Any:
    return current_app.redis_conn  # type: ignore[attr-defined]


def _look_for_redis() -> None:
    """Find out that Redis is away before a view is half done; scripts and styles need none."""
    if not (request.endpoint or "static").endswith("static"):
        _connection().ping()


def _requeue_job(job_id: str) -> Response:
    refusal = requeue(_connection(), job_id)
    if refusal is not None:
        return _text(f"Not requeued: {refusal}.", 409)
    return jsonify(status="OK")


def _requeue_all(queue_name: str) -> Response:
    registry = ShownQueue(queue_name, connection=_connection()).failed_job_registry
    failed = registry.get_job_ids(cleanup=False)
    refusals = [requeue(_connection(), job_id) for job_id in failed]
    return jsonify(status="OK", count=refusals.count(None), failed=len(failed))


def _without_redis(error: redis.RedisError) -> Response:
    """Say so, and have a page look again; those that are open ask again by themselves."""
    (where,) = current_app.config["RQ_DASHBOARD_REDIS_URL"]
    message = f"Redis at {where} does not answer: {one_line(error)}"
    response = _text(message, 503)
    if request.endpoint in PAGES:
        response = Response(APOLOGY.format(escape(message)), 503)
        response.headers["Refresh"] = str(LOOK_AGAIN_S)
    response.headers["Cache-Control"] = "no-store"
    return response


def _without_job(_: NoSuchJobError) -> Response:
    return _text("There is no such job: it ended some minutes ago, or never was.", 404)


def _refused(error: HTTPException) -> Response:
    return _text(f"{error.name}: {error.description}", error.code or 500)


def _text(message: str, status: int) -> Response:
    return Response(message, status, mimetype="text/plain")
