// Sorts tables by their headings and shows the results of one task alone. The page is whole without it.
(() => {
  const value = (row, column) => {
    const cell = row.cells[column];
    const raw = cell.dataset.sort ?? cell.textContent.trim();
    const parsed = raw === "inf" ? Infinity : raw === "-inf" ? -Infinity : Number(raw);
    return raw === "" || Number.isNaN(parsed) ? raw : parsed;
  };
  const compare = (a, b) => typeof a === "number" && typeof b === "number"
    ? (a === b ? 0 : a - b)
    : String(a).localeCompare(String(b), "en", { numeric: true });
  const sort = (table, column, head) => {
    const descending = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = [...body.rows].sort((a, b) => (descending ? -1 : 1) * compare(value(a, column), value(b, column)));
    body.append(...rows);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sort(table, column, head));
      head.append(button);
    });
  }
  for (const hint of document.querySelectorAll(".enhanced, .filter")) hint.hidden = false;
  const buttons = [...document.querySelectorAll("[data-show]")];
  const show = (topic) => {
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.show === topic));
    for (const part of document.querySelectorAll("[data-topic]")) part.hidden = topic !== "" && part.dataset.topic !== topic;
  };
  for (const button of buttons) button.addEventListener("click", () => show(button.dataset.show));
})();
