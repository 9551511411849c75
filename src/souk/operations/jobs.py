"""What runs beside the requests: as JSON, and on a page for an admin's browser; a failed job is run again."""

import re
from importlib import resources
from typing import Annotated

from litestar import MediaType, Response
from litestar.handlers import BaseRouteHandler
from litestar.params import Parameter

from souk.kit import workload
from souk.kit.calls import topology
from souk.kit.errors import NotFound
from souk.kit.http import ADMIN, PUBLIC, Limit, route
from souk.kit.workload import Workload

# The page holds nothing until its reader has typed in a token, asks this shop alone, and runs nothing but its own script.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
PAGES = {"jobs.html": MediaType.HTML, "jobs.css": MediaType.CSS, "jobs.js": "text/javascript"}

JOB_ID = re.compile(r"(?P<context>[a-z]{1,40})-(?P<number>[0-9]{1,18})")


@route("GET", "/jobs", ADMIN)
async def list_jobs(limit: Limit = 50) -> Workload:
    """Jobs that wait, run or have failed, with so many of the failed ones; schedules with their last and next tick; sweepers."""
    contexts = sorted(topology.hosted | topology.peers.keys())
    return workload.join_workloads([await workload.list_jobs(context, limit) for context in contexts], limit)


@route("POST", "/jobs/{job_id:str}/retry", ADMIN, status_code=204)
async def retry_job(job_id: Annotated[str, Parameter(max_length=60)]) -> None:
    """Run a failed job again, with all of its tries."""
    found = JOB_ID.fullmatch(job_id)
    if found is None or found["context"] not in topology.hosted | topology.peers.keys():
        raise NotFound
    await workload.retry_job(found["context"], int(found["number"]))


@route("GET", "/jobs/page", PUBLIC, include_in_schema=False)
async def show_jobs_page() -> Response[bytes]:
    """The page; it asks for an admin's token."""
    return read_page("jobs.html")


@route("GET", "/jobs/page/{name:str}", PUBLIC, include_in_schema=False)
async def get_jobs_asset(name: Annotated[str, Parameter(max_length=100)]) -> Response[bytes]:
    """The page's script and its styles."""
    if name not in PAGES:
        raise NotFound
    return read_page(name)


def read_page(name: str) -> Response[bytes]:
    """A file of the page."""
    content = resources.files("souk.operations").joinpath("pages", name).read_bytes()
    headers = {"Content-Security-Policy": PAGE_POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
    return Response(content, media_type=PAGES[name], headers=headers)


routes: tuple[BaseRouteHandler, ...] = (list_jobs, retry_job, show_jobs_page, get_jobs_asset)
