"""Every route, every kind of person, own and foreign objects: one table says what is answered."""

import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlencode

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from clinic.access import Role
from clinic.audit_event import AuditAction
from clinic.fhir_capability import READ_TYPES
from clinic.fhir_search import INCLUDES, REVERSE_INCLUDES
from clinic.keeper_protocol import ObjectKind
from clinic.records import accounts, ehr_clients, erasure, erasure_requests, invitations, passkeys
from clinic.records.db import database_now, new_id
from clinic.records.models import Account, AuditEntry, EhrClient, Invitation, Patient
from clinic.records.passkeys import NewPasskey
from clinic.submission import CaseState
from tests.browser_session import TOKEN, BrowserSession
from tests.portal_tools import (
    ask_for_pictures,
    attach,
    change_row,
    entries,
    half_signed_in,
    object_of,
    token_of,
    viewer_key,
)
from tests.world import Person, World
from web.permission import Mark, mark_of
from web.rate_limits import limiter

PEOPLE = ("nobody", "alice", "carol", "bob", "dan", "erin", "grace", "frank", "half")

# Alice owns every case below; Carol is a patient too, but a stranger to them. Bob reads the cases
# that are claimed; Dan is of the same clinic and reads the earlier one; Erin administers and Grace
# audits this clinic; Frank is of another clinic, so that nothing of this one is there for him.
# "half" is Dan in a browser that proved the password alone: 302 leads to the second factor.
# For nobody 302 leads to the sign-in page.
#
#   method path                          nobody alice carol bob dan erin grace frank half
TABLE = """
    GET    /                                      200 200 200 200 200 200 200 200 200
    GET    /help                                  200 200 200 200 200 200 200 200 200
    GET    /privacy                               200 200 200 200 200 200 200 200 200
    GET    /ai-label                              200 200 200 200 200 200 200 200 200
    GET    /c/clinic-1                            200 200 200 200 200 200 200 200 200
    GET    /c/nowhere                             404 404 404 404 404 404 404 404 404
    GET    /healthz                               200 200 200 200 200 200 200 200 200
    GET    /readyz                                503 503 503 503 503 503 503 503 503
    GET    /metrics                               404 404 404 404 404 404 404 404 404
    GET    /invariants                            404 404 404 404 404 404 404 404 404
    GET    /root-key.js                           200 200 200 200 200 200 200 200 200
    GET    /static/js/viewer.js                   200 200 200 200 200 200 200 200 200
    POST   /csp-reports                           415 415 415 415 415 415 415 415 415
    GET    /register                              200 200 200 200 200 200 200 200 200
    POST   /register                              422 422 422 422 422 422 422 422 422
    GET    /register/some-token                   404 404 404 404 404 404 404 404 404
    POST   /register/some-token                   404 404 404 404 404 404 404 404 404
    GET    /password/forgotten                    200 200 200 200 200 200 200 200 200
    POST   /password/forgotten                    200 200 200 200 200 200 200 200 200
    GET    /password/new/some-token               404 404 404 404 404 404 404 404 404
    POST   /password/new/some-token               404 404 404 404 404 404 404 404 404
    GET    /join/some-token                       404 404 404 404 404 404 404 404 404
    POST   /join/some-token                       404 404 404 404 404 404 404 404 404
    GET    /sign-in                               200 200 200 200 200 200 200 200 200
    POST   /sign-in                               422 422 422 422 422 422 422 422 422
    POST   /sign-in/passkey/options               200 200 200 200 200 200 200 200 200
    POST   /sign-in/passkey                       422 422 422 422 422 422 422 422 422
    GET    /sign-in-link/some-token               404 404 404 404 404 404 404 404 404
    POST   /sign-in-link/some-token               404 404 404 404 404 404 404 404 404
    GET    /second-factor                         302 302 302 200 200 200 200 200 200
    POST   /second-factor                         302 302 302 422 422 422 422 422 422
    GET    /second-factor/recovery                302 200 200 200 200 200 200 200 200
    POST   /second-factor/recovery                302 422 422 422 422 422 422 422 422
    GET    /second-factor/new                     302 200 200 200 200 200 200 200 302
    POST   /second-factor/new                     302 422 422 422 422 422 422 422 302
    POST   /second-factor/remove                  302 404 404 409 409 409 409 409 302
    GET    /passkeys/new                          302 200 200 200 200 200 200 200 302
    POST   /passkeys/new                          302 422 422 422 422 422 422 422 302
    POST   /passkeys/options/new                  302 200 200 200 200 200 200 200 302
    POST   /passkeys/options/use                  302 200 200 200 200 200 200 200 200
    POST   /passkeys/{dans_key}/name              302 403 403 403 422 403 403 404 302
    POST   /passkeys/{dans_key}/remove            302 403 403 403 302 403 403 404 302
    POST   /recovery-codes                        302 409 409 200 200 200 200 200 302
    GET    /step-up                               302 200 200 200 200 200 200 200 302
    POST   /step-up                               302 422 422 422 422 422 422 422 302
    GET    /account                               302 200 200 200 200 200 200 200 302
    GET    /account/password                      302 200 200 200 200 200 200 200 302
    POST   /account/password                      302 422 422 422 422 422 422 422 302
    GET    /account/email                         302 200 200 200 200 200 200 200 302
    POST   /account/email                         302 200 200 200 200 200 200 200 302
    GET    /account/email/some-token              404 404 404 404 404 404 404 404 404
    POST   /account/email/some-token              404 404 404 404 404 404 404 404 404
    POST   /account/consents                      302 302 302 403 403 403 403 403 403
    POST   /account/language                      302 400 400 403 403 403 403 403 403
    POST   /account/care                          302 400 400 403 403 403 403 403 403
    POST   /account/sessions/{bobs}/end           302 404 404 302 404 404 404 404 302
    POST   /account/sessions/{unknown}/end        302 404 404 404 404 404 404 404 302
    GET    /cases                                 302 200 200 403 403 403 403 403 403
    GET    /cases/new                             302 200 200 403 403 403 403 403 403
    POST   /cases/new                             302 422 422 403 403 403 403 403 403
    GET    /cases/{unknown}                       302 404 404 403 403 403 403 403 403
    GET    /cases/{fresh}                         302 200 403 403 403 403 403 403 403
    GET    /cases/{claimed}                       302 200 403 403 403 403 403 403 403
    GET    /cases/{read}                          302 200 403 403 403 403 403 403 403
    GET    /cases/{signed}                        302 200 403 403 403 403 403 403 403
    GET    /cases/{retake}                        302 200 403 403 403 403 403 403 403
    GET    /cases/{erased}                        302 410 410 403 403 403 403 403 403
    POST   /cases/{unknown}/photos                302 404 404 403 403 403 403 403 403
    POST   /cases/{fresh}/photos                  302 302 403 403 403 403 403 403 403
    POST   /cases/{retake}/photos                 302 302 403 403 403 403 403 403 403
    POST   /cases/{signed}/photos                 302 403 403 403 403 403 403 403 403
    POST   /cases/{erased}/photos                 302 410 410 403 403 403 403 403 403
    POST   /cases/{unknown}/grants                302 404 404 404 404 403 403 404 302
    POST   /cases/{fresh}/grants                  302 202 403 403 403 403 403 404 302
    POST   /cases/{claimed}/grants                302 202 403 202 403 403 403 404 302
    POST   /cases/{read}/grants                   302 202 403 202 403 403 403 404 302
    POST   /cases/{signed}/grants                 302 202 403 202 403 403 403 404 302
    POST   /cases/{earlier}/grants                302 202 403 202 202 403 403 404 302
    POST   /cases/{erased}/grants                 302 410 410 410 410 403 403 404 302
    GET    /grants/{unknown}                      302 404 404 404 404 403 403 404 302
    GET    /grants/{alices_grant}                 302 200 404 404 404 403 403 404 302
    GET    /grants/{bobs_grant}                   302 404 404 200 404 403 403 404 302
    GET    /objects/{unknown}                     302 404 404 404 404 403 403 404 302
    GET    /objects/{photo_fresh}                 302 200 403 403 403 403 403 404 302
    GET    /objects/{photo_claimed}               302 200 403 200 403 403 403 404 302
    GET    /objects/{photo_signed}                302 200 403 200 403 403 403 404 302
    GET    /objects/{photo_earlier}               302 200 403 200 200 403 403 404 302
    GET    /objects/{map_earlier}                 302 403 403 403 200 403 403 404 302
    GET    /objects/{map_fresh}                   302 403 403 403 403 403 403 404 302
    GET    /objects/{map_claimed}                 302 403 403 403 403 403 403 404 302
    GET    /objects/{map_read}                    302 403 403 200 403 403 403 404 302
    GET    /objects/{map_signed}                  302 403 403 200 403 403 403 404 302
    GET    /objects/{history_read}                302 404 404 404 404 403 403 404 302
    GET    /objects/{letter_signed}               302 404 404 404 404 403 403 404 302
    GET    /objects/{photo_erased}                302 404 404 404 404 403 403 404 302
    GET    /my-record/access                      302 200 200 403 403 403 403 403 403
    GET    /my-record                             302 200 200 403 403 403 403 403 403
    GET    /my-record/download                    302 200 200 403 403 403 403 403 403
    GET    /my-record/archive.zip                 302 200 200 403 403 403 403 403 403
    GET    /my-record/archive.json                302 200 200 403 403 403 403 403 403
    GET    /my-record/erasure                     302 200 200 403 403 403 403 403 403
    POST   /my-record/erasure                     302 422 422 403 403 403 403 403 403
    POST   /my-record/erasure/withdraw            302 409 404 403 403 403 403 403 403
    GET    /erasure/some-token                    404 404 404 404 404 404 404 404 404
    POST   /erasure/some-token                    404 404 404 404 404 404 404 404 404
    GET    /erasure-requests                      302 403 403 403 403 200 403 403 403
    POST   /erasure-requests/{unknown}/grant      302 403 403 403 403 404 403 403 403
    POST   /erasure-requests/{unknown}/refuse     302 403 403 403 403 404 403 403 403
    POST   /erasure-requests/{alices_wish}/refuse 302 403 403 403 403 422 403 403 403
    POST   /erasure-requests/{alices_wish}/grant  302 403 403 403 403 409 403 403 403
    GET    /operations                            302 403 403 403 403 200 200 403 403
    GET    /operations/live                       302 403 403 403 403 200 200 403 403
    POST   /operations/dead/{unknown}/retry       302 403 403 403 403 404 403 403 403
    POST   /operations/dead/{fresh}/retry         302 403 403 403 403 409 403 403 403
    POST   /operations/dead/{claimed}/retry       302 403 403 403 403 403 403 403 403
    POST   /operations/dead/{signed}/retry        302 403 403 403 403 403 403 403 403
    POST   /operations/dead/{erased}/retry        302 403 403 403 403 410 403 403 403
    GET    /service-times                         302 403 403 403 403 200 403 403 403
    POST   /service-times                         302 403 403 403 403 422 403 403 403
    POST   /service-times/contacts                302 403 403 403 403 302 403 403 403
    POST   /service-times/holidays                302 403 403 403 403 422 403 403 403
    POST   /service-times/holidays/remove         302 403 403 403 403 422 403 403 403
    GET    /reading                               302 403 403 200 200 200 403 200 302
    GET    /audit                                 302 403 403 403 403 403 200 403 403
    GET    /people                                302 403 403 403 403 200 403 403 403
    POST   /people/invite                         302 403 403 403 403 422 403 403 403
    POST   /people/find                           302 403 403 403 403 422 403 403 403
    POST   /people/invitations/{unknown}/withdraw 302 403 403 403 403 404 403 403 403
    GET    /people/{unknown}                      302 403 403 403 403 404 403 403 403
    GET    /people/{gina}                         302 403 403 403 403 200 403 403 403
    GET    /people/{franks}                       302 403 403 403 403 404 403 403 403
    POST   /people/{gina}/sign-out                302 403 403 403 403 302 403 403 403
    POST   /people/{gina}/role                    302 403 403 403 403 422 403 403 403
    POST   /people/{gina}/second-factor/reset     302 403 403 403 403 302 403 403 403
    POST   /people/{gina}/disable                 302 403 403 403 403 302 403 403 403
    POST   /people/{gina}/enable                  302 403 403 403 403 302 403 403 403
    POST   /people/{franks}/disable               302 403 403 403 403 404 403 403 403
    GET    /audit.csv                             302 403 403 403 403 403 200 403 403
    GET    /review                                302 403 403 200 200 403 403 200 302
    GET    /review/live                           302 403 403 200 200 403 403 200 302
    GET    /review/{unknown}                      302 403 403 404 404 403 403 404 302
    GET    /review/{fresh}                        302 403 403 200 200 403 403 404 302
    GET    /review/{claimed}                      302 403 403 200 200 403 403 404 302
    GET    /review/{read}                         302 403 403 200 200 403 403 404 302
    GET    /review/{signed}                       302 403 403 200 403 403 403 404 302
    GET    /review/{earlier}                      302 403 403 200 200 403 403 404 302
    GET    /review/{erased}                       302 403 403 410 410 403 403 404 302
    POST   /review/{claimable}/claim              302 403 403 302 302 403 403 404 302
    POST   /review/{claimed}/claim                302 403 403 302 409 403 403 404 302
    POST   /review/{signed}/claim                 302 403 403 409 409 403 403 404 302
    POST   /review/{unknown}/claim                302 403 403 404 404 403 403 404 302
    POST   /review/{erased}/claim                 302 403 403 410 410 403 403 404 302
    POST   /review/{fresh}/first-read             302 403 403 403 403 403 403 404 302
    POST   /review/{claimed}/first-read           302 403 403 422 403 403 403 404 302
    POST   /review/{unknown}/first-read           302 403 403 404 404 403 403 404 302
    POST   /review/{erased}/first-read            302 403 403 410 410 403 403 404 302
    POST   /review/{fresh}/sign                   302 403 403 403 403 403 403 404 302
    POST   /review/{claimed}/sign                 302 403 403 403 403 403 403 404 302
    POST   /review/{read}/sign                    302 403 403 422 403 403 403 404 302
    POST   /review/{signed}/sign                  302 403 403 403 403 403 403 404 302
    POST   /review/{unknown}/sign                 302 403 403 404 404 403 403 404 302
    POST   /review/{erased}/sign                  302 403 403 410 410 403 403 404 302
    POST   /review/{fresh}/retake                 302 403 403 403 403 403 403 404 302
    POST   /review/{read}/retake                  302 403 403 422 403 403 403 404 302
    POST   /review/{unknown}/retake               302 403 403 404 404 403 403 404 302
    POST   /review/{erased}/retake                302 403 403 410 410 403 403 404 302
    POST   /review/{fresh}/release                302 403 403 403 403 403 403 404 302
    POST   /review/{read}/release                 302 403 403 302 403 403 403 404 302
    POST   /review/{unknown}/release              302 403 403 404 404 403 403 404 302
    POST   /review/{erased}/release               302 403 403 410 410 403 403 404 302
    POST   /review/{fresh}/claim/renew            302 403 403 403 403 403 403 404 302
    POST   /review/{claimed}/claim/renew          302 403 403 200 403 403 403 404 302
    POST   /review/{signed}/claim/renew           302 403 403 409 403 403 403 404 302
    POST   /review/{unknown}/claim/renew          302 403 403 404 404 403 403 404 302
    POST   /review/{erased}/claim/renew           302 403 403 410 410 403 403 404 302
    POST   /review/{fresh}/letter-posted          302 403 403 403 403 403 403 404 302
    POST   /review/{claimed}/letter-posted        302 403 403 409 403 403 403 404 302
    POST   /review/{signed}/letter-posted         302 403 403 302 403 403 403 404 302
    POST   /review/{unknown}/letter-posted        302 403 403 404 404 403 403 404 302
    POST   /review/{erased}/letter-posted         302 403 403 410 410 403 403 404 302
    GET    /codes                                 302 403 403 200 200 403 403 200 302
    POST   /codes                                 302 403 403 200 200 403 403 200 302
    GET    /pathology                             302 403 403 200 200 403 403 200 302
    GET    /review/{read}/sign                    302 403 403 200 403 403 403 404 302
    GET    /review/{claimed}/sign                 302 403 403 403 403 403 403 404 302
    GET    /review/{erased}/sign                  302 403 403 410 410 403 403 404 302
    POST   /review/{claimed}/draft                302 403 403 403 403 403 403 404 302
    POST   /review/{read}/draft                   302 403 403 302 403 403 403 404 302
    POST   /review/{signed}/draft                 302 403 403 302 403 403 403 404 302
    POST   /review/{unknown}/draft                302 403 403 404 404 403 403 404 302
    POST   /review/{erased}/draft                 302 403 403 410 410 403 403 404 302
    POST   /review/{claimed}/draft/discard        302 403 403 403 403 403 403 404 302
    POST   /review/{read}/draft/discard           302 403 403 302 403 403 403 404 302
    POST   /review/{unknown}/draft/discard        302 403 403 404 404 403 403 404 302
    POST   /review/{claimed}/letters              302 403 403 403 403 403 403 404 302
    POST   /review/{read}/letters                 302 403 403 200 403 403 403 404 302
    POST   /review/{signed}/letters               302 403 403 200 403 403 403 404 302
    POST   /review/{unknown}/letters              302 403 403 404 404 403 403 404 302
    GET    /review/{read}/change                  302 403 403 403 403 403 403 404 302
    GET    /review/{signed}/change                302 403 403 200 403 403 403 404 302
    GET    /review/{unknown}/change               302 403 403 404 404 403 403 404 302
    POST   /review/{read}/change                  302 403 403 403 403 403 403 404 302
    POST   /review/{signed}/change                302 403 403 422 403 403 403 404 302
    POST   /review/{erased}/change                302 403 403 410 410 403 403 404 302
    GET    /review/{signed}/addendum              302 403 403 200 403 403 403 404 302
    GET    /review/{read}/addendum                302 403 403 403 403 403 403 404 302
    POST   /review/{signed}/addendum              302 403 403 422 403 403 403 404 302
    POST   /review/{unknown}/addendum             302 403 403 404 404 403 403 404 302
    GET    /review/{signed}/pathology             302 403 403 200 200 403 403 404 302
    GET    /review/{read}/pathology               302 403 403 403 403 403 403 404 302
    POST   /review/{signed}/pathology             302 403 403 422 422 403 403 404 302
    POST   /review/{read}/pathology               302 403 403 403 403 403 403 404 302
    POST   /review/{unknown}/pathology            302 403 403 404 404 403 403 404 302
    POST   /review/{fresh}/attachments            302 403 403 403 403 403 403 404 302
    POST   /review/{read}/attachments             302 403 403 302 403 403 403 404 302
    POST   /review/{erased}/attachments           302 403 403 410 410 403 403 404 302
    GET    /attachments/{unknown}                 302 404 404 404 404 403 403 404 302
    GET    /attachments/{file_read}               302 403 403 200 403 403 403 404 302
    GET    /attachments/{file_signed}             302 200 403 200 403 403 403 404 302
    GET    /attachments/{inner_signed}            302 403 403 200 403 403 403 404 302
    POST   /attachments/{file_signed}/remove      302 403 403 409 403 403 403 404 302
    POST   /attachments/{unknown}/remove          302 403 403 404 404 403 403 404 302
    GET    /review/{fresh}/second-opinion         302 403 403 403 403 403 403 404 302
    GET    /review/{claimed}/second-opinion       302 403 403 302 403 403 403 404 302
    GET    /review/{doubted}/second-opinion       302 403 403 200 403 403 403 404 302
    GET    /review/{signed}/second-opinion        302 403 403 200 403 403 403 404 302
    GET    /review/{unknown}/second-opinion       302 403 403 404 404 403 403 404 302
    GET    /review/{erased}/second-opinion        302 403 403 410 410 403 403 404 302
    POST   /review/{fresh}/second-opinion         302 403 403 403 403 403 403 404 302
    POST   /review/{claimed}/second-opinion       302 403 403 302 403 403 403 404 302
    POST   /review/{doubted}/second-opinion       302 403 403 422 403 403 403 404 302
    POST   /review/{erased}/second-opinion        302 403 403 410 410 403 403 404 302
    POST   /review/{fresh}/notes                  302 403 403 403 403 403 403 404 302
    POST   /review/{doubted}/notes                302 403 403 422 403 403 403 404 302
    POST   /review/{signed}/notes                 302 403 403 422 403 403 403 404 302
    POST   /review/{erased}/notes                 302 403 403 410 410 403 403 404 302
    GET    /review/{fresh}/messages               302 403 403 403 403 403 403 404 302
    GET    /review/{doubted}/messages             302 403 403 200 403 403 403 404 302
    GET    /review/{signed}/messages              302 403 403 200 403 403 403 404 302
    GET    /review/{erased}/messages              302 403 403 410 410 403 403 404 302
    POST   /review/{fresh}/messages               302 403 403 403 403 403 403 404 302
    POST   /review/{doubted}/messages             302 403 403 422 403 403 403 404 302
    POST   /review/{erased}/messages              302 403 403 410 410 403 403 404 302
    POST   /review/{fresh}/messages/no-answer     302 403 403 403 403 403 403 404 302
    POST   /review/{signed}/messages/no-answer    302 403 403 409 403 403 403 404 302
    POST   /review/{erased}/messages/no-answer    302 403 403 410 410 403 403 404 302
    POST   /review/{signed}/messages/take         302 403 403 409 409 403 403 404 302
    POST   /review/{unknown}/messages/take        302 403 403 404 404 403 403 404 302
    POST   /review/{erased}/messages/take         302 403 403 410 410 403 403 404 302
    POST   /review/{signed}/report/take-over      302 403 403 409 409 403 403 404 302
    POST   /review/{unknown}/report/take-over     302 403 403 404 404 403 403 404 302
    POST   /review/{erased}/report/take-over      302 403 403 410 410 403 403 404 302
    POST   /review/{signed}/report/hand-over      302 403 403 302 403 403 403 404 302
    POST   /review/{read}/report/hand-over        302 403 403 403 403 403 403 404 302
    POST   /review/{unknown}/report/hand-over     302 403 403 404 404 403 403 404 302
    POST   /review/{erased}/report/hand-over      302 403 403 410 410 403 403 404 302
    GET    /signed                                302 403 403 200 200 403 403 200 302
    GET    /messages                              302 403 403 200 200 403 403 200 302
    GET    /second-reads                          302 403 403 200 200 403 403 200 302
    GET    /second-reads/{unknown}                302 403 403 404 404 403 403 404 302
    GET    /second-reads/{asked}                  302 403 403 403 200 403 403 404 302
    POST   /second-reads/{unknown}/take           302 403 403 404 404 403 403 404 302
    POST   /second-reads/{asked}/take             302 403 403 403 302 403 403 404 302
    POST   /second-reads/{unknown}/give-back      302 403 403 404 404 403 403 404 302
    POST   /second-reads/{asked}/give-back        302 403 403 403 302 403 403 404 302
    POST   /second-reads/{unknown}/record         302 403 403 404 404 403 403 404 302
    POST   /second-reads/{asked}/record           302 403 403 409 422 403 403 404 302
    POST   /second-reads/{unknown}/withdraw       302 403 403 404 404 403 403 404 302
    POST   /second-reads/{asked}/withdraw         302 403 403 302 403 403 403 404 302
    GET    /cases/{doubted}/messages              302 200 403 403 403 403 403 403 403
    GET    /cases/{signed}/messages               302 200 403 403 403 403 403 403 403
    GET    /cases/{erased}/messages               302 410 410 403 403 403 403 403 403
    POST   /cases/{doubted}/messages              302 422 403 403 403 403 403 403 403
    POST   /cases/{unknown}/messages              302 404 404 403 403 403 403 403 403
    GET    /double-reads                          302 403 403 403 403 200 403 403 403
    POST   /double-reads                          302 403 403 403 403 422 403 403 403
    POST   /review/next                           302 403 403 302 302 403 403 302 302
    POST   /account/sessions/end-others           302 302 302 302 302 302 302 302 302
    POST   /sign-out                              302 302 302 302 302 302 302 302 302
"""

# A registered record system: without a token, of this clinic, of this clinic with the scope for
# patients alone or with none, of another clinic, with a revoked token, or a signed-in browser in
# its place (a portal cookie is no token). The device is the installation's model, which made a
# report of the other clinic too.
EHR_CLIENTS = ("no token", "own", "patients", "no scope", "other clinic", "revoked", "cookie")
FHIR_TABLE = """
    GET    /fhir/R4/metadata                                    200 200 200 200 200 200 200
    GET    /fhir/R4/                                            404 404 404 404 404 404 404
    POST   /fhir/R4/                                            404 404 404 404 404 404 404
    GET    /fhir/R4/Nothing/here                                404 404 404 404 404 404 404
    POST   /fhir/R4/Patient/{patient}                           405 405 405 405 405 405 405
    GET    /fhir/R4/DiagnosticReport                            401 200 403 403 200 401 401
    POST   /fhir/R4/DiagnosticReport/_search                    401 200 403 403 200 401 401
    GET    /fhir/R4/DiagnosticReport/_history                   401 200 403 403 200 401 401
    GET    /fhir/R4/DiagnosticReport/{DiagnosticReport}         401 200 403 403 404 401 401
    GET    /fhir/R4/DiagnosticReport/{unknown}              401 404 403 403 404 401 401
    GET    /fhir/R4/DiagnosticReport/{unsigned}                 401 404 403 403 404 401 401
    GET    /fhir/R4/Binary/{Binary}                             401 200 403 403 404 401 401
    GET    /fhir/R4/Binary/{photo}                              401 403 403 403 404 401 401
    GET    /fhir/R4/Device/{Device}                             401 200 403 403 200 401 401
    GET    /fhir/R4/DocumentReference/{DocumentReference}       401 200 403 403 404 401 401
    GET    /fhir/R4/Media/{Media}                               401 200 403 403 404 401 401
    GET    /fhir/R4/Observation/{Observation}                   401 200 403 403 404 401 401
    GET    /fhir/R4/Organization/{Organization}                 401 200 403 403 404 401 401
    GET    /fhir/R4/Patient/{Patient}                           401 200 200 403 404 401 401
    GET    /fhir/R4/Patient/{unsigned_patient}                  401 404 404 403 404 401 401
    GET    /fhir/R4/Practitioner/{Practitioner}                 401 200 403 403 404 401 401
    GET    /fhir/R4/Provenance/{Provenance}                     401 200 403 403 404 401 401
"""

Row = tuple[str, str, dict[str, int]]


def read_table(text: str, columns: tuple[str, ...]) -> Iterator[Row]:
    for line in text.strip().splitlines():
        method, path, *codes = line.split()
        yield method, path, dict(zip(columns, map(int, codes), strict=True))


@dataclass
class Stage:
    """The cases and objects that the table's paths name."""

    app: Flask
    world: World
    browsers: dict[str, FlaskClient] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, app: Flask, world: World) -> "Stage":
        stage = cls(app, world)
        stage._people()
        stage._cases()
        stage._erased()
        stage._of_another_clinic()
        stage._grants()
        stage._withdrawn_wish()
        return stage

    def _people(self) -> None:
        self.browsers["nobody"] = self.app.test_client()
        self.browsers["half"] = half_signed_in(self.app, self.world, self.world.dan)
        for name in PEOPLE[1:-1]:
            session = BrowserSession.of(self.app, self.world, self.world.people[name])
            self.browsers[name] = session.client
        self.tokens = {
            name: token_of(client, "/second-factor" if name == "half" else "/register")
            for name, client in self.browsers.items()
        }

    def _cases(self) -> None:
        world = self.world
        alice, bob = world.alice, world.bob
        self.ids |= {
            "unknown": new_id(),
            "earlier": world.first_read(alice, world.dan),  # Bob reads later cases of the same site
            "fresh": world.screened(alice),
            "claimed": world.claimed(alice, bob),
            "read": world.first_read(alice, bob),
            "signed": world.signed(alice, bob),
            "retake": world.screened(alice),
            "gina": world.add_person("gina", Role.ADMINISTRATOR).account_id,
            "franks": world.frank.account_id,
        }
        change_row(
            world, self.ids["retake"], case_state=CaseState.UNREADABLE, retake_reason="Not sharp."
        )
        change_row(world, self.ids["fresh"], body_site="scalp")  # no earlier visit to compare with
        for name, case, for_patient in (
            *(("file_read", "read", True), ("file_signed", "signed", True)),
            ("inner_signed", "signed", False),
        ):
            self.ids[name] = attach(world, self.ids[case], for_patient=for_patient)
        self.ids["doubted"] = world.first_read(alice, bob)
        self.ids["asked"] = world.ask_second(self.ids["doubted"], bob, of=world.dan)
        self.ids["letter_signed"] = object_of(world, self.ids["signed"], ObjectKind.LETTER)
        self.ids["history_read"] = object_of(world, self.ids["read"], ObjectKind.HISTORY)
        for name in ("earlier", "fresh", "claimed", "read", "signed"):
            case = self.ids[name]
            self.ids[f"photo_{name}"] = object_of(world, case, ObjectKind.RENDITION)
            self.ids[f"map_{name}"] = object_of(world, case, ObjectKind.HEATMAP)

    def _erased(self) -> None:
        """A case of this clinic that only the audit chain knows any more."""
        world = self.world
        ivy = world.add_person("ivy", Role.PATIENT)
        case = world.signed(ivy, world.bob)
        self.ids |= {"erased": case, "photo_erased": object_of(world, case, ObjectKind.RENDITION)}
        with world.sessions() as session, session.begin():
            erasure.erase_rows(
                session, world.auditor, patient_id=ivy.patient_id or "", actor="test"
            )

    def _of_another_clinic(self) -> None:
        world, frank = self.world, self.world.frank
        henry = world.add_person("henry", Role.PATIENT, clinic_id=world.other_clinic_id)
        self.ids |= {"far_fresh": world.screened(henry), "far_signed": world.signed(henry, frank)}
        far_doubted = world.first_read(henry, frank)
        self.ids["far_asked"] = world.ask_second(far_doubted, frank)
        for kind in (ObjectKind.RENDITION, ObjectKind.HEATMAP, ObjectKind.LETTER):
            self.ids[f"far_{kind}"] = object_of(world, self.ids["far_signed"], kind)
        self.ids["far_file"] = attach(world, self.ids["far_signed"])
        self.ids["far_session"] = self._another_session_of(frank)
        self.ids["far_passkey"] = self._another_passkey_of(world.henry)
        with world.sessions() as session, session.begin():
            invitations.invite(session, clinic_id=world.other_clinic_id, role=Role.DERMATOLOGIST)
            self.ids["far_invitation"] = session.scalars(select(Invitation.id)).one()

    def _grants(self) -> None:
        for name, case, grant in (
            ("alice", "claimed", "alices_grant"),
            ("bob", "claimed", "bobs_grant"),
            ("frank", "far_signed", "far_grant"),
        ):
            browser = self.browsers[name]
            answer = ask_for_pictures(browser, self.tokens[name], self.ids[case])
            self.ids[grant] = answer.json["grant"]

    def _withdrawn_wish(self) -> None:
        """Alice asked to be erased and thought better of it."""
        with self.world.sessions() as session, session.begin():
            alice = session.get_one(Patient, self.world.alice.patient_id)
            self.ids["alices_wish"] = erasure_requests.ask(session, alice).request_id
            erasure_requests.withdraw(session, self.ids["alices_wish"])
            henry = session.get_one(Patient, self.world.henry.patient_id)
            self.ids["far_wish"] = erasure_requests.ask(session, henry).request_id

    def answer(self, name: str, method: str, template: str) -> TestResponse:
        """Ask once; what a person would use up is made anew."""
        ids = dict(self.ids)
        if "{claimable}" in template:
            ids["claimable"] = self.world.screened(self.world.alice)
        if "{bobs}" in template:
            ids["bobs"] = self._another_session_of(self.world.bob)
        if "{dans_key}" in template:
            ids["dans_key"] = self._another_passkey_of(self.world.dan)
        return self.ask(name, method, template.format(**ids))

    def ask(self, name: str, method: str, path: str) -> TestResponse:
        browser, token = self.browsers[name], self.tokens[name]
        if path.endswith("/grants") and method == "POST":
            return browser.post(path, json=viewer_key()[1], headers={"X-CSRFToken": token})
        return browser.open(path, method=method, data=_form(method, token), buffered=True)

    def _another_session_of(self, person: Person) -> str:
        with self.world.sessions() as session, session.begin():
            account = session.get_one(Account, person.account_id)
            token = accounts.start_login(session, account, second_factor=True)
            login = accounts.live_login(session, token)
            assert login is not None
            return login.id

    def _another_passkey_of(self, person: Person) -> str:
        name = self.world.secrets.seal("key", account_id=person.account_id, column="passkey name")
        new = NewPasskey(secrets.token_bytes(16), b"a public key", 0, name)
        with self.world.sessions() as session, session.begin():
            account = session.get_one(Account, person.account_id)
            return passkeys.add(session, account, new).id


def _form(method: str, token: str) -> dict[str, str]:
    return {"csrf_token": token} if method == "POST" else {}


@pytest.fixture
def stage(app: Flask, world: World, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Everybody asks for everything from one address: that would be too often."""
    monkeypatch.setattr(limiter, "enabled", False)
    return Stage.of(app, world)


def test_every_route_answers_every_person_as_the_table_says(stage: Stage) -> None:
    wrong = []
    for method, path, expected in read_table(TABLE, PEOPLE):
        for name, code in expected.items():
            before = len(_refusals(stage.world))
            answer = stage.answer(name, method, path)
            refused = len(_refusals(stage.world)) - before
            found = _as_in_table(answer)
            if found != code:
                wrong.append(f"{method} {path}: {name} got {found}, not {code}")
            if refused not in _entries_of(stage.app, method, path, code):
                wrong.append(f"{method} {path}: {name}'s {found} left {refused} refusals")

    assert wrong == []


FAR = {
    "/cases/": ("far_fresh", "far_signed"),
    "/review/": ("far_fresh", "far_signed"),
    "/operations/dead/": ("far_fresh", "far_signed"),
    "/attachments/": ("far_file",),
    "/objects/": ("far_rendition", "far_heatmap", "far_letter"),
    "/grants/": ("far_grant",),
    "/second-reads/": ("far_asked",),
    "/account/sessions/": ("far_session",),
    "/erasure-requests/": ("far_wish",),
    "/passkeys/": ("far_passkey",),
    "/people/": ("franks",),
    "/people/invitations/": ("far_invitation",),
}


def test_an_object_of_another_clinic_is_answered_as_one_that_never_was(stage: Stage) -> None:
    paths = {
        (method, re.sub(r"\{.*?\}", "{id}", path))
        for method, path, _ in read_table(TABLE, PEOPLE)
        if "{" in path
    }
    told_apart = []
    for method, path in sorted(paths):
        kind = max((prefix for prefix in FAR if path.startswith(prefix)), key=len)
        for name in ("alice", "bob", "erin", "grace"):
            never = _seen(stage, name, method, path, new_id())
            told_apart += [
                f"{method} {path}: {name}, {far}"
                for far in FAR[kind]
                if _seen(stage, name, method, path, stage.ids[far]) != never
            ]

    assert told_apart == []


def _seen(stage: Stage, name: str, method: str, path: str, one: str) -> list[object]:
    """All that a person gets to see for this id, and what the audit log keeps of it."""
    before = {entry.sequence for entry in _refusals(stage.world)}
    answer = stage.ask(name, method, path.format(id=one))
    kept = [
        (entry.clinic_id, entry.patient_id, entry.submission_id, entry.allowed, entry.detail)
        for entry in _refusals(stage.world)
        if entry.sequence not in before
    ]
    page = TOKEN.sub("", answer.text).replace(one, "ID")
    return [answer.status_code, answer.location, page, kept]


def _entries_of(app: Flask, method: str, path: str, code: int) -> set[int]:
    """How many refusals may be on record: one of each denial, none of pages for everybody.

    Signing in is such a page too, and a wrong proof there is on record.

    That every other request leaves one entry is tests/web/test_audit_completeness.py's to see.
    """
    if not _mark(app, method, path).is_personal:
        return {0, 1} if path.startswith("/sign-in") else {0}
    return {1} if code in {403, 404, 410} else {0, 1}


def _mark(app: Flask, method: str, path: str) -> Mark:
    adapter = app.url_map.bind("localhost")
    endpoint, _ = adapter.match(path.format_map(_AnyId()), method=method)
    return mark_of(app.view_functions[endpoint]) or Mark(kind="public")  # static files have none


def _refusals(world: World) -> list[AuditEntry]:
    with world.sessions() as session:
        refused = select(AuditEntry).where(AuditEntry.allowed.is_(False))
        return list(session.scalars(refused.order_by(AuditEntry.sequence)))


def _as_in_table(answer: TestResponse) -> int:
    return 302 if answer.status_code == 303 else answer.status_code


@pytest.mark.parametrize(("name", "target"), [("nobody", "/sign-in"), ("half", "/second-factor")])
def test_who_is_not_signed_in_is_led_to_the_missing_step(
    stage: Stage, name: str, target: str
) -> None:
    elsewhere = []
    for method, path, expected in read_table(TABLE, PEOPLE):
        led_on = expected[name] == 302 and path not in {"/sign-out", "/second-factor/new"}
        if led_on and not stage.answer(name, method, path).location.startswith(target):
            elsewhere.append(path)

    assert elsewhere == []


def test_a_script_that_is_not_signed_in_is_told_so_in_json(stage: Stage) -> None:
    for method, path, expected in read_table(TABLE, PEOPLE):
        if expected["nobody"] == 302:
            answer = stage.browsers["nobody"].open(
                path.format_map(_AnyId()),
                method=method,
                data=_form(method, stage.tokens["nobody"]),
                headers={"Accept": "application/json"},
            )
            assert (answer.status_code, answer.json) == (401, {"error": "sign in again"}), path


class _AnyId(dict[str, str]):
    def __missing__(self, _key: str) -> str:
        return "0" * 32


def test_no_route_is_missing_in_the_tables(stage: Stage) -> None:
    adapter = stage.app.url_map.bind("localhost")
    listed = set()
    for text, columns in ((TABLE, PEOPLE), (FHIR_TABLE, EHR_CLIENTS)):
        for method, path, _ in read_table(text, columns):
            rule, _ = adapter.match(path.format_map(_AnyId()), method=method, return_rule=True)
            listed.add((rule.rule, method))
    served = {
        (rule.rule, method)
        for rule in stage.app.url_map.iter_rules()
        for method in rule.methods or ()
        if method in {"GET", "POST"}
    }

    assert served - listed == set()


def test_no_portal_route_takes_other_methods_than_get_and_post(app: Flask) -> None:
    known = {"GET", "HEAD", "OPTIONS", "POST"}
    odd = {
        rule.rule
        for rule in app.url_map.iter_rules()
        if not (rule.methods or set()) <= known and not rule.rule.startswith("/fhir/")
    }

    assert odd == set()


def test_a_route_without_a_permission_mark_is_closed(app: Flask) -> None:
    app.add_url_rule("/forgotten", view_func=lambda: "open to all")

    assert app.test_client().get("/forgotten").status_code == 403


@dataclass
class EhrStage:
    stage: Stage
    headers: dict[str, dict[str, str]]
    ids: dict[str, str]

    def answer(self, name: str, method: str, template: str) -> TestResponse:
        client = self.stage.browsers["bob"] if name == "cookie" else self.stage.app.test_client()
        kind = {"content_type": "application/x-www-form-urlencoded"} if method == "POST" else {}
        path = template.format(**self.ids)
        return client.open(path, method=method, headers=self.headers[name], **kind)


@pytest.fixture
def ehr_stage(stage: Stage) -> EhrStage:
    world = stage.world
    with world.sessions() as session, session.begin():
        bearers = {
            name: ehr_clients.register(
                session, clinic_id=clinic_id, name="A record system", scopes=scopes
            )
            for name, clinic_id, scopes in (
                ("own", world.clinic_id, ehr_clients.READ_SCOPES),
                ("patients", world.clinic_id, "system/Patient.rs"),
                ("no scope", world.clinic_id, ""),
                ("other clinic", world.other_clinic_id, ehr_clients.READ_SCOPES),
                ("revoked", world.clinic_id, ehr_clients.READ_SCOPES),
            )
        }
        gone = session.get_one(EhrClient, bearers["revoked"].client_id)
        gone.revoked_at = database_now(session)
    headers: dict[str, dict[str, str]] = {"no token": {}, "cookie": {}}
    headers |= {name: {"Authorization": f"Bearer {one.token}"} for name, one in bearers.items()}
    ids = {
        "patient": world.alice.patient_id or "",
        "unknown": new_id(),
        "unsigned": stage.ids["fresh"],
        "unsigned_patient": world.carol.patient_id or "",
        "photo": object_of(world, stage.ids["signed"], ObjectKind.PHOTO),
    }
    return EhrStage(stage, headers, ids | _resource_ids(stage.app, headers["own"]))


def _resource_ids(app: Flask, headers: dict[str, str]) -> dict[str, str]:
    """One id of each type that the signed report brings along or points at."""
    asked = [("_include", name) for name in INCLUDES]
    asked += [("_revinclude", name) for name in REVERSE_INCLUDES]
    path = f"/fhir/R4/DiagnosticReport?{urlencode(asked)}"
    found = app.test_client().get(path, headers=headers).json
    resources = [entry["resource"] for entry in found["entry"]]
    ids = {one["resourceType"]: one["id"] for one in resources}
    for pointed in ("Device", "Binary"):
        ids[pointed] = re.findall(rf"{pointed}/([\w.-]+)", json.dumps(resources))[0]
    return ids


def test_every_fhir_route_answers_every_client_as_the_table_says(ehr_stage: EhrStage) -> None:
    assert READ_TYPES.keys() <= ehr_stage.ids.keys()
    app, world, wrong = ehr_stage.stage.app, ehr_stage.stage.world, []
    for method, path, expected in read_table(FHIR_TABLE, EHR_CLIENTS):
        guarded = _mark(app, method, path).kind == "ehr_client"
        for name, code in expected.items():
            before = len(entries(world, AuditAction.EHR_READ))
            answer = ehr_stage.answer(name, method, path)
            left = [one.allowed for one in entries(world, AuditAction.EHR_READ)[before:]]
            if answer.status_code != code:
                wrong.append(f"{method} {path}: {name} got {answer.status_code}, not {code}")
            expected_entries = [[]] if not guarded else [[code == 200]]
            if guarded and code == 401:  # of those without a token one a minute
                expected_entries.append([])
            if left not in expected_entries:
                wrong.append(f"{method} {path}: {name}'s {code} left {left} in the audit log")

    assert wrong == []


def test_a_resource_of_another_clinic_is_answered_as_one_that_never_was(
    ehr_stage: EhrStage,
) -> None:
    told_apart = []
    for method, path, expected in read_table(FHIR_TABLE, EHR_CLIENTS):
        if expected["other clinic"] != 404 or "{" not in path:
            continue
        known = path.format(**ehr_stage.ids)
        far, never = known.rpartition("/")[2], new_id()
        answers = [
            ehr_stage.answer("other clinic", method, place).text.replace(one, "ID")
            for place, one in ((known, far), (known.replace(far, never), never))
        ]
        if answers[0] != answers[1]:
            told_apart.append(path)

    assert told_apart == []


def test_a_search_finds_the_reports_of_the_own_clinic_alone(ehr_stage: EhrStage) -> None:
    found = {
        name: [
            entry["resource"]["id"]
            for entry in ehr_stage.answer(name, "GET", "/fhir/R4/DiagnosticReport").json["entry"]
        ]
        for name in ("own", "other clinic")
    }

    ids = ehr_stage.stage.ids
    assert found == {"own": [ids["signed"]], "other clinic": [ids["far_signed"]]}
