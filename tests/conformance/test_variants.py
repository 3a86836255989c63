"""What mutation testing of the suite makes out of a client's code."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance import mutate
from conformance.mutated import NOT_OF_A_CLIENT, ROOT, clients
from conformance.variants import sample, variants

GO = """\
package p

const size = 4 // of 2 == 2

func f(a int) {
	if a == 1 && ready() {
		first("x == 3")
		second()
	}
}
"""
NODE = """\
export function f(a) {
  if (a.b() === 1) return;
  first('1 === 2'); // 3
  second();
}
"""
PYTHON = '''\
def f(a):
    """Tell 1 from 2."""
    if a.b() is None or a < 1:
        first("1 < 2")
        second()
'''
MADE = {
    "f.go": {
        ("const size = 4 // of 2 == 2", "const size = 5 // of 2 == 2"),
        ("if a == 1 && ready() {", "if !(a == 1 && ready()) {"),
        ("if a == 1 && ready() {", "if a != 1 && ready() {"),
        ("if a == 1 && ready() {", "if a == 1 || ready() {"),
        ("if a == 1 && ready() {", "if a == 2 && ready() {"),
        ('first("x == 3")', ""),
        ('first("x == 3") / second()', 'second() / first("x == 3")'),
        ("second()", ""),
    },
    "f.js": {
        ("if (a.b() === 1) return;", ""),
        ("if (a.b() === 1) return;", "if (!(a.b() === 1)) return;"),
        ("if (a.b() === 1) return;", "if (a.b() !== 1) return;"),
        ("if (a.b() === 1) return;", "if (a.b() === 2) return;"),
        (
            "if (a.b() === 1) return; / first('1 === 2'); // 3",
            "first('1 === 2'); // 3 / if (a.b() === 1) return;",
        ),
        ("first('1 === 2'); // 3", ""),
        ("first('1 === 2'); // 3 / second();", "second(); / first('1 === 2'); // 3"),
        ("second();", ""),
    },
    "f.py": {
        ("if a.b() is None or a < 1:", "if not (a.b() is None or a < 1):"),
        ("if a.b() is None or a < 1:", "if a.b() is None and a < 1:"),
        ("if a.b() is None or a < 1:", "if a.b() is None or a <= 1:"),
        ("if a.b() is None or a < 1:", "if a.b() is None or a < 2:"),
        ('first("1 < 2")', "pass"),
        ('first("1 < 2") / second()', 'second() / first("1 < 2")'),
        ("second()", "pass"),
    },
}


@pytest.mark.parametrize(("file", "code"), [("f.go", GO), ("f.js", NODE), ("f.py", PYTHON)])
def test_every_variant_is_made_once(file: str, code: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text(code, "utf-8")
    made = list(variants(tmp_path, file))
    assert {(one.before, one.after) for one in made} == MADE[file]
    assert len(made) == len(MADE[file])
    assert len({one.code for one in made} | {code}) == len(made) + 1


def test_a_seed_gives_the_same_variants_of_all_files() -> None:
    for client in clients("go", "node").values():
        one, again = (
            sample(ROOT, client.files, NOT_OF_A_CLIENT, 70, seed=1) for _ in range(2)
        )
        assert one == again
        assert len({variant.file for variant in one}) >= 10
        assert {variant.kind for variant in one} == {
            "deleted",
            "turned",
            "constant",
            "swapped",
        }


def test_an_explanation_is_of_a_variant() -> None:
    """Or else the code has changed, and what has been explained is gone."""
    for file, explanations in mutate.explained().items():
        made = {(one.before, one.after) for one in variants(ROOT, file)}
        for explanation in explanations:
            assert (explanation["before"], explanation["after"]) in made, explanation
