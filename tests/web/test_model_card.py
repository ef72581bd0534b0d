from pathlib import Path

import pytest

from ml.artifact import live_bundle
from web.portal.model_card import live_card


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    (tmp_path / "LIVE").write_text("v1\n")
    (tmp_path / "v1").mkdir()
    return tmp_path


def test_headings_step_down_a_level_and_tables_scroll_in_a_named_frame(weights: Path) -> None:
    (weights / "v1" / "MODEL_CARD.md").write_text(
        "# Model card\n\n## Groups\n\n| sex | share |\n|---|---|\n| female | 0.9 |\n"
    )
    page = live_card(weights)
    assert page is not None
    assert '<h2 class="nhsuk-heading-m">Model card</h2>' in page
    assert '<h3 class="nhsuk-heading-s">Groups</h3>' in page
    assert 'aria-label="Groups: sex"><table' in page
    assert "<td>female</td>" in page
    assert page.count("<div") == page.count("</div>")


def test_markup_in_a_card_is_shown_and_not_obeyed(weights: Path) -> None:
    (weights / "v1" / "MODEL_CARD.md").write_text("# Card\n\n<script>alert(1)</script>\n")
    page = live_card(weights)
    assert page is not None
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_without_a_bundle_or_a_card_there_is_none(tmp_path: Path, weights: Path) -> None:
    assert live_card(weights) is None
    assert live_card(tmp_path / "elsewhere") is None


def test_the_card_in_service_says_what_is_not_known() -> None:
    page = live_card(live_bundle().parent)
    assert page is not None
    assert "darker skin is not known" in " ".join(page.split())
