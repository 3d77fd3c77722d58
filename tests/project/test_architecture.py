"""The rooms of the package: who imports whom, where derivatives live, and what a plain import loads."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import microtensor

ROOT = Path(microtensor.__file__).parent
MODULES = {
    ".".join(("microtensor", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}
ENGINE = {"core", "ops", "functional", "creation", "calculus"}
MAY_IMPORT = {
    "support": set(),
    "core": set(),
    "checks": {"core"},
    "hints": set(),
    "text": set(),
    "showing": set(),
    "starting": set(),
    "atomic": set(),
    "memory": set(),
    "decorators": set(),
    "ops": {"core", "checks", "hints"},
    "functional": {"core", "ops", "checks", "hints"},
    "creation": {"core", "checks", "hints"},
    "numpy_functions": {"core", "ops", "functional", "creation"},
    "shared": {"core", "ops"},
    "methods": {"core", "ops", "functional", "creation", "numpy_functions", "showing", "shared", "hints"},
    "calculus": {"core", "ops"},
    # The public paths of what stands in core and around it.
    "primitive": {"core", "ops", "methods"},
    "tensor": {"core", "creation", "methods"},
    "backprop": {"core", "calculus"},
    "norms": {"core", "ops", "functional", "checks"},
    "losses": {"core", "ops", "functional", "checks"},
    "random": {"core", "creation", "hints"},
    "nn": {"hints", "core", "ops", "functional", "creation", "checks", "text", "showing", "norms", "losses", "random"},
    "optim": {"core", "creation", "checks"},
    "data": {"core", "checks", "random"},
    "serialize": {"core", "creation", "text", "atomic"},
    "convert": {"core"},
    "compiling": {"core", "ops", "creation", "nn"},
    "inspect": {*ENGINE, "checks", "text", "showing", "norms"},
    # The public paths of what stands in inspect.
    "checking": {"inspect"},
    "ledger": {"inspect"},
    "graph": {"inspect"},
    "demos": {*ENGINE, "norms", "losses", "nn", "optim"},
    "viz": {"core", "creation", "text", "inspect"},
    "display": {"showing", "viz"},
    "output": {"text", "atomic"},
    "script": {*ENGINE, "text", "nn", "inspect", "demos"},
    "cli": {
        "",
        *ENGINE,
        "text",
        "norms",
        "nn",
        "inspect",
        "checking",
        "ledger",
        "graph",
        "viz",
        "script",
        "output",
        "demos",
    },
    "torch": {*ENGINE, "hints", "nn", "optim", "losses", "random"},
    "__main__": {"cli"},
}
# The front door names all of them.
MAY_IMPORT[""] = set(MAY_IMPORT) - {"cli", "torch", "__main__"}
# Where a name that is known only when the program runs is imported: a name on demand, an operation that a pickle
# names, a user's script, and all of the package before a script may hide a part of it.
BY_NAME = {
    "microtensor",
    "microtensor.compiling.numba_build",
    "microtensor.methods",
    "microtensor.script.in_place_of_torch",
    "microtensor.script.run",
    "microtensor.script.modules",
}


@cache
def parsed(module):
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def is_type_checking(node):
    return isinstance(node, ast.If) and getattr(node.test, "id", getattr(node.test, "attr", None)) == "TYPE_CHECKING"


def statements(tree, place=""):
    """Every node with the dotted name of the function it stands in; blocks for the type checker are left out."""
    for node in ast.iter_child_nodes(tree):
        if is_type_checking(node):
            continue
        named = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        inner = f"{place}.{node.name}".lstrip(".") if named else place
        yield inner, node
        yield from statements(node, inner)


def imported(node):
    """The dotted names that an import statement names, the most exact module first."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative import"
        exact = [f"{node.module}.{alias.name}" for alias in node.names]
        return [name if name in MODULES else node.module for name in exact]
    return []


@cache
def imports(module):
    """(place, imported module) for everything that a module imports, in functions too."""
    tree = parsed(module)
    return {(place, name) for place, node in statements(tree) for name in imported(node)}


def room(module):
    return [*module.split("."), ""][1]


@cache
def calls(module):
    """The names of the functions that a module calls."""
    tree = parsed(module)
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {getattr(f, "id", getattr(f, "attr", None)) for f in called}


def of_room(*rooms):
    return [module for module in MODULES if room(module) in rooms]


@pytest.mark.parametrize("module", MODULES)
def test_no_import_that_runs_points_to_a_higher_room(module):
    """At module level or inside a function: each room names those below it."""
    here = room(module)
    assert here in MAY_IMPORT, f"{module} has no room in the architecture"
    wrong = [
        f"{module}: {place or 'top level'} imports {name}"
        for place, name in sorted(imports(module))
        if name.split(".")[0] == "microtensor" and room(name) not in {here, "support", *MAY_IMPORT[here]}
    ]
    assert not wrong, wrong


def test_the_rooms_stand_one_above_the_other():
    assert (
        set(TopologicalSorter({k: v - {""} for k, v in MAY_IMPORT.items()}).static_order())
        == set(MAY_IMPORT)
        == {room(m) for m in MODULES}
    )


def test_no_name_of_a_higher_room_is_imported_as_a_string():
    assert {m for m in MODULES if calls(m) & {"import_module", "__import__", "exec_module"}} == BY_NAME
    for module in BY_NAME - {"microtensor"}:
        for node in ast.walk(parsed(module)):
            if (
                isinstance(node, ast.Call)
                and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module"
            ):
                assert not any(isinstance(part, ast.Constant) and "microtensor" in part.value for part in node.args)


@pytest.mark.parametrize("module", of_room("inspect"))
def test_what_looks_at_a_graph_shares_its_history_and_nothing_else(module):
    part = module.split(".")[2:3]
    shared = [part, ["history"], ["records"], ["statistics"]]
    if part == ["grading"]:
        # It calls the functions that it grades as the checker does, and raises the checker's error.
        shared.append(["checking"])
    if part == ["checking"] and module.endswith(".reading"):
        # It asks the grader about a rule, when the rule is wrong.
        shared.append(["grading"])
    if part == ["ledger"]:
        # It reads a gradient that was made by hand as the grader does, and names constants as the checker does.
        shared += [["grading"], ["checking"]]
    others = {n for _, n in imports(module) if room(n) == "inspect" and n.split(".")[2:3] not in shared}
    assert not others


def test_one_walk_over_a_history_and_one_way_to_run_it_again():
    above = [m for m in MODULES if room(m) in ("inspect", "graph", "ledger", "checking", "viz", "script", "cli")]
    assert [m for m in above if "toposort" in calls(m)] == ["microtensor.inspect.history"]
    assert [m for m in above if calls(m) & {"operation", "primitive"}] == ["microtensor.inspect.history"]
    # The checker of rules calls them as they are, to see what they return; everybody else takes a contribution.
    assert [m for m in above if "rule" in calls(m)] == ["microtensor.inspect.checking.rules"]


def test_no_module_needs_itself_to_be_imported():
    edges = {m: {n for place, n in imports(m) if n in MODULES and not place and n != m} for m in MODULES}
    assert set(TopologicalSorter(edges).static_order()) == set(MODULES)


@pytest.mark.parametrize("module", of_room("norms", "functional", "losses"))
def test_compositions_import_no_numpy_and_define_no_rule(module):
    assert not {name for _, name in imports(module) if name.split(".")[0] in ("numpy", "scipy")}
    assert not calls(module) & {"primitive", "Primitive"}


# The public path of operations, and PyTorch's autograd.Function, hand on what their callers define.
@pytest.mark.parametrize(
    "module",
    [
        m
        for m in MODULES
        if room(m) not in ("ops", "primitive") and m not in ("microtensor.core.ops", "microtensor.torch.autograd")
    ],
)
def test_derivatives_live_in_ops_only(module):
    assert not calls(module) & {"primitive", "Primitive"}


def test_ops_defines_every_primitive_that_it_lists():
    assert all("primitive" in calls(module) for module in ("microtensor.core.ops", "microtensor.ops.elementwise"))
    assert all(p.name == name for name, p in microtensor.ops.primitives.items())


@pytest.mark.parametrize("package", ["click", "graphviz"])
def test_only_the_command_line_and_the_pictures_use(package):
    users = {room(m) for m in MODULES for _, name in imports(m) if name.split(".")[0] == package}
    assert users <= {"cli", "viz", "script", "output"}
    assert users


def test_the_first_line_says_what_a_module_is_for():
    first = {module: (ast.get_docstring(parsed(module)) or "").partition("\n")[0] for module in MODULES}
    assert [module for module, line in first.items() if not line.endswith(".")] == []


def test_a_plain_import_loads_numpy_and_nothing_heavier():
    heavy = [
        "asyncio",
        "click",
        "graphviz",
        "http",
        "multiprocessing",
        "scipy",
        "subprocess",
        "tempfile",
        "torch",
        "xml",
    ]
    # What a measuring tool has loaded before counts for nothing.
    program = (
        "import sys; before = set(sys.modules); import microtensor\n"
        f"print(*[m for m in {heavy} if m in sys.modules.keys() - before])"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_plain_import_loads_no_drawing_and_values_are_shown_all_the_same():
    """The room that draws is loaded when something is shown, by a name that the top room has registered."""
    program = (
        "import sys, microtensor as mt\n"
        "assert not [m for m in sys.modules if m.startswith(('microtensor.viz', 'microtensor.inspect'))]\n"
        "x = mt.tensor([1.0, 2.0], requires_grad=True, name='x')\n"
        "graph, net = mt.Graph.from_tensor(x * x), mt.nn.Linear(2, 1)\n"
        "assert not [m for m in sys.modules if m.startswith('microtensor.viz')]\n"
        "print(graph)\n"
        "graph.show()\n"
        "print(sorted((x * x)._repr_mimebundle_()), sorted(graph._repr_mimebundle_()), sorted(net._repr_mimebundle_()))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    *shown, bundles = done.stdout.splitlines()
    assert shown[: len(shown) // 2] == shown[len(shown) // 2 :]
    assert shown[1].split() == ["x", "input", "(2,)"]
    pictured = ["image/png", "image/svg+xml", "text/plain"]
    assert bundles == f"{[*pictured[:2], 'text/html', 'text/plain']} {pictured} {['text/html', 'text/plain']}"


def test_everything_exported_exists_and_is_listed_once():
    assert all(hasattr(microtensor, name) for name in microtensor.__all__)
    assert len(microtensor.__all__) == len(set(microtensor.__all__))


def test_every_public_name_is_there_also_those_loaded_on_demand():
    assert dir(microtensor) == sorted(microtensor.__all__)
    for name in microtensor.__all__:
        assert getattr(microtensor, name) is vars(microtensor)[name]
    with pytest.raises(AttributeError, match="module 'microtensor' has no attribute 'nothing'"):
        microtensor.nothing  # noqa: B018


def test_what_is_loaded_on_demand_is_what_a_type_checker_sees():
    tree = parsed("microtensor")
    (block,) = [node for node in tree.body if is_type_checking(node)]
    seen = {node.module: tuple(alias.name for alias in node.names) for node in block.body}
    assert seen.pop("microtensor.core.primitive") == ("primitive",)
    assert seen == microtensor._ON_DEMAND


COUNTERS = {"getrefcount", "get_referrers", "get_referents", "get_objects", "_Py_REFCNT", "ob_refcnt"}


def reads_of_reference_counts(program):
    """The names, attributes, imports and strings in a program that stand for reference counts or referrers."""
    found = []
    for node in ast.walk(program):
        words = []
        if isinstance(node, ast.Attribute):
            words = [node.attr]
        elif isinstance(node, ast.Name):
            words = [node.id]
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            words = [part for alias in node.names for part in alias.name.split(".")]
            words += (getattr(node, "module", None) or "").split(".")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            words = [node.value]
        found += [word for word in words if word in COUNTERS | {"ctypes"}]
    return found


def test_nothing_in_the_package_reads_reference_counts_or_referrers():
    found = {module: set(reads_of_reference_counts(parsed(module))) for module in MODULES}
    # The C library's mallopt and prctl, which have nothing to do with objects.
    assert found.pop("microtensor.memory") == found.pop("microtensor.script.watch") == {"ctypes"}
    # Executors that a script has left open are looked for among all objects; nobody asks who holds them.
    assert found.pop("microtensor.script.forked") == {"get_objects"}
    assert not any(found.values()), found


@pytest.mark.parametrize(
    "source",
    [
        "import sys\nsys.getrefcount(x)",
        "from sys import getrefcount as count",
        "getattr(__import__('sys'), 'getrefcount')(x)",
        "import gc\nlook = gc.get_referrers",
        "import ctypes",
        "from ctypes import c_long",
    ],
)
def test_a_reading_of_reference_counts_would_be_found_under_any_name(source):
    assert reads_of_reference_counts(ast.parse(source))
