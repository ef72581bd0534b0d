"""The forms around an account: proofs, passwords, addresses, passkeys, people of the clinic."""

from wtforms import HiddenField, SelectChoice, SelectField, StringField
from wtforms.validators import DataRequired, InputRequired, Length, Optional

from clinic.access import STAFF, Role
from web.portal.forms import (
    PortalForm,
    current_password_field,
    email_field,
    line_field,
    new_password_field,
    stripped,
)
from web.relying_party import LONGEST_CREDENTIAL

ROLE_NAMES = {role: role.value.capitalize() for role in Role}
INVITED = tuple(role for role in Role if role in STAFF)


class PasskeyForm(PortalForm):
    """What the page's script puts in: the browser's answer to a challenge, as JSON."""

    credential = HiddenField(
        validators=[
            InputRequired("Your browser sent no passkey. Try again."),
            Length(max=LONGEST_CREDENTIAL, message="This is not a passkey. Try again."),
        ]
    )


class PasskeyNameForm(PortalForm):
    name = line_field(
        "Name of this passkey",
        "Enter a name.",
        autocomplete="off",
        hint="So that you know it again, such as: my phone.",
        longest=40,
    )


class NewPasskeyForm(PasskeyForm, PasskeyNameForm):
    pass


class RecoveryCodeForm(PortalForm):
    code = StringField(
        "Recovery code",
        [
            DataRequired("Enter a recovery code."),
            Length(max=60, message="A recovery code has 24 letters and digits."),
        ],
        description="24 letters and digits. Spaces and small letters do not matter.",
        filters=[stripped],
        render_kw={"autocomplete": "off", "spellcheck": "false"},
    )


class OwnPasswordForm(PortalForm):
    password = current_password_field("Your password")


class ChangePasswordForm(PortalForm):
    old = current_password_field("Your password until now")
    password = new_password_field("New password")


class NewPasswordForm(PortalForm):
    password = new_password_field("New password")


class EmailForm(PortalForm):
    email = email_field()


class NewEmailForm(PortalForm):
    email = email_field("We send a link to it. Your old address stays until you open the link.")


def _registration_number(label: str) -> StringField:
    return StringField(
        label,
        [Optional(), Length(max=40, message="Use 40 characters or fewer.")],
        filters=[stripped],
        render_kw={"autocomplete": "off"},
    )


class JoinForm(PortalForm):
    """What somebody fills in who was invited."""

    given_name = line_field("First name", "Enter your first name.", autocomplete="given-name")
    family_name = line_field("Last name", "Enter your last name.", autocomplete="family-name")
    registration_number = _registration_number("Your registration number")
    email = email_field("You will sign in with this.")
    password = new_password_field()


class _RoleForm(PortalForm):
    role = SelectField(
        "Role", choices=[SelectChoice(value=role.value, label=ROLE_NAMES[role]) for role in INVITED]
    )


class InviteForm(_RoleForm):
    pass


class ChangeRoleForm(_RoleForm):
    registration_number = _registration_number("Registration number, for a dermatologist")
