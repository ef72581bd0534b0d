"""How long what is kept: the one table of periods, applied by worker/retention.py.

A period is counted from the moment named beside it. Whatever is not in the table is kept for good:
the audit chain above all.
"""

from datetime import timedelta

# The keeper caps a person's requests by the hour: those of the last hour must still be there.
KEY_REQUESTS = timedelta(hours=2)  # from the request
SIGN_IN_LINKS = timedelta(0)  # from the end of the link's life
LOGIN_SESSIONS = timedelta(days=2)  # from the latest end of the session
PROCESS_KEYS = timedelta(days=30)  # of workers and exports, from the last sign of life
EPOCH_KEYS = timedelta(days=14)  # from the end of its period, once no object lists it any more
ORPHAN_BODIES = timedelta(hours=1)  # from the upload, which has a body and no row for a moment
# Backups: DERMQUEUE_BACKUP_KEEP_DAYS, from the backup; `flask backup` deletes the older ones.

# Nothing is erased by itself: how long a record of treatment must be kept is law and differs.
# From here on `flask patients due` lists the patient, and a person decides.
PATIENT_RECORDS_YEARS = 10  # from the last contact
