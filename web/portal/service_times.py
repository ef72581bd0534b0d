"""For administrators: the clinic's limits, its closed days, and who is told of a breach."""

from datetime import date

from flask import flash, redirect, url_for
from werkzeug.wrappers import Response as AnyResponse
from wtforms import DateField, IntegerField, ValidationError
from wtforms.validators import InputRequired, NumberRange

from clinic.access import Permission, Role
from clinic.audit_event import AuditAction
from clinic.due_time import LONGEST_LIMIT, WORKING_DAYS, Clock
from clinic.records import service_clock
from clinic.records.db import database_now
from clinic.records.models import Account
from web.database import db
from web.guard import audit, me
from web.local_clinic import local
from web.permission import allowed
from web.portal.account_forms import ROLE_NAMES
from web.portal.blueprint import portal
from web.portal.forms import ManyField, PortalForm
from web.portal.login import page
from web.step_up import needs_step_up

DETAIL_LENGTH = 400


NO_LIMIT = f"Enter a whole number of working days from 1 to {LONGEST_LIMIT}."
NO_DAY = "Choose a real day, such as 2026-12-25."


class DaysField(IntegerField):  # type: ignore[misc] # WTForms carries no types
    def process_formdata(self, valuelist: list[str]) -> None:
        try:
            super().process_formdata(valuelist)
        except ValueError:
            raise ValueError(NO_LIMIT) from None


class DayField(DateField):  # type: ignore[misc]
    def process_formdata(self, valuelist: list[str]) -> None:
        try:
            super().process_formdata(valuelist)
        except ValueError:
            raise ValueError(NO_DAY) from None


def _days_field(label: str, hint: str) -> DaysField:
    return DaysField(
        label,
        [InputRequired(NO_LIMIT), NumberRange(1, LONGEST_LIMIT, NO_LIMIT)],
        description=hint,
        render_kw={"inputmode": "numeric", "autocomplete": "off"},
    )


class LimitsForm(PortalForm):
    """One field for each clock, under its name."""

    urgent = _days_field("Urgent case read", "From the arrival of the photos.")
    suspicious = _days_field("Suspicious case read", "From the arrival of the photos.")
    routine = _days_field("Routine case read", "This is the date that patients are promised.")
    retake = _days_field(
        "Poor photos asked for again", "From the arrival of photos that the check found poor."
    )
    told = _days_field("Patient told", "From the signature until they open the result.")


class ContactsForm(PortalForm):
    contacts = ManyField("Who is told", [], description="Name nobody: all administrators are told.")


class HolidayForm(PortalForm):
    day = DayField(
        "Day", [InputRequired(NO_DAY)], render_kw={"type": "date", "autocomplete": "off"}
    )

    def validate_day(self, field: DayField) -> None:
        if field.data is not None and field.data < _today():
            raise ValidationError("This day is over. Choose one that is still to come.")


def _today() -> date:
    return local(database_now(db.session())).date()


@portal.get("/service-times")
@allowed(Permission.SET_SERVICE_TIMES)
def service_times() -> AnyResponse:
    return _page()


def _page(**sent: PortalForm) -> AnyResponse:
    """The page; the form that was sent with faults stays as it was filled in."""
    clinic_id = me().actor.clinic_id
    times = service_clock.service_times(db.session(), clinic_id)
    days = {str(clock): days for clock, days in times.working_days.items()}
    named = service_clock.named_contacts(db.session(), clinic_id)
    forms = {
        "limits_form": LimitsForm(formdata=None, data=days),
        "contacts_form": _contacts_form(ContactsForm(formdata=None, data={"contacts": [*named]})),
        "holiday_form": HolidayForm(formdata=None),
        **sent,
    }
    audit(AuditAction.SERVICE_TIMES_READ)
    told = [_name(one) for one in service_clock.contacts(db.session(), clinic_id)]
    today = _today()
    response = page(
        "service_times.html",
        next(iter(sent.values()), forms["limits_form"]),
        **forms,
        holidays=[day for day in sorted(times.holidays) if day >= today],
        defaults=[(clock, WORKING_DAYS[clock]) for clock in Clock],
        told=told,
    )
    db.session.commit()
    return response


def _contacts_form(form: ContactsForm) -> ContactsForm:
    staff = service_clock.active_staff(db.session(), me().actor.clinic_id)
    form.contacts.choices = [(one.id, _name(one)) for one in staff]
    return form


def _name(account: Account) -> str:
    role = ROLE_NAMES[Role(account.role)]
    if account.family_name is None:
        return role
    return f"{account.given_name} {account.family_name}, {role.lower()}"


@portal.post("/service-times")
@allowed(Permission.SET_SERVICE_TIMES)
@needs_step_up(back="portal.service_times")
def change_limits() -> AnyResponse:
    form = LimitsForm()
    if not form.validate_on_submit():
        return _page(limits_form=form)
    days = {clock: form[clock].data for clock in Clock}
    service_clock.set_limits(db.session(), me().actor.clinic_id, days)
    detail = ", ".join(f"{clock} {count}" for clock, count in days.items())
    return _changed(detail, "The limits are changed. They count for cases that come from now on.")


@portal.post("/service-times/contacts")
@allowed(Permission.SET_SERVICE_TIMES)
@needs_step_up(back="portal.service_times")
def change_contacts() -> AnyResponse:
    form = _contacts_form(ContactsForm())
    if not form.validate_on_submit():
        return _page(contacts_form=form)
    chosen = sorted(form.contacts.data or [])
    service_clock.set_contacts(db.session(), me().actor.clinic_id, chosen)
    return _changed(f"told: {' '.join(chosen) or 'all administrators'}", "The list is changed.")


@portal.post("/service-times/holidays")
@allowed(Permission.SET_SERVICE_TIMES)
@needs_step_up(back="portal.service_times")
def add_holiday() -> AnyResponse:
    form = HolidayForm()
    if not form.validate_on_submit():
        return _page(holiday_form=form)
    service_clock.add_holiday(db.session(), me().actor.clinic_id, form.day.data)
    return _changed(f"closed on {form.day.data}", "The clinic is closed on this day.")


@portal.post("/service-times/holidays/remove")
@allowed(Permission.SET_SERVICE_TIMES)
@needs_step_up(back="portal.service_times")
def remove_holiday() -> AnyResponse:
    form = HolidayForm()
    if not form.validate_on_submit():
        return _page(holiday_form=form)
    service_clock.remove_holiday(db.session(), me().actor.clinic_id, form.day.data)
    return _changed(f"open on {form.day.data}", "The clinic is open on this day.")


def _changed(detail: str, words: str) -> AnyResponse:
    audit(AuditAction.SERVICE_TIMES_CHANGED, detail=detail[:DETAIL_LENGTH])
    db.session.commit()
    flash(words, "success")
    return redirect(url_for("portal.service_times"))
