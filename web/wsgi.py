"""What gunicorn serves: `gunicorn web.wsgi:app`."""

import sys

from config import SettingsError
from web.app import create_app_from_env

APP_CANNOT_LOAD = 4  # gunicorn's own code: its master then stops instead of trying for ever

try:
    app = create_app_from_env()
except SettingsError as error:
    sys.stderr.write(f"{error}\n")
    sys.exit(APP_CANNOT_LOAD)
