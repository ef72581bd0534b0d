"""The portal delivers the scripts that the manifest names, and its pages let no other one run."""

import base64
import hashlib
import json
import posixpath
import re
from pathlib import Path

import pytest
from flask import Flask

from tests.browser_session import BrowserSession
from tests.world import World
from web.script_bundle import (
    MANIFEST_FILE,
    ROOT_KEY_PATH,
    STATIC,
    ScriptBundle,
    bundle_hash,
    manifest,
    manifest_of,
    parse_manifest,
    root_key_script,
)

ROOT = bytes(range(32))
BUNDLE = ScriptBundle.of(ROOT)


def test_the_manifest_in_the_tree_names_the_scripts_in_the_tree() -> None:
    """After a change of a script: `python -m tools.verify_bundle --write`."""
    assert (STATIC / MANIFEST_FILE).read_text(encoding="ascii") == manifest()


def test_every_script_counts_also_the_vendored_one() -> None:
    assert {"js/dseal.js", "js/upload.js", "vendor/hpke/hpke-core.js"} <= set(
        parse_manifest(manifest())
    )


def test_one_changed_byte_changes_the_whole() -> None:
    one = manifest_of({"js/a.js": b"a", "js/b.js": b"b"})
    assert bundle_hash(one) != bundle_hash(manifest_of({"js/a.js": b"a", "js/b.js": b"c"}))
    assert bundle_hash(one) == hashlib.sha256(one.encode()).hexdigest()


DESK = ("desk-viewer.js", "decision.js", "claim.js", "keys.js")  # loaded by readers' pages alone


def imported_by(path: Path) -> set[Path]:
    """A script and all that it imports."""
    text = path.read_text()
    names = re.findall(r'^(?:import |import .* from |} from )"(\..+)";$', text, re.MULTILINE)
    found = {(path.parent / name).resolve() for name in names}
    return {path}.union(*map(imported_by, found))


def test_the_scripts_that_patients_must_trust_stay_small() -> None:
    """They have to be readable: own scripts 60 kB, one library 30 kB. The desk alone loads more."""
    desk = set().union(*(imported_by(STATIC / "js" / name) for name in DESK))
    others = [path for path in (STATIC / "js").glob("*.js") if path not in desk]
    everybody = set().union(*map(imported_by, others))
    own = {path for path in everybody if path.parent.name == "js"}
    assert sum(path.stat().st_size for path in own) < 60_000
    assert sum(path.stat().st_size for path in everybody - own) < 30_000
    assert STATIC / "vendor" / "openseadragon" / "openseadragon.min.js" in desk - everybody


def test_an_address_changes_with_the_content(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("1")
    before = ScriptBundle.of(ROOT, tmp_path).address("/static/a.js")
    (tmp_path / "a.js").write_text("2")
    after = ScriptBundle.of(ROOT, tmp_path).address("/static/a.js")
    assert before != after
    assert re.fullmatch(r"/static/a\.js\?v=[0-9a-f]{16}", after)


def test_the_import_map_names_every_module_with_its_hash() -> None:
    found = json.loads(str(BUNDLE.import_map))
    for path in ("/static/js/dseal.js", "/static/vendor/hpke/hpke-core.js", ROOT_KEY_PATH):
        address = found["imports"][path]
        assert found["integrity"][address] == BUNDLE.integrity(path)
    content = (STATIC / "js" / "dseal.js").read_bytes()
    expected = "sha256-" + base64.b64encode(hashlib.sha256(content).digest()).decode()
    assert BUNDLE.integrity("/static/js/dseal.js") == expected


def test_every_import_of_a_script_is_in_the_map() -> None:
    for path in (STATIC / "js").glob("*.js"):
        for name in re.findall(r'from "([^"]+)"', path.read_text()):
            target = posixpath.normpath(posixpath.join("/static/js", name))
            assert target in BUNDLE.digests, (path, name)


def test_the_map_cannot_end_its_element_early() -> None:
    assert "<" not in str(BUNDLE.import_map)


@pytest.mark.parametrize("path", ["/static/js/upload.js", "/static/js/dseal.js", ROOT_KEY_PATH])
def test_the_portal_delivers_the_bytes_that_the_map_names(
    app: Flask, world: World, path: str
) -> None:
    bundle = ScriptBundle.of(world.root_public_key)
    with app.test_client().get(bundle.address(path)) as answer:
        assert answer.status_code == 200
        assert answer.mimetype == "text/javascript"
        assert hashlib.sha256(answer.data).digest() == bundle.digests[path]


def test_the_upload_page_lets_only_these_scripts_run(app: Flask, world: World) -> None:
    page = BrowserSession.of(app, world, world.alice).get("/cases/new").text
    bundle = ScriptBundle.of(world.root_public_key)
    assert str(bundle.script("js/upload.js")) in page
    (found,) = re.findall(r'<script type="importmap" nonce="[^"]+">(.*?)</script>', page)
    assert found == str(bundle.import_map)
    assert page.index("importmap") < page.index('type="module"')


def test_a_page_without_scripts_has_no_map(app: Flask) -> None:
    assert "<script" not in app.test_client().get("/help").text


def test_the_root_s_script_holds_its_key_and_nothing_else() -> None:
    assert root_key_script(ROOT) == root_key_script(ROOT)
    assert root_key_script(ROOT).count(b"\n") == 2
    assert base64.b64encode(ROOT) in root_key_script(ROOT)
    assert root_key_script(bytes(32)) != root_key_script(ROOT)
