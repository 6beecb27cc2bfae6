"use strict";
(() => {
  const boards = JSON.parse(document.getElementById("data").textContent);
  const chooser = document.getElementById("boards");
  const every = document.getElementById("all");
  const place = document.getElementById("board");

  const element = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name in node) node[name] = value;
      else node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  };
  const shown = (value, digits) => value.toFixed(digits).replace("-", "−");
  const meanOf = (row, index) => row.values[index] === null ? null : row.values[index][0];

  let sorted = null;
  let upwards = true;

  const columnsOf = (board) => board.columns
    .map((column, index) => ({ ...column, index }))
    .filter((column) => every.checked || column.main || column.name === board.rank);

  const sortBy = (board, name) => {
    const column = board.columns.find((candidate) => candidate.name === name);
    upwards = sorted === name ? !upwards : !column || column.better !== "higher";
    sorted = name;
  };

  const ordered = (board) => {
    const index = board.columns.findIndex((column) => column.name === sorted);
    const rows = [...board.rows];
    const direction = upwards ? 1 : -1;
    rows.sort((first, second) => {
      if (index < 0) return direction * first.name.localeCompare(second.name);
      const [left, right] = [meanOf(first, index), meanOf(second, index)];
      if (left === null || right === null) return (left === null) - (right === null);
      return direction * (left - right);
    });
    return rows;
  };

  const ranksOf = (board) => {
    const index = board.columns.findIndex((column) => column.name === sorted);
    const column = board.columns[index];
    if (!column || column.unlike || column.better === null) return new Map();
    const sign = column.better === "higher" ? -1 : 1;
    const ranked = board.rows.filter((row) => !row.paper && meanOf(row, index) !== null);
    const printed = (row) => sign * Number(meanOf(row, index).toFixed(column.digits));
    return new Map(ranked.map((row) => [row, 1 + ranked.filter((other) => printed(other) < printed(row)).length]));
  };

  const details = (row) => {
    const dialog = element("dialog", {},
      element("strong", {}, `${row.name}, ${row.from}`),
      element("pre", {}, JSON.stringify(row.settings, null, 2)),
      element("form", { method: "dialog" }, element("button", {}, "Close")));
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  };

  const cell = (value, column) => {
    if (value === null) return element("td", {}, "–");
    const [mean, low, high] = value;
    if (mean === null) return element("td", {}, "–");
    const range = low === null ? "" : `${shown(low, column.digits)} … ${shown(high, column.digits)}`;
    return element("td", {}, shown(mean, column.digits), element("small", {}, range));
  };

  const draw = () => {
    const board = boards[chooser.value];
    const columns = columnsOf(board);
    const ranks = ranksOf(board);
    const heading = (text, name) => {
      const button = element("button", { type: "button" }, text);
      button.addEventListener("click", () => { sortBy(board, name); draw(); });
      const node = element("th", { scope: "col" }, button);
      if (name === sorted) node.setAttribute("aria-sort", upwards ? "ascending" : "descending");
      return node;
    };
    const body = element("tbody");
    for (const row of ordered(board)) {
      const name = row.paper
        ? element("td", {}, row.name, " ", element("span", { className: "badge" }, "published"), element("small", {}, row.from))
        : element("td", {}, element("button", { type: "button", onclick: () => details(row) }, row.name),
          element("small", {}, row.seeds > 1 ? `${row.from}, ${row.seeds} seeds` : row.from));
      const failed = row.failed === null ? "–" : String(row.failed);
      body.append(element("tr", { className: row.paper ? "paper" : "" },
        element("td", {}, ranks.has(row) ? String(ranks.get(row)) : "–"), name, element("td", {}, failed),
        ...columns.map((column) => cell(row.values[column.index], column))));
    }
    const head = element("tr", {}, element("th", { scope: "col" }, "#"),
      heading("method", null), element("th", { scope: "col" }, "failed"),
      ...columns.map((column) => heading(`${column.unlike ? "≠ " : ""}${column.title}`, column.name)));
    const plots = board.plots.map((plot) => element("a", { href: plot.path }, plot.title));
    place.replaceChildren(
      element("h2", {}, board.title),
      element("p", { className: "note" }, `${board.samples} samples, version ${board.version}`),
      element("p", {}, ...(plots.length ? ["Plots: ", ...plots] : [])),
      element("div", { className: "scroll" }, element("table", {}, element("thead", {}, head), body)));
  };

  const open = () => {
    const board = boards[chooser.value];
    sorted = undefined;
    sortBy(board, board.rank);
    draw();
  };

  boards.forEach((board, index) => chooser.append(
    element("option", { value: String(index) }, `${board.title} (${board.samples} samples, ${board.version})`)));
  chooser.addEventListener("input", open);
  every.addEventListener("input", draw);
  if (boards.length) open();
})();
