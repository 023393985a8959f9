"""What the worker's checks found: what is done about it is decided with the rules, here."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studio.doctor import safety_checker
from studio.safety.checks import Checks, told
from studio.safety.rules import Policy, read_rules
from studio.settings import Settings
from studio.ui import checks as page
from studio.ui.text import Text

SEEN = {
    "check": "safety",
    "looked_for": 17,
    "findings": [{"match": "concept 4", "score": 0.3, "box": [0.0, 0.0, 1.0, 1.0]}],
    "done": "",
}


def noise() -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("policy", ["flag", "blur", "block"])
def test_a_hit_of_the_safety_checker_is_flagged_blurred_or_blocked(tmp_path: Path, policy: Policy) -> None:
    (tmp_path / "rules.yaml").write_text(f"safety: {policy}\n")
    rules = read_rules(tmp_path / "rules.yaml", "x")
    checks = Checks(tmp_path / "none", {"protected": "block", "safety": rules.safety})
    data, checked = checks.apply(noise(), [SEEN])
    assert told(checked) == [{**SEEN, "done": policy}]
    deviation = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).std()
    assert {"flag": deviation > 60, "blur": 0 < deviation < 30, "block": deviation == 0}[policy]


def test_nothing_is_done_where_it_hit_nothing(tmp_path: Path) -> None:
    clean = {**SEEN, "findings": []}
    data, checked = Checks(tmp_path / "none", {"safety": "block"}).apply(noise(), [clean])
    assert data == noise() and told(checked) == [clean]


def test_another_word_than_these_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("safety: maybe\n")
    with pytest.raises(Exception, match="safety: 'maybe'; it is flag, blur or block"):
        read_rules(tmp_path / "rules.yaml", "x")


def test_the_page_says_what_it_hit_and_what_was_done() -> None:
    t = Text("en")
    assert page.lines_of(t, {**SEEN, "done": "block"}) == ["Safety checker: concept 4. Picture blocked."]
    assert page.lines_of(t, {**SEEN, "findings": []}) == ["Safety checker: none of its 17 concepts."]


def test_the_doctor_says_whether_it_is_there(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    (row,) = safety_checker(settings)
    assert row.found.startswith("not installed") and row.mend
    settings.safety_checker.mkdir(parents=True)
    (row,) = safety_checker(settings)
    assert (row.found, row.mend) == ("installed", "")
