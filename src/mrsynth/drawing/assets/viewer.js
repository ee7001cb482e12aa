"use strict";
// Shows the volumes that the script of a case hands to show(): one NiiVue a tile, all at the same point of the head.

const WINDOWING = 9, NO_RENDER = 0, FIRST_TILES = 4, MOST_TILES = 8;
const element = (id) => document.getElementById(id);
let volumes = [], tiles = [], hidden = new Set(), plane = 3, dose = 0, shades = null, began = performance.now();

// Blue: the synthetic image is darker than the truth; red: brighter.
const BLUE = { R: [0, 40, 150], G: [0, 110, 215], B: [0, 255, 255], A: [0, 190, 255], I: [0, 128, 255] };
const RED = { R: [0, 235, 255], G: [0, 60, 200], B: [0, 40, 120], A: [0, 190, 255], I: [0, 128, 255] };
const HEAT = { R: [0, 220, 255], G: [0, 90, 240], B: [0, 0, 120], A: [0, 170, 255], I: [0, 128, 255] };

async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// synthetic − truth in the truth's units, as a NIfTI of its own; both have the same window, so greys can be subtracted.
function difference(synthetic, truth) {
  const out = truth.slice(), view = new DataView(out.buffer);
  const slope = view.getFloat32(112, true);
  view.setFloat32(112, 2 * slope, true);
  view.setFloat32(116, -256 * slope, true);
  for (let k = 352; k < out.length; k++) out[k] = 128 + Math.round((synthetic[k] - truth[k]) / 2);
  return out;
}

function limitOf(bytes, slope) {
  const counts = new Float64Array(129);
  let all = 0;
  for (let k = 352; k < bytes.length; k++) { const d = Math.abs(bytes[k] - 128); if (d) { counts[d]++; all++; } }
  for (let d = 128, above = 0; d > 0; d--) { above += counts[d]; if (above > 0.01 * all) return 2 * d * slope; }
  return 2 * slope;
}

const file = (bytes, name) => new File([bytes], name + ".nii");
const rounded = (value) => Number(value.toPrecision(3)).toString();

const targetOf = () => volumes.find((v) => v.kind === "truth" || v.kind === "synthetic");

function layers() {
  const doses = volumes.filter((v) => v.kind === "synthetic" && v.dose !== null);
  const synthetic = doses.length ? doses[dose] : volumes.find((v) => v.kind === "synthetic");
  const truth = volumes.find((v) => v.kind === "truth");
  const error = volumes.find((v) => v.kind === "error");
  const list = volumes.filter((v) => v.kind === "input").map((v) => ({ id: "input " + v.label, caption: v.label, base: v }));
  if (synthetic) list.push({ id: "synthetic", caption: synthetic.label + (doses.length ? ", dose " + rounded(synthetic.dose) : ""), mark: "SYNTHETIC", base: synthetic });
  if (truth) list.push({ id: "truth", caption: "Truth " + truth.label, base: truth });
  if (truth && synthetic && synthetic.bytes.length === truth.bytes.length)
    list.push({ id: "difference", caption: "− truth", mark: "SYNTHETIC", base: truth, over: synthetic });
  if (error && synthetic) list.push({ id: "error", caption: error.label, mark: "SYNTHETIC", base: synthetic, map: error });
  return list;
}

function tileOf(layer) {
  const figure = document.createElement("figure"), caption = document.createElement("figcaption");
  figure.className = "tile";
  if (layer.mark) { const mark = document.createElement("span"); mark.className = "mark"; mark.textContent = layer.mark; caption.append(mark, " "); }
  const words = document.createElement("span");
  words.textContent = layer.caption;
  caption.append(words);
  const canvas = document.createElement("canvas");
  figure.append(canvas, caption);
  element("tiles").append(figure);
  return { figure, canvas, words };
}

function scale(tile, colours, left, right) {
  let box = tile.figure.querySelector(".scale");
  if (!box) {
    box = document.createElement("div");
    box.className = "scale";
    box.append(document.createElement("i"), document.createElement("span"));
    box.lastChild.append(document.createElement("b"), document.createElement("b"));
    tile.figure.append(box);
  }
  box.firstChild.style.background = "linear-gradient(90deg," + colours + ")";
  box.lastChild.firstChild.textContent = left;
  box.lastChild.lastChild.textContent = right;
}

// The target's window is one for the synthetic image, the truth and what lies under an overlay.
const windowOf = (volume) => (volume.kind === "input" || !shades ? volume.window : shades);
const opacity = () => Number(element("opacity").value) / 100;

async function fill(tile, layer) {
  const [low, high] = windowOf(layer.base);
  const list = [{ url: file(layer.base.bytes, "base"), calMin: low, calMax: high, colormap: "gray", isTransparentBelowCalMin: false }];
  if (layer.over) {
    const bytes = difference(layer.over.bytes, layer.base.bytes), slope = new DataView(bytes.buffer).getFloat32(112, true) / 2;
    const limit = limitOf(bytes, slope), least = limit / 20;
    list.push({ url: file(bytes, "difference"), calMin: least, calMax: limit, calMinNeg: -limit, calMaxNeg: -least, colormap: "Above", colormapNegative: "Below", opacity: opacity() });
    scale(tile, "#96d7ff,#286eff,#000,#eb3c28,#ffc878", "−" + rounded(limit), "+" + rounded(limit));
  } else if (layer.map) {
    const [from, to] = layer.map.window;
    list.push({ url: file(layer.map.bytes, "map"), calMin: from + (to - from) / 50, calMax: to, colormap: "Heat", opacity: opacity() });
    scale(tile, "#000,#dc5a00,#fff078", rounded(from), rounded(to));
  }
  await tile.viewer.loadVolumes(list);
}

async function start(tile) {
  tile.viewer = new NiiVue.default({
    backgroundColor: [0, 0, 0, 1], showRender: NO_RENDER, sliceType: plane, multiplanarType: 0, isRadiological: true,
    isColorbarVisible: false, isDragDropEnabled: false, isOrientationTextVisible: true, isLegendVisible: false,
    crosshairColor: [1, 0.69, 0.18, 0.7], crosshairWidth: 0.6, secondaryDragMode: WINDOWING, logLevel: "error",
  });
  for (const [name, map] of Object.entries({ Above: RED, Below: BLUE, Heat: HEAT })) tile.viewer.addColormap(name, map);
  await tile.viewer.attachToCanvas(tile.canvas);
  await fill(tile, tile.layer);
}

async function build() {
  const wanted = layers().filter((layer) => !hidden.has(layer.id)).slice(0, MOST_TILES);
  for (const tile of tiles) tile.viewer.destroy?.();
  element("tiles").replaceChildren();
  tiles = [];
  const columns = wanted.length < 4 ? wanted.length || 1 : Math.ceil(wanted.length / 2);
  element("tiles").style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
  tiles = wanted.map((layer) => ({ ...tileOf(layer), layer }));
  await Promise.all(tiles.map(start));
  for (const tile of tiles) {
    tile.viewer.broadcastTo(tiles.filter((other) => other !== tile).map((other) => other.viewer), { "2d": true, crosshair: true });
    tile.viewer.addEventListener("locationChange", (event) => { element("at").textContent = "at " + Array.from(event.detail.mm).slice(0, 3).map((mm) => mm.toFixed(0)).join(", ") + " mm"; });
    tile.canvas.addEventListener("pointerup", () => sharedWindow(tile));
  }
  window.VIEWERS = tiles.map((tile) => tile.viewer);
}

// What the mouse did to the window of one image holds for the others of its kind.
function sharedWindow(tile) {
  const base = tile.viewer.volumes[0];
  if (!base || tile.layer.base.kind === "input") return;
  const found = [base.calMin, base.calMax];
  if (shades && found.every((value, k) => value === shades[k])) return;
  shade(found);
}

async function shade(values) {
  shades = values;
  const target = targetOf();
  if (target) {
    const [low, high] = target.range;
    element("low").value = (100 * (values[0] - low)) / (high - low);
    element("high").value = (100 * (values[1] - low)) / (high - low);
    element("window-value").textContent = rounded(values[0]) + " – " + rounded(values[1]);
  }
  for (const tile of tiles) if (tile.layer.base.kind !== "input") await tile.viewer.setVolume(0, { calMin: values[0], calMax: values[1] });
}

function slidWindow() {
  const target = targetOf();
  if (!target) return;
  const [low, high] = target.range, at = (id) => low + ((high - low) * Number(element(id).value)) / 100;
  if (at("low") < at("high")) shade([at("low"), at("high")]);
}

async function changeDose() {
  dose = Number(element("dose").value);
  const doses = volumes.filter((v) => v.kind === "synthetic" && v.dose !== null);
  element("dose-value").textContent = rounded(doses[dose].dose);
  const now = layers();
  for (const tile of tiles) {
    const layer = now.find((other) => other.id === tile.layer.id);
    if (!layer || (layer.base === tile.layer.base && layer.over === tile.layer.over)) continue;
    tile.layer = layer;
    tile.words.textContent = layer.caption;
    await fill(tile, layer);
  }
}

function switches() {
  element("images").replaceChildren();
  for (const layer of layers()) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = layer.id === "difference" ? "Difference" : layer.id === "error" ? layer.caption : layer.id === "synthetic" ? "Synthetic" : layer.caption;
    button.setAttribute("aria-pressed", String(!hidden.has(layer.id)));
    button.onclick = () => { hidden.has(layer.id) ? hidden.delete(layer.id) : hidden.add(layer.id); switches(); build(); };
    element("images").append(button);
  }
}

async function show(content) {
  try {
    volumes = await Promise.all(content.volumes.map(async (v) => ({ ...v, bytes: await unpacked(v.nii), nii: null })));
    const doses = volumes.filter((v) => v.kind === "synthetic" && v.dose !== null).length;
    dose = 0;
    shades = null;
    element("dose").max = Math.max(doses - 1, 0);
    element("dose").value = 0;
    document.querySelector(".doses").hidden = doses < 2;
    document.querySelector(".overlays").hidden = !layers().some((layer) => layer.over || layer.map);
    const all = layers(), first = new Set(["synthetic", "truth", "difference"]);
    for (const layer of all) if (first.size < FIRST_TILES || all.length <= FIRST_TILES) first.add(layer.id);
    hidden = new Set(all.map((layer) => layer.id).filter((id) => !first.has(id)));
    element("controls").hidden = false;
    element("words").hidden = true;
    switches();
    await build();
    if (doses > 1) element("dose-value").textContent = rounded(volumes.find((v) => v.kind === "synthetic").dose);
    const target = targetOf();
    document.getElementById("low").parentElement.hidden = !target;
    if (target) await shade(target.window);
    document.body.dataset.ready = String(Math.round(performance.now() - began));
  } catch (error) {
    say("This case cannot be shown: " + error.message + "\nThe viewer needs a browser with WebGL 2 (any of the last years).");
  }
}

function say(words) {
  element("words").hidden = false;
  element("words").textContent = words;
  document.body.dataset.failed = words;
}

function open(index) {
  const entry = CASES[index];
  began = performance.now();
  document.querySelectorAll("script[data-case]").forEach((old) => old.remove());
  element("case").selectedIndex = index;
  const script = document.createElement("script");
  script.dataset.case = entry.case;
  script.src = entry.script;
  script.onerror = () => say("The script of this case is missing: " + entry.script);
  document.head.append(script);
}

for (const entry of CASES) element("case").append(new Option(entry.case));
document.querySelector(".choose").hidden = CASES.length < 2;
element("case").onchange = () => open(element("case").selectedIndex);
element("before").onclick = () => open((element("case").selectedIndex + CASES.length - 1) % CASES.length);
element("after").onclick = () => open((element("case").selectedIndex + 1) % CASES.length);
for (const button of element("planes").children)
  button.onclick = () => {
    plane = Number(button.dataset.plane);
    for (const other of element("planes").children) other.setAttribute("aria-pressed", String(other === button));
    for (const tile of tiles) tile.viewer.sliceType = plane;
  };
element("low").oninput = element("high").oninput = slidWindow;
element("opacity").oninput = () => { for (const tile of tiles) if (tile.viewer.volumes.length > 1) tile.viewer.setVolume(1, { opacity: opacity() }); };
element("dose").oninput = changeDose;
element("reset").onclick = () => { const target = targetOf(); if (target) shade(target.window); element("opacity").value = 70; element("opacity").oninput(); for (const tile of tiles) { tile.viewer.crosshairPos = [0.5, 0.5, 0.5]; tile.viewer.pan2Dxyzmm = [0, 0, 0, 1]; } };
const asked = new URLSearchParams(location.search).get("case");
if (CASES.length) open(Math.max(0, CASES.findIndex((entry) => entry.case === asked)));
else say("There is no case to show.");
