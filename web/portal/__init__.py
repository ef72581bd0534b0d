"""The portal for people: patients, dermatologists and administrators."""

from web.portal import (
    account,
    email_address,
    factors,
    joining,
    login,
    my_cases,
    operations,
    pages,
    password,
    people,
    registration,
    review_case,
    review_queue,
    root_key,
    second_factor,
    upload,
    viewing,
)
from web.portal.blueprint import portal

__all__ = [
    "account",
    "email_address",
    "factors",
    "joining",
    "login",
    "my_cases",
    "operations",
    "pages",
    "password",
    "people",
    "portal",
    "registration",
    "review_case",
    "review_queue",
    "root_key",
    "second_factor",
    "upload",
    "viewing",
]
