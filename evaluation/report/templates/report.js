"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const cards = byId("cards");
  const PAGE = 24;
  const FILTERS = ["method", "split", "category", "bin", "status", "name", "order", "count", "before"];
  const pictures = [];
  const column = new Map(data.metrics.map((metric, index) => [metric.name, index]));
  let matching = [];
  let drawn = 0;

  const element = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };

  const shape = (tag, attributes) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  };

  const number = (value) => (value === null || value === undefined ? null : value === "inf" ? Infinity : value);

  const shownNumber = (value, digits) => {
    if (value === null) return "–";
    return value === Infinity ? "∞" : value.toFixed(digits);
  };

  const options = (id, values) => {
    for (const [value, label] of values) byId(id).append(element("option", { value }, label));
  };

  const distinct = (key) =>
    [...new Set(data.edits.map((edit) => edit[key]).filter((value) => value !== null))]
      .sort((a, b) => String(a).localeCompare(String(b), "en", { numeric: true }))
      .map((value) => [value, value]);

  options("filter-method", data.methods.map((method, index) => [String(index), method.name]));
  options("filter-split", distinct("split"));
  options("filter-category", distinct("category"));
  options("filter-bin", distinct("bin"));
  options("filter-status", distinct("status"));
  for (const metric of data.metrics) {
    if (metric.better !== null) {
      options("filter-order", [
        [`worst:${metric.name}`, `worst first: ${metric.title}`],
        [`best:${metric.name}`, `best first: ${metric.title}`],
      ]);
    }
  }

  const wanted = () => Object.fromEntries(FILTERS.map((name) => [name, byId(`filter-${name}`).value]));

  // Failed edits are the worst of all; edits without a value come last in either order.
  const ordered = (edits, order) => {
    const [end, name] = order.split(":");
    if (!name) {
      const key = (edit) => [data.samples[edit.sample].name, edit.method, edit.seed];
      return edits.sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        return x[0].localeCompare(y[0]) || x[1] - y[1] || x[2] - y[2];
      });
    }
    const metric = data.metrics.find((item) => item.name === name);
    const descending = (metric.better === "lower") === (end === "worst");
    const rank = (edit) => {
      if (edit.image === null) return end === "worst" ? 0 : 3;
      return number(edit.values[column.get(name)]) === null ? 2 : 1;
    };
    return edits.sort((a, b) => {
      const difference = rank(a) - rank(b);
      if (difference || rank(a) !== 1) return difference;
      const [x, y] = [a, b].map((edit) => number(edit.values[column.get(name)]));
      return x === y ? 0 : (x < y ? -1 : 1) * (descending ? -1 : 1);
    });
  };

  const select = () => {
    const want = wanted();
    const name = want.name.trim().toLowerCase();
    const found = data.edits.filter(
      (edit) =>
        (want.method === "" || edit.method === Number(want.method)) &&
        (want.split === "" || edit.split === want.split) &&
        (want.category === "" || edit.category === want.category) &&
        (want.bin === "" || edit.bin === want.bin) &&
        (want.status === "" || edit.status === want.status) &&
        (name === "" || data.samples[edit.sample].name.toLowerCase().includes(name)),
    );
    const count = Number(want.count);
    matching = ordered(found, want.order);
    if (count > 0) matching = matching.slice(0, count);
  };

  const overlay = (edit, sample, colour) => {
    const [width, height] = sample.size;
    const unit = Math.max(width, height) / 100;
    const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none" });
    const at = (point) => [point[0] * width, point[1] * height];
    const line = (points, stroke, size) => {
      const path = points.map((point) => at(point).join(",")).join(" ");
      svg.append(shape("polyline", { points: path, fill: "none", stroke, "stroke-width": size * unit }));
    };
    const dot = (point, fill, radius) => {
      const [cx, cy] = at(point);
      svg.append(shape("circle", { cx, cy, r: radius * unit, fill, stroke: "#fff", "stroke-width": 0.5 * unit }));
    };
    for (const way of edit.trajectory) {
      line(way, "#fff", 1.8);
      line(way, colour, 1);
    }
    sample.sources.forEach((source, index) => {
      const target = sample.targets[index];
      if (source[0] === target[0] && source[1] === target[1]) dot(source, "#111", 1.6);
      else {
        dot(source, "#d00", 1.6);
        dot(target, "#06c", 1.6);
      }
    });
    for (const axis of edit.axis) dot(axis, "#fc0", 1.2);
    return svg;
  };

  // A picture whose block has not come in yet is filled in when it does.
  const image = (index, alt) => {
    const node = element("img", { alt, "data-picture": index });
    if (index < pictures.length) node.src = pictures[index];
    return node;
  };

  window.addPictures = () => {
    const blocks = document.querySelectorAll("script.pictures");
    const block = blocks[blocks.length - 1];
    pictures.push(...JSON.parse(block.textContent));
    block.textContent = "";
    for (const node of cards.querySelectorAll("img:not([src])")) {
      const index = Number(node.dataset.picture);
      if (index < pictures.length) node.src = pictures[index];
    }
  };

  const details = (edit) => {
    const box = element("details", {}, element("summary", {}, "record"));
    box.addEventListener("toggle", () => {
      if (box.open && !box.querySelector("pre")) {
        const record = { ...edit.record };
        for (const [part, index] of Object.entries(edit.shared)) record[part] = index === null ? null : data.shared[index];
        box.append(element("pre", {}, JSON.stringify(record, null, 1)));
      }
    });
    return box;
  };

  const card = (edit) => {
    const sample = data.samples[edit.sample];
    const method = data.methods[edit.method];
    const seed = edit.seed === 0 ? "" : `, seed ${edit.seed}`;
    const angle = edit.angle === null ? "" : ` · ${edit.angle.toFixed(0)}°`;
    const node = element("article", { class: "card", style: `--method:${method.colour}` });
    node.dataset.method = method.name;
    node.dataset.sample = sample.name;
    node.dataset.split = edit.split;
    node.dataset.status = edit.status;
    node.append(
      element("h4", {}, sample.name + angle),
      element("div", { class: "note" }, method.name + seed + (edit.split ? ` · ${edit.split}` : "")),
    );
    if (edit.marks.length > 0) node.append(element("div", { class: "mark" }, edit.marks.join(" · ")));
    const [width, height] = sample.size || [1, 1];
    const picture = element("div", { class: "picture", style: `aspect-ratio:${width}/${height}` });
    node.append(picture);
    if (edit.image === null) {
      picture.append(element("div", { class: "failed" }, edit.error));
    } else {
      const compare = wanted().before === "target" && sample.target !== null ? "target" : "image";
      picture.append(image(edit.image, `${sample.name} edited by ${method.name}`));
      if (sample[compare] !== null) {
        const before = image(sample[compare], `${sample.name}, ${compare === "image" ? "source" : "exact result"}`);
        const divider = element("div", { class: "divider" });
        const slider = element("input", { type: "range", min: 0, max: 100, value: 50 });
        slider.setAttribute("aria-label", `left: ${compare === "image" ? "source" : "exact result"}, right: edited`);
        const split = () => {
          before.style.clipPath = `inset(0 ${100 - slider.value}% 0 0)`;
          divider.style.left = `${slider.value}%`;
        };
        slider.addEventListener("input", split);
        split();
        picture.append(before, divider);
        node.append(slider);
      }
      if (sample.size) picture.append(overlay(edit, sample, method.colour));
    }
    const values = element("dl");
    for (const [index, metric] of data.metrics.entries()) {
      const value = number(edit.values[index]);
      if (value !== null) {
        values.append(element("dt", {}, metric.title), element("dd", {}, shownNumber(value, metric.digits)));
      }
    }
    const measured = element("details", {}, element("summary", {}, "values"), values);
    measured.open = data.metrics.length <= 8;
    node.append(measured, details(edit), element("div", { class: "note" }, `${edit.folder}: ${edit.path}`));
    return node;
  };

  const drawMore = () => {
    const next = matching.slice(drawn, drawn + PAGE).map(card);
    cards.append(...next);
    drawn += next.length;
    byId("shown").textContent = `${matching.length} of ${data.edits.length} edits`;
  };

  const refresh = () => {
    select();
    cards.replaceChildren();
    drawn = 0;
    drawMore();
  };

  byId("filters").addEventListener("input", (event) => {
    if (event.target.id === "filter-points") cards.classList.toggle("hide-points", !event.target.checked);
    else refresh();
  });
  byId("filters").addEventListener("reset", () => setTimeout(() => {
    cards.classList.remove("hide-points");
    refresh();
  }));
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting) && drawn < matching.length) drawMore();
  }, { rootMargin: "600px" }).observe(byId("more"));
  refresh();
})();
