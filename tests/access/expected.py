"""What everybody may do, written down by hand: whoever adds a route says here who may use it.

Roles by their letters: S SuperUser, D DataCenterAdmin, C ClusterAdmin, P VmPoolAdmin, L HelpDeskLead, U UserRole,
R ReadOnlyAdmin. Each holds for the role on the object itself as well as on its parent.
"""

from dataclasses import dataclass, field
from typing import Any

LETTERS = {
    "S": "SuperUser",
    "D": "DataCenterAdmin",
    "C": "ClusterAdmin",
    "P": "VmPoolAdmin",
    "L": "HelpDeskLead",
    "U": "UserRole",
    "R": "ReadOnlyAdmin",
}
PARENT = {
    "data_center": "system",
    "cluster": "data_center",
    "host": "cluster",
    "storage": "data_center",
    "template": "data_center",
    "pool": "cluster",
    "vm": "pool",
}
ADMINISTRATORS = "SDCPR"  # who sees what is administered


@dataclass(frozen=True)
class Route:
    """One operation of the API. `may` is let through, `sees` is refused with 403, all others with `absent`.

    A list answers everybody; those in `may` find the object in it. `own` is for the person it belongs to alone.
    """

    on: str
    may: str
    sees: str = ""
    body: Any = field(default_factory=dict)
    absent: int = 404
    query: str = ""
    is_list: bool = False
    own: bool = False
    anywhere: bool = False  # a role on anything else is as good
    shows: str = ""  # what a list has in it, where it is not the object itself


def inventory(path: str, on: str, editors: str, *, name: str, change: dict[str, Any]) -> dict[str, Route]:
    """List, look, change and remove, as most kinds of objects have them."""
    others = "".join(sorted(set(ADMINISTRATORS) - set(editors)))
    return {
        f"GET /{path}": Route(on, ADMINISTRATORS, is_list=True),
        f"GET /{path}/{{{name}}}": Route(on, ADMINISTRATORS),
        f"PATCH /{path}/{{{name}}}": Route(on, editors, others, change),
        f"DELETE /{path}/{{{name}}}": Route(on, editors, others),
    }


WORDS = {"comment": "changed"}
API: dict[str, Route] = {
    # -- one's own --
    "DELETE /tokens": Route("system", "SDCPLUR", absent=204),
    "GET /tokens": Route("system", "SDCPLUR", absent=200),
    "DELETE /tokens/{token_id}": Route("system", "", own=True),
    "GET /me": Route("system", "SDCPLUR", absent=200),
    "GET /me/preferences": Route("system", "SDCPLUR", absent=200),
    "PATCH /me/preferences": Route("system", "SDCPLUR", body={"theme": "dark"}, absent=200),
    "GET /me/access": Route("system", "SDCPLUR", absent=200),
    "GET /pools": Route("pool", "SDCPLU", is_list=True),
    "POST /pools/{pool_id}/take": Route("pool", "SDCPLU"),
    "GET /pools/{pool_id}/console-options": Route("pool", "SDCPLU"),
    "PUT /pools/{pool_id}/console-options": Route("pool", "SDCPLU"),
    "GET /requests": Route("pool", "SDCPLR", is_list=True, query="?all=1"),
    "GET /requests/{request_id}": Route("pool", "SDCPLR"),
    "POST /requests/{request_id}/return": Route("pool", "SDCL", "PR"),
    "POST /requests/{request_id}/restart": Route("pool", "", own=True),
    "POST /requests/{request_id}/extend": Route("pool", "", own=True),
    "POST /requests/{request_id}/problem": Route("pool", "", body={"text": "It hangs."}, own=True),
    "PUT /requests/{request_id}/mail": Route("pool", "", body={"wanted": True}, own=True),
    "GET /requests/{request_id}/why": Route("pool", "SDCPLR"),
    "POST /requests/{request_id}/console": Route("pool", "", own=True),
    "POST /requests/{request_id}/rdp": Route("pool", "", own=True),
    "POST /requests/{request_id}/console-session": Route("pool", "", own=True),
    "GET /console-sessions/{session_id}": Route("pool", "", own=True),
    "DELETE /console-sessions/{session_id}": Route("pool", "", own=True),
    # -- shifts, by the API; who only sees the pool is no lead of its shifts --
    "GET /shifts": Route("pool", "SDCPLR", is_list=True, shows="plan_id", own=True),
    "POST /shifts": Route("pool", "SDCL", "PUR", {"pool": "pool_id", "name": "n", "time_zone": "UTC"}),
    "GET /shifts/{plan_id}": Route("pool", "SDCPLR", own=True),
    "PATCH /shifts/{plan_id}": Route("pool", "SDCL", "PR", {"early_minutes": 5}),
    "DELETE /shifts/{plan_id}": Route("pool", "SDCL", "PR"),
    "GET /shifts/{plan_id}/shifts": Route("pool", "SDCPLR", own=True),
    "PUT /shifts/{plan_id}/shifts": Route("pool", "SDCL", "PR", body=[]),
    "GET /shifts/{plan_id}/report": Route("pool", "SDCPLR"),
    "POST /shifts/{plan_id}/check-in": Route("pool", "SDCPL", "R", own=True),
    "POST /shifts/{plan_id}/check-out": Route("pool", "SDCPLR", own=True),
    "POST /shifts/{plan_id}/handover": Route("pool", "SDCPLR", body={"note": "x"}, own=True),
    "POST /shifts/{plan_id}/stay": Route("pool", "SDCPLR", body={"minutes": 5}, own=True),
    "POST /shifts/{plan_id}/handovers/{handover_id}/confirm": Route("pool", "SDCL", "PR", own=True),
    "POST /shifts/{plan_id}/points/{point_id}/settle": Route("pool", "SDCL", "PR", own=True),
    "POST /shifts/{plan_id}/attendances/{attendance_id}/stay": Route("pool", "SDCL", "PR", {"minutes": 5}),
    "POST /shifts/{plan_id}/requests/{request_id}/ask-back": Route("pool", "SDCL", "PR"),
    "POST /shifts/{plan_id}/requests/{request_id}/force-out": Route("pool", "SDCL", "PR", {"reason": "x"}),
    "POST /shifts/{plan_id}/vms/{vm_id}/fault": Route("pool", "SDCL", "PR", {"reason": "x"}),
    "DELETE /shifts/{plan_id}/vms/{vm_id}/fault": Route("pool", "SDCL", "PR"),
    # -- inventory --
    **inventory("data-centers", "data_center", "SD", name="data_center_id", change=WORDS),
    "POST /data-centers": Route("system", "SD", "", {"name": "new"}, absent=403),
    **inventory("clusters", "cluster", "SDC", name="cluster_id", change=WORDS),
    "POST /clusters": Route("data_center", "SDC", "PR", {"data_center": "data_center_id", "name": "n"}, absent=400),
    **inventory("hosts", "host", "SDC", name="host_id", change=WORDS),
    "POST /hosts": Route(
        "cluster",
        "SDC",
        "PR",
        {"cluster": "cluster_id", "name": "n", "uri": "qemu+ssh://root@n/system", "display_address": "n"},
        absent=400,
    ),
    "POST /hosts/{host_id}/{action}": Route("host", "SDC", "PR"),
    **inventory("storage-pools", "storage", "S", name="storage_pool_id", change=WORDS),
    "POST /storage-pools": Route(
        "data_center", "S", "DCPR", {"data_center": "data_center_id", "name": "n", "target_path": "/n"}, absent=400
    ),
    **inventory("templates", "template", "SD", name="template_id", change=WORDS),
    "POST /templates": Route(
        "data_center", "S", "DCPR", {"name": "n", "storage_pool": "storage_pool_id", "path": "/x.qcow2"}, absent=400
    ),
    "POST /templates/{template_id}/versions": Route(
        "data_center", "S", "DCPR", {"storage_pool": "storage_pool_id", "path": "/x.qcow2"}
    ),
    "DELETE /templates/{template_id}/versions/{number}": Route("template", "SD", "CPR"),
    **inventory("manage/pools", "pool", "SDCP", name="pool_id", change=WORDS),
    "POST /manage/pools": Route(
        "cluster", "SDCP", "R", {"cluster": "cluster_id", "template": "template_id", "name": "n"}, absent=400
    ),
    "POST /manage/pools/{pool_id}/remove-with-vms": Route("pool", "SDCP", "R"),
    **inventory("vms", "vm", "SDC", name="vm_id", change=WORDS),
    "POST /vms": Route(
        "cluster", "SDC", "PR", {"cluster": "cluster_id", "template": "template_id", "name": "n"}, absent=400
    ),
    "POST /vms/{vm_id}/console": Route("vm", "SDCP", "R"),
    "POST /vms/{vm_id}/console-session": Route("vm", "SDCP", "R"),
    "POST /vms/{vm_id}/detach": Route("pool", "SDCP", "R"),
    "POST /vms/{vm_id}/rebuild": Route("vm", "SDC", "PR"),
    "POST /vms/{vm_id}/publish": Route("data_center", "SD", "CPR", {"name": "n"}),
    "POST /vms/{vm_id}/{action}": Route("vm", "SDCP", "R"),
    # -- permissions; `object_id` is the pool --
    "GET /{kind}/{object_id}/permissions": Route("pool", ADMINISTRATORS),
    "POST /{kind}/{object_id}/permissions": Route(
        "pool", "SDCP", "R", {"principal": {"user": "owner"}, "role": "UserRole"}
    ),
    "DELETE /{kind}/{object_id}/permissions/{permission_id}": Route("pool", "SDCP", "R"),
    "GET /{kind}/{object_id}/permissions/candidates": Route("pool", "SDCP", "R"),
    "GET /{kind}/{object_id}/access": Route("pool", ADMINISTRATORS, query="?user=owner"),
    "GET /system/permissions": Route("system", ADMINISTRATORS),
    "POST /system/permissions": Route("system", "SDCP", "R", {"principal": {"user": "owner"}, "role": "UserRole"}),
    "DELETE /system/permissions/{permission_id}": Route("system", "SDCP", "R"),
    "GET /system/permissions/candidates": Route("system", "SDCP", "R"),
    "GET /system/access": Route("system", ADMINISTRATORS, query="?user=owner"),
    "GET /roles": Route("system", ADMINISTRATORS, anywhere=True),
    "POST /roles": Route("system", "S", "DCPR", {"name": "n", "actions": ["use_pool"]}, anywhere=True),
    "GET /roles/{role_id}": Route("system", ADMINISTRATORS, anywhere=True),
    "PATCH /roles/{role_id}": Route("system", "S", "DCPR", {"description": "x"}, anywhere=True),
    "DELETE /roles/{role_id}": Route("system", "S", "DCPR", anywhere=True),
    # -- of the system alone --
    "GET /users": Route("system", "S"),
    "POST /users": Route("system", "S", "", {"username": "n", "password": "long enough for it"}),
    "GET /users/{user_id}": Route("system", "S"),
    "PATCH /users/{user_id}": Route("system", "S", "", {"first_name": "x"}),
    "DELETE /users/{user_id}": Route("system", "S"),
    "GET /users/{user_id}/sign-ins": Route("system", "S"),
    "DELETE /users/{user_id}/sign-ins": Route("system", "S"),
    "DELETE /users/{user_id}/sign-ins/{sign_in_id}": Route("system", "S"),
    "DELETE /users/{user_id}/factors": Route("system", "S"),
    "GET /groups": Route("system", "S"),
    "POST /groups": Route("system", "S", "", {"name": "n"}),
    "GET /groups/{group_id}": Route("system", "S"),
    "PATCH /groups/{group_id}": Route("system", "S", "", {"name": "x"}),
    "DELETE /groups/{group_id}": Route("system", "S"),
    "GET /lock-outs": Route("system", "S"),
    "DELETE /lock-outs/{lock_out_id}": Route("system", "S"),
    "GET /settings": Route("system", "S"),
    "GET /settings/{key}": Route("system", "S"),
    "PATCH /settings/{key}": Route("system", "S", "", {"value": 7}),
    # -- what happened --
    "GET /events": Route("pool", ADMINISTRATORS, is_list=True, query="?limit=500"),
    "GET /jobs": Route("pool", ADMINISTRATORS, is_list=True, shows="job_id"),
    "GET /jobs/{job_id}": Route("pool", ADMINISTRATORS),
    "POST /jobs/{job_id}/retry": Route("pool", "SDCP", "R"),
    "POST /jobs/{job_id}/stop": Route("pool", "SDCP", "R"),
}


@dataclass(frozen=True)
class Kind:
    """A kind of the Administration Portal: who sees it, edits it, and does what with it.

    `new` is who is offered New where the role is on `new_on`, or above. Kinds of the system have no list for others.
    """

    on: str
    editors: str = ""
    actions: dict[str, str] = field(default_factory=dict)
    sees: str = ADMINISTRATORS
    new: str = ""
    new_on: str = ""
    givers: str = ""
    elsewhere: dict[str, str] = field(default_factory=dict)  # actions for which the right on another object counts
    hidden: bool = False  # the list is absent for whoever does not see it
    anywhere: bool = False  # a role on anything else is as good


PORTAL: dict[str, Kind] = {
    "system": Kind("system", givers="SDCP", hidden=True),
    "data-centers": Kind("data_center", "SD", {"remove": "SD"}, new="SD", new_on="system", givers="SDCP"),
    "clusters": Kind("cluster", "SDC", {"remove": "SDC"}, new="SDC", new_on="data_center", givers="SDCP"),
    "hosts": Kind(
        "host",
        "SDC",
        {"activate": "SDC", "maintain": "SDC", "remove": "SDC"},
        new="SDC",
        new_on="cluster",
        givers="SDCP",
    ),
    "storage": Kind("storage", "S", {"remove": "S"}, new="S", new_on="data_center", givers="SDCP"),
    "templates": Kind("template", "SD", {"remove": "SD"}, new="SD", new_on="data_center", givers="SDCP"),
    "template-versions": Kind("template", "", {"remove": "SD"}),
    "pools": Kind(
        "pool",
        "SDCP",
        {"remove": "SDCP", "remove-with-vms": "SDCP"},
        new="SDCP",
        new_on="cluster",
        givers="SDCP",
    ),
    "vms": Kind(
        "vm",
        "SDC",
        {
            **dict.fromkeys(
                ("run", "shutdown", "turn-off", "reboot", "suspend", "resume", "release", "connect", "open"), "SDCP"
            ),
            "watch": "S",
            "detach": "SDCP",
            "rebuild": "SDC",
            "publish": "SD",
            "remove": "SDC",
        },
        new="SDC",
        new_on="cluster",
        givers="SDCP",
        elsewhere={"detach": "pool", "publish": "data_center"},
    ),
    "users": Kind(
        "system",
        "S",
        dict.fromkeys(("disable", "enable", "sign-out", "remove-factors", "remove"), "S"),
        sees="S",
        new="S",
        new_on="system",
        hidden=True,
    ),
    "groups": Kind("system", "S", {"remove": "S"}, sees="S", new="S", new_on="system", hidden=True),
    "lock-outs": Kind("system", "", {"unlock": "S"}, sees="S", hidden=True),
    "roles": Kind("system", "S", {"remove": "S"}, new="S", new_on="system", hidden=True, anywhere=True),
    "events": Kind("pool"),
    "sessions": Kind("pool"),
    "jobs": Kind("pool", "", {"retry": "SDCP", "stop": "SDCP"}),
    "settings": Kind("system", "S", sees="S", hidden=True),
}

# What only leads do, at a plan that others see too.
OF_LEADS: dict[str, dict[str, Any]] = {
    "POST /shifts/{plan_id}/attendances/{attendance_id}/stay/": {"answer": "refuse"},
    "POST /shifts/{plan_id}/requests/{request_id}/ask-back/": {},
    "GET /shifts/{plan_id}/requests/{request_id}/force-out/": {},
    "POST /shifts/{plan_id}/requests/{request_id}/force-out/": {"reason": "late"},
    "GET /shifts/{plan_id}/vms/{vm_id}/fault/": {},
    "POST /shifts/{plan_id}/vms/{vm_id}/fault/": {"reason": "loud"},
    "POST /shifts/{plan_id}/vms/{vm_id}/sound/": {},
    "GET /shifts/{plan_id}/plan/": {},
    "POST /shifts/{plan_id}/plan/": {},
    "GET /shifts/{plan_id}/remove/": {},
    "POST /shifts/{plan_id}/remove/": {},
    "GET /shifts/{plan_id}/shifts/new/": {},
    "POST /shifts/{plan_id}/shifts/new/": {},
    "GET /shifts/{plan_id}/shifts/{shift_id}/": {},
    "POST /shifts/{plan_id}/shifts/{shift_id}/": {},
    "GET /shifts/{plan_id}/shifts/{shift_id}/remove/": {},
    "POST /shifts/{plan_id}/shifts/{shift_id}/remove/": {},
}

# What allauth does for whoever is signed in, and what it answers who has no second factor: 302 where it asks for
# the password once more.
OWN_ACCOUNT = {
    **dict.fromkeys(("GET password/", "POST password/", "GET confirm/", "POST confirm/"), 200),
    **dict.fromkeys(("GET factors/", "GET factors/keys/"), 200),
    **dict.fromkeys(("GET confirm/code/", "POST confirm/code/", "GET confirm/key/", "POST confirm/key/"), 302),
    **{
        f"{method} factors/{path}": 302
        for method in ("GET", "POST")
        for path in ("app/", "codes/new/", "keys/add/", "keys/{pk}/", "keys/{pk}/remove/")
    },
    **dict.fromkeys(("GET factors/app/remove/", "POST factors/app/remove/"), 404),
    **dict.fromkeys(("GET factors/codes/", "GET factors/codes.txt"), 404),
}
# -- pages of users: (method, address) -> who may, with a role on the pool or above ---------------------
PAGES: dict[str, Route] = {
    "GET /": Route("pool", "SDCPLU", is_list=True),
    "GET /pools/": Route("pool", "SDCPLU", is_list=True),
    "GET /notices/": Route("pool", "SDCPLUR", absent=200),
    "GET /access/": Route("pool", "SDCPLUR", absent=200),
    "GET /account/": Route("pool", "SDCPLUR", absent=200),
    "POST /account/": Route("pool", "SDCPLUR", body={"theme": "dark"}, absent=204),
    "GET /account/devices/": Route("pool", "SDCPLUR", absent=200),
    "POST /account/devices/": Route("pool", "SDCPLUR", absent=302),
    "POST /account/devices/{sign_in}/end/": Route("pool", "", own=True),
    "POST /account/tokens/": Route("pool", "SDCPLUR", absent=422),
    "POST /account/tokens/{token_id}/revoke/": Route("pool", "", own=True),
    "GET /history/": Route("pool", "SDCPLUR", absent=200),
    "GET /history.csv": Route("pool", "SDCPLUR", absent=200),
    "GET /shifts/": Route("pool", "SDCPLR", is_list=True, shows="plan_id", own=True),
    "GET /shifts/{plan_id}/": Route("pool", "SDCPLR", own=True),
    "GET /shifts/{plan_id}/panel/": Route("pool", "SDCPLR", own=True),
    "POST /shifts/{plan_id}/check-in/": Route("pool", "SDCPL", "R", own=True),
    "POST /shifts/{plan_id}/check-out/": Route("pool", "SDCPLR", own=True),
    "GET /shifts/{plan_id}/handover/": Route("pool", "SDCPLR", own=True),
    "POST /shifts/{plan_id}/handover/": Route("pool", "SDCPLR", own=True),
    "GET /shifts/{plan_id}/stay/": Route("pool", "SDCPLR", own=True),
    "POST /shifts/{plan_id}/stay/": Route("pool", "SDCPLR", own=True),
    "POST /shifts/{plan_id}/handovers/{handover_id}/confirm/": Route("pool", "SDCL", "PR", own=True),
    "POST /shifts/{plan_id}/points/{point_id}/settle/": Route("pool", "SDCL", "PR", own=True),
    **{label: Route("pool", "SDCL", "PR", body=body) for label, body in OF_LEADS.items()},
    "GET /shifts/new/": Route("pool", "SDCL", anywhere=True),
    "POST /shifts/new/": Route("pool", "SDCL", anywhere=True),
    "GET /manage/": Route("pool", ADMINISTRATORS, anywhere=True),
    "GET /manage/tree/": Route("pool", ADMINISTRATORS, anywhere=True),
    # Of the system alone; tests/pages/test_sign_ins.py has who is let through.
    "POST /manage/users/{user_id}/sign-ins/{sign_in}/end/": Route("pool", ""),
    "POST /pools/{pool_id}/take/": Route("pool", "SDCPLU"),
    "GET /desktops/{request_id}/": Route("pool", "", own=True),
    "GET /desktops/{request_id}/panel/": Route("pool", "", own=True),
    "POST /desktops/{request_id}/connect/": Route("pool", "", own=True),
    "POST /desktops/{request_id}/rdp/": Route("pool", "", own=True),
    "POST /desktops/{request_id}/options/": Route("pool", "", body={"color_depth": "none"}, own=True),
    "POST /desktops/{request_id}/restart/": Route("pool", "", own=True),
    "POST /desktops/{request_id}/extend/": Route("pool", "", own=True),
    "POST /desktops/{request_id}/mail/": Route("pool", "", body={"wanted": "yes"}, own=True),
    "GET /desktops/{request_id}/problem/": Route("pool", "", own=True),
    "POST /desktops/{request_id}/problem/": Route("pool", "", body={"text": "It hangs."}, own=True),
    "POST /desktops/{request_id}/return/": Route("pool", "", own=True),
    # -- in the browser --
    "GET /desktops/{request_id}/console/": Route("pool", "", own=True),
    "GET /desktops/{request_id}/console/text/": Route("pool", "", own=True),
    "POST /desktops/{request_id}/console/open/": Route("pool", "", own=True),
    "GET /vms/{vm_id}/console/": Route("vm", "SDCP", "R"),
    "GET /vms/{vm_id}/console/text/": Route("vm", "SDCP", "R"),
    "POST /vms/{vm_id}/console/open/": Route("vm", "SDCP", "R"),
    "GET /consoles/{session_id}/": Route("pool", "", own=True),
    "POST /consoles/{session_id}/close/": Route("pool", "", own=True),
    # -- how one proves who one is: everybody, for the own account --
    **{
        label.replace(" ", " /account/"): Route("pool", "" if status == 404 else "SDCPLUR", absent=status)
        for label, status in OWN_ACCOUNT.items()
    },
    # -- rosters as files, and the report --
    "GET /shifts/{plan_id}/roster.csv": Route("pool", "SDCPLR", own=True),
    "GET /shifts/{plan_id}/shifts.ics": Route("pool", "SDCPLR", own=True),
    "GET /shifts/{plan_id}/import/": Route("pool", "SDCL", "PR"),
    "POST /shifts/{plan_id}/import/": Route("pool", "SDCL", "PR"),
    "GET /shifts/{plan_id}/report/": Route("pool", "SDCPLR"),
    "GET /shifts/{plan_id}/report.csv": Route("pool", "SDCPLR"),
}
# Open to everybody, and what they may answer.
PUBLIC = {
    "/sign-in/": (200, 302),
    "/sign-out/": (302, 405),
    "/sign-in/code/": (302,),
    "/sign-in/cancelled/": (200,),
    # Of no provider there is; tests/access/test_providers.py has some.
    **dict.fromkeys(
        (
            *("/sign-in/oidc/{provider_id}/", "/sign-in/oidc/{provider_id}/callback/"),
            *(
                f"/sign-in/saml/{{organization_slug}}/{rest}"
                for rest in ("", "acs/", "acs/finish/", "metadata/", "sls/")
            ),
        ),
        (404,),
    ),
    "/sign-in/key/": (302,),
    "/account/inactive/": (200,),
    "/account/password/reset/": (200,),
    "/account/password/reset/sent/": (200,),
    "/account/password/reset/done/": (200,),
    r"/^account/password/reset/(?P{uidb36}[0-9A-Za-z]+)-(?P{key}.+)/$": (404,),  # as it stands; see test_sign_in
    "/language/setlang/": (302, 405),
    "/help/": (200,),
    "/about/": (200,),
    "/help/viewer/": (200,),
    "/offline/": (200,),
    "/service-worker.js": (200,),
    "/healthz": (200,),
    "/readyz": (200, 503),
    "/api/v1/": (404,),
    "/api/v1/openapi.json": (200,),
    "/api/v1/docs": (200,),
    "/^api/.*$": (404,),
}
# Walked in tests/api/test_back_office.py and tests/api/test_metrics.py.
ELSEWHERE = ("/backoffice/", "/metrics")
WEBSOCKETS = {"live/desktops/<uuid:request_id>/", "live/shifts/<uuid:plan_id>/", "ws/console/<uuid:session_id>/"}
