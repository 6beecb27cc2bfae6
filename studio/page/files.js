// Opening and saving: pictures and samples from files, the clipboard, and data sets.

import { listing, sample, save, thumbnail, uploadConfig, uploadMask, uploadPicture } from "./api.js";
import { byId, el, say, warn } from "./dom.js";
import { obstacles } from "./problems.js";

const MASK_NAMES = /^(mask|.*[_-]mask)\.\w+$/i;
const NOT_THE_PICTURE = /^(target|reference|user_drag|original|object_mask_target|region_.*)\.\w+$/i;

export class Files {
  /**
   * @param {Object} about what the server says of itself.
   * @param {DragDocument} drag
   */
  constructor(about, drag) {
    Object.assign(this, { about, drag });
    byId("open").addEventListener("click", () => this.browse());
    byId("browse").addEventListener("click", () => this.browse());
    byId("choose-file").addEventListener("click", () => byId("file-input").click());
    byId("save").addEventListener("click", () => this.askToSave());
    byId("file-input").addEventListener("change", (event) => {
      this.take([...event.target.files]);
      event.target.value = "";
    });
    const stage = byId("stage");
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      stage.classList.add("dropping");
    });
    document.addEventListener("dragleave", (event) => {
      if (event.relatedTarget === null) stage.classList.remove("dropping");
    });
    document.addEventListener("drop", async (event) => {
      event.preventDefault();
      stage.classList.remove("dropping");
      this.take(await filesOf(event.dataTransfer));
    });
    document.addEventListener("paste", (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (files.length > 0) {
        event.preventDefault();
        this.take(files);
      }
    });
  }

  // --- files ------------------------------------------------------------------------------------------------------------

  /** Open what was dropped, pasted or chosen: a picture, or the files of a sample. */
  async take(files) {
    const config = files.find(({ name }) => name.toLowerCase() === "config.json");
    const pictures = files.filter(({ name, type }) => type.startsWith("image/") || /\.(png|jpe?g|webp|bmp|tiff?|ppm)$/i.test(name));
    const objectMask = pictures.find(({ name }) => /^object_mask\.\w+$/i.test(name));
    const mask = pictures.find((file) => file !== objectMask && MASK_NAMES.test(file.name) && pictures.length > 1);
    const main = pictures.find((file) => ![mask, objectMask].includes(file) && !NOT_THE_PICTURE.test(file.name));
    try {
      for (const file of [main, mask, objectMask, config]) this.#checkSize(file);
      if (main === undefined) await this.#takeParts(mask ?? objectMask, config);
      else await this.#takePicture(main, mask, objectMask, config);
    } catch (error) {
      warn(error.message);
    }
  }

  #checkSize(file) {
    if (file !== undefined && file.size > this.about.most_upload_bytes) {
      const most = Math.floor(this.about.most_upload_bytes / 2 ** 20);
      throw new Error(`${file.name}: expected a file of at most ${most} MB, got ${Math.ceil(file.size / 2 ** 20)} MB.`);
    }
  }

  async #takePicture(main, mask, objectMask, config) {
    say(`Opening ${main.name}…`);
    const { picture, height, width } = await uploadPicture(main);
    const read = async (file) => (file === undefined ? null : (await uploadMask(file, height, width)).mask);
    const drag = config === undefined ? {} : await uploadConfig(config);
    const name = main.name.replace(/\.\w+$/, "").replace(/[/\\]/g, "-").replace(/^\.+/, "");
    await this.drag.open({
      ...drag,
      name: ["image", "original_image", "img"].includes(name.toLowerCase()) ? "" : name,
      picture,
      height,
      width,
      mask: await read(mask),
      object_mask: await read(objectMask),
    });
    say(`${main.name} is open, ${width} × ${height} pixels.`);
  }

  /** A `config.json` alone belongs to the picture that is open. */
  async #takeParts(mask, config) {
    if (config === undefined || !this.drag.isOpen) {
      warn(mask === undefined && config === undefined ? "Nothing there that could be opened: a picture is needed." : "Open the picture first, or drop it together with its mask and config.json.");
      return;
    }
    const { pairs, pivot, prompt } = await uploadConfig(config);
    const { picture, mask: drawn, object, name, origin } = this.drag.state;
    await this.drag.open({
      name, prompt, pairs, pivot, origin,
      picture: picture.name, width: picture.width, height: picture.height,
      mask: await drawn.toText(), object_mask: await object.toText(),
    });
    say("The points of config.json are on the picture.");
  }

  // --- data sets --------------------------------------------------------------------------------------------------------

  async browse() {
    const dialog = byId("open-dialog");
    const shelf = el("div", { class: "shelf", id: "shelf" });
    const filter = el("input", { type: "text", placeholder: "Filter by name", autofocus: true, "aria-label": "Filter by name", oninput: () => show() });
    const note = el("p", { class: "soft", "aria-live": "polite" });
    const choice = el("select", { "aria-label": "Data set", onchange: () => load() },
      ...this.about.datasets.map(({ name, folder, writable }) => el("option", { value: name, text: `${name}${writable ? " (yours)" : ""}`, title: folder })));
    let names = [];
    const show = () => {
      const wanted = names.filter((name) => name.toLowerCase().includes(filter.value.toLowerCase()));
      note.textContent = names.length === 0 ? "Nothing is in this folder yet." : `${wanted.length} of ${names.length} samples`;
      shelf.replaceChildren(...wanted.map((name) =>
        el("button", { title: name, onclick: () => this.#openSample(choice.value, name, dialog) },
          el("img", { src: thumbnail(choice.value, name), alt: "", loading: "lazy" }), el("span", { text: name }))));
    };
    const load = async () => {
      const wanted = choice.value;
      shelf.replaceChildren();
      note.textContent = "Reading…";
      const found = await listing(wanted).catch((error) => ({ samples: [], error }));
      // Whoever chose another meanwhile is to see that one.
      if (choice.value !== wanted) return;
      names = found.samples;
      show();
      if (found.error !== undefined) note.textContent = found.error.message;
    };
    dialog.replaceChildren(el("div", {},
      el("div", { class: "row" },
        el("h2", { class: "grow", id: "open-title", text: "Open" }),
        el("button", { text: "Choose files…", onclick: () => { dialog.close(); byId("file-input").click(); } }),
        el("button", { text: "Close", onclick: () => dialog.close() })),
      el("div", { class: "row" }, choice, filter), note, shelf));
    dialog.showModal();
    await load();
    if (names.length === 0 && choice.selectedIndex === 0 && this.about.datasets.length > 1) {
      choice.value = this.about.datasets[1].name;
      await load();
    }
  }

  async #openSample(dataset, name, dialog) {
    try {
      await this.drag.open(await sample(dataset, name));
      dialog.close();
      byId("stage").focus({ preventScroll: true });
      say(`${name} is open.`);
    } catch (error) {
      warn(error.message);
    }
  }

  // --- saving -----------------------------------------------------------------------------------------------------------

  askToSave() {
    const found = obstacles(this.drag).filter(({ place }) => place !== "sample-name");
    if (found.length > 0) {
      warn(found[0].text);
      return;
    }
    const dialog = byId("save-dialog");
    const name = el("input", { type: "text", id: "save-name", value: this.drag.state.name, maxlength: 120, required: true, autocomplete: "off", spellcheck: "false" });
    const error = el("p", { class: "field-error", role: "alert" });
    const replace = el("button", { type: "button", text: "Replace it", hidden: true, onclick: () => send(true) });
    const send = async (overwrite) => {
      error.textContent = "";
      if (name.value !== this.drag.state.name) this.drag.set({ name: name.value }, "name the sample");
      try {
        const saved = await save(await this.drag.annotation(), overwrite);
        Object.assign(this.drag.state, { origin: saved.origin });
        this.drag.state.digests.add(saved.digest);
        this.drag.markSaved();
        dialog.close();
        const left = saved.left_out.length === 0 ? "" : ` It is another drag: ${saved.left_out.join(", ")} stayed behind.`;
        say(`Saved as ${saved.name} in ${this.about.samples_folder}.${left}`);
      } catch (refusal) {
        replace.hidden = refusal.status !== 409;
        error.textContent = refusal.status === 409 ? `There is a sample called ${name.value}.` : refusal.message;
        if (refusal.status === 409) replace.focus();
      }
    };
    name.addEventListener("input", () => {
      replace.hidden = true;
      error.textContent = "";
    });
    dialog.replaceChildren(el("form", { method: "dialog", onsubmit: (event) => { event.preventDefault(); send(false); } },
      el("h2", { id: "save-title", text: "Save the sample" }),
      el("div", { class: "field" }, el("label", { for: "save-name", text: `Name, in the folder ${this.about.samples_folder}` }), name),
      error,
      el("div", { class: "row" },
        el("span", { class: "grow" }),
        el("button", { type: "button", text: "Cancel", onclick: () => dialog.close() }),
        replace,
        el("button", { type: "submit", class: "primary", text: "Save" }))));
    dialog.showModal();
    name.select();
  }
}

/** The files in what was dropped, those inside folders too. */
async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (entries.length === 0) return [...transfer.files];
  const found = [];
  const visit = async (entry) => {
    if (found.length >= 32) return;
    if (entry.isFile) {
      found.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
    } else {
      const reader = entry.createReader();
      const inner = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      for (const one of inner) if (one.isFile) await visit(one);
    }
  };
  for (const entry of entries) await visit(entry);
  return found;
}
