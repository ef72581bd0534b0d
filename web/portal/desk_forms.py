"""The reader's forms: the decision, changes of a signed report, new photos, files and pathology."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar, Final, Self

from werkzeug.datastructures import MultiDict
from wtforms import BooleanField, DateField, HiddenField, SelectField, StringField, TextAreaField
from wtforms.validators import (
    DataRequired,
    InputRequired,
    Length,
    Optional,
    Regexp,
    ValidationError,
)

from clinic.attachment import AttachmentKind
from clinic.diagnosis_codes import code_problem, normal_code
from clinic.pathology import MORPHOLOGY_SHAPE, PathologySource, Specimen
from clinic.report_values import ReportStatus
from web.portal.forms import (
    CONFIDENCES,
    DIAGNOSIS_GROUPS,
    ChoiceField,
    ManyField,
    PortalForm,
    choices_of,
    stripped,
    text_area,
)

ICD10CM_SHAPE: Final = re.compile(r"^[A-Z][0-9][0-9A-Z](\.[0-9A-Z]{1,4})?$")
LONGEST_LETTER: Final = 4000
LONGEST_FOLLOW_UP: Final = timedelta(days=3 * 366)
# What an earlier report may hold as a plan; the last is signed no more, it asks a colleague.
PLANS: Final = (
    ("benign_advice", "Benign: advice and no follow-up"),
    ("gp_plan", "Treatment plan for the GP"),
    ("urgent_clinic", "Urgent appointment in the skin clinic"),
    ("biopsy", "Biopsy or excision"),
    ("in_person", "Examination in person"),
    ("second_opinion", "Second opinion"),
)
RETAKE: Final = "retake"
SECOND_OPINION: Final[str] = "second_opinion"
# Choices that decide nothing yet: they lead to the form that they name.
LEADS_ON: Final = frozenset({RETAKE, SECOND_OPINION})
MANAGEMENT: Final = (
    *(plan for plan in PLANS if plan[0] != SECOND_OPINION),
    (RETAKE, "Not yet: ask for new photos"),
    (SECOND_OPINION, "Not yet: ask for a second opinion"),
)
NEVER_BENIGN: Final = frozenset({"mel", "bcc"})
AGREEMENTS: Final = (
    ("agree", "I agree with the computer's view"),
    ("override", "I override the computer's view"),
    ("not_available", "There was no computer's view"),
)
OVERRIDE_REASONS: Final = (
    ("clinical_features", "Clinical features speak against it"),
    ("history", "The history speaks against it"),
    ("dermoscopy", "Dermoscopic structures speak against it"),
    ("image_quality", "The image quality misled it"),
    ("outside_scope", "The lesion is of a kind it does not know"),
    ("safety", "Caution: a higher level of suspicion is safer"),
    ("other", "Other, see the clinical note"),
)
IMAGE_QUALITIES: Final = (("good", "Good"), ("acceptable", "Acceptable"), ("poor", "Poor"))
RETAKE_REASONS: Final = (
    ("blur", "Not sharp"),
    ("too_dark", "Too dark"),
    ("too_bright", "Too bright"),
    ("glare", "Glare or flash spot"),
    ("too_far", "Taken from too far away"),
    ("not_centred", "Spot not in the middle"),
    ("no_scale", "No ruler or coin for size"),
    ("covered", "Covered by hair, make-up or a plaster"),
    ("other", "Other, see the message"),
)
CHANGES: Final = (
    (ReportStatus.AMENDED.value, "Amend: there is something new"),
    (ReportStatus.CORRECTED.value, "Correct: something was wrong"),
)
CHANGE_REASONS: Final = (
    ("pathology", "The result of a skin test came"),
    ("new_information", "New information from the patient or the GP"),
    ("second_read", "A colleague read the case too"),
    ("seen_in_person", "The patient was seen in person"),
    ("wrong_diagnosis", "The diagnosis was wrong"),
    ("wrong_plan", "The plan was wrong"),
    ("wrong_words", "The words were wrong or hard to understand"),
)
ADDENDUM: Final = "addendum"
ATTACHMENT_KINDS: Final = (
    (AttachmentKind.REFERRAL.value, "Referral"),
    (AttachmentKind.PATHOLOGY_REPORT.value, "Pathology report"),
    (AttachmentKind.CLINICAL_LETTER.value, "Clinical letter"),
    (AttachmentKind.LEAFLET.value, "Leaflet for the patient"),
    (AttachmentKind.OTHER.value, "Other file"),
)
SPECIMENS: Final = (
    (Specimen.EXCISION.value, "Excision"),
    (Specimen.PUNCH.value, "Punch biopsy"),
    (Specimen.SHAVE.value, "Shave biopsy"),
    (Specimen.CURETTAGE.value, "Curettage"),
    (Specimen.OTHER.value, "Other"),
)
SOURCES: Final = (
    (PathologySource.LABORATORY_REPORT.value, "Report of the laboratory"),
    (PathologySource.CLINIC_LETTER.value, "Letter of a clinic"),
    (PathologySource.CANCER_REGISTRY.value, "Cancer registry"),
    (PathologySource.OTHER.value, "Other"),
)


class DayField(DateField):  # type: ignore[misc] # WTForms carries no types
    """A day, as browsers send it from an input of type date."""

    def process_formdata(self, valuelist: list[str]) -> None:
        try:
            super().process_formdata(valuelist)
        except ValueError:
            raise ValueError("Enter a date, such as 2027-03-31.") from None


def _day(label: str, hint: str = "", *checks: Any) -> DayField:
    return DayField(label, [*checks], description=hint, render_kw={"type": "date"})


def _tidied(value: str | None) -> str | None:
    """A code in its one spelling; what is none stays as it was typed."""
    code = normal_code(value or "")
    return code if ICD10CM_SHAPE.match(code) else value


def _code(label: str, missing: str) -> StringField:
    return StringField(
        label,
        [
            DataRequired(missing),
            Regexp(ICD10CM_SHAPE, message="Enter a code such as D22.5 or C43.59."),
        ],
        description="Type a code or a name, such as D22.5 or mole back. Be exact about the site.",
        filters=[_tidied],
        render_kw={"spellcheck": "false", "autocomplete": "off", "list": "icd10-codes"},
    )


def _letter(label: str, missing: str, hint: str) -> TextAreaField:
    return TextAreaField(
        label,
        [
            DataRequired(missing) if missing else Optional(),
            Length(max=LONGEST_LETTER, message=f"Use {LONGEST_LETTER} characters or fewer."),
        ],
        description=hint,
        render_kw={"rows": 5, "maxlength": LONGEST_LETTER},
    )


def _check_code(form: PortalForm, field: StringField) -> None:
    problem = code_problem(field.data or "", diagnosis=form.diagnosis.data or "")
    if problem is not None and form.diagnosis.data:
        raise ValidationError(problem)


def _as_typed(field: Any) -> Any:
    if isinstance(field.data, date):
        return field.data.isoformat()
    typed = getattr(field, "raw_data", None)
    return typed[0] if typed else field.data or ""


class WrittenForm(PortalForm):
    """A form that is kept as a draft while somebody writes; `NAME` tells the drafts apart."""

    NAME: ClassVar[str]
    NOT_WRITTEN: ClassVar = frozenset({"csrf_token", "draft_revision", "version"})
    draft_revision = HiddenField()

    def written(self) -> dict[str, Any]:
        """What a draft keeps: every field as it was typed, right or wrong."""
        return {one.name: _as_typed(one) for one in self if one.name not in self.NOT_WRITTEN}

    @classmethod
    def from_written(cls, written: Mapping[str, Any]) -> Self:
        """The form with what a draft kept. Nothing is checked yet, and no token is asked for."""
        return cls(formdata=MultiDict(written), meta={"csrf": False})

    @property
    def known_revision(self) -> int | None:
        """The revision of the draft that this page was made from; None where it names none."""
        text = str(self.draft_revision.data or "")
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else None


class ReadingForm(WrittenForm):
    """What a report says: the parts that a first decision and a later change share."""

    diagnosis = ChoiceField("Diagnosis", DIAGNOSIS_GROUPS, missing="Choose a diagnosis.")
    diagnosis_text = StringField(
        "Diagnosis in words",
        [Length(max=200, message="Use 200 characters or fewer.")],
        description="Needed for another diagnosis.",
        filters=[stripped],
    )
    icd10_code = _code("ICD-10-CM code", "Enter the code of the diagnosis.")
    confidence = ChoiceField("Confidence", CONFIDENCES, missing="Choose your confidence.")
    image_quality = ChoiceField("Image quality", IMAGE_QUALITIES, missing="Rate the image quality.")
    plan = ChoiceField("Management", MANAGEMENT, missing="Choose a plan.")
    follow_up_on = _day("Follow-up on", "Leave this empty if there is none.", Optional())
    clinical_note = text_area(
        "Clinical note", "For colleagues. The patient does not see it.", rows=3
    )
    patient_text = _letter(
        "Text to the patient",
        "Write what the patient should read.",
        "Result first, what it means, what to do now, when to get help. Short words, "
        "no more than 20 in a sentence.",
    )
    gp_text = _letter("Letter to the GP", "", "The patient gets it too, to take along.")
    letter_template = HiddenField(validators=[Length(max=60)])
    letter_marks = HiddenField(validators=[Length(max=60)])  # of texts as they were filled in

    def validate_plan(self, field: ChoiceField) -> None:
        if self.diagnosis.data in NEVER_BENIGN and field.data == "benign_advice":
            raise ValidationError("A skin cancer needs a plan. Choose another one.")

    def validate_diagnosis_text(self, field: StringField) -> None:
        if self.diagnosis.data == "other" and not field.data:
            raise ValidationError("Write the diagnosis in words.")

    def validate_icd10_code(self, field: StringField) -> None:
        _check_code(self, field)

    def validate_follow_up_on(self, field: DayField) -> None:
        today = datetime.now(UTC).date()
        if field.data is not None and field.data <= today:
            raise ValidationError("Choose a day in the future.")
        if field.data is not None and field.data > today + LONGEST_FOLLOW_UP:
            raise ValidationError("Choose a day within three years.")


class DecisionForm(ReadingForm):
    """What a reader decides, first and last."""

    NAME = "decision"

    agreement = ChoiceField(
        "Computer's view", AGREEMENTS, missing="Say whether you agree with the computer's view."
    )
    override_reason = SelectField(
        "Reason for the override",
        choices=choices_of([("", "Choose a reason"), *OVERRIDE_REASONS]),
        default="",
        description="Needed when you override.",
    )

    def offer_agreements(self, *, with_computer: bool) -> None:
        """Show only what can be said of this case: that there was no view, or what one thinks."""
        none = "not_available"
        offered = [pair for pair in AGREEMENTS if (pair[0] == none) is not with_computer]
        self.agreement.choices = choices_of(offered)

    def validate_override_reason(self, field: SelectField) -> None:
        if self.agreement.data == "override" and not field.data:
            raise ValidationError("Choose why you override the computer's view.")
        if self.agreement.data != "override" and field.data:
            raise ValidationError("A reason belongs to an override only.")


class ChangeForm(ReadingForm):
    """A new version of a signed report. `version` is the one that it follows."""

    NAME = "change"

    version = HiddenField()
    status = ChoiceField("What do you do?", CHANGES, missing="Choose: amend or correct.")
    change_reason = SelectField(
        "Why",
        [InputRequired("Choose a reason.")],
        choices=choices_of([("", "Choose a reason"), *CHANGE_REASONS]),
        description="The patient sees this reason.",
    )

    def validate_plan(self, field: ChoiceField) -> None:
        super().validate_plan(field)
        if field.data in LEADS_ON:
            raise ValidationError("A signed report needs a plan. Choose another one.")


class AddendumForm(WrittenForm):
    """Something more; what stands in the report stays as it is."""

    NAME = "addendum"

    version = HiddenField()
    patient_text = text_area(
        "More for the patient",
        "It is added below the text that the patient has.",
        rows=5,
        longest=2000,
    )
    clinical_note = text_area("More for colleagues", "The patient does not see it.", longest=1000)

    def validate(self, extra_validators: Any = None) -> bool:
        good: bool = super().validate(extra_validators)
        if not (self.patient_text.data or "").strip() and not (
            (self.clinical_note.data or "").strip()
        ):
            self.patient_text.errors = [*self.patient_text.errors, "Write what you want to add."]
            return False
        return good


class RetakeForm(PortalForm):
    reasons = ManyField(
        "What is wrong with the photos?",
        RETAKE_REASONS,
        validators=[InputRequired("Choose at least one reason.")],
    )
    message = text_area(
        "Message to the patient", "Say in plain words how to do better.", longest=500
    )


class AttachmentForm(PortalForm):
    """What a file is about; the file itself is no field, it is sealed as it arrives."""

    kind = SelectField(
        "What is it?",
        [InputRequired("Choose what it is.")],
        choices=choices_of([("", "Choose"), *ATTACHMENT_KINDS]),
    )
    for_patient = BooleanField("The patient may open it, once the case is signed")


class PathologyForm(PortalForm):
    """What the laboratory found."""

    diagnosis = ChoiceField("Diagnosis", DIAGNOSIS_GROUPS, missing="Choose the diagnosis.")
    icd10_code = _code("ICD-10-CM code", "Enter the code of the diagnosis.")
    morphology = StringField(
        "ICD-O code",
        [
            Optional(),
            Regexp(rf"^{MORPHOLOGY_SHAPE.pattern}$", message="Enter a code such as 8720/3."),
        ],
        description="If the report names one, such as 8720/3.",
        filters=[stripped],
        render_kw={"autocomplete": "off", "list": "icdo-codes"},
    )
    specimen = ChoiceField("Specimen", SPECIMENS, missing="Choose how it was taken.")
    source = ChoiceField("Where did you read it?", SOURCES, missing="Choose where you read it.")
    reported_on = _day("Date of the report", "", InputRequired("Enter the date of the report."))
    note = text_area("Note", "For colleagues. The patient does not see it.", longest=1000)

    def validate_icd10_code(self, field: StringField) -> None:
        _check_code(self, field)

    def validate_reported_on(self, field: DayField) -> None:
        if field.data is not None and field.data > datetime.now(UTC).date():
            raise ValidationError("Choose a day that is not in the future.")
