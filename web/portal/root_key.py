"""The script that pins the clinic's root key, the same for everybody."""

from flask import Response

from web.permission import public
from web.portal.blueprint import portal
from web.script_bundle import ROOT_KEY_PATH, root_key_script
from web.services import services


@portal.get(ROOT_KEY_PATH)
@public
def root_key() -> Response:
    return Response(root_key_script(services().root_public_key), mimetype="text/javascript")
