// Of `ibca app`: what is dropped or chosen is sent at once; a batch goes in parts, with a bar, and comes back as files.
const status = document.getElementById("status");
const say = text => { status.textContent = text; };
const MIB = 2 ** 20;

for (const form of document.querySelectorAll(".drop")) {
  const over = on => event => { event.preventDefault(); form.classList.toggle("over", on); };
  form.addEventListener("dragover", over(true));
  form.addEventListener("dragleave", over(false));
  form.addEventListener("drop", over(false));
}

const one = document.getElementById("one");
if (one) {
  const input = one.elements.picture;
  const send = () => {
    if (input.files[0].size > one.dataset.most) return say(`Expected at most ${one.dataset.most / MIB} MiB, got more.`);
    one.requestSubmit();
  };
  input.addEventListener("change", () => input.files.length && send());
  one.addEventListener("drop", event => {
    if (!event.dataTransfer.files.length) return;
    input.files = event.dataTransfer.files;
    send();
  });
  one.addEventListener("submit", () => {
    say(`Looking at ${input.files[0].name} …`);
    one.querySelector("button").disabled = true;
  });
  window.addEventListener("pageshow", () => { one.querySelector("button").disabled = false; });
  document.getElementById("result")?.focus();
}

const many = document.getElementById("many");
if (many) {
  const stop = document.getElementById("stop"), progress = document.getElementById("progress");
  const table = document.getElementById("rows"), downloads = document.getElementById("downloads");
  const most = Number(many.dataset.most), PART = 8, SHOWN = 500;
  let running = null;
  document.getElementById("here").textContent = location.origin;

  // What was dropped, folders too, as [name, file]; a name is a path within what was dropped.
  async function dropped(items) {
    const found = [];
    const entries = [...items].map(item => item.webkitGetAsEntry()).filter(Boolean);
    for (const entry of entries) {  // it grows meanwhile
      if (entry.isFile) {
        found.push([entry.fullPath.slice(1), await new Promise((ok, fail) => entry.file(ok, fail))]);
      } else {
        const reader = entry.createReader();
        for (let some = [null]; some.length; entries.push(...some)) {
          some = await new Promise((ok, fail) => reader.readEntries(ok, fail));  // a hundred at a time
        }
      }
    }
    return found;
  }

  // Files in parts that the server takes.
  function parts(files) {
    const found = [[]];
    let bytes = 0;
    for (const [name, file] of files) {
      if (found.at(-1).length === PART || bytes + file.size > most / 2) { found.push([]); bytes = 0; }
      found.at(-1).push([name, file]);
      bytes += file.size;
    }
    return found.filter(part => part.length);
  }

  // A row of the table; a long name breaks behind _.
  function show(...texts) {
    if (table.tBodies[0].rows.length >= SHOWN) return;
    const line = table.tBodies[0].insertRow();
    for (const text of texts) {
      const cell = line.insertCell();
      cell.className = "text long";
      for (const part of text.split(/(?<=_)/)) cell.append(part, document.createElement("wbr"));
    }
    line.lastChild.colSpan = table.tHead.rows[0].cells.length - texts.length + 1;
  }

  async function run(chosen) {
    running?.abort();
    const own = running = new AbortController(), files = {};
    const seen = chosen.filter(([name]) => !name.split("/").some(part => part.startsWith(".")));
    const large = seen.filter(([, file]) => file.size > most - MIB), sent = seen.filter(file => !large.includes(file));
    let done = 0, failed = large.length;
    table.tBodies[0].replaceChildren();
    downloads.replaceChildren();
    table.hidden = stop.hidden = progress.hidden = false;
    progress.max = sent.length;
    for (const [name] of large) show(name, `too large: more than ${most / MIB - 1} MiB`);
    try {
      for (const part of parts(sent)) {
        say(`${done} of ${sent.length} pictures …`);
        progress.value = done;
        const body = new FormData();
        for (const [name, file] of part) body.append("pictures", file, name);
        const response = await fetch("/batch", {method: "POST", body, signal: own.signal});
        const answer = await response.json();
        if (!response.ok) throw new Error(answer.error);
        for (const [name, [header, rows]] of Object.entries(answer.files)) (files[name] ??= [header]).push(rows);
        for (const {id, models} of answer.pictures) {
          show(id, ...Object.values(models).map(findings => Object.keys(findings).filter(
            name => findings[name].present).join(", ") || "–"));
        }
        for (const {id, reason} of answer.failed) show(id, reason);
        failed += answer.failed.length;
        done += part.length;
      }
      say(`${seen.length - failed} pictures${failed ? `, and ${failed} that could not be read` : ""}.`);
    } catch (error) {
      if (own !== running) return;
      say(`${own.signal.aborted ? "Stopped" : error.message} after ${done} of ${sent.length} pictures.`);
    }
    stop.hidden = progress.hidden = true;
  sayCut();
    for (const [name, texts] of Object.entries(files)) {
      if (texts.slice(1).join("") === "") continue;
      const link = document.createElement("a");
      link.download = link.textContent = name;
      link.href = URL.createObjectURL(new Blob(texts, {type: "text/csv"}));
      downloads.appendChild(document.createElement("li")).append(link);
    }
  }

  stop.addEventListener("click", () => running?.abort());
  many.addEventListener("submit", event => event.preventDefault());
  for (const input of [many.elements.files, many.elements.folder]) {
    input.addEventListener("change", () => input.files.length && run(
      [...input.files].map(file => [file.webkitRelativePath || file.name, file])));
  }
  many.addEventListener("drop", async event => run(await dropped(event.dataTransfer.items)));
}
