"""Which files may stand beside a case: their kinds, their types told by content, their limits."""

from enum import StrEnum
from typing import Final

MAX_BYTES: Final = 10 * 1024**2
MAX_OF_A_CASE: Final = 10


class AttachmentKind(StrEnum):
    """What a file is about. It stands for the file's name, which might name a person."""

    REFERRAL = "referral"
    PATHOLOGY_REPORT = "pathology report"
    CLINICAL_LETTER = "clinical letter"
    LEAFLET = "leaflet"
    OTHER = "other"


class MediaType(StrEnum):
    PDF = "application/pdf"
    JPEG = "image/jpeg"
    PNG = "image/png"

    @property
    def extension(self) -> str:
        return {"application/pdf": "pdf", "image/jpeg": "jpg", "image/png": "png"}[self.value]


_SIGNATURES: Final = (
    (b"%PDF-", MediaType.PDF),
    (b"\xff\xd8\xff", MediaType.JPEG),
    (b"\x89PNG\r\n\x1a\n", MediaType.PNG),
)


class AttachmentRefusedError(Exception):
    """The file is not taken; the message says what to do, `status` is the answer's (RFC 9110)."""

    def __init__(self, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


def media_type_of(data: bytes) -> MediaType:
    """The file's type by its first bytes; what a browser claims does not count.

    Raises:
        AttachmentRefusedError: it is empty, too large, or of another type.

    """
    if not data:
        raise AttachmentRefusedError("This file is empty. Choose another one.")
    if len(data) > MAX_BYTES:
        most = MAX_BYTES // 1024**2
        raise AttachmentRefusedError(f"This file is too large. Send one below {most} MB.", 413)
    for signature, media_type in _SIGNATURES:
        if data.startswith(signature):
            return media_type
    raise AttachmentRefusedError("Send a PDF, JPEG or PNG file. Others are not taken.", 415)
