"""The addresses of the Administration Portal. What comes before a kind can be no kind's name."""

from django.urls import path

from portal.manage import overview, permissions, sign_ins, views

urlpatterns = [
    path("", overview.dashboard, name="manage"),
    path("tree/", overview.tree, name="manage-tree"),
    path("users/<uuid:user_id>/sign-ins/<str:sign_in>/end/", sign_ins.end, name="manage-end-sign-in"),
    path("<slug:kind>/", views.index, name="manage-list"),
    path("<slug:kind>/new/", views.edit, name="manage-new"),
    path("<slug:kind>/act/<slug:name>/", views.act, name="manage-act"),
    path("<slug:kind>/export.csv", views.export, name="manage-export"),
    path("<slug:kind>/complete", views.complete, name="manage-complete"),
    path("<slug:kind>/<str:key>/", views.details, name="manage-details"),
    path("<slug:kind>/<str:key>/edit/", views.edit, name="manage-edit"),
    path("<slug:kind>/<str:key>/permissions/give/", permissions.give, name="manage-give"),
    path("<slug:kind>/<str:key>/permissions/<uuid:permission>/take/", permissions.take, name="manage-take"),
    path("<slug:kind>/<str:key>/permissions/why/", permissions.why, name="manage-why"),
]
