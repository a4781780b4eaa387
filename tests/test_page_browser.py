"""The page in a real browser: what is hovered, pinned, hidden, said, and that nothing leaves.

Chromium is the system's, driven by playwright; `.ci/run` installs it. Where either is missing,
these tests are skipped, and say so.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import networkx as nx
import pytest
from example_circuit import example_circuit, example_validation, random_circuit
from random_explanation import random_explanation

from circuitkit.circuit import Circuit
from circuitkit.circuit.explanation import Adds, Explanation
from circuitkit.views.page import page_html
from circuitkit.views.reported import Reported

playwright = pytest.importorskip(
    "playwright.sync_api",
    reason="no playwright: pip install 'sparse-circuitkit[dev]'",
)
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
pytestmark = pytest.mark.skipif(
    not CHROMIUM, reason="NO BROWSER: apt-get install chromium, to test the page as it is used"
)

CIRCUIT = example_circuit()
EXPLANATION = random_explanation(CIRCUIT)
NODE = "1.attn.v:82"
EDGE = ("1.attn.act_in:61", "1.attn.v:82")


def write(folder: Any, *circuits: Circuit, explain: bool = True) -> str:
    """The address of a page about circuits."""
    shown = [
        Reported(
            circuit=circuit, validation=example_validation(circuit),
            explanation=random_explanation(circuit) if explain else None,
        )
        for circuit in circuits
    ]  # fmt: skip
    path = folder / "report.html"
    path.write_text(page_html(shown))
    return path.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=CHROMIUM)
        yield launched
        launched.close()


@pytest.fixture
def visit(browser) -> Iterator[Any]:
    """Opens pages; fails when one asks for anything, or writes an error to the console."""
    contexts, asked, complaints = [], [], []

    def opened(address: str, **settings: Any) -> Any:
        context = browser.new_context(viewport={"width": 1400, "height": 1000}, **settings)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [url for url in asked if not url.startswith(("file:", "data:,"))] == []
    assert len([url for url in asked if url.startswith("file:")]) == len(contexts)
    assert complaints == []


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    return write(tmp_path_factory.mktemp("one"), CIRCUIT)


@pytest.fixture(scope="module")
def both_address(tmp_path_factory) -> str:
    names = [str(node) for node in CIRCUIT.nodes]
    smaller = example_circuit(names[:-6], edges=())
    return write(tmp_path_factory.mktemp("both"), CIRCUIT, smaller, example_circuit(seed=2))


def signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def node(page: Any, name: str, circuit: int = 0) -> Any:
    return page.locator(f'#c{circuit} g[data-node="{name}"]')


def edge(page: Any, source: str, target: str) -> Any:
    """The drawn edge between two nodes, found by the numbers that the page's data gives it."""
    number = page.evaluate(
        "([source, target]) => circuits[0].edges.findIndex("
        "(edge) => edge.isDrawn && edge.source === source && edge.target === target)",
        [source, target],
    )
    return page.locator(f'g[data-edge="{number}"]')


ON_TOP = """group => {
  const path = group.querySelector("path");
  for (let share = 0.1; share < 1; share += 0.05) {
    const along = path.getPointAtLength(share * path.getTotalLength());
    const at = along.matrixTransform(path.getScreenCTM());
    if (group.contains(document.elementFromPoint(at.x, at.y))) return [at.x, at.y];
  }
}"""


def point_of(drawn: Any) -> tuple[float, float]:
    """A place on the screen where an edge's line is on top."""
    drawn.scroll_into_view_if_needed()
    across, down = drawn.evaluate(ON_TOP)
    return across, down


def marked(page: Any, word: str) -> set[str]:
    """The nodes of the first circuit that carry a class."""
    found = page.locator(f"#c0 g[data-node].{word}").evaluate_all(
        "all => all.map(g => g.dataset.node)"
    )
    return {name for name in found if ":" in name}


def line(page: Any) -> str:
    return page.locator(".panel .line").first.text_content()


def focused(page: Any) -> str:
    return page.evaluate(
        "document.activeElement.dataset.node ?? document.activeElement.dataset.edge ?? ''"
    )


# -- hover and pin -------------------------------------------------------------------------------


def test_hovering_a_node_shows_its_numbers(visit, address):
    """Its contribution in the example, its activations, its contexts."""
    page = visit(address)
    node(page, NODE).hover()
    adds = EXPLANATION.examples[0].nodes[NODE]
    assert f"adds {signed(adds.both)} nats (a {signed(adds.a)}, b {signed(adds.b)})" in line(page)
    cells = page.locator(".panel .heat").first.locator("li small").all_text_contents()
    values = EXPLANATION.examples[0].a.activations[NODE]
    assert cells == [f"{value:.2f}".replace("-", "−") for value in values]
    assert page.locator(".panel .contexts mark").count() == 9


def test_hovering_an_edge_shows_its_numbers(visit, address):
    """Its weight and its contribution; a query has what is lost without it."""
    page = visit(address)
    page.mouse.move(*point_of(edge(page, *EDGE)))
    adds = EXPLANATION.examples[0].links[">".join(EDGE)]
    assert f"weight +1.70, adds {signed(adds.both)} nats" in line(page)
    node(page, "1.attn.q:83").hover()
    assert "without it is lost" in line(page)


def dependents(circuit: Circuit, name: str) -> set[str]:
    """The nodes on paths through one, by networkx: a head's queries and keys gate its values."""
    graph = circuit.graph()
    assert circuit.surroundings
    d_head = circuit.surroundings.d_head
    inside = [each for each in circuit.nodes if each.site.place in ("q", "k", "v")]
    gates = [each for each in inside if each.site.place in ("q", "k")]
    graph.add_edges_from(
        (str(gate), str(value)) for gate in gates for value in inside
        if value.site.place == "v" and value.site.layer == gate.site.layer
        and value.channel // d_head == gate.channel // d_head
    )  # fmt: skip
    return {name} | nx.ancestors(graph, name) | nx.descendants(graph, name)


@pytest.mark.parametrize("name", [NODE, "0.mlp.post_act:340", "1.attn.q:83", "1.mlp.act_in:12"])
def test_a_pin_keeps_the_paths_through_a_node(visit, address, name):
    """Exactly what depends on it and what it depends on; a second click lets all come back."""
    page = visit(address)
    node(page, name).click()
    kept = dependents(CIRCUIT, name)
    assert marked(page, "fade") == {str(each) for each in CIRCUIT.nodes} - kept
    assert marked(page, "pinned") == {name}
    assert f"Nodes on paths through it: {len(kept)}." in page.text_content(".status")
    node(page, name).click()
    assert marked(page, "fade") == set()


def test_a_pinned_edge_keeps_what_is_before_and_behind_it(visit, address):
    """Escape unpins, and so does the button."""
    page = visit(address)
    page.mouse.click(*point_of(edge(page, *EDGE)))
    graph = CIRCUIT.graph()
    kept = {*EDGE, *nx.ancestors(graph, EDGE[0]), *nx.descendants(graph, EDGE[1])}
    assert marked(page, "fade") == {str(each) for each in CIRCUIT.nodes} - kept
    page.keyboard.press("Escape")
    assert marked(page, "fade") == set()
    node(page, NODE).click()
    page.click(".unpin")
    assert marked(page, "fade") == set()


# -- slider and examples -------------------------------------------------------------------------


def test_the_slider_hides_the_weakest_edges(visit, address):
    """Those below the least contribution, by the numbers of the explanation, and no others."""
    page = visit(address)
    page.focus(".least")
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    links = EXPLANATION.examples[0].links
    drawn = page.evaluate(
        "circuits[0].edges.filter(e => e.isDrawn).map(e => [e.source, e.target, e.i])"
    )
    sizes = {i: abs(links[f"{a}>{b}"].both) for a, b, i in drawn if f"{a}>{b}" in links}
    least = page.evaluate("views[0].flow.least")
    hidden = page.locator("g[data-edge].below").evaluate_all("all => all.map(g => +g.dataset.edge)")
    assert {i for i, size in sizes.items() if size < least - 1e-4} <= set(hidden)
    assert not {i for i, size in sizes.items() if size > least + 1e-4} & set(hidden)
    assert 8 <= len(hidden) < len(drawn)
    assert page.get_attribute(".least", "aria-valuetext") in page.text_content(".status")


def test_another_example_shows_other_numbers(visit, address):
    """The pair, the lines and the numbers are those of the example that was chosen."""
    page = visit(address)
    page.select_option(".example-choice", "3")
    node(page, NODE).hover()
    adds = EXPLANATION.examples[3].nodes[NODE]
    assert f"adds {signed(adds.both)} nats" in line(page)
    visible = page.locator("[data-example]:visible").evaluate_all(
        "all => all.map(d => d.dataset.example)"
    )
    assert set(visible) == {"3"}
    page.click('[data-choose="1"]')
    assert page.input_value(".example-choice") == "1"


# -- keyboard, screen readers, themes, print -----------------------------------------------------


def test_the_keyboard_alone_can_do_all(visit, address):
    """Theme, example, slider, a node, an edge, pin, unpin, by Tab, arrows, Enter and Escape."""
    page = visit(address)
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(
            "document.activeElement.id || document.activeElement.className.baseVal || "
            "document.activeElement.className || document.activeElement.getAttribute('aria-label')"
        ))  # fmt: skip
        if focused(page):
            break
    order = [reached.index(each) for each in ("theme", "c0-example", "c0-least")]
    assert order == sorted(order)
    names = [str(each) for each in CIRCUIT.nodes]
    assert focused(page) == names[0]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert marked(page, "pinned") == {names[1]}
    page.keyboard.press("ArrowUp")
    source = page.evaluate("([i]) => circuits[0].edges[i].source", [int(focused(page))])
    assert source == names[1]
    assert "adds" in line(page)
    page.keyboard.press("ArrowUp")
    assert CIRCUIT.graph().has_edge(names[1], focused(page))
    page.keyboard.press("Escape")
    assert marked(page, "pinned") == set()
    page.keyboard.press("End")
    assert focused(page).startswith("answer")


def test_focus_is_named_for_those_who_do_not_see_it(visit, address):
    """Every node and edge is a button with its line as its name; one of them takes the focus."""
    page = visit(address)
    targets = page.locator("#c0 .drawing [role=button]")
    names = targets.evaluate_all("all => all.map(g => g.getAttribute('aria-label'))")
    assert all(names)
    assert sum("adds" in name for name in names) > CIRCUIT.n_nodes
    assert page.locator("#c0 .drawing [tabindex='0']").count() == 1
    assert page.locator("[role=status]").count() == 1


AXE = """rules => axe.run({resultTypes: ["violations"], ...(rules && {runOnly: rules})})
  .then(result => result.violations)"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("several", "scheme", "rules"),
    [(False, "light", None), (True, "light", None), (False, "dark", ["color-contrast"])],
)
def test_axe_finds_nothing_serious(visit, address, both_address, several, scheme, rules):
    """With a node pinned; in dark, only colours are other than in light."""
    page = visit(both_address if several else address, color_scheme=scheme)
    node(page, NODE).click()
    page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text())
    found = page.evaluate(AXE, rules)
    serious = [(each["id"], each["nodes"][0]["html"][:120]) for each in found
               if each["impact"] in ("serious", "critical")]  # fmt: skip
    assert serious == []


def test_axe_would_notice(visit, address):
    """A planted failure: a button without a name, and text that cannot be told from its paper."""
    page = visit(address)
    page.evaluate("document.getElementById('theme').textContent = ''")
    page.evaluate("document.querySelector('.facts').style.color = '#f0f0f0'")
    page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text())
    found = page.evaluate(AXE, ["button-name", "color-contrast"])
    assert {each["id"] for each in found} == {"button-name", "color-contrast"}


def background(page: Any) -> str:
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_the_theme_follows_the_system_until_the_button(visit, address):
    light, dark = (visit(address, color_scheme=scheme) for scheme in ("light", "dark"))
    white, black = background(light), background(dark)
    assert white == "rgb(255, 255, 255)"
    assert black != white
    light.click("#theme")
    assert background(light) == black
    assert light.get_attribute("#theme", "aria-pressed") == "true"
    assert "invert" in light.evaluate(
        "getComputedStyle(document.querySelector('.drawing > svg')).filter"
    )


def test_a_print_is_light_and_leaves_the_controls_out(visit, address):
    page = visit(address, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert background(page) == "rgb(255, 255, 255)"
    for part in (".controls", ".panel", ".top", ".status"):
        assert not page.locator(part).first.is_visible()
    assert page.locator(".drawing > svg").is_visible()
    overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert overflow <= 0


# -- several circuits, large ones, ones without an explanation -----------------------------------


def test_two_circuits_mark_what_they_share(visit, both_address):
    """Shared nodes are marked in both, and a hover in one shows in the other."""
    page = visit(both_address)
    names = [str(each) for each in CIRCUIT.nodes]
    assert marked(page, "shared") == set(names[:-6])
    node(page, names[0], circuit=1).hover()
    assert marked(page, "also") == {names[0]}


def test_circuits_can_be_switched(visit, both_address):
    """The third comes when it is asked for, with its own numbers; one always stays."""
    page = visit(both_address)
    for button in (1, 2):
        page.click(f'[data-show="{button}"]')
    assert page.locator("article:visible").evaluate_all("all => all.map(a => a.id)") == ["c0", "c2"]
    assert page.locator("[data-pair]:visible").get_attribute("data-pair") == "0 2"
    node(page, NODE, circuit=2).hover()
    assert "adds" in page.locator("#c2 .panel .line").text_content()
    for button in (0, 2):
        page.click(f'[data-show="{button}"]')
    assert page.locator("article:visible").count() == 1


def test_without_an_explanation_activations_are_shown(visit, tmp_path):
    page = visit(write(tmp_path, CIRCUIT, explain=False))
    node(page, NODE).hover()
    assert "adds" not in line(page)
    assert page.locator(".panel .heat").count() == 2
    node(page, NODE).click()
    assert marked(page, "fade") == {str(each) for each in CIRCUIT.nodes} - dependents(CIRCUIT, NODE)


@pytest.mark.slow
def test_a_page_of_500_nodes_can_be_used(visit, tmp_path):
    circuit = random_circuit(500, n_layer=8)
    page = visit(write(tmp_path, circuit))
    name = str(next(iter(circuit.nodes)))
    node(page, name).focus()
    page.keyboard.press("Enter")
    assert marked(page, "pinned") == {name}


HOSTILE = "</script><img src=x onerror=document.title='owned'>"


def test_a_hostile_token_stays_text(visit, tmp_path):
    """It is read as it stands, in the page and in the panel, and nothing runs."""
    tokens = ("x", HOSTILE, "y")
    circuit = example_circuit(around={"tokens_a": tokens, "tokens_b": ("x", "z", "y")})
    page = visit(write(tmp_path, circuit))
    node(page, NODE).hover()
    assert (
        page.locator(".panel .heat")
        .first.locator("li")
        .nth(1)
        .text_content()
        .startswith("'</script>")
    )
    assert page.locator("img:not(.picture img)").count() == 0
    assert page.title() != "owned"


def test_a_number_that_was_changed_would_be_noticed(visit, tmp_path):
    """A planted failure: the panel shows the number of the file, not one that is like it."""
    first = EXPLANATION.examples[0]
    changed = first.model_copy(update={"nodes": {**first.nodes, NODE: Adds(a=7.5, b=8.5)}})
    explanation = Explanation(**{**dict(EXPLANATION), "examples": (changed,)})
    path = tmp_path / "report.html"
    path.write_text(page_html([Reported(circuit=CIRCUIT, explanation=explanation)]))
    page = visit(path.as_uri())
    node(page, NODE).hover()
    assert "adds +8.00 nats (a +7.50, b +8.50)" in line(page)
