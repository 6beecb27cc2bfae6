// The participant's page: welcome and consent, one question after the other, and a good-bye.

import { FileStudy, ServerStudy } from "study/answering";
import { element } from "study/element";
import { Question } from "study/question";

const app = document.getElementById("app");
const settings = JSON.parse(document.getElementById("settings").textContent);
const embedded = document.getElementById("content");
const offline = element("p", { class: "offline", role: "alert", hidden: true });
const study = embedded
  ? new FileStudy(JSON.parse(embedded.textContent))
  : new ServerStudy((lost) => { offline.hidden = !lost; });

let texts = settings.texts[preferred()];
let question = null;

function preferred() {
  const known = Object.keys(settings.texts);
  for (const wanted of navigator.languages ?? []) {
    const found = known.find((name) => name === wanted) ?? known.find((name) => name === wanted.split("-")[0]);
    if (found) return found;
  }
  return known[0];
}

function use(language) {
  texts = settings.texts[language];
  document.documentElement.lang = language;
  document.documentElement.dir = texts.direction;
  offline.textContent = texts.offline;
}

function put(...nodes) {
  question?.close();
  question = null;
  app.replaceChildren(offline, ...nodes);
  app.removeAttribute("aria-busy");
  window.scrollTo(0, 0);
}

function show(state) {
  if (state.language && settings.texts[state.language]) use(state.language);
  if (state.state === "question") return showQuestion(state);
  if (state.state === "welcome") return showWelcome();
  return showEnd(state);
}

function showWelcome() {
  const consent = element("input", { type: "checkbox", id: "consent", onchange: () => { begin.disabled = !consent.checked; } });
  const begin = element("button", { type: "button", class: "primary", disabled: true, onclick: async () => {
    begin.disabled = true;
    show(await study.begin(document.documentElement.lang));
  } }, texts.begin);
  const names = Object.keys(settings.texts);
  const languages = names.length < 2 ? null : element("select", {
    class: "languages", "aria-label": texts.language, onchange: (event) => { use(event.target.value); showWelcome(); },
  }, ...names.map((name) => element("option", { value: name, selected: settings.texts[name] === texts }, settings.texts[name].language)));
  const instructions = element("div", { class: "instructions" });
  // Made from Markdown by whoever runs the study, with any HTML in it escaped.
  instructions.innerHTML = texts.instructions;
  for (const link of instructions.querySelectorAll("a")) Object.assign(link, { target: "_blank", rel: "noopener noreferrer" });
  put(element("section", { class: "card" }, languages, element("h1", {}, settings.title), instructions,
    element("label", { class: "consent", htmlFor: "consent" }, consent, element("span", {}, texts.consent)), begin));
}

function showQuestion(state) {
  const next = new Question(state, texts, (token) => study.picture(token), async (chosen, seconds) => {
    show(await study.answer(state.place, chosen, seconds));
  });
  put(next.node);
  question = next;
  next.node.append(menu(state));
  next.shown();
  document.title = `${state.place + 1}/${state.count} · ${settings.title}`;
}

function showEnd(state) {
  const known = ["done", "full", "closed", "withdrawn"].includes(state.state) ? state.state : "closed";
  const heading = element("h1", { tabIndex: -1 }, texts[`${known}_title`]);
  const parts = [heading, element("p", {}, state.file ? texts.file_done : texts[known])];
  if (state.file) parts.push(element("button", { type: "button", class: "primary", onclick: () => save(state.file) }, texts.file_save));
  if (known === "done") parts.push(element("p", { class: "links" }, withdrawal()));
  put(element("section", { class: "card end" }, ...parts));
  heading.focus();
  document.title = settings.title;
}

function save(answers) {
  const file = URL.createObjectURL(new Blob([JSON.stringify(answers, null, 1)], { type: "application/json" }));
  const link = element("a", { href: file, download: `answers-${answers.participant.slice(0, 8)}.json` });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(file), 10_000);
}

function menu(state) {
  const parts = [];
  if (state.link) {
    parts.push(element("button", { type: "button", class: "plain", onclick: () => ask(texts.resume_hint, element("input", {
      type: "text", readOnly: true, value: state.link, "aria-label": texts.resume, onfocus: (event) => event.target.select(),
    })) }, texts.resume));
  }
  return element("p", { class: "links" }, ...parts, withdrawal());
}

function withdrawal() {
  return element("button", { type: "button", class: "plain", onclick: () => {
    const confirm = element("button", { type: "button", class: "danger", onclick: async () => {
      confirm.disabled = true;
      const state = await study.withdraw();
      confirm.closest("dialog").close();
      show(state);
    } }, texts.withdraw_confirm);
    ask(texts.withdraw_question, confirm, texts.cancel);
  } }, texts.withdraw);
}

function ask(text, control, away = texts.close) {
  const dialog = element("dialog", { onclose: () => dialog.remove() },
    element("p", {}, text), element("div", { class: "choices" }, control,
      element("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, away)));
  document.body.append(dialog);
  dialog.showModal();
}

use(preferred());
show(await study.state());
