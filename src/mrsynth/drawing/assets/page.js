"use strict";
// Sort a table by a column: numbers by value, text by the alphabet, cells without a value last.
document.querySelectorAll("table.sortable thead th").forEach(function (head) {
  head.tabIndex = 0;
  function sort() {
    const column = head.cellIndex, body = head.closest("table").tBodies[0];
    const down = head.getAttribute("aria-sort") === "ascending";
    head.parentElement.querySelectorAll("th").forEach(function (other) { other.removeAttribute("aria-sort"); });
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = function (row) { const cell = row.cells[column]; return cell.dataset.sort || cell.innerText.trim(); };
    const number = function (text) { return text === "inf" ? Infinity : text === "-inf" ? -Infinity : text === "" ? NaN : Number(text); };
    const rows = Array.from(body.rows);
    rows.sort(function (a, b) {
      const x = key(a), y = key(b), p = number(x), q = number(y);
      if (Number.isNaN(p) !== Number.isNaN(q)) { return Number.isNaN(p) ? 1 : -1; }
      const order = Number.isNaN(p) ? x.localeCompare(y, undefined, {numeric: true}) : p === q ? 0 : p - q;
      return down ? -order : order;
    });
    body.append(...rows);
  }
  head.addEventListener("click", sort);
  head.addEventListener("keydown", function (event) {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); }
  });
});

// The viewer: one picture enlarged, or synthetic and truth over one another with a movable border or in turn.
const viewer = document.getElementById("viewer");
const under = viewer.querySelector(".under"), over = viewer.querySelector(".over"), slide = viewer.querySelector(".slide");
const range = slide.querySelector("input"), modes = viewer.querySelector(".modes");
const panels = Array.from(document.querySelectorAll(".panel"));
let panel = null, timer = 0;

function picture(kind) { return panel.querySelector("figure." + kind + " img").src; }

function show(mode) {
  clearInterval(timer);
  const pair = mode === "slider" || mode === "blink";
  under.src = picture(pair ? "truth" : mode);
  over.hidden = !pair;
  slide.hidden = mode !== "slider";
  viewer.style.setProperty("--split", mode === "slider" ? range.value + "%" : "100%");
  if (pair) { over.src = picture("synthetic"); }
  if (mode === "blink") { timer = setInterval(function () { over.hidden = !over.hidden; }, 600); }
  modes.querySelectorAll("button").forEach(function (button) {
    button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
  });
  viewer.dataset.mode = mode;
}

function open(which, mode) {
  panel = which;
  viewer.querySelector("strong").textContent = panel.dataset.case;
  show(mode);
  if (!viewer.open) { viewer.showModal(); }
}

["input", "synthetic", "truth", "difference", "ssim", "slider", "blink"].forEach(function (mode) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.mode = mode;
  button.textContent = mode === "ssim" ? "SSIM" : mode;
  button.addEventListener("click", function () { show(mode); });
  modes.append(button);
});
range.addEventListener("input", function () { viewer.style.setProperty("--split", range.value + "%"); });
viewer.querySelector(".close").addEventListener("click", function () { viewer.close(); });
viewer.addEventListener("click", function (event) { if (event.target === viewer) { viewer.close(); } });
viewer.addEventListener("close", function () { clearInterval(timer); });
viewer.addEventListener("keydown", function (event) {
  const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
  if (!step || event.target === range) { return; }
  open(panels[(panels.indexOf(panel) + step + panels.length) % panels.length], viewer.dataset.mode);
});
panels.forEach(function (one) {
  one.querySelectorAll("figure").forEach(function (figure) {
    figure.querySelector("button").addEventListener("click", function () { open(one, figure.className); });
  });
  const compare = one.nextElementSibling.querySelector(".compare");
  compare.hidden = false;
  compare.addEventListener("click", function () { open(one, "slider"); });
});
