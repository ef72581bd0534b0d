"""Which files are taken, told by their first bytes."""

import pytest

from clinic.attachment import MAX_BYTES, AttachmentRefusedError, MediaType, media_type_of


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b"%PDF-1.7 ...", MediaType.PDF),
        (b"\xff\xd8\xff\xe0", MediaType.JPEG),
        (b"\x89PNG\r\n\x1a\n", MediaType.PNG),
    ],
)
def test_a_file_s_type_is_told_by_its_content(data: bytes, media_type: MediaType) -> None:
    assert media_type_of(data) is media_type


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 422),
        (b"<html><script>", 415),
        (b"PK\x03\x04", 415),
        (b" %PDF-1.7", 415),
        (b"%PDF-" + b"x" * MAX_BYTES, 413),
    ],
)
def test_other_empty_and_large_files_are_refused_with_what_to_do(data: bytes, status: int) -> None:
    with pytest.raises(AttachmentRefusedError) as refused:
        media_type_of(data)
    assert refused.value.status == status
    assert refused.value.message.endswith(".")
