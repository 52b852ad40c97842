"""Every address."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import include, path, re_path
from django.views.decorators.csrf import csrf_exempt

from portal import backoffice, health, metrics
from portal.api import api, errors
from portal.pages import (
    access,
    account,
    consoles,
    desktops,
    history,
    shell,
    shift_plans,
    shift_reports,
    shift_rosters,
    shifts,
)

handler404 = "portal.pages.errors.not_found"
handler403 = "portal.pages.errors.forbidden"
handler429 = "portal.pages.errors.too_often"
handler500 = "portal.pages.errors.broken"


@csrf_exempt
def nothing(request: HttpRequest) -> HttpResponse:
    """No address of the API. As everywhere in it no cookie is believed, so that none has to be proven either."""
    return errors.not_found()


urlpatterns = [
    path("", desktops.home, name="home"),
    path("", include("portal.account_urls")),
    path("language/setlang/", account.choose_language, name="set_language"),
    path("account/", account.account, name="account"),
    path("account/tokens/", account.make_token, name="account-token-new"),
    path("account/tokens/<int:token_id>/revoke/", account.revoke_token, name="account-token-revoke"),
    path("account/devices/", account.devices, name="devices"),
    path("account/devices/<str:sign_in>/end/", account.end_device, name="device-end"),
    path("pools/", desktops.cards, name="pool-cards"),
    path("pools/<uuid:pool_id>/take/", desktops.take, name="take"),
    path("desktops/<uuid:request_id>/", desktops.desktop, name="desktop"),
    path("desktops/<uuid:request_id>/panel/", desktops.panel, name="desktop-panel"),
    path("desktops/<uuid:request_id>/connect/", desktops.connect, name="connect"),
    path("desktops/<uuid:request_id>/rdp/", desktops.connect_by_rdp, name="connect-by-rdp"),
    path("desktops/<uuid:request_id>/options/", desktops.choose_console_options, name="console-options"),
    path("desktops/<uuid:request_id>/restart/", desktops.restart, name="restart"),
    path("desktops/<uuid:request_id>/extend/", desktops.extend, name="extend"),
    path("desktops/<uuid:request_id>/mail/", desktops.ask_for_mail, name="ask-for-mail"),
    path("desktops/<uuid:request_id>/problem/", desktops.report_problem, name="report-problem"),
    path("desktops/<uuid:request_id>/return/", desktops.give_back, name="return"),
    path("desktops/<uuid:request_id>/console/", consoles.of_desktop, name="desktop-console"),
    path("desktops/<uuid:request_id>/console/text/", consoles.text_of_desktop, name="desktop-text-console"),
    path("desktops/<uuid:request_id>/console/open/", consoles.open_of_desktop, name="desktop-console-open"),
    path("vms/<uuid:vm_id>/console/", consoles.of_vm, name="vm-console"),
    path("vms/<uuid:vm_id>/console/text/", consoles.text_of_vm, name="vm-text-console"),
    path("vms/<uuid:vm_id>/console/open/", consoles.open_of_vm, name="vm-console-open"),
    path("consoles/<uuid:session_id>/", consoles.state, name="console-state"),
    path("consoles/<uuid:session_id>/close/", consoles.close, name="console-close"),
    path("shifts/", shifts.index, name="shifts"),
    path("shifts/new/", shift_plans.create, name="shift-plan-new"),
    path("shifts/<uuid:plan_id>/", shifts.board, name="shift-board"),
    path("shifts/<uuid:plan_id>/panel/", shifts.panel, name="shift-panel"),
    path("shifts/<uuid:plan_id>/check-in/", shifts.check_in, name="shift-check-in"),
    path("shifts/<uuid:plan_id>/check-out/", shifts.check_out, name="shift-check-out"),
    path("shifts/<uuid:plan_id>/handover/", shifts.hand_over, name="shift-handover"),
    path("shifts/<uuid:plan_id>/handovers/<uuid:handover_id>/confirm/", shifts.confirm, name="shift-confirm"),
    path("shifts/<uuid:plan_id>/points/<uuid:point_id>/settle/", shifts.settle, name="shift-settle"),
    path("shifts/<uuid:plan_id>/stay/", shifts.stay, name="shift-stay"),
    path("shifts/<uuid:plan_id>/attendances/<uuid:attendance_id>/stay/", shifts.answer_stay, name="shift-answer"),
    path("shifts/<uuid:plan_id>/requests/<uuid:request_id>/ask-back/", shifts.ask_back, name="shift-ask-back"),
    path("shifts/<uuid:plan_id>/requests/<uuid:request_id>/force-out/", shifts.force_out, name="shift-force-out"),
    path("shifts/<uuid:plan_id>/vms/<uuid:vm_id>/fault/", shifts.mark_faulty, name="shift-fault"),
    path("shifts/<uuid:plan_id>/vms/<uuid:vm_id>/sound/", shifts.offer_again, name="shift-sound"),
    path("shifts/<uuid:plan_id>/plan/", shift_plans.edit, name="shift-plan"),
    path("shifts/<uuid:plan_id>/remove/", shift_plans.remove, name="shift-plan-remove"),
    path("shifts/<uuid:plan_id>/shifts/new/", shift_plans.add_shift, name="shift-add"),
    path("shifts/<uuid:plan_id>/shifts/<uuid:shift_id>/", shift_plans.edit_shift, name="shift-edit"),
    path("shifts/<uuid:plan_id>/shifts/<uuid:shift_id>/remove/", shift_plans.remove_shift, name="shift-remove"),
    path("shifts/<uuid:plan_id>/roster.csv", shift_rosters.to_csv, name="shift-roster-csv"),
    path("shifts/<uuid:plan_id>/shifts.ics", shift_rosters.to_calendar, name="shift-roster-ics"),
    path("shifts/<uuid:plan_id>/import/", shift_rosters.bring, name="shift-roster-import"),
    path("shifts/<uuid:plan_id>/report/", shift_reports.report, name="shift-report"),
    path("shifts/<uuid:plan_id>/report.csv", shift_reports.export, name="shift-report-csv"),
    path("history/", history.history, name="history"),
    path("history.csv", history.export, name="history-csv"),
    path("notices/", shell.notices, name="notices"),
    path("help/", shell.guide, name="help"),
    path("about/", shell.about, name="about"),
    path("help/viewer/", shell.viewer, name="help-viewer"),
    path("offline/", shell.offline, name="offline"),
    path("service-worker.js", shell.service_worker, name="service-worker"),
    path("access/", access.my_access, name="my-access"),
    path("manage/", include("portal.manage.urls")),
    *([path("backoffice/", backoffice.site.urls)] if settings.BACK_OFFICE else []),
    path("api/v1/", nothing),
    path("api/v1/", api.urls),
    re_path(r"^api/.*$", nothing),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz),
    path("metrics", metrics.metrics),
]
