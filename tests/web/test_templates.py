"""Renders every page in its states, with the view functions stubbed, and checks what must hold."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Blueprint, Flask, flash, render_template
from flask_wtf.csrf import CSRFProtect
from jinja2 import StrictUndefined
from markupsafe import Markup
from werkzeug.datastructures import MultiDict

from clinic.abcde import abcde
from clinic.body_site import BodyLocation, BodySite, Side
from clinic.due_time import WORKING_DAYS
from clinic.erasure_certificate import ErasureCertificate
from clinic.escalation import Level as EscalationLevel
from clinic.escalation import Promise as Promises
from clinic.intake import (
    EMERGENCY,
    INTIMATE_AREA,
    NO_PHOTO_POSSIBLE,
    NO_RESPONSIBLE_ADULT,
    TOO_MANY_SPOTS,
    Answer,
    History,
    Onset,
    SevenPoint,
    Sex,
    SkinType,
    Symptom,
    urgent_reasons,
)
from clinic.photo_reject import RejectReason
from clinic.reading_grade import LIMIT, reading_grade
from clinic.records.consents import CareWithdrawn
from clinic.records.erasure import PatientSummary
from clinic.records.erasure_requests import Waiting
from clinic.records.models import ProcessKey
from clinic.records.operations import (
    OTHER_REASON,
    AuditChain,
    Depth,
    KeyService,
    Promise,
    Recent,
    Snapshot,
    Times,
)
from ml import drift as model_drift
from ml.drift import Bar, Drift, Level, Signal
from web.errors import WORDS
from web.portal import account_forms, colleague_forms, desk_forms, forms
from web.portal.access_log import AccessLine
from web.portal.audit_search import FILTERS
from web.portal.drift_chart import LEVEL_SENTENCES, LEVEL_WORDS, charts
from web.portal.email_address import CONFIRM_MAILED
from web.portal.erasure_desk import RefusalForm
from web.portal.first_read_form import FirstReadForm
from web.portal.my_erasure import ErasureForm
from web.portal.my_language import LanguageForm
from web.portal.operations_view import live_part
from web.portal.password import RESET_MAILED
from web.portal.registration import LINK_MAILED
from web.portal.review_queue import SHOWN, SITES
from web.portal.service_times import ContactsForm, HolidayForm, LimitsForm
from web.qr_code import qr_svg
from web.script_bundle import init_script_bundle

PORTAL = Path(__file__).resolve().parents[2] / "web" / "portal"
NOTICE = (
    "Research and demonstration software. Not a medical device, no CE/UKCA mark, "
    "not for clinical use. Not an NHS service."
)
NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
LATER = NOW + timedelta(minutes=30)
PASSED_ON = {
    "from": "Dr. Lena Brandt",
    "to": "Dr. Amin Sato",
    "reason": "Needs other expertise",
    "at": NOW,
}
EARLIER = NOW - timedelta(hours=30)
ENDPOINTS = {
    "home": "/",
    "help": "/help",
    "privacy": "/privacy",
    "ai_label": "/ai-label",
    "register": "/register",
    "sign_in": "/sign-in",
    "sign_in_link": "/sign-in/<token>",
    "sign_in_passkey": "/sign-in/passkey",
    "sign_in_passkey_options": "/sign-in/passkey/options",
    "sign_out": "/sign-out",
    "second_factor": "/second-factor",
    "use_recovery_code": "/second-factor/recovery",
    "new_code_app": "/second-factor/new",
    "remove_code_app": "/second-factor/remove",
    "new_passkey": "/passkeys/new",
    "passkey_creation_options": "/passkeys/options/new",
    "passkey_use_options": "/passkeys/options/use",
    "rename_passkey": "/passkeys/<passkey_id>/name",
    "remove_passkey": "/passkeys/<passkey_id>/remove",
    "renew_recovery_codes": "/recovery-codes",
    "step_up": "/step-up",
    "change_password": "/account/password",
    "change_language": "/account/language",
    "forgotten_password": "/password/forgotten",
    "reset_password": "/password/new/<token>",
    "change_email": "/account/email",
    "confirm_email": "/account/email/<token>",
    "end_other_sessions": "/account/sessions/end-others",
    "people_page": "/people",
    "person_page": "/people/<account_id>",
    "invite": "/people/invite",
    "find_person": "/people/find",
    "withdraw_invitation": "/people/invitations/<invitation_id>/withdraw",
    "change_role": "/people/<account_id>/role",
    "disable_person": "/people/<account_id>/disable",
    "enable_person": "/people/<account_id>/enable",
    "end_sessions_of_person": "/people/<account_id>/sign-out",
    "reset_second_factor_of_person": "/people/<account_id>/second-factor/reset",
    "join": "/join/<token>",
    "my_cases": "/cases",
    "new_case": "/cases/new",
    "my_case": "/cases/<case_id>",
    "replace_photos": "/cases/<case_id>/photos",
    "my_access_log": "/access-log",
    "account": "/account",
    "change_consents": "/account/consents",
    "change_care": "/account/care",
    "my_record": "/my-record",
    "download_record": "/my-record/download",
    "record_archive": "/my-record/archive.zip",
    "record_files": "/my-record/archive.json",
    "erasure_page": "/my-record/erasure",
    "ask_for_erasure": "/my-record/erasure/ask",
    "withdraw_erasure": "/my-record/erasure/withdraw",
    "erasure_answer": "/erasure/<token>",
    "fetch_certificate": "/erasure/<token>/certificate",
    "erasure_desk": "/erasure-requests",
    "grant_erasure": "/erasure-requests/<request_id>/grant",
    "refuse_erasure": "/erasure-requests/<request_id>/refuse",
    "end_session": "/account/sessions/<session_id>",
    "review_queue": "/review",
    "review_queue_live": "/review/live",
    "renew_claim": "/review/<case_id>/claim/renew",
    "letter_posted": "/review/<case_id>/letter-posted",
    "service_times": "/service-times",
    "change_limits": "/service-times/limits",
    "change_contacts": "/service-times/contacts",
    "add_holiday": "/service-times/holidays",
    "remove_holiday": "/service-times/holidays/remove",
    "claim_next": "/review/next",
    "review_case": "/review/<case_id>",
    "ask_for_pictures": "/cases/<case_id>/grants",
    "find_codes": "/codes",
    "pathology_page": "/pathology",
    "add_pathology": "/review/<case_id>/pathology",
    "change_report": "/review/<case_id>/change",
    "add_addendum": "/review/<case_id>/addendum",
    "save_draft": "/review/<case_id>/draft",
    "discard_draft": "/review/<case_id>/draft/discard",
    "draft_letters": "/review/<case_id>/letters",
    "add_attachment": "/review/<case_id>/attachments",
    "attachment": "/attachments/<object_id>",
    "remove_attachment": "/attachments/<object_id>/remove",
    "claim_case": "/review/<case_id>/claim",
    "release_case": "/review/<case_id>/release",
    "record_first_read": "/review/<case_id>/first-read",
    "request_retake": "/review/<case_id>/retake",
    "sign_case": "/review/<case_id>/sign",
    "reading": "/reading",
    "second_opinion": "/review/<case_id>/second-opinion",
    "ask_second_opinion": "/review/<case_id>/second-opinion/ask",
    "write_note": "/review/<case_id>/notes",
    "case_messages": "/review/<case_id>/messages",
    "send_case_message": "/review/<case_id>/messages/send",
    "need_no_answer": "/review/<case_id>/messages/no-answer",
    "take_messages": "/review/<case_id>/messages/take",
    "message_inbox": "/messages",
    "signed_list": "/signed",
    "take_over_report": "/review/<case_id>/report/take-over",
    "hand_over_report": "/review/<case_id>/report/hand-over",
    "my_messages": "/cases/<case_id>/messages",
    "send_my_message": "/cases/<case_id>/messages/send",
    "second_read_list": "/second-reads",
    "second_read": "/second-reads/<read_id>",
    "take_second_read": "/second-reads/<read_id>/take",
    "give_second_read_back": "/second-reads/<read_id>/give-back",
    "record_second_read": "/second-reads/<read_id>/record",
    "withdraw_second_read": "/second-reads/<read_id>/withdraw",
    "double_read_rule": "/double-reads",
    "change_double_read_rule": "/double-reads/change",
    "operations": "/operations",
    "operations_live": "/operations/live",
    "retry_dead_case": "/operations/dead/<case_id>/retry",
    "audit_log": "/audit",
    "export_audit_log": "/audit.csv",
}
PATIENT = SimpleNamespace(role="patient", name="Ada Okafor")
READER = SimpleNamespace(role="dermatologist", name="Dr. Lena Brandt")
ADMINISTRATOR = SimpleNamespace(role="administrator", name="Sam Reyes")
AUDITOR = SimpleNamespace(role="auditor", name="Ines Novak")

SLOTS = [
    {
        "view": "close_up",
        "slot": 1,
        "label": "Close-up photo",
        "hint": "About 20 cm away. Put the spot in the middle and a ruler or a coin next to it.",
        "required": True,
    },
    {
        "view": "overview",
        "slot": 0,
        "label": "Photo from further away",
        "hint": "Show where on the body the spot is, for example the whole arm.",
        "required": False,
    },
    {
        "view": "dermoscopic",
        "slot": 2,
        "label": "Photo through a skin lens",
        "hint": "Only if you have one. Clean the lens. Touch the skin lightly, do not press.",
        "required": False,
    },
]
SEALING = {
    "submission_id": "01hq7x",
    "epoch_json": json.dumps({"kid": "2026-w47", "public": "AAAA", "signature": "BBBB"}),
    "photo_slots": SLOTS,
    "photo_errors": {},
    "max_megabytes": 10,
}
PHOTOS = [
    {"view": "dermoscopic", "label": "Dermoscopic"},
    {"view": "close_up", "label": "Close-up"},
    {"view": "overview", "label": "Overview"},
]
RESULT = {
    "plan": "benign_advice",
    "text": "The doctor thinks this is a harmless mole.\nYou do not need treatment.",
    "language": "en",
    "ai_used": True,
    "image_quality": "good",
    "signed_at": NOW,
    "signer_name": "Dr. Lena Brandt",
    "registration_number": "GMC 7012345",
    "version": 1,
    "status": "final",
    "follow_up_on": date(2027, 3, 31),
    "gp_letter": "",
    "changes": [],
    "earlier": [],
    "files": [],
}
CHANGED_RESULT = {
    "version": 2,
    "gp_letter": "Dear colleague.",
    "changes": [
        {"signed_at": NOW, "why": "The result of your skin test came.", "what": ["What to do now."]}
    ],
    "earlier": [{"signed_at": EARLIER, "text": "We want to test it."}],
    "files": [{"id": "o1", "kind": "Leaflet for the patient", "format": "PDF", "kilobytes": 12}],
}
HISTORY = History(
    age=41,
    sex=Sex.FEMALE,
    skin_type=SkinType.V,
    location=BodyLocation(BodySite.LOWER_EXTREMITY, Side.LEFT),
    onset=Onset.MONTHS,
    seven_point={
        **dict.fromkeys(SevenPoint, Answer.NO),
        SevenPoint.CHANGE_IN_SIZE: Answer.YES,
        SevenPoint.IRREGULAR_COLOUR: Answer.YES,
        SevenPoint.OOZING: Answer.UNKNOWN,
    },
    symptoms={**dict.fromkeys(Symptom, Answer.NO), Symptom.BLEEDING: Answer.YES},
    own_skin_cancer=Answer.NO,
    family_skin_cancer=Answer.YES,
    immunosuppressed=Answer.NO,
    medicines="none",
    strong_concern="It looks like the one my father had.",
    notes="Started after the summer.",
)
PROBABILITIES = [
    ("Melanoma", 0.58, "more likely than not", True),
    ("Melanocytic nevus", 0.31, "possible", False),
    ("Benign keratosis-like lesion", 0.06, "unlikely", False),
    ("Basal cell carcinoma", 0.03, "very unlikely", True),
    ("Actinic keratosis or intraepithelial carcinoma", 0.01, "very unlikely", True),
    ("Dermatofibroma", 0.007, "very unlikely", False),
    ("Vascular lesion", 0.003, "very unlikely", False),
]
COMPUTER = {
    "probabilities": [
        {"label": label, "probability": share, "words": words, "malignant": malignant}
        for label, share, words, malignant in PROBABILITIES
    ],
    "set_words": "In 90 of 100 cases the true class is among: Melanoma, Melanocytic nevus.",
    "reasons": ["melanoma 58 in 100 is above the limit of 10", "7-point score 4 (limit 3)"],
    "warnings": ["The close-up photo is a little blurred.", "Skin tone: little evidence."],
    "maps": [
        {"label": "Melanoma", "words": "The computer looked mostly at the upper edge."},
        {"label": "Melanocytic nevus", "words": "Hardly anything in the photo spoke for it."},
    ],
    "members": [
        {"name": "Basic CNN", "label": "Melanocytic nevus", "probability": 0.61},
        {"name": "EfficientNet-B0", "label": "Melanoma", "probability": 0.72},
    ],
    "agreement_words": "The three networks agree.",
    "model_version": "0.3.0",
    "fingerprint": "9f2c41d07ab3e8861122334455667788",
}
AUDIT = AuditChain(48211, NOW, 48200, None)
BROKEN_AUDIT = replace(AUDIT, problem="Entry 77 was changed.")
UNCHECKED_AUDIT = AuditChain(48211, None, 0, None)
CARD = Markup(
    "<h2>Model card</h2>"
    '<div class="dq-table-frame" tabindex="0" role="region" aria-label="Figures">'
    '<table class="nhsuk-table dq-table"><thead><tr><th>class</th></tr></thead></table></div>'
)


def case(state: str, **change: Any) -> dict[str, Any]:
    return {
        "id": "c1",
        "reference": "K4M-7QP",
        "state": state,
        "site": "leg, left",
        "site_detail": "below the knee",
        "sent_at": NOW,
        "promised_at": NOW + timedelta(days=2),
        "late": False,
        "updated": False,
        "messages": 0,
        "urgency": "urgent",
        "due_at": NOW + timedelta(days=1),
        "left": timedelta(hours=19),
        "told_by": NOW + timedelta(days=28),
        "told_at": None,
        "ai_state": "available",
    } | change


def row(number: int, **change: Any) -> dict[str, Any]:
    return {
        "id": f"c{number}",
        "reference": f"K4M-{number:03d}",
        "urgency": ("urgent", "suspicious", "routine", None)[number % 4],
        "reasons": ["7-point score 4 (limit 3)", "photo not sharp"][: number % 3],
        "site": ("leg, left", "back, middle", "face, right")[number % 3],
        "waiting": timedelta(hours=5 * number, minutes=12),
        "left": timedelta(hours=7 * (number - 1)),
        "told_by": NOW + timedelta(days=28) if number % 3 else None,
        "told_late": number % 3 == 1,
        "warned": number < 3,
        "owner": None,
        "mine": False,
        "second_read": number == 2,
        "ai_available": number != 3,
    } | change


def filled(kind: type, **values: str) -> Any:
    form = kind(formdata=MultiDict(values))
    form.validate()
    return form


DESK_PHOTOS = [{"object": f"o{place}", "layers": [], **one} for place, one in enumerate(PHOTOS)]
LAYERS = [{"label": "Melanoma", "object": "m1"}, {"label": "Melanocytic nevus", "object": "m2"}]
EXPLAINED: dict[str, Any] = {
    "photos": [DESK_PHOTOS[0] | {"layers": LAYERS}, *DESK_PHOTOS[1:]],
    "earlier_visits": [],
}
EARLIER_VISIT = {"id": "c0", "sent_at": EARLIER, "site": "back, left", "photos": DESK_PHOTOS[:1]}


def review(**change: Any) -> dict[str, Any]:
    return {
        "case": case("awaiting_review"),
        "rule_reasons": urgent_reasons(HISTORY),
        "patient": {"age": 41, "sex": "female", "record_number": "R-20881", "language": "English"},
        "history": HISTORY,
        "history_lost": False,
        "owner": {"name": READER.name, "mine": True, "until": LATER, "left": 1800},
        "passed_on": None,
        "photos": DESK_PHOTOS,
        "earlier_visits": [EARLIER_VISIT],
        "image_quality": "no fault found",
        "abcde": abcde(HISTORY),
        "first_read": None,
        "computer": None,
        "first_read_form": FirstReadForm(formdata=None),
        "decision_form": desk_forms.DecisionForm(formdata=None),
        "retake_form": desk_forms.RetakeForm(formdata=None),
        "release_form": forms.ReleaseForm(formdata=None),
        "draft": {"revision": 0, "saved_at": None},
        "attachment_form": desk_forms.AttachmentForm(formdata=None),
        "attachments": [FILE],
        "colleagues": colleagues(),
    } | change


def second_opinion_row(**change: Any) -> dict[str, Any]:
    return {
        "id": "r1",
        "case_id": "c1",
        "reason": "A colleague asks for your opinion",
        "state": "waits",
        "open": True,
        "blind": True,
        "holds": True,
        "asked_by": READER.name,
        "asked_of": "",
        "asked_at": NOW,
        "left": timedelta(hours=19),
        "reader": "",
        "reference": "K4M-001",
        "site": "back, middle",
        "urgency": "suspicious",
    } | change


OPINION = {
    "differential": ["Melanoma", "Melanocytic nevus"],
    "confidence": "Medium",
    "plan": "Biopsy or excision",
    "note": "The network is atypical at the edge.",
    "read_at": NOW,
}
NOTE = {"author": "Dr. Amin Sato", "written_at": NOW, "text": "The mother had a melanoma."}


def colleagues(**change: Any) -> dict[str, Any]:
    return {
        "can_ask": True,
        "reads": [],
        "consensus": None,
        "notes": [],
        "messages": {"all": 0, "unread": 0},
        "withdraw_form": colleague_forms.WithdrawForm(formdata=None),
        "note_form": colleague_forms.NoteForm(formdata=None),
    } | change


def colleagues_at_work(**change: Any) -> dict[str, Any]:
    answered = second_opinion_row(
        id="r2", open=False, state="answered", asked_by="", reader="Dr. Amin Sato"
    )
    return colleagues(
        can_ask=False,
        reads=[
            {**answered, "mine": False, "question": "", "opinion": OPINION},
            {**second_opinion_row(), "mine": True, "question": "A nevus?", "opinion": None},
        ],
        notes=[NOTE],
        messages={"all": 3, "unread": 1},
        **change,
    )


def second_read(state: str, **change: Any) -> dict[str, Any]:
    return {
        "state": state,
        "read": second_opinion_row(),
        "case": case("awaiting_review"),
        "until": NOW + timedelta(minutes=30),
        "history": None,
        "first": None,
        "own": None,
        "computer": None,
        "abcde": None,
        "image_quality": "",
        "question": "",
        "photos": [],
        "others": [],
        "earlier_visits": [],
        "notes": [],
        "release_form": forms.ReleaseForm(formdata=None),
        "form": colleague_forms.SecondReadForm(formdata=None),
    } | change


def second_reading(**change: Any) -> dict[str, Any]:
    opened = {"history": HISTORY, "question": "Is this a nevus?", "photos": DESK_PHOTOS}
    seen = {"abcde": abcde(HISTORY), "image_quality": "no fault found"}
    return second_read("reading", **opened, **seen) | change


def answered_second_read() -> dict[str, Any]:
    other = {**second_opinion_row(reader="Dr. Amin Sato"), "opinion": OPINION}
    first = {"diagnosis": "Melanocytic nevus", "plan": "Benign: advice and no follow-up"}
    known = {"first": first, "others": [other], "notes": [NOTE], "own": OPINION}
    return second_reading(state="answered", computer=COMPUTER, **known)


def ask_form(**values: str) -> Any:
    form = colleague_forms.AskForm(formdata=MultiDict(values) if values else None)
    form.offer([("a2", "Dr. Amin Sato")])
    if values:
        form.validate()
    return form


def ask_second_opinion(**values: str) -> dict[str, Any]:
    place = {"id": "c1", "reference": "K4M-7QP", "site": "leg, left"}
    return {"case": place, "form": ask_form(**values)}


MESSAGES = [
    {"mine": True, "author": "", "text": "Can I swim?", "sent_at": NOW, "new": False},
    {"mine": False, "author": READER.name, "text": "Yes.", "sent_at": NOW, "new": True},
]


def messages_of(form: Any, **change: Any) -> dict[str, Any]:
    return {
        "case": {"id": "c1", "reference": "K4M-7QP", "site": "leg, left"},
        "messages": MESSAGES,
        "closes_at": NOW + timedelta(days=9),
        "closed": False,
        "full": False,
        "waits": True,
        "form": form,
    } | change


def inbox_row(**change: Any) -> dict[str, Any]:
    return {
        "id": "c1",
        "reference": "K4M-001",
        "site": "leg, left",
        "count": 2,
        "since": EARLIER,
        "answer_by": NOW,
        "reader": READER.name,
        "mine": True,
        "can_take": False,
    } | change


def double_reads(**change: Any) -> dict[str, Any]:
    rule = {"benign_percent": 5, "skin_tone": True, "disagreement": True}
    return {
        "form": colleague_forms.RuleForm(formdata=None, **rule),
        "figures": {"open": 4, "late": 1, "answered": 61, "withdrawn": 2},
        "agreement": {"pairs": 3, "fewest": 20, "kappa": None, "low": None, "high": None},
    } | change


def reading(**change: Any) -> dict[str, Any]:
    cells = [{"words": "0.61 (0.40 to 0.82)", "n": 42}, {"words": "too few cases", "n": 3}]
    table = {"title": "Agreement", "words": "Beyond chance.", "columns": ["First", "Final"]}
    rows = [{"name": name, "n": 42, "cells": cells} for name in ("All cases", "Model 0.3.0")]
    return {
        "own": False,
        "period": "90",
        "periods": {"90": "the last 90 days", "365": "the last year"},
        "n": 42,
        "capped": False,
        "fewest": 20,
        "sections": [table | {"rows": rows}],
    } | change


FILE = {
    "id": "o1",
    "kind": "Leaflet for the patient",
    "format": "PDF",
    "kilobytes": 12,
    "for_patient": True,
    "added_at": NOW,
}
CHANGED = [("Management", "Benign: advice and no follow-up", "Biopsy or excision")]


def register_somewhere() -> forms.RegisterForm:
    form = forms.RegisterForm(formdata=None)
    form.offer([("harbour", "Harbour Skin Clinic"), ("hill", "Hill Clinic")], visited="hill")
    return form


FIRST_READ = {
    "impression_label": "Melanoma",
    "alternatives": ["Melanocytic nevus"],
    "confidence": "Medium",
    "urgency": "urgent",
    "recorded_at": NOW,
}
DIFFERS = {
    "path": "A third reader decided",
    "diagnosis": "Melanoma",
    "plan": "Biopsy or excision",
    "recorded_at": NOW,
    "differs": True,
}
DECISION = [("Diagnosis", "Melanocytic nevus, D22.5"), ("Plan", "Benign: advice")]


def status(state: str, **change: Any) -> dict[str, Any]:
    return {
        "case": case(state),
        "result": None,
        "retake": None,
        "photos": PHOTOS[:2],
        "grant_url": "/cases/c1/grant",
    } | change


def retake() -> dict[str, Any]:
    return status(
        "unreadable",
        retake={"reasons": ["Not sharp", "Too dark"], "message": "Please go to a window."},
        form=forms.RetakePhotosForm(formdata=None),
        **SEALING,
    )


def new_case(**change: Any) -> dict[str, Any]:
    base = {"form": forms.CaseForm(formdata=None), "ai_permitted": True, "is_minor": False}
    return base | SEALING | change


def session(number: int, *, current: bool) -> dict[str, Any]:
    seen = {"started_at": NOW, "last_seen_at": NOW}
    return {"id": f"s{number}", "current": current, "device": f"Firefox on Linux {number}"} | seen


def account(**change: Any) -> dict[str, Any]:
    return {
        "sessions": [session(1, current=True), session(2, current=False)],
        "consents": None,
        "signing_in": signing_in(),
        "language_form": None,
    } | change


def signing_in(**change: Any) -> dict[str, Any]:
    key = {"id": "p1", "name": "my phone", "made_at": NOW, "used_at": NOW}
    return {
        "email": "ada@example.com",
        "code_app": True,
        "passkeys": [key, key | {"id": "p2", "name": "the key in the drawer", "used_at": None}],
        "passkeys_possible": True,
        "codes_left": 9,
        "factor_required": False,
    } | change


def person(**change: Any) -> dict[str, Any]:
    return {
        "id": "a1",
        "name": READER.name,
        "role": "Dermatologist",
        "registration_number": "GMC 7012345",
        "disabled": False,
        "second_factor": True,
        "me": False,
    } | change


def people(**change: Any) -> dict[str, Any]:
    rows = [person(), person(id="a2", disabled=True), person(id="a3", second_factor=False, me=True)]
    invite = account_forms.InviteForm(formdata=None)
    return {
        "people": rows,
        "invitations": [{"id": "i1", "role": "Administrator", "expires_at": NOW}],
        "invite_form": invite,
        "find_form": account_forms.EmailForm(formdata=None),
        "form": invite,
    } | change


def one_person(**change: Any) -> dict[str, Any]:
    return {
        "person": person(),
        "form": account_forms.ChangeRoleForm(formdata=None),
        "is_patient": False,
        "sessions": 2,
        "codes_left": 9,
    } | change


def proof(form: Any, **change: Any) -> dict[str, Any]:
    return {"form": form, "with_app": True, "with_passkey": True} | change


UNTOLD = {
    "id": "c9",
    "reference": "K4M-900",
    "signer": "Dr. Amin Sato",
    "mine": False,
    "due_at": EARLIER,
}


def queue(**change: Any) -> dict[str, Any]:
    rows = [row(0), row(1, owner="Dr. Amin Sato"), row(2, mine=True, owner=READER.name)]
    return {
        "rows": rows + [row(number) for number in range(3, 12)],
        "counts": dict.fromkeys(SHOWN, "12"),
        "active": "all",
        "site": None,
        "sites": SITES,
        "untold": [UNTOLD, UNTOLD | {"mine": True}],
        "next_cursor": "abc",
        "colleagues": {"second_reads": 2, "messages": 1},
    } | change


def snapshot(**change: Any) -> Snapshot:
    states = ("queued", "running", "awaiting_review", "unreadable")
    worker = ProcessKey(
        id="3f2a99c1" * 4,
        program="worker",
        started_at=NOW - timedelta(days=1),
        last_seen_at=NOW - timedelta(seconds=4),
        model_version="2026.11.2",
        model_fingerprint=COMPUTER["fingerprint"],
    )
    silent = ProcessKey(id="0" * 32, started_at=NOW - timedelta(days=3), last_seen_at=EARLIER)
    full = {
        "taken_at": NOW,
        "depths": tuple(
            Depth(state, urgency, 3 * place, EARLIER if place else None)
            for place, state in enumerate(states)
            for urgency in (0, 1, 2, None)
        ),
        "oldest_due": NOW - timedelta(seconds=3),
        "never_hinted": None,
        "expired_leases": 0,
        "dead": 1,
        "promises": (Promise(0, 1, 2), Promise(1, 0, 3), Promise(2, 0, 10_000)),
        "escalations": {(promise, level): 3 for promise in Promises for level in EscalationLevel},
        "retakes": {**dict.fromkeys(RejectReason, 1), OTHER_REASON: 2},
        "recent": Recent(
            214,
            (Times("analyse", 0.42, 0.9, 2.0),),
            {1: 498, 2: 2},
            3,
            {("onnx", "cpu"): 497},
            None,
        ),
        "key_service": KeyService(0, None, 120, 1),
        "workers": (worker, silent),
        "audit": AUDIT,
        "epoch_ends_at": NOW + timedelta(days=9),
        "erasures": Waiting(2, 0),
        "next_epoch": True,
        "last_emergency": None,
    }
    return Snapshot(**full | change)


def drift(level: Level) -> dict[str, Any]:
    bars = (Bar("mel", 0.11, 0.2), Bar("nv", 0.67, 0.5), Bar("below 0.10", 0.0, 0.0))
    words, colour = LEVEL_WORDS[level]
    signals = (
        Signal("Outlier score", model_drift.Side.PHOTOS, 0.3, 1e-9, bars),
        Signal("Likeliest class", model_drift.Side.ANSWERS, 0.02, 0.4, bars),
    )
    return {
        "version": "2026.11.2",
        "words": words,
        "colour": colour,
        "sentence": LEVEL_SENTENCES[level],
        "reference_size": 500,
        "window_size": 480,
        "charts": charts(Drift(500, 480, signals)) if level is not Level.COLLECTING else [],
    }


ESCALATED = {
    "reference": "K4M-009",
    "promise": "Read by a dermatologist",
    "level": "Past due",
    "broken": True,
    "due_at": EARLIER,
    "at": NOW,
    "told": ["Erin Reader, administrator"],
}


def service_times(**change: Any) -> dict[str, Any]:
    contacts = ContactsForm(formdata=None)
    contacts.contacts.choices = [("a1", "Dr. Lena Brandt, dermatologist")]
    limits = LimitsForm(formdata=None, data=dict(WORKING_DAYS))
    return {
        "limits_form": limits,
        "contacts_form": contacts,
        "holiday_form": HolidayForm(formdata=None),
        "holidays": [NOW.date()],
        "defaults": list(WORKING_DAYS.items()),
        "told": ["Sam Reyes, administrator"],
        "form": limits,
    } | change


def wrong_limits() -> dict[str, Any]:
    form = filled(LimitsForm, urgent="0", suspicious="two", routine="5", retake="1", told="1")
    return service_times(limits_form=form, form=form)


def operations(**change: Any) -> dict[str, Any]:
    dead = {
        "id": "0" * 32,
        "reference": "K4M-009",
        "attempts": 3,
        "reason": "decoder ran out of memory",
        "since": NOW,
        "free": True,
    }
    return {
        "live": live_part(snapshot()),
        "dead_cases": [dead, dead | {"free": False}],
        "escalated": [ESCALATED, ESCALATED | {"broken": False, "level": "80 % used", "told": []}],
        "care_withdrawn": [CareWithdrawn("DQ-7K4M2XQP", EARLIER, 1)],
        "drift": drift(Level.WATCH),
    } | change


EMPTY = {
    "depths": (),
    "recent": Recent(0, (), {}, 0, {}, None),
    "workers": (),
    "retakes": dict.fromkeys([*RejectReason, OTHER_REASON], 0),
    "epoch_ends_at": None,
    "next_epoch": False,
    "audit": UNCHECKED_AUDIT,
}
TROUBLE = {
    "oldest_due": NOW - timedelta(hours=1),
    "expired_leases": 2,
    "key_service": KeyService(4, NOW - timedelta(seconds=9), 0, 0),
    "epoch_ends_at": NOW + timedelta(hours=30),
    "next_epoch": False,
    "last_emergency": NOW - timedelta(days=2),
    "audit": BROKEN_AUDIT,
    "erasures": Waiting(2, 1),
}


def audit_search() -> dict[str, Any]:
    entry = {
        "at": NOW,
        "actor": "0a1b",
        "name": READER.name,
        "action": "case:photo:viewed",
        "subject": "K4M-7QP",
    }
    return {
        "filters": dict.fromkeys(FILTERS, ""),
        "people": [("0a1b", READER.name)],
        "actions": ["case:photo:viewed", "case:signed"],
        "entries": [
            entry | {"sequence": 48211, "allowed": True},
            entry | {"sequence": 48210, "allowed": False},
        ],
        "audit": AUDIT,
        "next_cursor": "48209",
    }


def signed(**change: Any) -> dict[str, Any]:
    return {
        "case": case("signed"),
        "decision": DECISION,
        "result": RESULT,
        "computer_line": "Read after the first read; agreed.",
        "colleagues": colleagues(),
        "gp_letter": "Dear colleague.",
        "versions": [{"version": 1, "signed_at": NOW, "status": "Final", "reason": ""}],
        "newest": 1,
        "changes": [],
        "pathology": [],
        "attachments": [FILE],
        "form": desk_forms.AttachmentForm(formdata=None),
        "hand_over_form": hand_over_form(),
        "passed_on": None,
    } | change


def hand_over_form() -> forms.ReportHandOverForm:
    form = forms.ReportHandOverForm(formdata=None)
    form.offer([("d1", "Dr. Amin Sato")])
    return form


def signed_row(**change: Any) -> dict[str, Any]:
    return {
        "id": "c1",
        "reference": "K4M-001",
        "site": "leg, left",
        "sent_at": EARLIER,
        "signed_at": NOW,
        "version": 1,
        "told": True,
        "keeper": READER.name,
        "mine": True,
    } | change


def signed_list(*rows: dict[str, Any], **change: Any) -> dict[str, Any]:
    return {"rows": list(rows), "keeper": "mine", "wanted": "", "next_cursor": None} | change


def changed_twice() -> dict[str, Any]:
    reasons = ("The result of a skin test came", "Something was added", "")
    versions = [
        {"version": 3 - place, "signed_at": NOW, "status": "Amended", "reason": reason}
        for place, reason in enumerate(reasons)
    ]
    rows = [("Pathology", "Melanoma"), ("ICD-O", "8720/3")]
    return signed(
        result=RESULT | {"version": 3, "status": "amended"},
        versions=versions,
        newest=3,
        changes=CHANGED,
        pathology=[rows, rows],
    )


def changing(kind: type = desk_forms.ChangeForm, **values: str) -> dict[str, Any]:
    return {
        "case": case("signed"),
        "form": filled(kind, **values) if values else kind(formdata=None),
        "report": {"version": 1, "signed_at": NOW},
        "draft": {"revision": 3, "saved_at": NOW},
    }


def pathology(**change: Any) -> dict[str, Any]:
    figures = dict.fromkeys(("right", "sensitivity", "specificity"), "80% (60% to 92%), 20 of 25")
    waiting = {"id": "c1", "reference": "A1B2-C3D4", "site": "back", "signed_at": NOW}
    return {
        "awaited": [waiting | {"since": timedelta(days=9)}],
        "proven": 25,
        "judges": [{"name": "Computer", **figures}],
        "groups": [{"name": "Melanoma", "n": 3, "right": "too few cases (2 of 3)"}],
        "fewest": 20,
    } | change


def add_pathology(**values: str) -> dict[str, Any]:
    kind = desk_forms.PathologyForm
    return {
        "case": case("signed"),
        "form": filled(kind, **values) if values else kind(formdata=None),
        "morphologies": [("8720/3", "Malignant melanoma")],
    }


def codes(**change: Any) -> dict[str, Any]:
    return {
        "text": "mole back",
        "groups": [("nv", "Melanocytic nevus")],
        "found": [("D22.5", "Melanocytic nevi of trunk")],
        "cut_off": True,
    } | change


def sign_review(grade: float) -> dict[str, Any]:
    return {
        "case": case("awaiting_review"),
        "form": filled(desk_forms.DecisionForm, diagnosis="nv", patient_text="It is harmless."),
        "action": "/review/c1/sign",
        "changes": None,
        "decision": DECISION,
        "result": RESULT | {"plan": "urgent_clinic"},
        "colleagues": colleagues(),
        "gp_letter": "Dear colleague.",
        "reading_grade": grade,
    }


def consented(*, care: bool = True) -> dict[str, Any]:
    decision = SimpleNamespace(
        permitted=True, recorded_at=EARLIER, valid_until=NOW, text_version="2026-11"
    )
    purpose = {"permitted": True, "until": NOW, "history": [decision, decision]}
    labels = ("Care by this clinic", "Research")
    consents = {
        "purposes": [{"label": label} | purpose for label in labels],
        "consent_form": forms.ConsentForm(formdata=None),
        "care_permitted": care,
    }
    return account(consents=consents, language_form=LanguageForm(formdata=None))


ERASURE = SimpleNamespace(
    id="e1", state="open", requested_at=EARLIER, due_at=NOW, refusal=None, certificate=None
)
ASKED = {"origin": "", "path": "/erasure/token"}
SUMMARY = PatientSummary("p" * 32, "DQ-7K4M2XQP", 2, 1, EARLIER)


def erasure(**change: Any) -> dict[str, Any]:
    return {
        "form": ErasureForm(formdata=None),
        "wish": None,
        "refusal": None,
        "patient": SUMMARY,
        "at_once": False,
        "law_applies": True,
        "kept_until": NOW,
    } | change


def erasure_answer(**change: Any) -> dict[str, Any]:
    shown = {"wish": ERASURE, "refusal": None, "certificate": None}
    return shown | {"public_key": "AAAA", "token": "token"} | change


CERTIFICATE = ErasureCertificate(
    number="e1",
    patient_id="p" * 32,
    clinic_id="c" * 32,
    requested_at=EARLIER,
    erased_at=NOW,
    backups_until=NOW,
    cases=2,
    reports=1,
    keys=1,
    pictures=5,
)


def granted() -> SimpleNamespace:
    return SimpleNamespace(**vars(ERASURE) | {"state": "granted"})


def erasure_desk(**change: Any) -> dict[str, Any]:
    wish = {"id": "e1", "granted": False, "late": True, "requested_at": EARLIER, "due_at": NOW}
    wish |= {"patient": SUMMARY, "kept_until": NOW}
    cut_off = wish | {"id": "e2", "granted": True, "patient": None, "kept_until": None}
    rows = [wish, cut_off]
    return {"rows": rows, "form": RefusalForm(formdata=None), "open_form_of": None} | change


Sample = tuple[str, Any, Callable[[], dict[str, Any]]]


# The name of a state is the template's name, or begins with it and a plus sign.
def error(code: int) -> dict[str, Any]:
    return {"code": code, "title": WORDS[code].title, "detail": WORDS[code].what_to_do}


SAMPLES: dict[str, tuple[Any, Callable[[], dict[str, Any]]]] = {
    "home": (None, dict),
    "home+patient": (PATIENT, dict),
    "home+reader": (READER, dict),
    "home+administrator": (ADMINISTRATOR, dict),
    "home+auditor": (AUDITOR, dict),
    "register+clinics": (None, lambda: {"form": register_somewhere(), "proved_email": None}),
    "register": (
        None,
        lambda: {"form": forms.RegisterForm(formdata=None), "proved_email": None},
    ),
    "register+errors": (
        None,
        lambda: {"form": filled(forms.RegisterForm, email="x"), "proved_email": None},
    ),
    "register+proved": (
        None,
        lambda: {"form": forms.PatientForm(formdata=None), "proved_email": "ada@example.com"},
    ),
    "register_address": (None, lambda: {"form": account_forms.EmailForm(formdata=None)}),
    "check_mail": (None, lambda: {"words": RESET_MAILED}),
    "check_mail+registration": (None, lambda: {"words": LINK_MAILED}),
    "check_mail+email": (None, lambda: {"words": CONFIRM_MAILED}),
    "sign_in": (
        None,
        lambda: {"form": forms.SignInForm(formdata=None), "next_url": "", "passkeys": True},
    ),
    "sign_in+errors": (
        None,
        lambda: {"form": filled(forms.SignInForm), "next_url": "/cases", "passkeys": False},
    ),
    "forgotten_password": (
        None,
        lambda: {"form": account_forms.EmailForm(formdata=None), "by_mail": True},
    ),
    "forgotten_password+no_mail": (
        None,
        lambda: {"form": account_forms.EmailForm(formdata=None), "by_mail": False},
    ),
    "reset_password": (
        None,
        lambda: {"form": account_forms.NewPasswordForm(formdata=None), "token": "t"},
    ),
    "change_password": (PATIENT, lambda: {"form": filled(account_forms.ChangePasswordForm)}),
    "change_email": (
        PATIENT,
        lambda: {"form": account_forms.NewEmailForm(formdata=None), "by_mail": True},
    ),
    "change_email+no_mail": (
        PATIENT,
        lambda: {"form": account_forms.NewEmailForm(formdata=None), "by_mail": False},
    ),
    "confirm_email": (None, lambda: {"form": forms.PortalForm(formdata=None), "token": "t"}),
    "second_factor": (PATIENT, lambda: proof(forms.SecondFactorForm(formdata=None))),
    "recovery_code": (PATIENT, lambda: {"form": filled(account_forms.RecoveryCodeForm)}),
    "recovery_codes": (
        PATIENT,
        lambda: {"codes": ["7KQ2-9XMP-RT4W-HB3Z-2VNC-8YLD"] * 10, "home_url": "/cases"},
    ),
    "new_passkey": (PATIENT, lambda: {"form": filled(account_forms.NewPasskeyForm)}),
    "people": (ADMINISTRATOR, people),
    "people+nobody_invited": (ADMINISTRATOR, lambda: people(invitations=[])),
    "person": (ADMINISTRATOR, one_person),
    "person+patient": (
        ADMINISTRATOR,
        lambda: one_person(is_patient=True, person=person(disabled=True)),
    ),
    "person+oneself": (ADMINISTRATOR, lambda: one_person(person=person(me=True))),
    "invitation": (
        ADMINISTRATOR,
        lambda: {"link": "https://derm.example/join/x", "role": "Administrator"},
    ),
    "join": (
        None,
        lambda: {
            "form": filled(account_forms.JoinForm),
            "token": "t",
            "role": "Dermatologist",
            "clinic_name": "Harbour Skin Clinic",
        },
    ),
    "new_code_app": (
        READER,
        lambda: {
            "form": filled(forms.SecondFactorForm, code="1"),
            "secret": "JBSW Y3DP EHPK 3PXP",
            "otpauth_uri": "otpauth://totp/DermQueue:ada?secret=JBSWY3DPEHPK3PXP",
            "qr_svg": qr_svg("otpauth://totp/DermQueue:ada?secret=JBSWY3DPEHPK3PXP"),
            "passkeys": True,
        },
    ),
    "step_up": (
        READER,
        lambda: proof(forms.SecondFactorForm(formdata=None), next_url="/review/c1"),
    ),
    "step_up+password": (
        PATIENT,
        lambda: proof(
            account_forms.OwnPasswordForm(formdata=None),
            with_app=False,
            with_passkey=False,
            next_url="/account",
        ),
    ),
    "sign_in_link": (None, lambda: {"token": "t", "role": "patient", "expires_at": NOW}),
    "dashboard": (
        PATIENT,
        lambda: {
            "cases": [
                case("unreadable"),
                case("signed", site="back, middle"),
                case("awaiting_review", site="face, right", late=True),
                case("received", site="ear, left", messages=2),
            ]
        },
    ),
    "dashboard+empty": (PATIENT, lambda: {"cases": []}),
    "new_case": (PATIENT, new_case),
    "new_case+errors": (
        PATIENT,
        lambda: new_case(
            form=filled(forms.CaseForm, site="back"),
            photo_errors={"close_up": "Choose a close-up photo."},
            ai_permitted=False,
            is_minor=True,
        ),
    ),
    "stop_card": (PATIENT, lambda: {"rules": (EMERGENCY, INTIMATE_AREA)}),
    "stop_card+in_person": (
        PATIENT,
        lambda: {"rules": (TOO_MANY_SPOTS, NO_PHOTO_POSSIBLE, NO_RESPONSIBLE_ADULT)},
    ),
    "case_status": (PATIENT, lambda: status("awaiting_review")),
    "case_status+received": (PATIENT, lambda: status("received", photos=[])),
    "case_status+late": (
        PATIENT,
        lambda: status("awaiting_review", case=case("received", late=True)),
    ),
    "case_status+retake": (PATIENT, retake),
    "case_status+signed": (PATIENT, lambda: status("signed", result=RESULT)),
    "case_status+changed": (PATIENT, lambda: status("signed", result=RESULT | CHANGED_RESULT)),
    "case_status+visit": (
        PATIENT,
        lambda: status(
            "signed", result=RESULT | {"plan": "biopsy", "ai_used": False, "version": 2}
        ),
    ),
    "my_record_access": (
        PATIENT,
        lambda: {
            "entries": [
                AccessLine(NOW, READER.name, "skin doctor", "saw your photos", "care", True, 2),
                AccessLine(NOW, "You", "patient", "sent a case", "care", True),
            ],
            "next_cursor": "9",
        },
    ),
    "my_record_access+empty": (PATIENT, lambda: {"entries": [], "next_cursor": None}),
    "account": (READER, account),
    "account+patient": (PATIENT, consented),
    "account+no_factor": (
        PATIENT,
        lambda: account(
            signing_in=signing_in(code_app=False, passkeys=[], passkeys_possible=False)
        ),
    ),
    "account+last_factor": (
        READER,
        lambda: account(signing_in=signing_in(passkeys=[], factor_required=True)),
    ),
    "account+care_stopped": (PATIENT, lambda: consented(care=False)),
    "my_record": (PATIENT, dict),
    "download_record": (PATIENT, dict),
    "my_erasure": (PATIENT, erasure),
    "my_erasure+at_once": (PATIENT, lambda: erasure(at_once=True, law_applies=False)),
    "my_erasure+asked": (PATIENT, lambda: erasure(wish=ERASURE)),
    "my_erasure+refused": (PATIENT, lambda: erasure(wish=ERASURE, refusal="It is the law.")),
    "my_erasure+granted": (PATIENT, lambda: erasure(wish=granted())),
    "erasure_asked": (PATIENT, lambda: ASKED | {"done": False}),
    "erasure_asked+done": (None, lambda: ASKED | {"done": True}),
    "erasure_answer": (None, erasure_answer),
    "erasure_answer+refused": (None, lambda: erasure_answer(refusal="It is the law.")),
    "erasure_answer+done": (None, lambda: erasure_answer(certificate=CERTIFICATE)),
    "erasure_desk": (ADMINISTRATOR, erasure_desk),
    "erasure_desk+empty": (ADMINISTRATOR, lambda: erasure_desk(rows=[])),
    "review_queue": (READER, queue),
    "review_queue+waiting": (READER, lambda: queue(active="waiting", site="back")),
    "service_times": (ADMINISTRATOR, service_times),
    "service_times+errors": (ADMINISTRATOR, wrong_limits),
    "service_times+nobody": (ADMINISTRATOR, lambda: service_times(holidays=[], told=[])),
    "review_queue+empty": (READER, lambda: queue(rows=[], untold=[], next_cursor=None)),
    "review_case": (READER, review),
    "review_case+computer": (
        READER,
        lambda: review(first_read=FIRST_READ, computer=COMPUTER, **EXPLAINED),
    ),
    "review_case+errors": (
        READER,
        lambda: review(
            first_read=FIRST_READ,
            computer=COMPUTER,
            decision_form=filled(desk_forms.DecisionForm, diagnosis="other", agreement="override"),
        ),
    ),
    "review_case+unavailable": (
        READER,
        lambda: review(
            case=case("awaiting_review", ai_state="unavailable", left=timedelta(hours=-3)),
            first_read=FIRST_READ,
        ),
    ),
    "review_case+unclaimed": (
        READER,
        lambda: review(owner=None, case=case("awaiting_review", ai_state="pending", urgency=None)),
    ),
    "review_case+waiting": (READER, lambda: review(owner=None, case=case("unreadable"))),
    "review_case+colleague": (
        READER,
        lambda: review(
            owner={"name": "Dr. Amin Sato", "mine": False, "until": NOW, "left": 0},
            passed_on=PASSED_ON,
            case=case("awaiting_review", ai_state="not_permitted"),
        ),
    ),
    "sign_review": (READER, lambda: sign_review(4.8)),
    "sign_review+hard_to_read": (READER, lambda: sign_review(9.3)),
    "sign_review+change": (READER, lambda: sign_review(4.8) | {"changes": CHANGED}),
    "signed_case": (READER, signed),
    "reading": (READER, lambda: reading(own=True)),
    "reading+clinic": (ADMINISTRATOR, reading),
    "reading+none": (READER, lambda: reading(own=True, n=0, sections=[])),
    "signed_case+changed": (READER, changed_twice),
    "signed_case+earlier": (READER, lambda: changed_twice() | {"newest": 4}),
    "review_case+draft": (
        READER,
        lambda: review(first_read=FIRST_READ, draft={"revision": 2, "saved_at": NOW}),
    ),
    "change_report": (READER, changing),
    "change_report+errors": (READER, lambda: changing(diagnosis="other")),
    "addendum": (READER, lambda: changing(desk_forms.AddendumForm)),
    "addendum+errors": (READER, lambda: changing(desk_forms.AddendumForm, patient_text=" ")),
    "pathology": (READER, pathology),
    "pathology+empty": (READER, lambda: pathology(awaited=[], proven=0, judges=[], groups=[])),
    "add_pathology": (READER, add_pathology),
    "add_pathology+errors": (READER, lambda: add_pathology(morphology="x")),
    "codes": (READER, codes),
    "codes+none": (READER, lambda: codes(found=[], cut_off=False)),
    "signed_case+consensus": (
        READER,
        lambda: signed() | {"colleagues": colleagues_at_work(consensus=DIFFERS)},
    ),
    "review_case+colleagues": (
        READER,
        lambda: review(first_read=FIRST_READ, computer=COMPUTER, colleagues=colleagues_at_work()),
    ),
    "second_opinion": (READER, ask_second_opinion),
    "second_opinion+errors": (READER, lambda: ask_second_opinion(colleague="any")),
    "second_reads": (
        READER,
        lambda: {
            "mine": [second_opinion_row(left=timedelta(hours=-2))],
            "pool": [second_opinion_row(id="r2", asked_by="", holds=False)],
            "asked": [second_opinion_row(id="r3", state="answered", open=False)],
        },
    ),
    "second_reads+empty": (READER, lambda: {"mine": [], "pool": [], "asked": []}),
    "second_read": (READER, second_reading),
    "second_read+offered": (READER, lambda: second_read("offered")),
    "second_read+errors": (
        READER,
        lambda: second_reading(form=filled(colleague_forms.SecondReadForm, third="nv")),
    ),
    "second_read+answered": (READER, answered_second_read),
    "second_read+closed": (READER, lambda: second_read("closed", own=OPINION)),
    "not_stored": (READER, lambda: {"what": "It is closed.", "text": "What I wrote."}),
    "write_note": (
        READER,
        lambda: {
            "case": {"id": "c1", "reference": "K4M-7QP"},
            "form": filled(colleague_forms.NoteForm, note=""),
        },
    ),
    "case_messages": (
        READER,
        lambda: messages_of(colleague_forms.ReplyForm(formdata=None)),
    ),
    "case_messages+closed": (
        READER,
        lambda: messages_of(
            filled(colleague_forms.ReplyForm, message="Too late."), closed=True, messages=[]
        ),
    ),
    "message_inbox": (
        READER,
        lambda: {
            "rows": [
                inbox_row(),
                inbox_row(id="c2", mine=False, reader="", can_take=True),
                inbox_row(id="c3", mine=False, reader="Dr. Amin Sato"),
            ]
        },
    ),
    "message_inbox+empty": (READER, lambda: {"rows": []}),
    "signed_list": (
        READER,
        lambda: signed_list(
            signed_row(),
            signed_row(id="c2", keeper="", mine=False, version=3, told=False),
            signed_row(id="c3", keeper="Dr. Amin Sato", mine=False),
            keeper="anybody",
            next_cursor="bmV4dA==",
        ),
    ),
    "signed_list+empty": (READER, signed_list),
    "signed_list+kept": (READER, lambda: signed_list(keeper="nobody")),
    "signed_list+not_found": (READER, lambda: signed_list(wanted="3F2A-91C0")),
    "signed_case+handed_over": (
        READER,
        lambda: signed(
            passed_on={
                "from": "Dr. Amin Sato",
                "to": READER.name,
                "reason": "End of my shift",
                "at": NOW,
            }
        ),
    ),
    "my_messages": (
        PATIENT,
        lambda: messages_of(colleague_forms.MessageForm(formdata=None)),
    ),
    "my_messages+empty": (
        PATIENT,
        lambda: messages_of(filled(colleague_forms.MessageForm), messages=[], closes_at=None),
    ),
    "my_messages+closed": (
        PATIENT,
        lambda: messages_of(filled(colleague_forms.MessageForm, message="Hello?"), closed=True),
    ),
    "my_messages+full": (
        PATIENT,
        lambda: messages_of(colleague_forms.MessageForm(formdata=None), full=True),
    ),
    "double_reads": (ADMINISTRATOR, double_reads),
    "double_reads+agreement": (
        ADMINISTRATOR,
        lambda: double_reads(
            form=filled(colleague_forms.RuleForm, benign_percent="x"),
            agreement={"pairs": 61, "fewest": 20, "kappa": 0.71, "low": 0.6, "high": 0.82},
        ),
    ),
    "operations": (ADMINISTRATOR, operations),
    "operations+auditor": (AUDITOR, lambda: operations(dead_cases=None, escalated=None)),
    "operations+trouble": (
        ADMINISTRATOR,
        lambda: operations(live=live_part(snapshot(**TROUBLE)), drift=drift(Level.ALARM)),
    ),
    "operations+new": (
        ADMINISTRATOR,
        lambda: operations(
            live=live_part(snapshot(**EMPTY)),
            dead_cases=[],
            escalated=[],
            care_withdrawn=[],
            drift=None,
        ),
    ),
    "operations+collecting": (ADMINISTRATOR, lambda: operations(drift=drift(Level.COLLECTING))),
    "audit_search": (AUDITOR, audit_search),
    "audit_search+empty": (AUDITOR, lambda: audit_search() | {"entries": []}),
    "audit_search+broken": (AUDITOR, lambda: audit_search() | {"audit": BROKEN_AUDIT}),
    "help": (None, dict),
    "privacy": (None, lambda: {"fingerprint": "0123456789abcdef" * 4}),
    "ai_label": (None, lambda: {"card": CARD}),
    "ai_label+none": (None, lambda: {"card": None}),
    "error": (None, lambda: error(404)),
} | {f"error+{code}": (PATIENT, lambda code=code: error(code)) for code in WORDS}


@cache
def make_app() -> Flask:
    app = Flask(
        __name__, template_folder=str(PORTAL / "templates"), static_folder=str(PORTAL / "static")
    )
    app.config.update(SECRET_KEY="x" * 32)
    # A variable that a view forgot must be an error and never an empty place on a page.
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.filters["local"] = lambda moment: moment
    app.jinja_env.globals["csp_nonce"] = lambda: "nonce-of-this-page"
    init_script_bundle(app, b"r" * 32)
    CSRFProtect(app)
    portal = Blueprint("portal", __name__)
    for name, rule in ENDPOINTS.items():
        portal.add_url_rule(rule, name, lambda **_: "", methods=["GET", "POST"])
    app.register_blueprint(portal)
    clinic = {"name": "Harbour Skin Clinic", "phone": "01632 960 983", "known": True}
    app.context_processor(lambda: {"clinic": clinic, "asset_version": "1"})
    return app


@cache
def render(state: str) -> str:
    viewer, context = SAMPLES[state]
    with make_app().test_request_context("/"):
        return render_template(f"{state.partition('+')[0]}.html", viewer=viewer, **context())


class Page(HTMLParser):
    """The elements of a page as (tag, attributes), and its text as a reader hears it."""

    def __init__(self, state: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.blocks: list[str] = [""]
        self.main_blocks: list[str] = [""]
        self._in_main = False
        self.feed(render(state))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._in_main = self._in_main or tag == "main"
        if tag not in {"a", "b", "span", "strong", "time", "code", "i", "abbr"}:
            self._new_block()

    def handle_endtag(self, tag: str) -> None:
        if tag == "main":
            self._in_main = False
        if tag not in {"a", "b", "span", "strong", "time", "code", "i", "abbr"}:
            self._new_block()

    def handle_data(self, data: str) -> None:
        self.blocks[-1] += data
        if self._in_main:
            self.main_blocks[-1] += data

    def _new_block(self) -> None:
        self.blocks.append("")
        self.main_blocks.append("")

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]

    def sentences(self) -> list[str]:
        texts = (" ".join(block.split()) for block in self.main_blocks)
        return [part for text in texts for part in re.split(r"(?<=[.?!]) ", text) if part]


PARTS = {"_patient_result", "_operations_live", "_consents", "_decision", "_retake", "_attachments"}
every_state = pytest.mark.parametrize("state", list(SAMPLES))


def test_every_template_is_rendered_in_at_least_one_state() -> None:
    pages = {path.stem for path in (PORTAL / "templates").glob("*.html")}

    parts = {name for name in pages if name.startswith("_")}
    assert pages - parts - {"layout"} == {state.partition("+")[0] for state in SAMPLES}


def test_every_page_says_which_variables_it_needs() -> None:
    for path in (PORTAL / "templates").rglob("*.html"):
        assert path.read_text().startswith("{#-"), path.name


@every_state
def test_nothing_is_inline_so_that_the_strict_policy_holds(state: str) -> None:
    page = Page(state)

    assert not page.all("style", "object", "iframe", "base")
    import_maps = [one for one in page.all("script") if one["type"] == "importmap"]
    assert [one["nonce"] for one in import_maps] in ([], ["nonce-of-this-page"])
    for attributes in page.all("script"):
        if attributes not in import_maps:
            assert attributes["type"] == "module"
            assert attributes["src"].startswith("/static/js/")
            assert attributes["integrity"].startswith("sha256-")
            assert import_maps
    for tag, attributes in page.elements:
        assert "style" not in attributes, tag
        assert not [name for name in attributes if name.startswith("on")], tag


@every_state
def test_no_page_calls_another_server(state: str) -> None:
    addresses = [
        value
        for _, attributes in Page(state).elements
        for name, value in attributes.items()
        if name in {"href", "src", "action", "srcset", "poster", "data-grant-url"}
    ]

    for address in addresses:
        assert address.startswith(("/", "#", "otpauth:")), address
        assert not address.startswith("//"), address


def test_no_style_sheet_and_no_picture_calls_another_server() -> None:
    for path in (PORTAL / "static").rglob("*"):
        if path.suffix in {".css", ".svg"}:
            text = path.read_text().replace("http://www.w3.org/2000/svg", "")
            assert not re.search(r"https?://|url\(\s*['\"]?//|@import", text), path.name


def test_the_vendored_files_are_the_ones_that_were_checked() -> None:
    folder = PORTAL / "static" / "vendor" / "nhsuk"
    sums = dict(
        reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines()
    )

    assert {f"./{path.relative_to(folder)}" for path in folder.rglob("*.*")} == set(sums)
    for name, digest in sums.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name


def test_the_vendored_style_sheet_carries_no_foreign_identity() -> None:
    css = (PORTAL / "static" / "vendor" / "nhsuk" / "nhsuk.css").read_text().lower()

    assert "frutiger" not in css
    assert "@font-face" not in css
    for picture in re.findall(r'url\("?([^")]+)"?\)', css):
        assert (PORTAL / picture.removeprefix("/")).exists(), picture


@every_state
def test_every_page_says_that_it_is_no_medical_device(state: str) -> None:
    assert NOTICE in " ".join(" ".join(Page(state).blocks).split())


@every_state
def test_a_title_tells_nothing_clinical(state: str) -> None:
    title = re.search(r"<title>(.*?)</title>", render(state), re.DOTALL).group(1).lower()

    page, _, product = title.rpartition(" \N{EN DASH} ")
    assert page
    assert product == "dermqueue"
    words = "melanoma|cancer|nevus|naevus|lesion|mole|biops|urgent|benign|diagnos|skin|leg|result"
    assert not re.search(words, page)


@every_state
def test_every_input_has_a_name_for_screen_readers(state: str) -> None:
    page = Page(state)
    labelled = {attributes.get("for") for attributes in page.all("label")}

    for attributes in page.all("input", "select", "textarea"):
        if attributes.get("type") != "hidden":
            assert attributes.get("id") in labelled or attributes.get("aria-label"), attributes


@every_state
def test_every_reference_inside_a_page_meets_its_target_once(state: str) -> None:
    page = Page(state)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    targets = [
        target
        for _, attributes in page.elements
        for name in ("for", "aria-describedby", "aria-labelledby", "list")
        for target in (attributes.get(name) or "").split()
    ]
    anchors = [a["href"][1:] for a in page.all("a") if a["href"].startswith("#")]

    assert len(ids) == len(set(ids))
    assert set(targets + anchors) <= set(ids)


@every_state
def test_a_page_has_one_main_heading_and_skips_no_level(state: str) -> None:
    levels = [int(tag[1]) for tag, _ in Page(state).elements if re.fullmatch(r"h[1-6]", tag)]

    assert levels.count(1) == 1
    for before, after in pairwise(levels):
        assert after <= before + 1


@every_state
def test_every_form_that_changes_something_carries_a_token(state: str) -> None:
    html = render(state)

    for form in re.findall(r"<form\b.*?</form>", html, re.DOTALL):
        if 'method="post"' in form:
            assert form.count('name="csrf_token"') == 1


def test_a_wrong_form_lists_its_errors_with_links_to_the_fields() -> None:
    html = render("register+errors")

    assert 'href="#email">Enter an email address' in html
    assert 'href="#birth_date-day">Enter your date of birth.' in html
    assert 'href="#consent_ai-0">Choose yes or no.' in html
    assert "<title>Error: Register" in html


def test_a_missing_photo_is_listed_among_the_errors() -> None:
    assert 'href="#photo_close_up">Choose a close-up photo.' in render("new_case+errors")


def test_the_form_for_a_case_works_without_javascript() -> None:
    html = render("new_case")
    form = next(f for f in Page("new_case").all("form") if "data-case-form" in f)

    assert form["method"] == "post"
    assert form["enctype"] == "multipart/form-data"
    assert json.loads(form["data-epoch"]) == json.loads(SEALING["epoch_json"])
    assert '<input type="hidden" name="submission_id" value="01hq7x">' in html
    inputs = {a["name"]: a for a in Page("new_case").all("input") if a.get("type") == "file"}
    assert {name: a["data-slot"] for name, a in inputs.items()} == {
        "photo_close_up": "1",
        "photo_overview": "0",
        "photo_dermoscopic": "2",
    }
    assert "required" in inputs["photo_close_up"]


def test_a_guardian_is_asked_for_only_where_the_patient_is_a_child() -> None:
    assert "Name of the parent" not in render("new_case")
    assert "Name of the parent" in render("new_case+errors")


def test_intimate_areas_are_refused_in_words_before_the_camera() -> None:
    html = render("new_case")

    assert html.index("No photos of private parts.") < html.index('type="file"')


@pytest.mark.parametrize("state", [s for s in SAMPLES if s.startswith(("dash", "case_status"))])
def test_a_patient_never_sees_what_the_computer_found_or_the_urgency(state: str) -> None:
    text = " ".join(Page(state).main_blocks).lower()

    for word in ("melanoma", "58 in 100", "suspicious", "probability", "7-point"):
        assert word not in text


def test_before_the_signature_a_patient_sees_status_date_and_safety_net() -> None:
    text = " ".join(" ".join(Page("case_status").main_blocks).split())

    assert "You should hear from us by Wednesday 25 November 2026" in text
    assert "01632 960 983" in text
    assert "Your result" not in text


def test_a_signed_result_comes_in_the_order_that_helps() -> None:
    html = render("case_status+signed")
    order = ["The doctor thinks this is harmless", "What the doctor says", "What to do now"]
    order += ["When to get help", "We only looked at the spots you sent", "GMC 7012345"]

    places = [html.index(words) for words in order]
    assert places == sorted(places)


def test_a_visit_is_announced_without_frightening() -> None:
    assert "This does not mean you have cancer." in render("case_status+visit")
    assert "No computer took part in this decision." in render("case_status+visit")


@pytest.mark.parametrize("plan", [plan for plan, _ in desk_forms.PLANS])
def test_every_plan_has_words_for_the_patient(plan: str) -> None:
    with make_app().test_request_context("/"):
        html = render_template("_patient_result.html", result=RESULT | {"plan": plan})

    assert "dq-result__headline" in html


def test_a_doctors_text_is_never_taken_for_markup() -> None:
    with make_app().test_request_context("/"):
        html = render_template(
            "_patient_result.html", result=RESULT | {"text": "<script>alert(1)</script>"}
        )

    assert "<script>" not in html
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize("state", ["review_case", "review_case+unclaimed", "review_case+colleague"])
def test_the_computers_view_is_not_on_the_page_before_the_first_read(state: str) -> None:
    html = render(state)

    assert "Computer's view</h2>" not in html
    assert "in 100" not in html
    assert "dq-bar__" not in html
    assert "data-layers" not in html
    assert "data-opacity" not in html


def test_after_the_first_read_probabilities_stand_as_words_and_numbers() -> None:
    text = " ".join(" ".join(Page("review_case+computer").main_blocks).split())

    assert "more likely than not, about 58 in 100" in text
    assert "very unlikely, about 1 in 100" in text
    assert ", fewer than 1 in 100" in text
    assert " 0 in 100" not in text


def test_a_reader_who_does_not_hold_the_case_gets_no_form_and_no_photo() -> None:
    html = render("review_case+colleague")

    assert "data-desk-viewer" not in html
    assert "Your first read</h2>" not in html
    assert "You can look; you cannot change it." in html


def test_an_unavailable_computer_is_named_and_nothing_is_invented() -> None:
    html = render("review_case+unavailable")

    assert "AI unavailable" in html
    assert "3 h overdue" in html
    assert "dq-bar__" not in html
    assert "Your decision" in html


def test_the_desks_viewer_offers_buttons_beside_drag_and_an_off_switch() -> None:
    html = render("review_case+computer")

    for action in ("zoom-in", "zoom-out", "fit", "left", "right", "up", "down", "turn", "reset"):
        assert f'data-do="{action}"' in html
    assert "<noscript>" in html
    assert html.count("data-layers") == 1
    assert 'value="" data-layer-choice> Off' in html
    assert 'value="m1" data-layer-choice checked> Melanoma' in html
    assert 'value="m2" data-layer-choice> Melanocytic nevus' in html


def test_an_earlier_visit_names_its_own_grant_and_its_date() -> None:
    (template,) = Page("review_case").all("template")

    assert template["data-grant-url"] == "/cases/c0/grants"
    assert "Earlier visits" in render("review_case")
    assert "Earlier visits" not in render("review_case+computer")


def test_the_preview_carries_the_whole_decision_on() -> None:
    html = render("sign_review")

    assert '<input type="hidden" name="diagnosis" value="nv">' in html
    assert '<input type="hidden" name="patient_text" value="It is harmless.">' in html


def test_a_hard_text_is_pointed_out_before_it_is_signed() -> None:
    assert "Try shorter words" in render("sign_review+hard_to_read")
    assert "Try shorter words" not in render("sign_review")


def test_operations_show_no_picture_of_anybody() -> None:
    assert not Page("operations").all("canvas", "figure")
    assert "data-sealed-viewer" not in render("operations")


@pytest.mark.parametrize("viewer", [PATIENT, READER, ADMINISTRATOR])
def test_each_role_has_its_own_navigation_and_can_sign_out(viewer: Any) -> None:
    with make_app().test_request_context("/cases"):
        html = render_template("home.html", viewer=viewer)

    own = {"patient": "/cases", "dermatologist": "/review", "administrator": "/operations"}
    header = html[: html.index("</header>")]
    assert f'href="{own.pop(viewer.role)}"' in header
    assert 'action="/sign-out"' in header
    for foreign in own.values():
        assert f'href="{foreign}"' not in header


def test_messages_of_the_last_request_are_shown() -> None:
    with make_app().test_request_context("/"):
        flash("Your case was received.", "success")
        html = render_template("home.html", viewer=None)

    assert "Your case was received." in html


FOR_PATIENTS = ("home", "register", "sign_in", "second_factor", "dashboard", "new_case")
FOR_PATIENTS += ("stop_card", "case_status", "my_record_access", "account", "help", "error")
FOR_PATIENTS += ("new_code_app", "new_passkey", "recovery_code", "recovery_codes", "step_up")
FOR_PATIENTS += ("change_password", "forgotten_password", "reset_password", "check_mail")
FOR_PATIENTS += ("change_email", "confirm_email", "register_address")
FOR_PATIENTS += ("my_record", "download_record", "my_erasure", "erasure_asked")
FOR_PATIENTS += ("erasure_answer", "my_messages")
# The wording on encryption is fixed by the security design and names its ends exactly.
FIXED_WORDING = ("Photos are encrypted from your browser", "If your browser has no JavaScript")


@pytest.mark.parametrize(
    "state", [s for s in SAMPLES if s.partition("+")[0] in FOR_PATIENTS] + ["privacy"]
)
def test_what_patients_read_keeps_to_grade_six(state: str) -> None:
    sentences = [s for s in Page(state).sentences() if not s.startswith(FIXED_WORDING)]
    prose = [s for s in sentences if s.endswith((".", "?", "!")) and len(s.split()) > 2]

    assert reading_grade(" ".join(prose)) <= LIMIT
    assert not [s for s in prose if len(s.split()) > 22]


def test_every_label_hint_and_error_for_patients_keeps_to_grade_six() -> None:
    kinds = (forms.RegisterForm, forms.CaseForm, forms.SignInForm, forms.ConsentForm)
    kinds += (account_forms.NewPasskeyForm, account_forms.RecoveryCodeForm)
    kinds += (account_forms.ChangePasswordForm, account_forms.NewEmailForm)
    kinds += (colleague_forms.MessageForm,)
    with make_app().test_request_context("/"):
        fields = [field for kind in kinds for field in kind(formdata=None)]
        errors = [
            text for kind in kinds for texts in filled(kind).errors.values() for text in texts
        ]
    texts = (
        [field.label.text for field in fields] + [field.description for field in fields] + errors
    )
    sentences = [f"{text.rstrip('.?')}." for text in texts if len(text.split()) > 2]

    assert len(sentences) > 60
    assert reading_grade(" ".join(sentences)) <= LIMIT
