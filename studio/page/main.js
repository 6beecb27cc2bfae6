// Putting the page together.

import { about as askAbout } from "./api.js";
import { Compare } from "./compare.js";
import { DragDocument } from "./document.js";
import { DragPanel } from "./drag_panel.js";
import { attributes, byId, el, glyph, say, warn } from "./dom.js";
import { EditPanel } from "./edit_panel.js";
import { Jobs } from "./events.js";
import { Files } from "./files.js";
import { History } from "./history.js";
import { Overlay } from "./overlay.js";
import { Painter } from "./painter.js";
import { ResultsPanel } from "./results_panel.js";
import { Shortcuts } from "./shortcuts.js";
import { StageBar } from "./stage_bar.js";
import { startTheme, colour } from "./theme.js";
import { TOOLS } from "./tool_list.js";
import { Tools } from "./tools.js";
import { Viewport } from "./viewport.js";

const TABS = ["drag", "edit", "results"];

const history = new History();
const drag = new DragDocument(history);
const stage = byId("stage");
const viewport = new Viewport(stage);
const painter = new Painter(byId("canvas"), viewport, drag);
const overlay = new Overlay(byId("overlay"), viewport, drag);
const tools = new Tools(stage, viewport, drag, overlay);
const bar = new StageBar(byId("options"), tools, painter);
const compare = new Compare(byId("compare"), byId("options"), viewport, backToTheDrag);
const jobs = new Jobs();

for (const name of ["undo", "redo", "theme", "help"]) byId(name).append(glyph(name));
startTheme(() => painter.setColours(colour("--mask"), colour("--object")));

// --- tools and zoom -------------------------------------------------------------------------------------------------------

for (const tool of TOOLS) {
  byId("tools").append(tool === null ? el("span", { class: "separator", "aria-hidden": "true" }) : el("button", {
    id: `tool-${tool.name}`,
    title: `${tool.label} (${tool.key})`,
    "aria-label": `${tool.label}, key ${tool.key}`,
    onclick: () => tools.choose(tool.name),
  }, glyph(tool.name)));
}
tools.onChange(() => {
  painter.setLayer(tools.layer, tools.isDrawing);
  for (const tool of TOOLS.filter(Boolean)) {
    attributes(byId(`tool-${tool.name}`), { "aria-pressed": String(tool === tools.tool) });
  }
});
tools.choose("select");
viewport.onChange(() => {
  byId("zoom-fit").textContent = drag.isOpen || compare.isOpen ? `${Math.round(100 * viewport.scale)} %` : "fit";
});
byId("zoom-in").addEventListener("click", () => viewport.zoom(1.25));
byId("zoom-out").addEventListener("click", () => viewport.zoom(0.8));
byId("zoom-fit").addEventListener("click", () => viewport.fit());
stage.addEventListener("pointermove", (event) => {
  if (!drag.isOpen) return;
  const box = stage.getBoundingClientRect();
  const [x, y] = viewport.toPicture([event.clientX - box.left, event.clientY - box.top]);
  byId("place").textContent = `${Math.floor(x)}, ${Math.floor(y)}`;
});

// --- the document -----------------------------------------------------------------------------------------------------------

drag.onChange((what) => {
  const { isOpen } = drag;
  byId("welcome").hidden = isOpen;
  if (what === "stroke") return;
  if (what === "picture" && isOpen) {
    compare.close();
    viewport.show(drag.state.picture.width, drag.state.picture.height);
  }
  const name = isOpen ? drag.state.name || "without a name" : "";
  byId("document-name").textContent = name;
  byId("document-state").textContent = drag.isChanged ? "not saved" : "";
  document.title = `${drag.isChanged ? "• " : ""}${name ? `${name} – ` : ""}RotationBench studio`;
  byId("save").disabled = !isOpen;
});
byId("save").disabled = true;
window.addEventListener("beforeunload", (event) => {
  if (drag.isChanged) event.preventDefault();
});

history.onChange(() => {
  for (const [id, label] of [["undo", history.nextUndo], ["redo", history.nextRedo]]) {
    byId(id).disabled = label === null;
    byId(id).title = label === null ? `Nothing to ${id}` : `${id === "undo" ? "Undo" : "Redo"}: ${label}`;
  }
});
byId("undo").disabled = byId("redo").disabled = true;

function step(what) {
  tools.cancel();
  const label = history[what]();
  say(label === null ? `Nothing to ${what}.` : `${what === "undo" ? "Undone" : "Done again"}: ${label}.`);
}
byId("undo").addEventListener("click", () => step("undo"));
byId("redo").addEventListener("click", () => step("redo"));

/** Go to what a problem is about. */
function show(place, at) {
  if (at !== null) {
    compare.close();
    viewport.reveal(at);
  }
  const node = byId(place);
  if (place === "sample-name") chooseTab("drag");
  node?.focus();
  if (place.startsWith("tool-")) node?.click();
}

// --- panels --------------------------------------------------------------------------------------------------------------------

function chooseTab(name) {
  for (const tab of TABS) {
    const button = byId(`tab-${tab}`);
    attributes(button, { "aria-selected": String(tab === name), tabindex: tab === name ? 0 : -1 });
    byId(`panel-${tab}`).hidden = tab !== name;
  }
  if (name === "results") results?.load();
}
TABS.forEach((name, index) => {
  byId(`tab-${name}`).addEventListener("click", () => chooseTab(name));
  byId(`tab-${name}`).addEventListener("keydown", (event) => {
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (move === undefined) return;
    event.preventDefault();
    const next = TABS[(index + move + TABS.length) % TABS.length];
    chooseTab(next);
    byId(`tab-${next}`).focus();
  });
});

function backToTheDrag() {
  tools.isOff = byId("tools").inert = false;
  byId("overlay").removeAttribute("visibility");
  byId("canvas").hidden = false;
  results?.forget();
  bar.update();
  if (drag.isOpen) viewport.show(drag.state.picture.width, drag.state.picture.height);
}

async function compareEdits(edits) {
  try {
    tools.cancel();
    await compare.open(edits);
    tools.isOff = byId("tools").inert = true;
    byId("welcome").hidden = true;
    byId("overlay").setAttribute("visibility", "hidden");
    byId("canvas").hidden = true;
    bar.update();
  } catch (error) {
    warn(error.message);
  }
}

let results = null;
let edits = null;
let lastPath = null;

/** Show the ways of the handles of the edit that is being made, when it is one of this drag. */
function follow(job) {
  const isOurs = job !== null && drag.isOpen && drag.state.digests.has(job.digest);
  lastPath = isOurs ? job.path : null;
  overlay.showPaths(lastPath);
}
viewport.onChange(() => overlay.showPaths(lastPath));

// The viewport goes on to serve a comparison, which has no tools of its own.
stage.addEventListener("wheel", (event) => {
  if (!compare.isOpen) return;
  event.preventDefault();
  const box = stage.getBoundingClientRect();
  viewport.zoom(Math.exp(-event.deltaY * 0.0016), [event.clientX - box.left, event.clientY - box.top]);
}, { passive: false });
stage.addEventListener("pointermove", (event) => {
  if (compare.isOpen && event.buttons === 1 && event.target.closest(".divider") === null) {
    viewport.pan(event.movementX, event.movementY);
  }
});

async function start() {
  const about = await askAbout();
  const files = new Files(about, drag);
  new DragPanel(byId("panel-drag"), drag, show);
  results = new ResultsPanel(byId("panel-results"), drag, { compare: compareEdits, closed: () => compare.close() });
  const openResult = (result) => {
    chooseTab("results");
    results.open(result);
  };
  const ended = (job) => {
    if (!byId("panel-results").hidden) results.load();
    // Whoever draws meanwhile is not to be interrupted.
    const isWatched = !byId("panel-edit").hidden && !tools.isBusy && !compare.isOpen;
    const isOurs = drag.isOpen && drag.state.digests.has(job.digest);
    if (job.state === "done" && isWatched && isOurs) openResult(job.result);
  };
  edits = new EditPanel(byId("panel-edit"), about, drag, jobs, { openResult, follow, ended });
  const shortcuts = new Shortcuts({
    choose: (name) => { if (!tools.isOff) tools.choose(name); },
    grow: () => drag.isOpen && bar.grow(),
    shrink: () => drag.isOpen && bar.shrink(),
    fill: () => drag.isOpen && bar.fill(),
    invert: () => drag.isOpen && bar.invert(),
    toggleMasks: () => bar.toggleMasks(),
    togglePreview: () => bar.togglePreview(),
    zoomIn: () => viewport.zoom(1.25),
    zoomOut: () => viewport.zoom(0.8),
    fit: () => viewport.fit(),
    tab: chooseTab,
    help: () => shortcuts.help(),
    undo: () => step("undo"),
    redo: () => step("redo"),
    open: () => files.browse(),
    save: () => files.askToSave(),
    run: () => edits.start(),
    escape: () => (tools.isBusy ? tools.cancel() : compare.close()),
  }, tools);
  byId("help").addEventListener("click", () => shortcuts.help());
  jobs.listen();
  document.body.dataset.ready = "true";
}

start().catch((error) => warn(error.message));
