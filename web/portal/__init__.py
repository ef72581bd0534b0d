"""The portal for people: patients, dermatologists and administrators."""

from web.portal import (
    account,
    audit_search,
    confirm_own,
    erasure_desk,
    login,
    my_cases,
    my_consents,
    my_erasure,
    my_record,
    operations,
    pages,
    registration,
    review_case,
    review_queue,
    root_key,
    upload,
    viewing,
)
from web.portal.blueprint import portal

__all__ = [
    "account",
    "audit_search",
    "confirm_own",
    "erasure_desk",
    "login",
    "my_cases",
    "my_consents",
    "my_erasure",
    "my_record",
    "operations",
    "pages",
    "portal",
    "registration",
    "review_case",
    "review_queue",
    "root_key",
    "upload",
    "viewing",
]
