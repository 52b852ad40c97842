"""Jobs: how far long work is."""

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from broker.models import Job, with_progress
from broker.operations import jobs
from broker.states import JobState
from portal import jobs as seen
from portal.manage.cells import Column, state
from portal.manage.properties import CHOICE, MOMENT, TEXT
from portal.manage.resource import Action, Resource, Tab, each
from portal.manage.shared import MOST
from portal.templatetags.hotdesk import progress

KINDS = [
    ("pool.create", gettext_lazy("Create a pool")),
    ("pool.grow", gettext_lazy("Add VMs to a pool")),
    ("pool.remove", gettext_lazy("Remove a pool with its VMs")),
    ("vm.create", gettext_lazy("Create a virtual machine")),
    ("vm.rebuild", gettext_lazy("Rebuild a virtual machine")),
    ("vm.remove", gettext_lazy("Remove a virtual machine")),
    ("template.import", gettext_lazy("Import a template version")),
    ("template.publish", gettext_lazy("Publish a template version")),
]


def accepted(count: int) -> str:
    return ngettext(
        "The order for %(count)s job was accepted.", "The orders for %(count)s jobs were accepted.", count
    ) % {"count": count}


def finished(job: Any) -> int:
    return job.done + job.failed_items + job.stopped_items


def progress_cell(job: Any) -> Any:
    return progress(finished(job), job.total, progress_words(job), str(dict(KINDS).get(job.kind, job.kind)))


def progress_words(job: Any) -> str:
    words = {"done": job.done, "total": job.total, "failed": job.failed_items}
    if job.failed_items:
        return _("%(done)s of %(total)s done, %(failed)s failed") % words
    return _("%(done)s of %(total)s done") % words


def pace_of(job: Any, now: datetime) -> dict[str, Any]:
    """How many items it finishes in a second, and when at this pace it will be through."""
    seconds = max(((job.ended_at or now) - job.created_at).total_seconds(), 0.001)
    rate = finished(job) / seconds
    left = job.total - finished(job)
    running = job.state == JobState.RUNNING
    return {
        "rate": rate,
        "left": timedelta(seconds=round(left / rate)) if running and rate else None,
        "took": timedelta(seconds=round(seconds)),
    }


def general_of(job: Any, user: Any) -> dict[str, Any]:
    return {
        "pace": pace_of(job, timezone.now()),
        "progress": progress_cell(job),
        "words": progress_words(job),
        "job_kind": dict(KINDS).get(job.kind, job.kind),
    }


def items_of(job: Any, user: Any) -> dict[str, Any]:
    """What failed first, then what is under way."""
    order = {JobState.FAILED: 0, JobState.RUNNING: 1, JobState.STOPPED: 2, JobState.DONE: 3}
    found: list[Any] = []
    for one in order:
        if len(found) < MOST:
            found += job.items.filter(state=one).order_by("pk")[: MOST - len(found)]
    return {"items": found, "more": max(0, job.total - len(found))}


class Jobs(Resource):
    """The list of jobs, the newest first."""

    kind = "jobs"
    title = gettext_lazy("Jobs")
    icon = "list-checks"
    model = Job
    order = "created_at"
    descending = True
    named = "about"
    example = gettext_lazy("state = failed and created_at = today")
    refresh_seconds = 2
    select_one = gettext_lazy("Select one job.")
    select_some = gettext_lazy("Select at least one job.")
    columns = (
        Column("about", gettext_lazy("About"), type=TEXT),
        Column("kind", gettext_lazy("What"), type=CHOICE, choices=KINDS),
        Column("state", gettext_lazy("State"), type=CHOICE, choices=JobState.choices, draw=state),
        Column("progress", gettext_lazy("Progress"), read=progress_words, draw=progress_cell),
        Column("created_at", gettext_lazy("Since"), type=MOMENT),
        Column("ended_at", gettext_lazy("Until"), type=MOMENT),
        Column(
            "started_by",
            gettext_lazy("By"),
            "started_by.username",
            TEXT,
            read=lambda job: job.started_by.display_name if job.started_by else "Hotdesk",
        ),
    )
    tabs = (
        Tab("general", gettext_lazy("General"), "manage/tabs/job.html", general_of),
        Tab("items", gettext_lazy("Items"), "manage/tabs/job_items.html", items_of),
    )
    actions = (
        Action(
            "retry",
            gettext_lazy("Retry failed"),
            each(jobs.retry, "job", accepted),
            "edit_pool",
            "rotate-ccw",
            possible=lambda job: None if job.failed_items else _("Nothing of this job failed."),
        ),
        Action(
            "stop",
            gettext_lazy("Stop after current"),
            each(jobs.stop, "job", accepted),
            "edit_pool",
            "square",
            possible=lambda job: None if job.state == JobState.RUNNING else _("This job is over."),
        ),
    )

    def visible(self, user: Any) -> Any:
        return seen.visible(user)

    def detailed(self, rows: Any) -> Any:
        return with_progress(rows).select_related("started_by", "pool", "template")

    def may(self, user: Any, permission: str, rows: list[Any]) -> bool:
        return all(seen.may_change(user, job) for job in rows)

    def label(self, row: Any) -> str:
        return row.about
