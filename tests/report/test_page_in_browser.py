"""The page in a real browser, opened from a file as people do."""

import csv
import io
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from rlottery.report.contents import Contents
from rlottery.report.files import write_report
from tests.report.contents import TASKS, contents, renamed

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium here to open the page with")

VERDICT_ROWS = len(TASKS) * 13
LONG = "a_criterion_of_my_own-iterative-rewound_to_step_10000-95"


@cache
def made() -> Contents:
    """A study of many arms with a long name, a commit as a version, and long words in its config and commands."""
    given = renamed(contents(), "taylor-95", LONG)
    return replace(
        given,
        title=f"{LONG}-and-more",
        versions={**given.versions, "commit": "0123456789" * 4},
        config_text=f"data: {'x' * 300}\n",
        commands=(replace(given.commands[0], line=f"rlottery run {'folder/' * 40}config.yaml"),),
        missing=(*given.missing, f"Reacher-v5: {'y' * 200}"),
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    return write_report(tmp_path_factory.mktemp("report"), made())[0]


def browse(page: Path, *options: str, width: int = 1440) -> subprocess.CompletedProcess[str]:
    assert BROWSER is not None
    profile = page.parent / "profile"
    shutil.rmtree(profile, ignore_errors=True)
    command = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += [f"--user-data-dir={profile}", f"--window-size={width},900", "--virtual-time-budget=3000"]
    command += ["--enable-logging=stderr", "--dump-dom", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)


def measured(page: Path, script: str, *options: str, width: int = 1440) -> dict:
    """What a script stores in `told` once the page has loaded, in a copy whose policy lets it run."""
    text = page.read_text()
    policy = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
    assert len(policy.findall(text)) == 1
    run = f"""<script>
      const told = {{ errors: [] }};
      window.addEventListener("error", event => told.errors.push(String(event.message)));
      window.addEventListener("load", async function () {{
        try {{ {script} }} catch (error) {{ told.errors.push(String(error)); }}
        const left = document.createElement("script");
        left.type = "application/json";
        left.id = "told";
        left.textContent = JSON.stringify(told);
        document.body.append(left);
      }});
    </script>"""
    copy = page.with_name("copy.html")
    copy.write_text(policy.sub("", text).replace("<title>", f"{run}<title>", 1))
    dom = browse(copy, *options, width=width).stdout
    found = re.search(r'<script type="application/json" id="told">(.*?)</script>', dom, re.S)
    assert found is not None, dom[-2000:]
    told = json.loads(found.group(1))
    assert told["errors"] == []
    return told


def test_it_opens_without_a_complaint_and_its_own_policy_lets_its_script_run(page):
    seen = browse(page)
    assert "CONSOLE" not in seen.stderr
    # The script shows what is of no use without it.
    assert re.search(r'<form class="filters"(?![^>]*hidden)', seen.stdout)
    assert seen.stdout.count('<th scope="col" class="number"><button') > 20


def test_a_click_sorts_and_another_the_other_way(page):
    told = measured(
        page,
        """
        const table = document.getElementById("table-verdicts");
        const titles = Array.from(table.tHead.rows[0].cells, cell => cell.textContent);
        const column = titles.indexOf("Normalised score [90 % interval]");
        const values = () => Array.from(table.tBodies[0].rows, row => Number(row.cells[column].dataset.order));
        const head = table.tHead.rows[0].cells[column];
        told.focusable = head.querySelector("button").tabIndex;
        head.querySelector("button").click();
        told.rising = values(); told.first = head.getAttribute("aria-sort");
        head.querySelector("button").click();
        told.falling = values(); told.second = head.getAttribute("aria-sort");
        table.tHead.rows[0].cells[0].querySelector("button").click();
        told.after = head.getAttribute("aria-sort");
        told.sorted = table.querySelectorAll("[aria-sort]").length;
        """,
    )
    wanted = sorted(1 + arm.dense.comparison.difference for task in made().verdicts.tasks for arm in task.arms)
    assert told["rising"] == pytest.approx(wanted)
    assert told["falling"] == pytest.approx(wanted[::-1])
    assert (told["first"], told["second"], told["after"]) == ("ascending", "descending", None)
    assert told["sorted"] == 1
    assert told["focusable"] == 0


def test_what_is_not_known_is_sorted_last_both_ways(page):
    told = measured(
        page,
        """
        const table = document.getElementById("table-answers");
        const titles = Array.from(table.tHead.rows[0].cells, cell => cell.textContent);
        const column = titles.indexOf("More seeds");
        const last = () => table.tBodies[0].rows[table.tBodies[0].rows.length - 1].cells[column].dataset.order;
        const button = table.tHead.rows[0].cells[column].querySelector("button");
        button.click(); told.rising = last();
        button.click(); told.falling = last();
        """,
    )
    assert told["rising"] == told["falling"] == ""


def test_no_text_is_wider_than_a_phone(page):
    """Tables scroll there; captions and paragraphs are as wide as the screen at most."""
    told = measured(
        page,
        """
        const copy = document.documentElement.cloneNode(true);
        copy.querySelector("script").remove();  // this one
        const frame = document.createElement("iframe");  // windows are never so narrow
        frame.style = "width: 390px; height: 900px; border: 0";
        frame.srcdoc = copy.outerHTML;
        document.body.append(frame);
        await new Promise(done => frame.addEventListener("load", done));
        const inside = frame.contentDocument;
        inside.head.insertAdjacentHTML("beforeend", "<style>.evidence td { min-width: 9rem }</style>");  // long numbers
        const texts = Array.from(inside.querySelectorAll("main p, main li, caption span"));
        const clipped = texts.filter(text => text.getBoundingClientRect().right > 391);
        told.clipped = clipped.map(text => text.textContent.slice(0, 60));
        told.captions = inside.querySelectorAll(".evidence caption span").length;
        told.width = frame.contentWindow.innerWidth;
        """,
    )
    assert told["captions"] and told["width"] == 390
    assert told["clipped"] == []


def test_filters_narrow_the_verdicts(page):
    told = measured(
        page,
        """
        const form = document.querySelector("form[data-filters]");
        const rows = Array.from(document.getElementById("table-verdicts").tBodies[0].rows);
        const shown = () => rows.filter(row => row.getClientRects().length > 0);
        const set = (selector, value) => {
          const field = form.querySelector(selector);
          field.value = value;
          field.dispatchEvent(new Event("input", { bubbles: true }));
        };
        told.all = shown().length;
        set("[data-filter=dense]", "worse than dense");
        told.worse = shown().length;
        set("[data-filter=task]", "Reacher-v5");
        told.both = shown().map(row => row.cells[0].textContent.trim());
        told.count = form.querySelector("output").textContent;
        set("[data-filter=dense]", ""); set("[data-filter=task]", "");
        set("[data-filter-text]", "SMALL-dense");
        told.text = shown().length;
        """,
    )
    arms = [arm for task in made().verdicts.tasks for arm in task.arms]
    worse = [arm for arm in arms if arm.dense.answer == "worse"]
    assert told["all"] == VERDICT_ROWS == len(arms)
    assert told["worse"] == len(worse)
    assert told["both"] == [arm.arm for arm in worse if arm.task == "Reacher-v5"] != []
    assert told["count"] == f"{len(told['both'])} of {VERDICT_ROWS}"
    assert told["text"] == sum(arm.arm == "small-dense-95" for arm in arms)


COLOURS = """
    const paper = () => getComputedStyle(document.body).backgroundColor;
    const drawn = () => getComputedStyle(document.querySelector(".panels svg [style*='--figure-1f1f1f']")).stroke;
    told.before = [paper(), drawn()];
    document.querySelector("[data-toggle-theme]").click();
    told.after = [paper(), drawn()];
    told.remembered = localStorage.getItem("rlottery-theme");
"""


def test_the_theme_is_the_readers_until_the_button_is_pressed(page):
    light, dark = ["rgb(255, 255, 255)", "rgb(31, 31, 31)"], ["rgb(22, 22, 22)", "rgb(236, 236, 236)"]
    told = measured(page, COLOURS, "--blink-settings=preferredColorScheme=1")
    assert (told["before"], told["after"], told["remembered"]) == (light, dark, "dark")
    told = measured(page, COLOURS, "--blink-settings=preferredColorScheme=0")
    assert (told["before"], told["after"], told["remembered"]) == (dark, light, "light")


FIGURES = """
    // A pixel of rounding. A line of text is an element with outlines of letters.
    const within = (one, other) => one.left >= other.left - 1 && one.right <= other.right + 1 &&
      one.top >= other.top - 1 && one.bottom <= other.bottom + 1;
    const overlap = (one, other) => one.left < other.right - 1 && other.left < one.right - 1 &&
      one.top < other.bottom - 1 && other.top < one.bottom - 1;
    const lookAtFigures = function (page) {
      const told = { panels: 0, texts: 0, small: [], outside: [], overlap: [] };
      const check = (name, whole, parts) => parts.forEach((part, place) => {
        if (!within(part, whole)) told.outside.push(name);
        if (parts.slice(place + 1).some(other => overlap(part, other))) told.overlap.push(name);
      });
      page.querySelectorAll("figure[data-figure]").forEach(figure => {
        const name = figure.dataset.figure, boxes = each => each.getBoundingClientRect();
        check(name, boxes(figure), Array.from(figure.querySelectorAll(".keys li"), boxes));
        figure.querySelectorAll(".panels > svg").forEach(panel => {
          const letters = panel.querySelectorAll("use[href^='#letter-']");
          const lines = Array.from(new Set(Array.from(letters, use => use.parentNode)));
          check(name, boxes(panel), lines.map(boxes));
          told.panels += 1; told.texts += lines.length;
          lines.forEach(line => {
            const scale = line.getScreenCTM();  // the outlines are of letters of 100 units
            const size = 100 * Math.hypot(scale.a, scale.b);
            if (size < 11) told.small.push(`${name}: ${size.toFixed(2)}`);
          });
        });
      });
      const first = page.querySelector("#curves .panels");
      told.columns = page.defaultView.getComputedStyle(first).gridTemplateColumns.split(" ").length;
      return told;
    };
"""


@pytest.fixture(scope="module")
def screens(page) -> dict[str, dict]:
    """What a computer (1280 x 800 pixels) and a phone (420 wide) show of the page."""
    # A window may not be as narrow as a phone; a frame may.
    frame = page.with_name("frame.html")
    frame.write_text(
        '<meta http-equiv="Content-Security-Policy" content="default-src *"><title>frame</title>'
        f'<iframe src="{page.name}" style="width: 1280px; height: 800px; border: 0"></iframe>'
        f'<iframe src="{page.name}" style="width: 420px; height: 800px; border: 0"></iframe>'
    )
    look = """
        const look = function (frame) {
          const page = frame.document, seen = {}, all = name => Array.from(page.querySelectorAll(name));
          const box = name => page.querySelector(name).getBoundingClientRect().toJSON();
          const places = () => all(".top nav a").map(link => link.getBoundingClientRect().toJSON());
          seen.width = frame.innerWidth;
          seen.wide = page.documentElement.scrollWidth;
          seen.text = parseFloat(frame.getComputedStyle(page.body).fontSize);
          for (const name of [".lead", ".evidence", ".first figure"]) seen[name] = box(name);
          seen.links = places();
          page.querySelector("[data-menu]").click();
          seen.unfolded = places();
          page.querySelector(".top nav a").click();
          seen.folded = places();
          all("details").forEach(part => { part.open = true; });
          seen.wide_unfolded = page.documentElement.scrollWidth;
          seen.scrolling = all("main *").filter(part => part.scrollWidth > part.clientWidth + 1
            && ["auto", "scroll"].includes(frame.getComputedStyle(part).overflowX)).map(part => ({
              table: part.querySelector("table") !== null, focus: part.tabIndex,
              shade: frame.getComputedStyle(part).backgroundAttachment }));
          seen.figures = lookAtFigures(page);
          return seen;
        };
        told.computer = look(frames[0]); told.phone = look(frames[1]);
    """
    return measured(frame, FIGURES + look, "--allow-file-access-from-files", width=1800)


@pytest.mark.parametrize(("screen", "width"), [("computer", 1280), ("phone", 420)])
def test_nothing_but_tables_and_figures_scrolls_sideways(screens, screen, width):
    seen = screens[screen]
    assert seen["width"] == width
    assert max(seen["wide"], seen["wide_unfolded"]) <= width
    assert seen["text"] >= 16


@pytest.mark.parametrize("screen", ["computer", "phone"])
def test_what_scrolls_shows_it_and_can_be_reached_by_keyboard(screens, screen):
    scrolling = screens[screen]["scrolling"]
    assert sum(part["table"] for part in scrolling) >= 3
    assert all(part["focus"] == 0 for part in scrolling)
    # The shade stays at the edge, and the patch that covers it at the end moves with the content.
    assert all(part["shade"] == "local, scroll" for part in scrolling if part["table"])


def test_the_first_screen_has_the_answer_its_numbers_and_the_main_figure(screens):
    computer, phone = screens["computer"], screens["phone"]
    lead, numbers, figure = (computer[name] for name in (".lead", ".evidence", ".first figure"))
    assert lead["bottom"] <= numbers["top"] < numbers["bottom"] < 800
    assert figure["left"] >= max(lead["right"], numbers["right"]) and figure["top"] < 400
    assert phone[".lead"]["bottom"] < phone[".evidence"]["top"] < phone[".first figure"]["top"]
    assert phone[".lead"]["bottom"] < 800


def test_every_part_can_be_reached_from_the_bar_at_the_top(screens):
    whole = screens["computer"]["links"]
    assert len(whole) >= 12
    for links, width in ((whole, 1280), (screens["phone"]["unfolded"], 420)):
        assert all(0 <= link["left"] < link["right"] <= width and 0 <= link["top"] < 800 for link in links)
        assert len({(link["left"], link["top"]) for link in links}) == len(whole)
    assert not any(link["width"] for link in screens["phone"]["links"] + screens["phone"]["folded"])
    assert screens["computer"]["folded"] == whole


@pytest.mark.parametrize(("screen", "columns"), [("computer", 4), ("phone", 1)])
def test_text_in_figures_is_whole_apart_and_readable(screens, screen, columns):
    told = screens[screen]["figures"]
    assert told["panels"] >= 30 and told["texts"] >= 500
    assert (sorted(set(told["outside"])), sorted(set(told["overlap"]))) == ([], [])
    assert sorted(set(told["small"])) == []
    assert told["columns"] == columns


POINTS = """
    const tip = document.querySelector(".tip.point");
    const figure = document.querySelector("figure[data-figure='sparsity-Reacher-v5']");
    const panel = figure.querySelector(".panels > svg");
    const point = (svg, mark) => {
      const box = mark.getBoundingClientRect();
      svg.dispatchEvent(new PointerEvent("pointermove", {
        clientX: box.left + box.width / 2, clientY: box.top + box.height / 2, pointerType: "mouse",
      }));
      return tip.hidden ? null : tip.textContent;
    };
    const marks = (svg, style) => Array.from(svg.querySelectorAll(`use[style*="${style}"]`));
    told.means = marks(panel, "stroke: var(--figure-0072b2); stroke-width: 1.2").map(mark => point(panel, mark));
    panel.dispatchEvent(new PointerEvent("pointerleave", { pointerType: "mouse" }));
    told.left = tip.hidden;
    const curves = document.querySelectorAll("figure[data-figure='curves-drawer-close-v3'] .panels > svg")[3];
    told.diverged = marks(curves, "stroke-width: 1.8").map(mark => point(curves, mark));
    panel.focus();
    told.reached = document.activeElement === panel;
    const press = key => panel.dispatchEvent(new KeyboardEvent("keydown", { key }));
    told.keys = ["ArrowRight", "ArrowRight", "ArrowDown"].map(key => { press(key); return tip.textContent; });
    press("Escape");
    told.escape = tip.hidden;

    // Everything but loading a picture happens at once: the browser's clock runs ahead of work in the background.
    const saved = {}, parts = new Map(), Known = Blob, address = URL.createObjectURL;
    window.Blob = function (content, kind) {
      const blob = new Known(content, kind);
      parts.set(blob, content[0]);
      return blob;
    };
    let last = null;
    URL.createObjectURL = blob => { last = parts.get(blob); return address(blob); };
    HTMLAnchorElement.prototype.click = function () { saved[this.download] = last; };
    const until = async function (done) {
      for (let left = 500; left && !done(); left -= 1) await new Promise(then => setTimeout(then, 50));
    };
    for (const form of ["csv", "svg", "png"]) {
      const button = figure.querySelector(`[data-save=${form}]`);
      told.focusable = button.tabIndex === 0 && button.getClientRects().length > 0 && told.focusable !== false;
      button.click();
    }
    await until(() => Object.keys(saved).length === 3);
    told.csv = saved["sparsity-Reacher-v5.csv"];
    told.svg = saved["sparsity-Reacher-v5.svg"];
    const picture = new Image();
    const letters = Array.from(saved["sparsity-Reacher-v5.png"], byte => String.fromCharCode(byte));
    picture.src = "data:image/png;base64," + btoa(letters.join(""));
    await until(() => picture.complete && picture.width > 0);
    told.png = [picture.width, picture.height];
    const canvas = document.createElement("canvas");
    canvas.width = picture.width; canvas.height = picture.height;
    const context = canvas.getContext("2d");
    context.drawImage(picture, 0, 0);
    told.corner = Array.from(context.getImageData(0, 0, 1, 1).data);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    told.blue = 0;
    for (let at = 0; at < pixels.length; at += 4) {
      told.blue += pixels[at] === 0 && pixels[at + 1] === 0x72 && pixels[at + 2] === 0xb2 ? 1 : 0;
    }
"""


@pytest.fixture(scope="module")
def pointed(page):
    """What the script of points and files tells, on a dark page."""
    return measured(page, POINTS, "--blink-settings=preferredColorScheme=0", "--virtual-time-budget=60000")


def test_a_point_says_its_arm_its_value_and_what_it_is_of(page, pointed):
    scores = next(scores for scores in contents().scores if scores.task == "Reacher-v5")
    arms = [scores.arm(f"magnitude-{percent}") for percent in (80, 90, 95, 98)]
    minus = str.maketrans("-", "\N{MINUS SIGN}")
    assert len(pointed["means"]) == len(arms)
    for said, arm in zip(pointed["means"], arms, strict=True):
        value, low, high = (
            f"{number:.1f}".translate(minus) for number in (arm.mean.value, arm.mean.low, arm.mean.high)
        )
        interval = f"[95 % bootstrap interval {low} to {high}]"
        assert said == f"{arm.arm}, mean of n = {len(arm.scores)} seeds: {value} return {interval}"
    [run] = [run for scores in contents().scores for run in scores.every_run if run.status == "diverged"]
    last = run.evaluations[-1]
    ended = (
        f"{run.arm}, seed {run.seed} (diverged): {last.scores['success']:.2f} success rate at {last.env_steps:,} steps"
    )
    assert pointed["diverged"] == [ended]
    assert (pointed["left"], pointed["reached"], pointed["escape"]) == (True, True, True)
    assert len(set(pointed["keys"])) == 3 and pointed["keys"][1].startswith("magnitude-80, seed 1: ")


def test_a_figure_is_saved_with_its_numbers(page, pointed):
    assert pointed["focusable"]
    runs = csv.DictReader(io.StringIO((page.parent / "tables" / "runs.csv").read_text()))
    known = {(row["arm"], row["seed"]): row["score"] for row in runs if row["task"] == "Reacher-v5" and row["score"]}
    rows = list(csv.DictReader(io.StringIO(pointed["csv"])))
    saved = {(row["arm"], row["seed"]): row["score"] for row in rows if row["statistic"] == "seed"}
    assert {key: float(score) for key, score in saved.items()} == {key: float(score) for key, score in known.items()}
    drawing = ET.fromstring(pointed["svg"])
    assert "var(" not in pointed["svg"] and "ring" not in pointed["svg"]
    ids = {element.get("id") for element in drawing.iter()}
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', pointed["svg"])) <= ids
    size = int(drawing.get("width")), int(drawing.get("height"))
    # The picture is of the light theme on white, although the page is dark, and not empty.
    assert pointed["png"] == [2 * size[0], 2 * size[1]]
    assert pointed["corner"] == [255, 255, 255, 255] and pointed["blue"] > 100


def test_a_term_is_explained_on_hover_and_on_focus(page):
    told = measured(
        page,
        """
        const tip = document.getElementById("tip");
        const term = document.querySelector("a.term[data-term=term-mask]");
        told.definition = document.getElementById("term-mask").textContent;
        term.focus();
        told.focus = [tip.hidden, tip.textContent, term.getAttribute("aria-describedby")];
        document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
        told.escape = tip.hidden;
        const head = document.querySelector("#table-verdicts th[data-term=term-sparsity]");
        head.dispatchEvent(new MouseEvent("mouseover", { bubbles: true }));
        told.hover = [tip.hidden, tip.getBoundingClientRect().right <= document.documentElement.clientWidth];
        document.querySelector("h1").dispatchEvent(new MouseEvent("mouseover", { bubbles: true }));
        told.away = tip.hidden;
        """,
    )
    assert told["focus"] == [False, told["definition"], "tip"]
    assert (told["escape"], told["hover"], told["away"]) == (True, [False, True], True)
