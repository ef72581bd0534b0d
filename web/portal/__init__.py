"""The portal for people: patients, dermatologists and administrators."""

from web.portal import (
    account,
    login,
    my_cases,
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
    "login",
    "my_cases",
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
