# SPDX-License-Identifier: Apache-2.0
"""The op × ISA matrix: complete, and the README carries the current one."""

import pytest

import gen_matrix
from octavo import ops


def test_readme_is_up_to_date():
    assert gen_matrix.main(["--check"]) == 0, "run python tools/gen_matrix.py"


def test_every_operator_is_named():
    text = gen_matrix.matrix()
    for name in ops.names():
        assert name in text, name


def test_every_arithmetic_kernel_family_is_named():
    text = gen_matrix.matrix()
    for isa, names in gen_matrix.kernel_names().items():
        assert names, isa
        for name in names:
            family = name.removesuffix(f"_{isa}")
            if not family.startswith(("crc32", "peak")):
                assert family.split("_")[0] in text, name


def test_every_step_kind_of_the_examples_has_a_family():
    for name, row in gen_matrix.operators():
        for kinds in row.integer:
            assert kinds <= set(gen_matrix.FAMILIES), name


@pytest.mark.parametrize("text", ["", "<!-- matrix:end --><!-- matrix:begin -->",
                                  "<!-- matrix:begin -->"])  # fmt: skip
def test_missing_marks_are_named(text, tmp_path, capsys):
    readme = tmp_path / "README.md"
    readme.write_text(text)
    assert gen_matrix.main(["--readme", str(readme)]) == 1
    assert "matrix:begin" in capsys.readouterr().err
    assert readme.read_text() == text


def test_writes_between_the_marks_only(tmp_path, capsys):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- matrix:begin -->old<!-- matrix:end -->\nafter\n")
    assert gen_matrix.main(["--check", "--readme", str(readme)]) == 1
    assert "out of date" in capsys.readouterr().out
    assert gen_matrix.main(["--readme", str(readme)]) == 0
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert gen_matrix.main(["--check", "--readme", str(readme)]) == 0
