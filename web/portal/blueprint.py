"""The portal's blueprint; the view modules register themselves on it."""

from flask import Blueprint

portal = Blueprint("portal", __name__, template_folder="templates", static_folder=None)
