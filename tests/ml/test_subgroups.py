import pytest

from ml.folds import DEFAULT_METADATA, LabelDataError
from ml.subgroups import age_band, read_subgroups

HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization\n"


@pytest.mark.parametrize(
    ("age", "band"),
    [
        ("0.0", "0-29"),
        ("29", "0-29"),
        ("30.0", "30-49"),
        ("45.0", "30-49"),
        ("50.0", "50-69"),
        ("70.0", "70+"),
        ("85.0", "70+"),
        ("", "unknown"),
    ],
)
def test_ages_fall_into_four_bands(age, band):
    assert age_band(age) == band


def test_each_image_has_its_groups_and_what_is_missing_is_unknown(tmp_path):
    path = tmp_path / "metadata.csv"
    path.write_text(HEADER + "L1,A,nv,histo,45.0,male,back\nL2,B,mel,histo,,,\n")
    assert read_subgroups(path) == {
        "A": {"sex": "male", "age band": "30-49", "body site": "back"},
        "B": {"sex": "unknown", "age band": "unknown", "body site": "unknown"},
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image_id,dx\nA,nv\n", "no column age, localization, sex"),
        ("", "no column"),
        (HEADER + "L1,A,nv,histo,old,male,back\n", "not a number"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_the_reason(tmp_path, text, words):
    path = tmp_path / "metadata.csv"
    path.write_text(text)
    with pytest.raises(LabelDataError, match=words):
        read_subgroups(path)


@pytest.mark.skipif(not DEFAULT_METADATA.exists(), reason="needs HAM10000's metadata")
def test_the_published_table_is_read_whole():
    groups = read_subgroups(DEFAULT_METADATA)
    assert len(groups) == 10015
    assert sum(group["sex"] == "unknown" for group in groups.values()) == 57
    assert sum(group["age band"] == "unknown" for group in groups.values()) == 57
    assert sum(group["body site"] == "unknown" for group in groups.values()) == 234
