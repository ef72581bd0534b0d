"""The forms of the portal: what may be typed, and in which words a person is told what is wrong.

Patients' labels, hints and errors keep to a reading grade of 6 at most. Photos are no fields here:
they travel sealed, or as plain files that the upload view seals itself.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, ClassVar, Final

from flask import abort, request
from flask_wtf import FlaskForm
from wtforms import (
    BooleanField,
    Field,
    HiddenField,
    PasswordField,
    RadioField,
    SelectChoice,
    SelectField,
    SelectMultipleField,
    StringField,
    TextAreaField,
)
from wtforms.validators import (
    AnyOf,
    DataRequired,
    InputRequired,
    Length,
    Optional,
    Regexp,
    StopValidation,
    ValidationError,
)

from clinic.body_site import BodySite, Side
from clinic.consent import YEARS, ConsentDecision, Purpose
from clinic.hand_over import REASON_WORDS
from clinic.intake import (
    EMERGENCY,
    HISTORY_VERSION,
    INTIMATE_AREA,
    MAX_TEXT_LENGTH,
    Answer,
    EmergencySign,
    History,
    Onset,
    SevenPoint,
    StopRule,
    Symptom,
)
from clinic.passwords import MAX_LENGTH, MIN_LENGTH

WITHOUT_END: Final = "always"
DIAGNOSIS_GROUPS: Final = (
    ("mel", "Melanoma"),
    ("bcc", "Basal cell carcinoma"),
    ("akiec", "Actinic keratosis or intraepithelial carcinoma"),
    ("nv", "Melanocytic nevus"),
    ("bkl", "Benign keratosis-like lesion"),
    ("df", "Dermatofibroma"),
    ("vasc", "Vascular lesion"),
    ("other", "Other diagnosis"),
)
CONFIDENCES: Final = (("high", "High"), ("medium", "Medium"), ("low", "Low"))


class PortalForm(FlaskForm):  # type: ignore[misc] # Flask-WTF carries no types
    """The base of every form here; it brings the CSRF token and takes form fields alone."""

    class Meta(FlaskForm.Meta):  # type: ignore[misc]
        def wrap_formdata(self, form: Any, formdata: Any) -> Any:
            """Flask-WTF would read JSON as a form too, with values that no field expects."""
            if formdata is not None and request.is_json:
                abort(415, "Send the form of the page.")
            return super().wrap_formdata(form, formdata)


class ChoiceField(RadioField):  # type: ignore[misc] # WTForms carries no types
    """Radio buttons of which exactly one must be chosen; nothing is chosen for the person."""

    def __init__(self, label: str, choices: Any, *, missing: str, **kwargs: Any) -> None:
        required = [InputRequired(missing)]
        super().__init__(label, required, choices=choices_of(choices), **kwargs)

    def pre_validate(self, form: Any) -> None:
        if self.data is not None:
            super().pre_validate(form)


class ManyField(SelectMultipleField):  # type: ignore[misc]
    """Check boxes; none, one or several."""

    def __init__(self, label: str, choices: Any, **kwargs: Any) -> None:
        super().__init__(label, choices=choices_of(choices), **kwargs)


class DatePartsField(Field):  # type: ignore[misc]
    """A date typed as day, month and year into three inputs: `<name>-day` and so on."""

    PARTS: ClassVar = ("day", "month", "year")

    def process(self, formdata: Any, *args: Any, **kwargs: Any) -> None:
        self.parts = dict.fromkeys(self.PARTS, "")
        super().process(None, *args, **kwargs)
        if formdata is None:
            return
        self.parts = {part: formdata.get(f"{self.name}-{part}", "").strip() for part in self.PARTS}
        # The required-check of WTForms looks at raw_data.
        self.raw_data = [text for text in self.parts.values() if text]
        self.data = self._read()

    def _read(self) -> date | None:
        if not all(text.isascii() and text.isdecimal() for text in self.parts.values()):
            return None
        try:
            return date(*(int(self.parts[part]) for part in ("year", "month", "day")))
        except (ValueError, OverflowError):
            return None

    def pre_validate(self, form: Any) -> None:  # noqa: ARG002 - the signature is WTForms' own
        if self.raw_data and self.data is None:
            raise StopValidation("Enter a real date, such as 27 3 1985.")


def choices_of(pairs: Any) -> list[SelectChoice]:
    return [SelectChoice(value=value, label=label) for value, label in pairs]


def _first_capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _of(kind: Any) -> list[tuple[str, str]]:
    return [(member.value, _first_capital(member.label)) for member in kind]


def _question(label: str, hint: str = "") -> ChoiceField:
    # The list of errors stands far from the question, so each error names its own.
    missing = f"Choose an answer: {label[:1].lower()}{label[1:]}"
    return ChoiceField(label, _of(Answer), missing=missing, description=hint)


def text_area(label: str, hint: str = "", *, rows: int = 3, longest: int = MAX_TEXT_LENGTH) -> Any:
    too_long = f"Use {longest} characters or fewer."
    return TextAreaField(
        label,
        [Optional(), Length(max=longest, message=too_long)],
        description=hint,
        render_kw={"rows": rows, "maxlength": longest},
    )


def line_field(
    label: str, missing: str, *, autocomplete: str, hint: str = "", longest: int = 120
) -> Any:
    checks = [
        DataRequired(missing),
        Length(max=longest, message=f"Use {longest} characters or fewer."),
    ]
    return StringField(
        label,
        checks,
        description=hint,
        render_kw={"autocomplete": autocomplete},
        filters=[stripped],
    )


def stripped(value: str | None) -> str | None:
    return value.strip() if value else value


def email_field(hint: str = "") -> Any:
    return StringField(
        "Email address",
        [
            DataRequired("Enter your email address."),
            Length(max=254, message="This email address is too long."),
            Regexp(
                r"^[^@\s]+@[^@\s]+\.[^@\s.]+$",
                message="Enter an email address, such as name@example.com.",
            ),
        ],
        description=hint,
        filters=[stripped],
        render_kw={"type": "email", "autocomplete": "username", "spellcheck": "false"},
    )


def code_field(label: str, hint: str) -> Any:
    return StringField(
        label,
        [
            DataRequired("Enter the 6-digit code."),
            Regexp(r"^\d{6}$", message="The code has 6 digits."),
        ],
        description=hint,
        filters=[lambda value: "".join(value.split()) if value else value],
        render_kw={
            "inputmode": "numeric",
            "autocomplete": "one-time-code",
            "maxlength": "7",
            "autofocus": "autofocus",
        },
    )


def new_password_field(label: str = "Password") -> Any:
    """Its length and strength are judged by `password_problem`, which knows more than one field."""
    return PasswordField(
        label,
        [InputRequired("Choose a password.")],
        description=f"At least {MIN_LENGTH} characters; 15 or more is safer. "
        "Three or four words work well.",
        render_kw={"autocomplete": "new-password"},
    )


def current_password_field(label: str = "Password") -> Any:
    return PasswordField(
        label,
        [
            InputRequired("Enter your password."),
            Length(max=MAX_LENGTH, message="This password is too long."),
        ],
        render_kw={"autocomplete": "current-password"},
    )


RESEARCH_HINT = (
    "A computer may learn from them. We add your sex, your age to the nearest 5 years, where the "
    "spot is and what the doctor found. If you take this back, we copy no more."
)


class PatientForm(PortalForm):
    """Who somebody is and what they agree to, once their address is known."""

    clinic = SelectField(
        "Your clinic",
        choices=[],
        validate_choice=False,
        description="The clinic that told you about this service.",
    )
    password = new_password_field()
    given_name = line_field("First name", "Enter your first name.", autocomplete="given-name")
    family_name = line_field("Last name", "Enter your last name.", autocomplete="family-name")
    birth_date = DatePartsField(
        "Date of birth",
        [InputRequired("Enter your date of birth.")],
        description="For example, 27 3 1985",
    )
    consent_care = BooleanField(
        "I agree that this clinic uses what I send to care for me.",
        [
            InputRequired(
                "We can only help you online if you agree to this. If not, see your doctor."
            )
        ],
    )
    consent_teledermatology = BooleanField(
        "I agree that a skin doctor looks at my photos and does not see me in person.",
        [
            InputRequired(
                "We can only help you online if you agree to this. If not, see your doctor."
            )
        ],
    )
    consent_ai = ChoiceField(
        "May a computer help to sort your photos?",
        [
            ("permit", "Yes, a computer may help"),
            ("deny", "No, people only"),
        ],
        missing="Choose yes or no. Your care goes on in both cases.",
        description=(
            "The computer helps us see who needs a fast answer. A skin doctor reads every case. "
            "If you say no, you still get the same care."
        ),
    )
    consent_research = BooleanField(
        "My photos may be used for research. My name is taken off first.",
        description=RESEARCH_HINT,
    )
    consent_teaching = BooleanField("My photos may be used to teach. My name is taken off first.")

    def offer(self, clinics: Sequence[tuple[str, str]], *, visited: str | None) -> None:
        """Let the person choose between clinics, as (address, name); a single one is chosen."""
        self.clinic.choices = list(clinics)
        if len(clinics) == 1:
            self.clinic.data = clinics[0][0]
            return
        self.clinic.choices.insert(0, ("", "Choose"))
        if self.clinic.data is None:
            self.clinic.data = visited or ""

    def validate_birth_date(self, field: DatePartsField) -> None:
        today = datetime.now(UTC).date()
        if field.data is not None and field.data > today:
            raise ValidationError("Your date of birth must be in the past.")
        if field.data is not None and today.year - field.data.year > 120:
            raise ValidationError("Check the year of your birth.")

    @property
    def consents(self) -> list[ConsentDecision]:
        """The decision for each purpose."""
        return [
            ConsentDecision(Purpose.CARE, bool(self.consent_care.data)),
            ConsentDecision(Purpose.TELEDERMATOLOGY, bool(self.consent_teledermatology.data)),
            ConsentDecision(Purpose.AI_ASSISTANCE, self.consent_ai.data == "permit"),
            ConsentDecision(Purpose.RESEARCH, bool(self.consent_research.data)),
            ConsentDecision(Purpose.TEACHING, bool(self.consent_teaching.data)),
        ]


def _how_long() -> SelectField:
    return SelectField(
        "For how long",
        choices=choices_of(
            [
                ("", "As it is now"),
                (WITHOUT_END, "Until I take it back"),
                *((str(years), f"{years} year{'s' if years > 1 else ''}") for years in YEARS),
            ]
        ),
        default="",
    )


class RegisterForm(PatientForm):
    """The same where no mail is sent, so that the address cannot be proved."""

    email = email_field("You will sign in with this. We never send health details by email.")


class ConsentForm(PortalForm):
    """The consents that a patient may change at any time, each for as long as they like."""

    consent_ai = BooleanField("A computer may help to sort my photos.")
    years_ai = _how_long()
    consent_research = BooleanField(
        "My photos may be used for research, without my name.", description=RESEARCH_HINT
    )
    years_research = _how_long()
    consent_teaching = BooleanField("My photos may be used to teach, without my name.")
    years_teaching = _how_long()


class CareForm(PortalForm):
    """Stopping care here, or going on with it."""

    care = HiddenField(validators=[AnyOf(("stop", "go_on"))])


class SignInForm(PortalForm):
    email = email_field()
    password = current_password_field()


class SecondFactorForm(PortalForm):
    code = code_field("Code", "The 6 digits that your authenticator app shows now.")


class CaseForm(PortalForm):
    """The history of one spot. The age is not asked again: the account knows it."""

    submission_id = HiddenField()
    emergency_signs = ManyField(
        "Do you have any of these now?",
        _of(EmergencySign),
        description="Tick all that you have. Leave this empty if you have none.",
    )
    responsible_adult = StringField(
        "Name of the parent or guardian",
        [Optional(), Length(max=120, message="Use 120 characters or fewer.")],
        description="Only if the patient is under 18. The adult must fill in this form.",
        filters=[stripped],
        render_kw={"autocomplete": "off"},
    )
    spot_count = ChoiceField(
        "How many spots worry you?",
        [("1", "1"), ("2", "2"), ("3", "3 or more")],
        missing="Choose how many spots worry you.",
        description="Send each spot on its own. We only look at the spots you send.",
    )
    can_be_photographed = ChoiceField(
        "Can you take a clear photo of the spot?",
        [("yes", "Yes"), ("no", "No, for example hair covers it")],
        missing="Choose yes or no.",
    )
    site = SelectField(
        "Where on the body is the spot?",
        [InputRequired("Choose where the spot is.")],
        choices=choices_of([("", "Choose a place"), *_of(BodySite)]),
        description="We do not take photos of private parts, of an adult or a child.",
    )
    side = ChoiceField("Which side of the body?", _of(Side), missing="Choose a side.")
    site_detail = StringField(
        "Say more about the place",
        [Optional(), Length(max=200, message="Use 200 characters or fewer.")],
        description="For example, just below the left knee. You can leave this empty.",
        filters=[stripped],
    )
    onset = ChoiceField(
        "How long have you had the spot?", _of(Onset), missing="Choose how long you have had it."
    )
    change_in_size = _question("Has it grown or changed in size?")
    irregular_shape = _question(
        "Is its shape uneven?", "For example, one half looks unlike the other."
    )
    irregular_colour = _question("Does it have more than one colour?")
    diameter_7_mm = _question("Is it 7 mm wide or more?", "That is as wide as a pencil.")
    inflammation = _question(
        "Is it sore or swollen?",
        "The skin may look red or pink. On brown or black skin it may look purple, grey or darker.",
    )
    oozing = _question("Does it leak fluid or form a crust?")
    change_in_sensation = _question("Does it itch, hurt or feel strange?")
    bleeding = _question("Has it bled without a knock or a scratch?")
    not_healing_4_weeks = _question("Is it a sore that has not healed for more than 4 weeks?")
    firm_growing_lump = _question("Is it a firm lump that is growing?")
    pink_and_changing = _question("Is it pink or the colour of your skin, and changing?")
    new_nail_streak = _question("Is it a new dark line in a nail?")
    sex = ChoiceField(
        "Sex",
        [
            ("female", "Female"),
            ("male", "Male"),
            ("other", "Other"),
            ("undisclosed", "I prefer not to say"),
        ],
        missing="Choose an answer. You may choose not to say.",
    )
    skin_type = ChoiceField(
        "How does your skin react to the sun?",
        [
            ("I", "Type I: very fair, always burns, never tans"),
            ("II", "Type II: fair, burns often, tans a little"),
            ("III", "Type III: light brown, burns at times, tans"),
            ("IV", "Type IV: olive or brown, burns little, tans well"),
            ("V", "Type V: dark brown, burns very little"),
            ("VI", "Type VI: black or very dark brown, almost never burns"),
            ("undisclosed", "I prefer not to say"),
        ],
        missing="Choose an answer. You may choose not to say.",
        description="Signs look different on each skin colour. This helps the doctor.",
    )
    own_skin_cancer = _question("Have you ever had skin cancer?")
    family_skin_cancer = _question("Has a parent, brother, sister or child had skin cancer?")
    immunosuppressed = _question(
        "Is your immune system weak?",
        "For example, after a transplant, or from a medicine that slows the immune system.",
    )
    medicines = text_area("Which medicines do you take?", "You can leave this empty.")
    strong_concern = text_area(
        "Is there one thing that worries you a lot?", "Leave this empty if there is not."
    )
    notes = text_area("What else should the doctor know?", "For example, a cream you have tried.")

    def stop_at_once(self) -> StopRule | None:
        """Give the card that is shown even if other answers are still missing or wrong."""
        if self.emergency_signs.data:
            return EMERGENCY
        return INTIMATE_AREA if self.site.data == BodySite.GENITAL else None

    def history(self, *, age: int) -> History:
        """Build the history of a valid form; `age` in whole years comes from the account."""
        raw = {name: field.data or "" for name, field in self._fields.items() if name in _HISTORY}
        raw |= {
            "version": HISTORY_VERSION,
            "age": age,
            "seven_point": {item.value: self[item.value].data for item in SevenPoint},
            "symptoms": {sign.value: self[sign.value].data for sign in Symptom},
            "emergency_signs": self.emergency_signs.data or [],
            "spot_count": int(self.spot_count.data),
            "can_be_photographed": self.can_be_photographed.data == "yes",
        }
        return History.from_dict(raw)


_HISTORY: Final = frozenset(
    {
        *("sex", "skin_type", "site", "side", "site_detail", "onset", "own_skin_cancer"),
        *("family_skin_cancer", "immunosuppressed", "responsible_adult", "medicines"),
        *("strong_concern", "notes"),
    }
)


class RetakePhotosForm(PortalForm):
    """New photos for a case whose photos could not be read."""

    submission_id = HiddenField()


class ReleaseForm(PortalForm):
    """Who goes on with a case, and why: a colleague, or whoever takes it."""

    nobody = "Any reader"
    to = SelectField("Who goes on", choices=choices_of([("", nobody)]), default="")
    reason = SelectField(
        "Reason",
        [InputRequired("Choose a reason.")],
        choices=choices_of([("", "Choose a reason"), *REASON_WORDS.items()]),
    )

    def offer(self, colleagues: list[tuple[str, str]]) -> None:
        self.to.choices = choices_of([("", self.nobody), *colleagues])


class ReportHandOverForm(ReleaseForm):
    """Who answers for a signed report from now on, and why: always a colleague."""

    nobody = "Choose a colleague"
    to = SelectField("Who answers for it", [InputRequired("Choose a colleague.")])
