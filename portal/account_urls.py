"""Addresses of what allauth does for people, under the names it knows them by; none of its others are reachable."""

from allauth.account import views as account
from allauth.mfa.base import views as factors
from allauth.mfa.recovery_codes import views as codes
from allauth.mfa.totp import views as app
from allauth.mfa.webauthn import views as keys
from allauth.socialaccount import views as vouched
from allauth.socialaccount.providers.openid_connect import views as oidc
from allauth.socialaccount.providers.saml import views as saml
from django.contrib.auth.decorators import login_required as own
from django.contrib.auth.views import LogoutView
from django.urls import path, re_path

from portal.pages import sign_in

urlpatterns = [
    path("sign-in/", sign_in.SignIn.as_view(), name="sign-in"),
    path("sign-in/", sign_in.SignIn.as_view(), name="account_login"),
    path("sign-in/code/", factors.authenticate, name="mfa_authenticate"),
    path("sign-in/key/", keys.login_webauthn, name="mfa_login_webauthn"),
    path("sign-out/", LogoutView.as_view(), name="sign-out"),
    path("sign-out/", LogoutView.as_view(), name="account_logout"),
    path("account/inactive/", account.account_inactive, name="account_inactive"),
    # -- where others vouch for people --
    path("sign-in/cancelled/", vouched.login_cancelled, name="socialaccount_login_cancelled"),
    path("sign-in/oidc/<slug:provider_id>/", sign_in.to_oidc_provider, name="openid_connect_login"),
    path("sign-in/oidc/<slug:provider_id>/callback/", oidc.callback, name="openid_connect_callback"),
    path("sign-in/saml/<slug:organization_slug>/", sign_in.to_saml_provider, name="saml_login"),
    path("sign-in/saml/<slug:organization_slug>/acs/", saml.acs, name="saml_acs"),
    path("sign-in/saml/<slug:organization_slug>/acs/finish/", saml.finish_acs, name="saml_finish_acs"),
    path("sign-in/saml/<slug:organization_slug>/metadata/", saml.metadata, name="saml_metadata"),
    path("sign-in/saml/<slug:organization_slug>/sls/", sign_in.no_single_sign_out, name="saml_sls"),
    # -- the password --
    path("account/password/", own(sign_in.ChangePassword.as_view()), name="account_change_password"),
    path("account/password/reset/", account.password_reset, name="account_reset_password"),
    path("account/password/reset/sent/", account.password_reset_done, name="account_reset_password_done"),
    path(
        "account/password/reset/done/",
        account.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
    re_path(
        r"^account/password/reset/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$",
        account.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
    # -- once more, before something that matters --
    path("account/confirm/", own(account.reauthenticate), name="account_reauthenticate"),
    path("account/confirm/code/", own(factors.reauthenticate), name="mfa_reauthenticate"),
    path("account/confirm/key/", own(keys.reauthenticate_webauthn), name="mfa_reauthenticate_webauthn"),
    # -- second factors --
    path("account/factors/", own(factors.index), name="mfa_index"),
    path("account/factors/app/", own(app.activate_totp), name="mfa_activate_totp"),
    path("account/factors/app/remove/", own(app.deactivate_totp), name="mfa_deactivate_totp"),
    path("account/factors/codes/", own(codes.view_recovery_codes), name="mfa_view_recovery_codes"),
    path("account/factors/codes/new/", own(codes.generate_recovery_codes), name="mfa_generate_recovery_codes"),
    path("account/factors/codes.txt", own(codes.download_recovery_codes), name="mfa_download_recovery_codes"),
    path("account/factors/keys/", own(keys.list_webauthn), name="mfa_list_webauthn"),
    path("account/factors/keys/add/", own(keys.add_webauthn), name="mfa_add_webauthn"),
    path("account/factors/keys/<int:pk>/", own(keys.edit_webauthn), name="mfa_edit_webauthn"),
    path("account/factors/keys/<int:pk>/remove/", own(keys.remove_webauthn), name="mfa_remove_webauthn"),
]
