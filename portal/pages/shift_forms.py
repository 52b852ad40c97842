"""The forms of shifts: on boards a few words, in plans everything; errors where they belong, what was typed stays."""

from datetime import time
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.dates import WEEKDAYS
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from broker import access
from broker.errors import Conflict, Invalid
from broker.models import Pool, ShiftPlan
from broker.operations import desktops, edits, shift_plans, vms
from broker.operations import shifts as operations
from broker.rules import shifts as rules
from broker.rules.shifts import Pattern, ShiftSpec
from broker.states import AtShiftEnd
from portal.manage import forms as base
from portal.manage.forms import ManageForm, Section, Words

MOST_NAMES = 20_000


def answered(request: HttpRequest, form: "ShiftsForm", plan: Any = None, **more: Any) -> HttpResponse:
    """The form; after it was sent the page that it leads to, or the form again with what is wrong."""
    if request.method == "POST" and form.is_valid():
        try:
            saved = form.save()
        except (Invalid, Conflict) as error:
            form.refuse(error)
        else:
            messages.success(request, saved)
            return redirect(form.leads_to())
    context = {"form": form, "plan": plan, "back": form.comes_from(), **more}
    return render(request, form.template, context, status=422 if form.errors else 200)


class ShiftsForm(ManageForm):
    """A form on a page of its own. `plan` is null for a new one; `row` is what it is about."""

    template: ClassVar[str] = "shifts/form.html"
    icon: ClassVar[str] = "check"
    danger: ClassVar[bool] = False

    def __init__(self, data: Any = None, *, user: Any, plan: Any = None, row: Any = None, given: Any = None) -> None:
        self.plan = plan
        super().__init__(data, user=user, row=row, given=given)

    def explained(self) -> str:
        """What it is about, and what it brings about."""
        return ""

    def comes_from(self) -> str:
        """Where Cancel leads."""
        return reverse("shift-board", args=(self.plan.pk,))

    def leads_to(self) -> str:
        """Where it leads when it was saved."""
        return self.comes_from()


class BoardForm(ShiftsForm):
    """A few words to an order on the board: nothing of a row is edited, so nobody can have changed it."""

    def snapshot(self) -> str:
        return ""

    def present(self) -> dict[str, Any]:
        return {}


# -- on the board --------------------------------------------------------------------------------------


class HandoverForm(BoardForm):
    """What the next shift is to know."""

    sections = (Section("handover", "", (("", ("note", "points")),)),)
    title = gettext_lazy("Hand over")
    submit = gettext_lazy("Hand over and check out")
    icon = "arrow-left-right"
    note = base.words(
        gettext_lazy("Note for the next shift"),
        max_length=None,
        widget=forms.Textarea(attrs={"rows": 5, "autofocus": True}),
    )
    points = base.words(
        gettext_lazy("Open points"),
        max_length=None,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=gettext_lazy("One per line. The next shift settles them one by one."),
    )

    def explained(self) -> str:
        return _("The next shift reads and confirms it. You are checked out, and what is on your desktop is deleted.")

    def clean(self) -> dict[str, Any]:
        if not (self.cleaned_data.get("note") or self.cleaned_data.get("points")):
            self.add_error("note", _("Write what the next shift must know, or check out without handing over."))
        return super().clean()

    def save(self) -> str:
        points = self.cleaned_data["points"].splitlines()
        operations.check_out(plan=self.plan, user=self.user, note=self.cleaned_data["note"], points=points)
        return _("It is handed over, and you are checked out.")


class StayForm(BoardForm):
    """How much longer, and why."""

    sections = (Section("stay", "", (("", ("minutes", "reason")),)),)
    title = gettext_lazy("Stay longer")
    submit = gettext_lazy("Ask a lead")
    icon = "hand-helping"
    minutes = base.number(gettext_lazy("Minutes after the end of the shift"))
    reason = base.text(gettext_lazy("Reason"), max_length=None)

    def explained(self) -> str:
        return _("A lead sees it on the board at once. Until somebody allows it your shift ends as planned.")

    def initial_values(self) -> dict[str, Any]:
        return {"minutes": 30}

    def save(self) -> str:
        minutes, reason = self.cleaned_data["minutes"], self.cleaned_data["reason"]
        operations.ask_to_stay(plan=self.plan, user=self.user, minutes=minutes, reason=reason)
        return _("The leads are asked whether you may stay longer.")


class ForceOutForm(BoardForm):
    """Why a desktop is returned for somebody."""

    sections = (Section("reason", "", (("", ("reason",)),)),)
    submit = gettext_lazy("Check out")
    icon = "log-out"
    danger = True
    reason = base.text(gettext_lazy("Reason"), max_length=None, required=True)

    @property
    def title(self) -> Words:  # type: ignore[override]
        return _("Check %(person)s out") % {"person": self.row.user.display_name}

    def explained(self) -> str:
        words = {"person": self.row.user.display_name, "vm": self.row.vm or self.row.pool_name}
        text = _("%(vm)s is returned and everything on it is deleted. %(person)s reads your name and the reason.")
        return text % words

    def save(self) -> str:
        desktops.give_back(request=self.row, by=self.user, reason=self.cleaned_data["reason"])
        return _("%(person)s is checked out.") % {"person": self.row.user.display_name}


class FaultForm(BoardForm):
    """What is wrong with a seat."""

    sections = (Section("reason", "", (("", ("reason",)),)),)
    submit = gettext_lazy("Mark as faulty")
    icon = "triangle-alert"
    danger = True
    reason = base.text(gettext_lazy("What is wrong with it?"), max_length=None, required=True)

    @property
    def title(self) -> Words:  # type: ignore[override]
        return _("Mark %(vm)s as faulty") % {"vm": self.row.name}

    def explained(self) -> str:
        return _("Nobody gets it until it is offered again. Whoever has it now keeps it until they return it.")

    def save(self) -> str:
        vms.mark_faulty(vm=self.row, reason=self.cleaned_data["reason"], by=self.user)
        return _("%(vm)s is marked as faulty.") % {"vm": self.row.name}


# -- plans ---------------------------------------------------------------------------------------------


class PlanForm(ShiftsForm):
    """What a new plan and one that is edited have in common."""

    template = "shifts/plan.html"
    name = base.text(gettext_lazy("Name"), max_length=None)
    time_zone = base.text(
        gettext_lazy("Time zone"),
        max_length=None,
        widget=forms.TextInput(attrs={"list": "zones", "autocomplete": "off", "spellcheck": "false"}),
        help_text=gettext_lazy("Shifts begin and end by the clocks there, such as Asia/Seoul."),
    )
    early_minutes = base.number(
        gettext_lazy("Check-in opens, in minutes before a shift"),
        help_text=gettext_lazy("Whoever comes early joins the line then; nobody jumps it."),
    )
    grace_minutes = base.number(
        gettext_lazy("Grace, in minutes"),
        help_text=gettext_lazy(
            "So long after the start people are not late yet, and so long after the end may go on."
        ),
    )
    at_end = forms.ChoiceField(
        label=gettext_lazy("What is done with those who are still there after the grace"),
        choices=AtShiftEnd.choices,
        widget=forms.RadioSelect,
    )


class NewPlan(PlanForm):
    """A plan for one of the pools that one leads."""

    sections = (Section("plan", "", (("", ("pool", "name", "time_zone", *shift_plans.PLAN_FIELDS[2:])),)),)
    title = gettext_lazy("New shift plan")
    submit = gettext_lazy("Create")
    icon = "plus"
    pool: Any = forms.ModelChoiceField(Pool.objects.none(), label=gettext_lazy("Pool"), empty_label=None)

    def prepare(self) -> None:
        pools: Any = self.fields["pool"]
        pools.queryset = access.visible(self.user, Pool, "lead_shifts").order_by("name", "pk")

    def initial_values(self) -> dict[str, Any]:
        standard = {name: getattr(ShiftPlan(), name) for name in ("early_minutes", "grace_minutes", "at_end")}
        return {"pool": self.given.get("pool"), "time_zone": timezone.get_default_timezone_name(), **standard}

    def comes_from(self) -> str:
        return reverse("shifts")

    def leads_to(self) -> str:
        return reverse("shift-plan", args=(self.plan.pk,))

    def save(self) -> str:
        self.plan = shift_plans.create(**self.cleaned_data, by=self.user)
        return _("The shift plan %(plan)s was created. Add its shifts now.") % {"plan": self.plan}


class EditPlan(PlanForm):
    """The plan itself; its shifts are edited one by one."""

    sections = (Section("plan", "", (("", shift_plans.PLAN_FIELDS),)),)
    title = gettext_lazy("Shift plan")

    def leads_to(self) -> str:
        return reverse("shift-plan", args=(self.plan.pk,))

    def save(self) -> str:
        shift_plans.change(plan=self.row, changes=self.values(), expected=self.expected(), by=self.user)
        return _("The shift plan %(plan)s was saved.") % {"plan": self.cleaned_data["name"]}


class ShiftForm(ShiftsForm):
    """A shift: its days and times, and who is on its roster."""

    sections = (Section("shift", "", (("", ("name", "weekdays", "starts", "ends", "users", "groups")),)),)
    name = base.text(gettext_lazy("Name"), max_length=None)
    weekdays = forms.TypedMultipleChoiceField(
        label=gettext_lazy("Begins on"),
        choices=list(WEEKDAYS.items()),
        coerce=int,
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    starts = forms.TimeField(label=gettext_lazy("Starts"), widget=forms.TimeInput({"type": "time"}, "%H:%M"))
    ends = forms.TimeField(
        label=gettext_lazy("Ends"),
        widget=forms.TimeInput({"type": "time"}, "%H:%M"),
        help_text=gettext_lazy("A time before the start is on the next day."),
    )
    users = base.words(
        gettext_lazy("Users on the roster"),
        max_length=MOST_NAMES,
        widget=forms.Textarea(attrs={"rows": 5, "spellcheck": "false"}),
        help_text=gettext_lazy("Their user names, one per line or with commas between them."),
    )
    groups = base.words(
        gettext_lazy("Groups on the roster"),
        max_length=MOST_NAMES,
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
        help_text=gettext_lazy("Everybody in them, also who joins them later. One per line."),
    )

    @property
    def title(self) -> Words:  # type: ignore[override]
        return _("Shift") if self.row else _("New shift")

    def explained(self) -> str:
        return _("By the clocks of the time zone %(zone)s.") % {"zone": self.plan.time_zone}

    def comes_from(self) -> str:
        return reverse("shift-plan", args=(self.plan.pk,))

    def initial_values(self) -> dict[str, Any]:
        return {"weekdays": list(rules.DAYS[:5])}

    def present(self) -> dict[str, Any]:
        shift, members = self.row, list(self.row.members.select_related("user", "group"))
        return {
            "name": shift.name,
            "weekdays": list(shift.weekdays),
            "starts": f"{shift.starts:%H:%M}",
            "ends": f"{shift.ends:%H:%M}",
            "users": "\n".join(one.user.get_username() for one in members if one.user),
            "groups": "\n".join(one.group.name for one in members if one.group),
        }

    def filled(self, values: dict[str, Any]) -> dict[str, Any]:
        return {**values, **{name: time.fromisoformat(values[name]) for name in ("starts", "ends")}}

    def clean_users(self) -> list[str]:
        return _names(self.cleaned_data["users"])

    def clean_groups(self) -> list[str]:
        # The name of a group may hold commas itself.
        lines = [line.strip() for line in self.cleaned_data["groups"].splitlines()]
        whole = set(Group.objects.filter(name__in=lines).values_list("name", flat=True))
        return [name for line in lines for name in ([line] if line in whole else _names(line))]

    def save(self) -> str:
        given = self.cleaned_data
        pattern = Pattern(tuple(given["weekdays"]), given["starts"], given["ends"])
        spec = ShiftSpec(given["name"], pattern, tuple(given["users"]), tuple(given["groups"]))
        if self.row is None:
            shift_plans.add_shift(plan=self.plan, spec=spec, by=self.user)
            return _("The shift %(shift)s was added.") % {"shift": spec.name}
        edits.require_unchanged(self.present(), self.expected())
        shift_plans.change_shift(shift=self.row, spec=spec, by=self.user)
        return _("The shift %(shift)s was saved.") % {"shift": spec.name}


def _names(text: str) -> list[str]:
    """One per line, or with commas between them; each once."""
    names = (name.strip() for line in text.splitlines() for name in line.split(","))
    return list(dict.fromkeys(name for name in names if name))
