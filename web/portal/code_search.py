"""Searching the coded list of diagnoses: a page of its own, and the answers for a form's list.

What is searched says what somebody thinks of a case, so it travels in no address.
"""

from flask import jsonify, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import Permission
from clinic.diagnosis_codes import MOST_FOUND, search_codes, suggested_codes
from clinic.terminology import LESION_CLASSES
from web.guard import wants_json
from web.permission import allowed
from web.portal.blueprint import portal


@portal.route("/codes", methods=["GET", "POST"])
@allowed(Permission.SEE_QUEUE)
def find_codes() -> AnyResponse | str:
    """What fits `q`; without it, the codes of the group that `group` names."""
    text, group = request.form.get("q", "").strip()[:80], request.form.get("group", "")
    found = search_codes(text) if text else suggested_codes(group)
    if wants_json():
        return jsonify(
            codes=[
                {"code": one.code, "title": one.title, "group": one.lesion_class} for one in found
            ]
        )
    return render_template(
        "codes.html",
        text=text,
        groups=[(one.code, one.display) for one in LESION_CLASSES.values()],
        found=[(one.code, one.title) for one in found],
        cut_off=bool(text) and len(found) == MOST_FOUND,
    )
