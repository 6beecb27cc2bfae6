// The organiser's page: participants, answers per hour, exclusions, links, export, closing.

import { element } from "study/element";

const app = document.getElementById("app");
const { title } = JSON.parse(document.getElementById("settings").textContent);
const EVERY = 10_000;
const SVG = "http://www.w3.org/2000/svg";
let timer;

async function call(path, content) {
  const options = content === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content),
  };
  const response = await fetch(`api/organiser/${path}`, options);
  if (response.ok) return response.json();
  throw Object.assign(new Error((await response.json()).detail ?? response.statusText), { status: response.status });
}

async function start() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) {
    // The token must not stay in the address bar, nor in the history.
    history.replaceState(null, "", location.pathname);
    await call("enter", { token }).catch(() => {});
  }
  await refresh();
}

async function refresh() {
  clearTimeout(timer);
  try {
    show(await call("overview"));
    timer = setTimeout(refresh, EVERY);
  } catch (error) {
    if (error.status === 401) askForToken();
    else {
      app.querySelector(".offline")?.remove();
      app.append(element("p", { class: "offline", role: "alert" }, "The server does not answer; trying again."));
      timer = setTimeout(refresh, EVERY);
    }
  }
  app.removeAttribute("aria-busy");
}

function askForToken() {
  const field = element("input", { type: "password", id: "token", autocomplete: "off" });
  const problem = element("p", { class: "message", role: "alert" });
  const form = element("form", { onsubmit: async (event) => {
    event.preventDefault();
    try {
      await call("enter", { token: field.value.trim() });
      await refresh();
    } catch (error) {
      problem.textContent = error.message;
    }
  } }, element("label", { htmlFor: "token" }, "Token, as printed at the start of the server"), field,
    element("button", { class: "primary" }, "Enter"), problem);
  app.replaceChildren(element("section", { class: "card" }, element("h1", {}, title), form));
  field.focus();
}

const when = (seconds) => seconds === null ? "–" : new Date(1000 * seconds).toLocaleString([], { dateStyle: "short", timeStyle: "short" });

function show(study) {
  // What was made for the organiser stays when numbers change.
  const links = app.querySelector(".made") ?? element("div", { class: "made" });
  const begun = study.participants.filter((person) => person.began !== null && person.withdrew === null);
  const number = (value, name) => element("div", { class: "number" }, element("strong", {}, String(value)), element("span", {}, name));
  const close = element("button", { type: "button", class: study.closed ? "quiet" : "danger", onclick: async () => {
    if (study.closed || confirm("Close the study? Nobody can answer any more until you open it again.")) {
      await call("close", { closed: !study.closed });
      await refresh();
    }
  } }, study.closed ? "Open again" : "Close the study");
  app.replaceChildren(
    element("header", { class: "top" }, element("h1", {}, title),
      element("span", { class: `state ${study.closed ? "closed" : "running"}` }, study.closed ? `closed ${when(study.closed)}` : "running")),
    element("div", { class: "numbers" },
      number(`${study.seats - study.free}/${study.seats}`, "questionnaires taken"), number(begun.length, "participants"),
      number(study.finished, "finished"), number(study.answers, "answers"), number(study.left_out, "left out"),
      number(study.withdrew, "withdrew")),
    element("section", {}, element("h2", {}, "Answers per hour"), chart(study.hours, study.now)),
    element("section", {}, element("h2", {}, "Participants"), participants(study.participants)),
    element("section", {}, element("h2", {}, "Personal links"), linkForm(links), links),
    element("section", {}, element("h2", {}, "Export and end"), element("p", { class: "row" },
      element("a", { class: "button", href: "api/organiser/answers.csv", download: "" }, "Answers as CSV"),
      element("a", { class: "button", href: "api/organiser/answers.json", download: "" }, "Everything as JSON"), close)));
}

function participants(people) {
  if (!people.length) return element("p", { class: "legend start" }, "Nobody yet.");
  const names = ["participant", "questionnaire", "answers", "began", "state", "median", "checks failed", "left out because"];
  // Who came last comes first, and behind them who is invited.
  const rows = people.toSorted((one, other) => (other.began ?? 0) - (one.began ?? 0)).map((person) => {
    const state = person.withdrew !== null ? "withdrew" : person.finished !== null ? "finished" : person.began !== null ? "under way" : "invited";
    const cells = [person.id.slice(0, 6), person.questionnaire ?? "–", person.questions === null ? "–" : `${person.answered} of ${person.questions}`,
      when(person.began), state, person.median_seconds === null ? "–" : `${person.median_seconds.toFixed(1)} s`,
      person.checks ? `${person.failed_checks} of ${person.checks}` : "–", person.reasons];
    return element("tr", { class: person.reasons ? "out" : "" }, ...cells.map((cell) => element("td", {}, String(cell))));
  });
  return element("div", { class: "scroll" }, element("table", {},
    element("thead", {}, element("tr", {}, ...names.map((name) => element("th", { scope: "col" }, name)))), element("tbody", {}, ...rows)));
}

function linkForm(made) {
  const count = element("input", { type: "number", min: 1, max: 500, value: "10", "aria-label": "How many links" });
  return element("form", { class: "row", onsubmit: async (event) => {
    event.preventDefault();
    const list = await call("links", { count: Number(count.value) });
    const text = element("textarea", { readOnly: true, rows: Math.min(10, list.length), value: list.join("\n"), "aria-label": "New links" });
    made.replaceChildren(element("p", { class: "legend start" }, "Each is for one person. They are not shown again."), text);
    await refresh();
    text.select();
  } }, count, element("button", { class: "quiet" }, "Make links"));
}

function chart(hours, now) {
  if (!hours.length) return element("p", { class: "legend start" }, "No answers yet.");
  const counts = new Map(hours);
  const last = Math.floor(now / 3600) * 3600;
  const first = Math.max(hours[0][0], last - 71 * 3600);
  const all = [];
  for (let hour = first; hour <= last; hour += 3600) all.push([hour, counts.get(hour) ?? 0]);
  const most = Math.max(...all.map(([, count]) => count), 1);
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("viewBox", `0 0 ${Math.max(24, all.length) * 12} 100`);
  drawing.setAttribute("preserveAspectRatio", "xMinYMid");
  drawing.setAttribute("class", "chart");
  drawing.setAttribute("role", "img");
  drawing.setAttribute("aria-label", `Answers per hour, at most ${most}`);
  all.forEach(([hour, count], index) => {
    const bar = document.createElementNS(SVG, "rect");
    const height = (96 * count) / most;
    for (const [name, value] of Object.entries({ x: index * 12 + 1, y: 98 - height, width: 10, height: height + 2, rx: 2 })) bar.setAttribute(name, value);
    const label = document.createElementNS(SVG, "title");
    label.textContent = `${when(hour)}: ${count}`;
    bar.append(label);
    drawing.append(bar);
  });
  return element("div", {}, drawing, element("p", { class: "legend start" }, `${when(first)} to now; at most ${most} in an hour`));
}

await start();
