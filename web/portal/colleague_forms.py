"""The forms that readers send each other, and the messages between patients and readers."""

from typing import Final

from wtforms import BooleanField, IntegerField, SelectField, TextAreaField
from wtforms.validators import DataRequired, InputRequired, Length, NumberRange, ValidationError

from clinic import messaging
from web.portal.desk_forms import PLANS
from web.portal.forms import (
    CONFIDENCES,
    DIAGNOSIS_GROUPS,
    ChoiceField,
    PortalForm,
    choices_of,
    stripped,
    text_area,
)

LONGEST_NOTE: Final = 2000
POOL: Final = "any"
MODES: Final = (
    ("blind", "Blind: they do not see what you think until they have answered"),
    ("open", "Open: they see your first read and your notes"),
)
WITHDRAWALS: Final = (
    ("no_need", "No longer needed"),
    ("too_slow", "It takes too long"),
    ("other_colleague", "I want to ask somebody else"),
    ("mistake", "Asked by mistake"),
)
# A second reader gives an opinion of their own: to ask for one more is none.
SECOND_PLANS: Final = [(code, words) for code, words in PLANS if str(code) != "second_opinion"]


def _written(label: str, missing: str, hint: str, *, longest: int, rows: int = 4) -> TextAreaField:
    return TextAreaField(
        label,
        [
            DataRequired(missing),
            Length(max=longest, message=f"Use {longest} characters or fewer."),
        ],
        description=hint,
        filters=[stripped],
        render_kw={"rows": rows, "maxlength": longest},
    )


class AskForm(PortalForm):
    """Another dermatologist's opinion is asked for."""

    colleague = SelectField("Whom do you ask?", [InputRequired("Choose whom you ask.")])
    mode = ChoiceField("How should they read it?", MODES, missing="Choose blind or open.")
    question = _written(
        "Your question",
        "Write what you want to know.",
        "Your colleague reads it before they look. With a blind read, do not say what you think.",
        longest=1000,
    )

    def offer(self, colleagues: list[tuple[str, str]]) -> None:
        self.colleague.choices = choices_of([(POOL, "Any colleague"), *colleagues])


class WithdrawForm(PortalForm):
    withdrawal = SelectField(
        "Reason",
        [InputRequired("Choose a reason.")],
        choices=choices_of([("", "Choose a reason"), *WITHDRAWALS]),
    )


def _further(label: str) -> SelectField:
    groups = choices_of([("", "None"), *DIAGNOSIS_GROUPS])
    return SelectField(label, choices=groups, default="")


class SecondReadForm(PortalForm):
    """A second reader's own opinion: one to three diagnoses, the likeliest first."""

    diagnosis = ChoiceField(
        "Likeliest diagnosis", DIAGNOSIS_GROUPS, missing="Choose the likeliest diagnosis."
    )
    second = _further("Next likely")
    third = _further("After that")
    confidence = ChoiceField("Confidence", CONFIDENCES, missing="Choose your confidence.")
    plan = ChoiceField("What you would do", SECOND_PLANS, missing="Choose what you would do.")
    note = text_area("Note for the readers", "The patient does not see it.", longest=LONGEST_NOTE)

    @property
    def differential(self) -> list[str]:
        chosen = (self.diagnosis.data, self.second.data, self.third.data)
        return [one for one in chosen if one]

    def validate_third(self, field: SelectField) -> None:
        if field.data and not self.second.data:
            raise ValidationError("Choose the next likely one first.")
        if len(set(self.differential)) < len(self.differential):
            raise ValidationError("Name each diagnosis once.")


class NoteForm(PortalForm):
    note = _written(
        "New note",
        "Write the note.",
        "For the readers of this case. The patient does not see it. It cannot be changed later.",
        longest=LONGEST_NOTE,
        rows=3,
    )


class MessageForm(PortalForm):
    message = _written(
        "Your message",
        "Write your message.",
        "Do not write here if you feel very ill. Call us, or call for help at once.",
        longest=messaging.LONGEST,
        rows=5,
    )


class ReplyForm(PortalForm):
    message = _written(
        "Your message to the patient",
        "Write your message.",
        "Short words, no more than 20 in a sentence. The result belongs into the signed letter.",
        longest=messaging.LONGEST,
        rows=5,
    )


class RuleForm(PortalForm):
    """Which cases a second dermatologist reads."""

    benign_percent = IntegerField(
        "Of 100 cases that end with a benign diagnosis, read a second time",
        [
            InputRequired("Enter a whole number from 0 to 100."),
            NumberRange(0, 100, message="Enter a whole number from 0 to 100."),
        ],
        description="Drawn by the computer in a way that nobody can foresee. 5 is usual.",
        render_kw={"inputmode": "numeric"},
    )
    skin_tone = BooleanField("All cases of skin types V and VI")
    disagreement = BooleanField(
        "All cases where the first read and the computer differ on malignancy"
    )
