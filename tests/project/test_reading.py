"""How much there is to read: the lines of the core, and of what runs; the routes through the code are true."""

import ast

import pytest

import microtensor.core
from tests.project import code


def test_the_core_is_read_in_one_sitting():
    assert code.count("core") <= 700
    assert code.count("core", "support") <= 1100
    files = sorted(path.name for path in (code.PACKAGE / "core").glob("*.py"))
    assert files == ["__init__.py", "backprop.py", "ops.py", "primitive.py", "tensor.py"]


@pytest.mark.parametrize(
    ("program", "lines", "files"), [(code.sum_and_back, 250, 6), (code.standardized_and_back, 350, 8)]
)
def test_what_runs_is_short(program, lines, files):
    found = code.read(program())
    assert sum(map(len, found.values())) <= lines
    assert len(found) <= files


def test_the_routes_in_the_docstring_of_core_are_those_that_run():
    """After a change: ``python -m tests.project.code`` writes them anew."""
    opening, routes = microtensor.core.__doc__.split("(a) How", 1)
    assert "(a) How" + routes.rstrip() == code.routes()
    assert all(f"``{name}.py``" in opening for name in ("primitive", "ops", "backprop", "tensor"))


def test_each_file_of_the_core_needs_only_those_before_it():
    order = ["primitive", "ops", "backprop", "tensor"]
    for i, name in enumerate(order):
        tree = ast.parse((code.PACKAGE / "core" / f"{name}.py").read_text(encoding="utf-8"))
        typing = [
            node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        ]
        hidden = {id(inner) for node in typing for inner in ast.walk(node)}
        needed = set()
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.ImportFrom)
                and id(node) not in hidden
                and (node.module or "").startswith("microtensor")
            ):
                for alias in node.names:
                    needed.add(f"{node.module}.{alias.name}".removeprefix("microtensor."))
        rooms = {parts[0] for parts in (n.split(".") for n in needed)}
        assert rooms <= {"core", "support"}
        assert {n.split(".")[1] for n in needed if n.startswith("core.")} <= set(order[:i])


def test_the_counter_counts_tokens_and_leaves_texts_out(tmp_path):
    path = tmp_path / "a.py"
    path.write_text(
        '"""Text.\n\nMore."""\n\n# a comment\nx = (1,\n     2)\ny = f(doc="""a\nb""")\n\n\ndef g():\n    """Text."""\n'
        "    return [\n        1\n    ]\n",
        encoding="utf-8",
    )
    assert sorted(code.lines_of_code(path)) == [6, 7, 12, 14, 15, 16]
