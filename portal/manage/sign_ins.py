"""The tab Sign-ins of a user: where the person is signed in, and to end one of these."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from portal import signed_in
from portal.manage import registry
from portal.manage.views import back_of, done


@login_required
@require_POST
def end(request: HttpRequest, user_id: UUID, sign_in: str) -> HttpResponse:
    """For whoever may manage users: to everybody else there is no such list."""
    resource = registry.find("users", request.user)
    person: Any = resource.get(request.user, str(user_id))
    back = back_of(request, f"{resource.row_url(person)}?{urlencode({'tab': 'sign-ins'})}")
    signed_in.end(user=person, sign_in=sign_in, by=request.user)
    messages.success(request, _("%(name)s was signed out there.") % {"name": person.display_name})
    return done(request, back)
