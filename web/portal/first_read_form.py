"""The form of the blind first read."""

from typing import Final

from wtforms import SelectChoice, SelectField
from wtforms.validators import ValidationError

from clinic.records.first_reads import Impression
from clinic.urgency import ORDER, place_of
from ml.triage import Urgency
from web.portal.forms import CONFIDENCES, DIAGNOSIS_GROUPS, ChoiceField, PortalForm

URGENCIES: Final = tuple((str(urgency), str(urgency).capitalize()) for urgency in ORDER)


def _other(label: str) -> SelectField:
    pairs = [("", "No other"), *DIAGNOSIS_GROUPS]
    choices = [SelectChoice(value=value, label=words) for value, words in pairs]
    return SelectField(label, choices=choices, default="")


class FirstReadForm(PortalForm):
    """The reader's own impression: a class or up to three in order, how sure, how urgent."""

    impression = ChoiceField(
        "Your impression", DIAGNOSIS_GROUPS, missing="Choose the most likely group."
    )
    second = _other("Second most likely")
    third = _other("Third most likely")
    confidence = ChoiceField("Confidence", CONFIDENCES, missing="Choose your confidence.")
    urgency = ChoiceField("Urgency", URGENCIES, missing="Choose how urgent you find it.")

    def validate_second(self, field: SelectField) -> None:
        if field.data and field.data == self.impression.data:
            raise ValidationError("The second group is your first one. Choose another, or none.")

    def validate_third(self, field: SelectField) -> None:
        if field.data and not self.second.data:
            raise ValidationError("Choose a second group before a third one.")
        if field.data and field.data in {self.impression.data, self.second.data}:
            raise ValidationError("The third group stands there already. Choose another, or none.")

    def read(self) -> Impression:
        """What a valid form says."""
        return Impression(
            impression=self.impression.data,
            confidence=self.confidence.data,
            alternatives=tuple(one for one in (self.second.data, self.third.data) if one),
            urgency=place_of(Urgency(self.urgency.data)),
        )
