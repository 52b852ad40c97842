"""Every address."""

from django.conf import settings
from django.contrib.auth.views import LogoutView
from django.http import HttpRequest, HttpResponse
from django.urls import include, path, re_path
from django.views.decorators.csrf import csrf_exempt

from portal import backoffice, health
from portal.api import api, errors
from portal.pages import access, desktops, history, shell, sign_in

handler404 = "portal.pages.errors.not_found"
handler403 = "portal.pages.errors.forbidden"
handler500 = "portal.pages.errors.broken"


@csrf_exempt
def nothing(request: HttpRequest) -> HttpResponse:
    """No address of the API. As everywhere in it no cookie is believed, so that none has to be proven either."""
    return errors.not_found()


urlpatterns = [
    path("", desktops.home, name="home"),
    path("sign-in/", sign_in.SignIn.as_view(), name="sign-in"),
    path("sign-out/", LogoutView.as_view(), name="sign-out"),
    path("language/", include("django.conf.urls.i18n")),
    path("pools/", desktops.cards, name="pool-cards"),
    path("pools/<uuid:pool_id>/take/", desktops.take, name="take"),
    path("desktops/<uuid:request_id>/", desktops.desktop, name="desktop"),
    path("desktops/<uuid:request_id>/panel/", desktops.panel, name="desktop-panel"),
    path("desktops/<uuid:request_id>/connect/", desktops.connect, name="connect"),
    path("desktops/<uuid:request_id>/restart/", desktops.restart, name="restart"),
    path("desktops/<uuid:request_id>/extend/", desktops.extend, name="extend"),
    path("desktops/<uuid:request_id>/mail/", desktops.ask_for_mail, name="ask-for-mail"),
    path("desktops/<uuid:request_id>/problem/", desktops.report_problem, name="report-problem"),
    path("desktops/<uuid:request_id>/return/", desktops.give_back, name="return"),
    path("history/", history.history, name="history"),
    path("history.csv", history.export, name="history-csv"),
    path("notices/", shell.notices, name="notices"),
    path("help/", shell.guide, name="help"),
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
]
