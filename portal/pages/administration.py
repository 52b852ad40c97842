"""A first Administration Portal: pools, virtual machines, and a form that creates a pool."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import Prefetch
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from broker import access, config
from broker.errors import Conflict, Denied, Invalid, NotFound
from broker.models import Cluster, DesktopRequest, Pool, Template, VirtualMachine, with_counts
from broker.operations import consoles
from broker.operations import pools as pool_operations
from broker.operations import vms as vm_operations
from broker.states import HOLDING, OptimizedFor, PoolType
from portal.api.desktops import connection

SEE = "view_inventory"
PER_PAGE = 100


class PoolForm(forms.Form):
    """New Pool. What may be is decided by the operation; the form only reads and shows."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=255,
        help_text=gettext_lazy("A run of ? is replaced by the VM's number, as in desk-??."),
    )
    cluster = forms.ModelChoiceField(Cluster.objects.none(), label=gettext_lazy("Cluster"), empty_label=None)
    template = forms.ModelChoiceField(Template.objects.none(), label=gettext_lazy("Template"), empty_label=None)
    description = forms.CharField(label=gettext_lazy("Description"), required=False, max_length=10_000)
    comment = forms.CharField(label=gettext_lazy("Comment"), required=False, max_length=10_000)
    optimized_for = forms.ChoiceField(label=gettext_lazy("Optimized for"), choices=OptimizedFor.choices)
    size = forms.IntegerField(label=gettext_lazy("Number of VMs"), initial=1, min_value=1)
    prestarted_vms = forms.IntegerField(
        label=gettext_lazy("Prestarted VMs"),
        initial=0,
        min_value=0,
        help_text=gettext_lazy("Running and waiting, so that nobody waits for them to boot."),
    )
    max_vms_per_user = forms.IntegerField(
        label=gettext_lazy("Maximum number of VMs per user"), initial=1, min_value=1, max_value=32_767
    )
    delete_protection = forms.BooleanField(label=gettext_lazy("Delete Protection"), required=False)

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        clusters: Any = self.fields["cluster"]
        clusters.queryset = access.visible(user, Cluster, "create_pool")
        templates: Any = self.fields["template"]
        templates.queryset = access.visible(user, Template, SEE)
        most = config.get("MaxVmsInPool")
        self.fields["size"].help_text = _("At most %(most)s.") % {"most": most}

    def refuse(self, error: Invalid | Conflict) -> None:
        """Show a refusal of the operation at the field it is about; what was typed stays."""
        for detail in error.details:
            field = detail["field"] if detail["field"] in self.fields else None
            self.add_error(field, detail["message"] or error.message)


@never_cache
@login_required
@require_safe
def pools(request: HttpRequest) -> HttpResponse:
    """All pools I administer, with counts and line."""
    rows = with_counts(access.visible(request.user, Pool, SEE), request.user)
    rows = rows.select_related("cluster", "template", "template_version").order_by("name", "pk")
    context = {"page": Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))}
    return _administration(request, "manage/pools.html", context)


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new_pool(request: HttpRequest) -> HttpResponse:
    """The form; what was typed stays when something is refused."""
    _require_administrator(request)
    if not access.can_anywhere(request.user, "create_pool", Cluster):
        raise Denied(_("Your roles do not allow you to create pools."))
    form = PoolForm(request.POST or None, user=request.user)
    if request.method == "POST" and form.is_valid():
        values = dict(form.cleaned_data, type=PoolType.AUTOMATIC)
        try:
            pool, _job = pool_operations.create(by=request.user, **values)
        except (Invalid, Conflict) as error:
            form.refuse(error)
        else:
            messages.success(
                request, _("Pool %(pool)s is being created; its VMs appear one by one.") % {"pool": pool}
            )
            return redirect("manage")
    status = 422 if form.errors else 200
    return _administration(request, "manage/new_pool.html", {"form": form}, status=status)


@never_cache
@login_required
@require_safe
def vms(request: HttpRequest) -> HttpResponse:
    """All VMs I administer, with status, host and user."""
    holders = DesktopRequest.objects.filter(state__in=HOLDING).select_related("user")
    rows = (
        access.visible(request.user, VirtualMachine, SEE)
        .select_related("pool", "host", "template_version__template")
        .prefetch_related(Prefetch("requests", holders, to_attr="held_for"))
        .order_by("pool__name", "number", "pk")
    )
    chosen = request.GET.get("pool", "")
    if chosen:
        rows = rows.filter(pool__name=chosen)
    page = Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))
    return _administration(request, "manage/vms.html", {"page": page, "chosen_pool": chosen})


ACTIONS = {
    "start": lambda vm, by: vm_operations.start(vm=vm, by=by),
    "shutdown": lambda vm, by: vm_operations.stop(vm=vm, by=by, at_once=False),
    "stop": lambda vm, by: vm_operations.stop(vm=vm, by=by, at_once=True),
    "return": lambda vm, by: vm_operations.release(vm=vm, by=by),
}


@login_required
@require_POST
def act_on_vm(request: HttpRequest, vm_id: UUID, action: str) -> HttpResponse:
    """Start (stateful), shut down, turn off, or return a VM."""
    if action not in (*ACTIONS, "console"):
        raise Http404
    vm = access.get(request.user, VirtualMachine, vm_id, see=SEE, action="operate_vm")
    if action == "console":
        return connection(consoles.issue_to_administrator(vm=vm, by=request.user))
    ACTIONS[action](vm, request.user)
    messages.success(request, _("%(vm)s: your order was accepted; its status follows.") % {"vm": vm})
    chosen = request.POST.get("pool", "")
    return redirect(reverse("manage-vms") + (f"?{urlencode({'pool': chosen})}" if chosen else ""))


def _administration(request: HttpRequest, template: str, context: dict[str, Any], status: int = 200) -> HttpResponse:
    _require_administrator(request)
    may_create = access.can_anywhere(request.user, "create_pool", Cluster)
    return render(request, template, {**context, "may_create": may_create}, status=status)


def _require_administrator(request: HttpRequest) -> None:
    """For those who administer nothing the portal does not exist (I6)."""
    if not access.administers(request.user):
        raise NotFound(_("There is nothing at this address."))
