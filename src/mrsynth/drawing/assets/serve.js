"use strict";
// Words of files are set as text, never as markup.
const element = (id) => document.getElementById(id);
let visit = null, images = [], said = {}, model = null;

async function ask(method, path, body) {
  const options = { method };
  if (body !== undefined) { options.body = JSON.stringify(body); options.headers = { "Content-Type": "application/json" }; }
  const answer = await fetch(path, options);
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(content.error || content.detail || "The page does not answer (" + answer.status + ").");
  return content;
}

function complain(error) {
  element("error").hidden = !error;
  element("error").textContent = error ? error.message || String(error) : "";
}

function send(file, name, done, all) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", "visits/" + visit + "/files?file=" + encodeURIComponent(name));
    request.upload.onprogress = (event) => { element("sent").value = (done + event.loaded) / Math.max(all, 1); };
    request.onload = () => {
      if (request.status === 200) return resolve();
      let words = "The file was refused (" + request.status + ").";
      try { words = JSON.parse(request.responseText).error || words; } catch { /* not ours */ }
      reject(new Error(words));
    };
    request.onerror = () => reject(new Error("The connection broke while " + name + " was sent; it may be too large."));
    request.send(file);
  });
}

async function receive(files) {
  if (!files.length) return;
  complain(null);
  try {
    if (visit) await leave();
    visit = (await ask("POST", "visits")).visit;
    element("leave").hidden = element("sending").hidden = false;
    const all = files.reduce((sum, file) => sum + file.size, 0);
    let done = 0;
    for (const file of files) {
      element("sent-words").textContent = file.name;
      await send(file, file.webkitRelativePath || file.name, done, all);
      done += file.size;
    }
    element("sent").value = 1;
    element("sent-words").textContent = "recognising …";
    images = (await ask("POST", "visits/" + visit + "/recognise")).images;
    element("sent-words").textContent = files.length + (files.length === 1 ? " file" : " files") + ", " + images.length + (images.length === 1 ? " image" : " images");
    showCases();
  } catch (error) {
    element("sent-words").textContent = "";
    complain(error);
  }
}

function showCases() {
  const cases = [...new Set(images.map((image) => image.case))];
  element("case").replaceChildren(...cases.map((name) => new Option(name)));
  element("which").hidden = cases.length < 2;
  element("recognised").hidden = element("make").hidden = false;
  showImages();
}

function showImages() {
  const chosen = element("case").value, rows = [];
  said = {};
  for (const image of images.filter((one) => one.case === chosen || one.case === "")) {
    said[image.number] = image.contrast;
    const row = document.createElement("tr"), file = row.insertCell(), what = row.insertCell(), why = row.insertCell();
    file.className = "file";
    file.textContent = image.file;
    why.className = "reason";
    why.textContent = image.reason;
    what.className = "text";
    const select = document.createElement("select");
    select.ariaLabel = "What " + image.file + " is";
    const names = CONTRASTS.includes(image.contrast) || image.contrast === "ignore" ? CONTRASTS : [...CONTRASTS, image.contrast];
    select.append(new Option("leave out", "ignore"), ...names.map((name) => new Option(name)));
    select.value = image.contrast;
    select.onchange = () => { said[image.number] = select.value; showTargets(); };
    what.append(select);
    rows.push(row);
  }
  element("images").replaceChildren(...rows);
  showTargets();
}

async function showTargets() {
  try {
    const why = await ask("POST", "visits/" + visit + "/targets", { contrasts: said });
    const able = MODELS.filter((one) => !why[one.name]);
    model = able.find((one) => model && one.name === model.name) || able[0] || null;
    element("targets").replaceChildren(...MODELS.map((one) => card(one, why[one.name])));
    chosen();
  } catch (error) { complain(error); }
}

function sources(one) {
  return one.any ? "any of " + one.inputs.join(", ") : one.inputs.join(" + ");
}

function card(one, why) {
  const label = document.createElement("label"), radio = document.createElement("input"), words = document.createElement("small");
  label.className = why ? "cannot" : "";
  radio.type = "radio";
  radio.name = "target";
  radio.disabled = Boolean(why);
  radio.checked = one === model;
  radio.onchange = () => { model = one; chosen(); };
  const target = document.createElement("b");
  target.textContent = " " + one.target.toUpperCase();
  words.textContent = "from " + sources(one) + " · " + one.name + (why ? "\n" + why : "");
  label.append(radio, target, words);
  return label;
}

function chosen() {
  element("begin").disabled = !model;
  element("condition").hidden = !(model && model.doses);
  if (model && model.doses) {
    element("dose").value = element("dose").value || model.doses.dose[1];
    element("field").value = element("field").value || model.doses.b0_tesla[1];
  }
}

async function begin() {
  complain(null);
  element("begin").disabled = true;
  element("working").hidden = false;
  try {
    const asked = { model: model.name, contrasts: said };
    if (model.doses) Object.assign(asked, { dose: Number(element("dose").value), b0_tesla: Number(element("field").value) });
    await ask("POST", "visits/" + visit + "/make", asked);
    for (;;) {
      const now = await ask("GET", "visits/" + visit);
      element("words").textContent = now.words;
      if (now.state === "failed") throw new Error(now.words);
      if (now.state === "done") return show(now);
      await new Promise((resolve) => setTimeout(resolve, 400));
    }
  } catch (error) {
    complain(error);
    element("begin").disabled = false;
  } finally {
    element("working").hidden = true;
    element("words").textContent = "";
  }
}

function show(now) {
  const at = "visits/" + visit + "/";
  element("made").textContent = model.target.toUpperCase() + " from " + sources(model);
  element("viewer").src = element("large").href = at + "view/viewer.html";
  element("nifti").href = at + "result.nii.gz";
  element("dicom").href = at + "result-dicom.zip";
  element("dicom").hidden = !now.dicom;
  element("result").hidden = false;
  element("result").scrollIntoView({ behavior: "smooth" });
}

async function leave() {
  const old = visit;
  visit = null;
  for (const id of ["recognised", "make", "result", "leave", "sending"]) element(id).hidden = true;
  element("viewer").removeAttribute("src");
  element("files").value = "";
  if (old) await ask("DELETE", "visits/" + old).catch(() => {});
}

element("choose").onclick = () => element("files").click();
element("files").onchange = () => receive([...element("files").files]);
element("end").onclick = leave;
element("begin").onclick = begin;
element("case").onchange = showImages;
const drop = element("drop");
drop.ondragover = (event) => { event.preventDefault(); drop.classList.add("over"); };
drop.ondragleave = () => drop.classList.remove("over");
drop.ondrop = (event) => { event.preventDefault(); drop.classList.remove("over"); receive([...event.dataTransfer.files]); };
