"""What gunicorn serves: `gunicorn web.wsgi:app`."""

from web.app import create_app_from_env

app = create_app_from_env()
