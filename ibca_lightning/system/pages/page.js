// A cell sorts by its data-sort, or by its text; what is no number where others are, such as a dash, comes last.
for (const table of document.querySelectorAll("table.sort")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const key = row => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
    head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows];
      const numbers = rows.some(row => key(row) !== "" && isFinite(key(row)));
      const lacks = text => text === "" || text === "\u2013" || (numbers && !isFinite(text));
      rows.sort((one, other) => {
        const a = key(one), b = key(other);
        if (lacks(a) || lacks(b)) return lacks(a) - lacks(b);
        const order = numbers ? a - b : a.localeCompare(b, undefined, {numeric: true});
        return down ? -order : order;
      });
      table.tBodies[0].append(...rows);
    });
  });
}
// A table that is cut says so.
const sayCut = () => {
  for (const said of document.querySelectorAll(".scroll + .on")) {
    const box = said.previousElementSibling;
    said.hidden = box.scrollWidth <= box.clientWidth + 1;
  }
};
addEventListener("resize", sayCut);
sayCut();
