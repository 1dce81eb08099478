# SPDX-License-Identifier: Apache-2.0
"""Who may call what: every route by every role by ownership, as one table.

Three columns a route. The first: the seven roles, on objects of their own project. The second: people of the same
roles in another project, on those same objects. The third: nobody signed in. The order of roles is

    patient technologist physician pharmacist researcher viewer administrator

A number is the status of the answer. ``0`` is a list that is answered (200) without anything of the first project
in it. ``404`` means that the object is not even there for people of another project; ``403`` is what they get where
their role allows the act nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from medhub.accounts.permissions import Role
from medhub.entrypoints.web import list_routes
from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import Isolation
from tests.factories.accounts import make_people
from tests.factories.api_calls import CALLS, World
from tests.factories.app_contexts import open_app_on
from tests.factories.cases import use_classifier

# fmt: off
TABLE: dict[str, str] = {
    #                                                 own project                 | of another project          | nobody
    #                                                 pat tec phy pha res vie adm | pat tec phy pha res vie adm
    "GET /{path:path}":                              "200 200 200 200 200 200 200 | 200 200 200 200 200 200 200 | 200",
    "GET /metrics":                                  "200 200 200 200 200 200 200 | 200 200 200 200 200 200 200 | 200",
    "GET /api/health":                               "200 200 200 200 200 200 200 | 200 200 200 200 200 200 200 | 200",
    "GET /api/ready":                                "200 200 200 200 200 200 200 | 200 200 200 200 200 200 200 | 200",
    "GET /api/openapi.json":                         "200 200 200 200 200 200 200 | 200 200 200 200 200 200 200 | 200",

    "POST /api/auth/session":                        "200 200 200 200 200 200 200 | 200 200 200 200 200 200 200 | 200",
    "POST /api/auth/token":                          "200 200 200 200 200 200 200 | 200 200 200 200 200 200 200 | 200",
    "GET /api/auth/session":                         "200 200 200 200 200 200 200 | 200 200 200 200 200 200 200 | 401",
    "DELETE /api/auth/session":                      "204 204 204 204 204 204 204 | 204 204 204 204 204 204 204 | 401",
    "POST /api/auth/revoke":                         "204 204 204 204 204 204 204 | 204 204 204 204 204 204 204 | 401",
    "POST /api/auth/password":                       "204 204 204 204 204 204 204 | 204 204 204 204 204 204 204 | 401",

    "GET /api/users":                                "403 403 403 403 403 403 200 | 403 403 403 403 403 403 404 | 401",
    "POST /api/users":                               "403 403 403 403 403 403 201 | 403 403 403 403 403 403 404 | 401",
    "GET /api/users/{id}":                           "403 403 403 403 403 403 200 | 403 403 403 403 403 403 404 | 401",
    "PATCH /api/users/{id}":                         "403 403 403 403 403 403 200 | 403 403 403 403 403 403 404 | 401",
    "DELETE /api/users/{id}":                        "403 403 403 403 403 403 204 | 403 403 403 403 403 403 404 | 401",
    "PUT /api/users/{id}/memberships/{project_id}":  "403 403 403 403 403 403 200 | 403 403 403 403 403 403 404 | 401",
    "DELETE /api/users/{id}/memberships/{project_id}":
                                                     "403 403 403 403 403 403 204 | 403 403 403 403 403 403 404 | 401",

    "GET /api/projects":                             "200 200 200 200 200 200 200 |   0   0   0   0   0   0   0 | 401",
    "POST /api/projects":                            "403 403 403 403 403 403 201 | 403 403 403 403 403 403 201 | 401",
    "GET /api/projects/{id}":                        "200 200 200 200 200 200 200 | 404 404 404 404 404 404 404 | 401",
    "PATCH /api/projects/{id}":                      "403 403 403 403 403 403 200 | 403 403 403 403 403 403 404 | 401",
    "DELETE /api/projects/{id}":                     "403 403 403 403 403 403 204 | 403 403 403 403 403 403 404 | 401",

    "GET /api/projects/{id}/profile":                "200 200 200 200 200 200 200 | 404 404 404 404 404 404 404 | 401",
    "PUT /api/projects/{id}/profile":                "403 403 403 403 403 403 200 | 403 403 403 403 403 403 404 | 401",
    "GET /api/projects/{id}/archive":                "200 200 200 200 200 200 200 | 404 404 404 404 404 404 404 | 401",
    "POST /api/projects/{id}/files":                 "403 200 200 403 403 403 200 | 403 404 404 403 403 403 404 | 401",
    "PUT /api/projects/{id}/archive":                "403 403 403 403 403 403 200 | 403 403 403 403 403 403 404 | 401",
    "POST /api/projects/{id}/archive/index":         "403 403 403 403 403 403 200 | 403 403 403 403 403 403 404 | 401",
    "POST /api/projects/{id}/profile/preview":       "403 200 403 403 200 403 200 | 403 404 403 403 404 403 404 | 401",

    "GET /api/dicom-nodes":                          "403 403 403 403 403 403 200 | 403 403 403 403 403 403 404 | 401",
    "POST /api/dicom-nodes":                         "403 403 403 403 403 403 201 | 403 403 403 403 403 403 404 | 401",
    "GET /api/dicom-nodes/listener":                 "403 403 403 403 403 403 200 | 403 403 403 403 403 403 200 | 401",
    "GET /api/dicom-nodes/{id}":                     "403 403 403 403 403 403 200 | 403 403 403 403 403 403 404 | 401",
    "PATCH /api/dicom-nodes/{id}":                   "403 403 403 403 403 403 200 | 403 403 403 403 403 403 404 | 401",
    "DELETE /api/dicom-nodes/{id}":                  "403 403 403 403 403 403 204 | 403 403 403 403 403 403 404 | 401",
    "POST /api/dicom-nodes/{id}/echo":               "403 403 403 403 403 403 200 | 403 403 403 403 403 403 404 | 401",
    "GET /api/scheduled-studies":                    "403 200 200 403 403 403 200 | 403   0   0 403 403 403   0 | 401",
    "POST /api/scheduled-studies":                   "403 201 201 403 403 403 201 | 403 404 404 403 403 403 404 | 401",
    "GET /api/scheduled-studies/{id}":               "403 200 200 403 403 403 200 | 403 404 404 403 403 403 404 | 401",
    "PATCH /api/scheduled-studies/{id}":             "403 200 200 403 403 403 200 | 403 404 404 403 403 403 404 | 401",
    "DELETE /api/scheduled-studies/{id}":            "403 204 204 403 403 403 204 | 403 404 404 403 403 403 404 | 401",
    "GET /api/peers":                                "403 403 403 403 403 403 200 | 403 403 403 403 403 403 404 | 401",
    "POST /api/peers":                               "403 403 403 403 403 403 201 | 403 403 403 403 403 403 404 | 401",
    "GET /api/peers/listener":                       "403 403 403 403 403 403 200 | 403 403 403 403 403 403 200 | 401",
    "GET /api/peers/{id}":                           "403 403 403 403 403 403 200 | 403 403 403 403 403 403 404 | 401",
    "PATCH /api/peers/{id}":                         "403 403 403 403 403 403 200 | 403 403 403 403 403 403 404 | 401",
    "DELETE /api/peers/{id}":                        "403 403 403 403 403 403 204 | 403 403 403 403 403 403 404 | 401",
    "POST /api/peers/{id}/echo":                     "403 403 403 403 403 403 200 | 403 403 403 403 403 403 404 | 401",

    "GET /api/fields":                               "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",
    "POST /api/fields":                              "403 201 201 403 201 403 201 | 403 404 404 403 404 403 404 | 401",
    "PATCH /api/fields/{id}":                        "403 200 200 403 200 403 200 | 403 404 404 403 404 403 404 | 401",
    "DELETE /api/fields/{id}":                       "403 204 204 403 204 403 204 | 403 404 404 403 404 403 404 | 401",

    "GET /api/pathways":                             "200 200 200 200 200 200 200 | 200 200 200 200 200 200 200 | 401",
    "GET /api/classifiers":                          "403 200 200 200 200 200 200 | 403 200 200 200 200 200 200 | 401",
    "GET /api/dashboard":                            "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",

    "GET /api/patients":                             "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",
    "POST /api/patients":                            "403 201 201 403 403 403 201 | 403 404 404 403 403 403 404 | 401",
    "GET /api/patients/{id}":                        "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",
    "PATCH /api/patients/{id}":                      "403 200 200 403 403 403 200 | 403 404 404 403 403 403 404 | 401",
    "DELETE /api/patients/{id}":                     "403 403 403 403 403 403 204 | 403 403 403 403 403 403 404 | 401",
    "DELETE /api/patients/{id}?erase=true":          "403 403 403 403 403 403 200 | 403 403 403 403 403 403 404 | 401",
    "GET /api/patients/{id}/erasure":                "403 403 403 403 403 403 200 | 403 403 403 403 403 403 404 | 401",
    "POST /api/patients/{id}/erasure":               "403 403 403 403 403 403 200 | 403 403 403 403 403 403 404 | 401",
    "DELETE /api/patients/{id}/erasure":             "403 403 403 403 403 403 204 | 403 403 403 403 403 403 404 | 401",
    "GET /api/patients/{id}/summary":                "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",

    "GET /api/erasures":                             "403 403 403 403 403 403 200 | 403 403 403 403 403 403 404 | 401",
    "GET /api/erasures/{id}":                        "403 403 403 403 403 403 200 | 403 403 403 403 403 403 404 | 401",

    "GET /api/studies":                              "403 200 200 200 200 200 200 | 403   0   0   0   0   0   0 | 401",
    "POST /api/studies":                             "403 201 201 403 403 403 201 | 403 404 404 403 403 403 404 | 401",
    "GET /api/studies/{id}":                         "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",
    "PATCH /api/studies/{id}":                       "403 200 200 403 403 403 200 | 403 404 404 403 403 403 404 | 401",
    "DELETE /api/studies/{id}":                      "403 403 403 403 403 403 204 | 403 403 403 403 403 403 404 | 401",
    "GET /api/series":                               "403 200 200 200 200 200 200 | 403   0   0   0   0   0   0 | 401",
    "POST /api/series":                              "403 201 201 403 403 403 201 | 403 404 404 403 403 403 404 | 401",
    "GET /api/series/{id}":                          "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",
    "PATCH /api/series/{id}":                        "403 200 200 403 403 403 200 | 403 404 404 403 403 403 404 | 401",
    "DELETE /api/series/{id}":                       "403 403 403 403 403 403 204 | 403 403 403 403 403 403 404 | 401",

    "POST /api/series/{id}/move":                    "403 200 403 403 403 403 200 | 403 404 403 403 403 403 404 | 401",

    "POST /api/images/move":                         "403 200 403 403 403 403 200 | 403 404 403 403 403 403 404 | 401",
    "POST /api/images/delete":                       "403 200 403 403 403 403 200 | 403 404 403 403 403 403 404 | 401",
    "POST /api/images":                              "403 200 403 403 403 403 403 | 403 404 404 403 403 403 404 | 401",
    "GET /api/arrivals":                             "403 200 200 403 403 403 200 | 403   0   0 403 403 403   0 | 401",
    "GET /api/arrivals/{id}":                        "403 200 403 403 403 403 200 | 403 404 403 403 403 403 404 | 401",
    "GET /api/arrivals/{id}/frames/{number}":        "403 200 403 403 403 403 200 | 403 404 403 403 403 403 404 | 401",
    "POST /api/arrivals/{id}/release":               "403 200 403 403 403 403 200 | 403 404 403 403 403 403 404 | 401",
    "GET /api/arrivals/{id}/person":                 "403 200 403 403 403 403 200 | 403 404 403 403 403 403 404 | 401",
    "POST /api/arrivals/{id}/assign":                "403 200 403 403 403 403 200 | 403 404 403 403 403 403 404 | 401",
    "POST /api/arrivals/{id}/discard":               "403 200 403 403 403 403 200 | 403 404 403 403 403 403 404 | 401",
    "GET /api/images/{id}/manifest":                 "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",
    "GET /api/images":                               "403 200 200 200 200 200 200 | 403   0   0   0   0   0   0 | 401",
    "GET /api/images/count":                         "403 200 200 200 200 200 200 | 403   0   0   0   0   0   0 | 401",
    "GET /api/images/{id}":                          "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",
    "PATCH /api/images/{id}":                        "403 200 200 403 403 403 200 | 403 404 404 403 403 403 404 | 401",
    "DELETE /api/images/{id}":                       "403 204 403 403 403 403 204 | 403 404 403 403 403 403 404 | 401",
    "GET /api/images/{id}/rendered":                 "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",
    "GET /api/images/{id}/content":                  "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",
    "GET /api/images/{id}/evidence":                 "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",
    "GET /api/images/{id}/original":                 "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",
    "PUT /api/images/{id}/verdict":                  "403 403 200 403 403 403 403 | 403 404 404 404 403 403 404 | 401",
    "DELETE /api/images/{id}/verdict":               "403 403 200 403 403 403 403 | 403 404 404 404 403 403 404 | 401",

    "GET /api/cases":                                "403 200 200 200 200 200 200 | 403   0   0   0   0   0   0 | 401",
    "GET /api/cases/{id}":                           "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",
    "POST /api/cases/{id}/sign":                     "403 403 200 403 403 403 403 | 403 404 404 404 403 403 404 | 401",
    "POST /api/cases/{id}/correct":                  "403 403 201 403 403 403 403 | 403 403 404 403 403 403 403 | 401",
    "GET /api/cases/{id}/report.pdf":                "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",
    "GET /api/reports":                              "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",

    "GET /api/datasets":                             "403 403 403 403 200 403 200 | 403 403 403 403   0 403   0 | 401",
    "POST /api/datasets":                            "403 403 403 403 201 403 201 | 403 403 403 403 404 403 404 | 401",
    "POST /api/datasets/zip":                        "403 403 403 403 201 403 201 | 403 403 403 403 404 403 404 | 401",
    "GET /api/datasets/{id}":                        "403 403 403 403 200 403 200 | 403 403 403 403 404 403 404 | 401",
    "GET /api/datasets/{id}/rows":                   "403 403 403 403 200 403 200 | 403 403 403 403 404 403 404 | 401",
    "GET /api/datasets/{id}/provenance.csv":         "403 403 403 403 200 403 200 | 403 403 403 403 404 403 404 | 401",
    "GET /api/recipes":                              "403 403 403 403 200 403 200 | 403 403 403 403 200 403 200 | 401",
    "GET /api/training-runs":                        "403 403 403 403 200 403 200 | 403 403 403 403   0 403   0 | 401",
    "POST /api/training-runs":                       "403 403 403 403 201 403 201 | 403 403 403 403 404 403 404 | 401",
    "GET /api/training-runs/{id}":                   "403 403 403 403 200 403 200 | 403 403 403 403 404 403 404 | 401",
    "POST /api/training-runs/{id}/stop":             "403 403 403 403 200 403 200 | 403 403 403 403 404 403 404 | 401",
    "GET /api/classifiers/{digest}":                 "403 200 200 200 200 200 200 | 403 200 200 200 200 200 200 | 401",
    "GET /api/classifiers/{digest}/predictions":     "403 403 403 403 200 403 200 | 403 403 403 403   0 403   0 | 401",
    "GET /api/classifiers/{digest}/compare":         "403 403 403 403 200 403 200 | 403 403 403 403   0 403   0 | 401",
    "GET /api/promotions":                           "403 403 403 403 200 403 200 | 403 403 403 403   0 403   0 | 401",
    "POST /api/promotions":                          "403 403 403 403 201 403 201 | 403 403 403 403 404 403 404 | 401",
    "GET /api/promotions/{id}":                      "403 403 403 403 200 403 200 | 403 403 403 403 404 403 404 | 401",
    "POST /api/promotions/{id}/approve":             "403 403 403 403 403 403 200 | 403 403 403 403 403 403 404 | 401",
    "POST /api/promotions/{id}/reject":              "403 403 403 403 403 403 200 | 403 403 403 403 403 403 404 | 401",
    "GET /api/pathways/{name}/classifiers":          "403 403 403 403 200 403 200 | 403 403 403 403 404 403 404 | 401",
    "PUT /api/pathways/{name}/limits":               "403 403 403 403 403 403 200 | 403 403 403 403 403 403 404 | 401",
    "PUT /api/pathways/{name}/shadow":               "403 403 403 403 200 403 200 | 403 403 403 403 404 403 404 | 401",
    "DELETE /api/pathways/{name}/shadow":            "403 403 403 403 200 403 200 | 403 403 403 403 404 403 404 | 401",
    "POST /api/pathways/{name}/rollback":            "403 403 403 403 403 403 200 | 403 403 403 403 403 403 404 | 401",
    "GET /api/pathways/{name}/agreement":            "403 403 403 403 200 403 200 | 403 403 403 403 404 403 404 | 401",
    "GET /api/pathways/{name}/drift":                "403 403 403 403 200 403 200 | 403 403 403 403 404 403 404 | 401",

    "GET /api/exports":                              "403 403 403 403 200 403 200 | 403 403 403 403   0 403   0 | 401",
    "POST /api/exports":                             "403 403 403 403 201 403 201 | 403 403 403 403 404 403 404 | 401",
    "GET /api/exports/{id}":                         "403 403 403 403 200 403 200 | 403 403 403 403 404 403 404 | 401",
    "DELETE /api/exports/{id}":                      "403 403 403 403 200 403 200 | 403 403 403 403 404 403 404 | 401",
    "GET /api/exports/{id}/sendings":               "403 403 403 403 200 403 200 | 403 403 403 403 404 403 404 | 401",
    "POST /api/exports/{id}/sendings":              "403 403 403 403 200 403 200 | 403 403 403 403 404 403 404 | 401",
    "GET /api/exports/{id}/file":                    "403 403 403 403 200 403 200 | 403 403 403 403 404 403 404 | 401",
    "GET /api/exports/{id}/findings":                "403 403 403 403 200 403 200 | 403 403 403 403 404 403 404 | 401",
    "GET /api/exports/{id}/findings/{finding_id}/picture":
        "403 403 403 403 200 403 200 | 403 403 403 403 404 403 404 | 401",
    "POST /api/exports/{id}/findings/{finding_id}/clear":
                                                     "403 403 403 403 403 403 200 | 403 403 403 403 403 403 404 | 401",
    "POST /api/exports/{id}/findings/{finding_id}/exclude":
                                                     "403 403 403 403 200 403 200 | 403 403 403 403 404 403 404 | 401",

    "GET /api/audit":                                "403 403 403 403 403 403 200 | 403 403 403 403 403 403 404 | 401",
    "GET /api/audit/verification":                   "403 403 403 403 403 403 200 | 403 403 403 403 403 403 200 | 401",
    "GET /api/audit/actions":                        "403 403 403 403 403 403 200 | 403 403 403 403 403 403 200 | 401",

    "GET /dicom-web/studies":                        "403 200 200 200 200 200 200 | 403 204 204 204 204 204 204 | 401",
    "GET /dicom-web/series":                         "403 200 200 200 200 200 200 | 403 204 204 204 204 204 204 | 401",
    "GET /dicom-web/instances":                      "403 200 200 200 200 200 200 | 403 204 204 204 204 204 204 | 401",
    "GET /dicom-web/studies/{study}/series":         "403 200 200 200 200 200 200 | 403 204 204 204 204 204 204 | 401",
    "GET /dicom-web/studies/{study}/instances":      "403 200 200 200 200 200 200 | 403 204 204 204 204 204 204 | 401",
    "GET /dicom-web/studies/{study}/series/{series}/instances":
                                                     "403 200 200 200 200 200 200 | 403 204 204 204 204 204 204 | 401",
    "GET /dicom-web/studies/{study}":                "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",
    "GET /dicom-web/studies/{study}/series/{series}":
                                                     "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",
    "GET /dicom-web/studies/{study}/series/{series}/instances/{instance}":
                                                     "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",
    "GET /dicom-web/studies/{study}/metadata":       "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",
    "GET /dicom-web/studies/{study}/series/{series}/metadata":
                                                     "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",
    "GET /dicom-web/studies/{study}/series/{series}/instances/{instance}/metadata":
                                                     "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",
    "GET /dicom-web/studies/{study}/series/{series}/instances/{instance}/bulkdata/{path:path}":
                                                     "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",
    "GET /dicom-web/studies/{study}/series/{series}/instances/{instance}/frames/{numbers}":
                                                     "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",
    "GET /dicom-web/studies/{study}/series/{series}/instances/{instance}/frames/{number}/rendered":
                                                     "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",
    "GET /dicom-web/studies/{study}/series/{series}/instances/{instance}/rendered":
                                                     "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",
    "GET /dicom-web/studies/{study}/rendered":       "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",
    "GET /dicom-web/studies/{study}/series/{series}/rendered":
                                                     "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",
    "GET /dicom-web/wado":                           "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",
    "GET /wado":                                     "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",
    "GET /dicom-web/studies/{study}/thumbnail":      "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",
    "GET /dicom-web/studies/{study}/series/{series}/thumbnail":
                                                     "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",
    "GET /dicom-web/studies/{study}/series/{series}/instances/{instance}/thumbnail":
                                                     "403 200 200 200 200 200 200 | 403 404 404 404 404 404 404 | 401",
    "POST /dicom-web/studies":                       "403 200 200 403 403 403 200 | 403 404 404 403 403 403 404 | 401",
    "POST /dicom-web/studies/{study}":               "403 200 200 403 403 403 200 | 403 404 404 403 403 403 404 | 401",
    "DELETE /dicom-web/studies/{study}":             "403 403 403 403 403 403 204 | 403 403 403 403 403 403 404 | 401",
    "DELETE /dicom-web/studies/{study}/series/{series}":
                                                     "403 403 403 403 403 403 204 | 403 403 403 403 403 403 404 | 401",
    "DELETE /dicom-web/studies/{study}/series/{series}/instances/{instance}":
                                                     "403 403 403 403 403 403 204 | 403 403 403 403 403 403 404 | 401",
}
# fmt: on


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def app(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, isolation: Isolation
) -> Iterator[AppContext]:
    """One installation for all rows of the table, on each of the two databases."""
    with open_app_on(request, request.param, tmp_path_factory.mktemp("permissions"), isolation, "permissions") as app:
        yield app


@pytest.fixture(scope="module")
def world(app: AppContext, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_classifier(monkeypatch)
        yield World(app, make_people(app), tmp_path_factory.mktemp("web"))


def expected(route: str) -> tuple[list[int], list[int], int]:
    own, foreign, nobody = TABLE[route].split("|")
    columns = [int(n) for n in own.split()], [int(n) for n in foreign.split()], int(nobody)
    assert len(columns[0]) == len(columns[1]) == len(Role)
    return columns


def ask(world: World, route: str, email: str | None, *, allowed: bool) -> tuple[int, str]:
    call = CALLS[route](world, allowed, email or f"{Role.VIEWER}@lab.example")
    answer = world.client(email).request(route.partition(" ")[0], call.path, **call.send)
    if "/api/auth/" in route:  # these end sign-ins, or give cookies
        world.forget_clients()
    return answer.status_code, answer.text


def test_the_table_and_the_application_name_the_same_routes(world: World) -> None:
    served = {
        f"{method} {route.path}"
        for route in list_routes(world.web_app)
        for method in (route.methods or set()) - {"HEAD"}
    }
    named = {route.partition("?")[0] for route in TABLE}
    assert served - named == set(), "a route is missing from the table"
    assert named - served == set(), "the table names a route that is not served"
    assert set(CALLS) == set(TABLE)


@pytest.mark.parametrize("route", TABLE)
def test_every_role_by_ownership(world: World, route: str) -> None:
    own, foreign, nobody = expected(route)
    wrong = []
    for role, status in zip(Role, own, strict=True):
        answered, _ = ask(world, route, f"{role}@lab.example", allowed=status < 300)
        if answered != status:
            wrong.append(f"a {role} of the project got {answered} instead of {status}")
    for role, status in zip(Role, foreign, strict=True):
        answered, text = ask(world, route, f"foreign-{role}@lab.example", allowed=0 < status < 300)
        if status == 0:
            seen = [secret for secret in world.secrets if secret in text]
            if answered != 200 or seen:
                wrong.append(f"a foreign {role} got {answered} and saw {seen} instead of nothing")
        elif answered != status:
            wrong.append(f"a foreign {role} got {answered} instead of {status}")
    answered, _ = ask(world, route, None, allowed=False)
    if answered != nobody:
        wrong.append(f"nobody got {answered} instead of {nobody}")
    assert wrong == []


@pytest.mark.parametrize("route", [route for route in TABLE if expected(route)[0] != expected(route)[1]])
def test_a_role_in_one_project_lends_no_rights_in_another(world: World, route: str) -> None:
    """Who views the first project and administers the second is a viewer in the first."""
    own, _, _ = expected(route)
    status = own[list(Role).index(Role.VIEWER)]
    answered, text = ask(world, route, "both@lab.example", allowed=False)
    if status == 403:  # or there is nothing to see, where the rights in the second project open the route
        assert answered in {403, 404} or (answered == 200 and not any(secret in text for secret in world.secrets))
    else:
        assert answered == status


@pytest.mark.parametrize("route", TABLE)
def test_an_account_without_a_project_reaches_only_itself(world: World, route: str) -> None:
    own_statuses, _, anonymous_status = expected(route)
    status, _ = ask(world, route, "alone@lab.example", allowed=False)
    assert status == (own_statuses[0] if "/api/auth/" in route or anonymous_status == 200 else 403)


def test_a_refused_act_changes_nothing_and_is_recorded(world: World) -> None:
    before = world.client("administrator@lab.example").get(f"/api/patients/{world.patient_id}").json()
    assert world.client("viewer@lab.example").delete(f"/api/patients/{world.patient_id}?erase=true").status_code == 403
    assert world.client("administrator@lab.example").get(f"/api/patients/{world.patient_id}").json() == before
    entries = world.client("administrator@lab.example").get("/api/audit?outcome=refused").json()["items"]
    assert (entries[0]["action"], entries[0]["actor"], entries[0]["object_id"]) == (
        "patient.delete",
        "The viewer",
        world.patient_id,
    )
