// The page: all parts show the same moment of the run.

const facts = JSON.parse(document.getElementById("facts").textContent);
const byId = (id) => document.getElementById(id);

function tellFacts() {
  byId("title").textContent = facts.title;
  byId("result").textContent = facts.good ? "✓ good" : "✗ not good";
  byId("result").classList.add(facts.good ? "good" : "bad");
  byId("about").textContent = facts.about;
  byId("command").textContent = facts.command;
  byId("digest").textContent = facts.digest;
  const rows = (id, head, cells) =>
    byId(id).append(
      element("tr", {}, ...head.map((text) => element("th", { textContent: text }))),
      ...cells.map((row) => element("tr", {}, ...row.map((text) => cell(text)))),
    );
  rows("oracles", ["oracle", "law", "checks", "violations"], facts.oracles);
  const faults = facts.bands.map(({ name, text, begins, ends }) => [name, text, `${begins} to ${+ends.toFixed(1)} s`]);
  if (faults.length) rows("faults", ["fault", "description", "time"], faults);
  else byId("faults").append(element("tr", {}, element("td", { textContent: "none" })));
  for (const row of byId("oracles").rows) if (+row.cells[3].textContent.replace(/,/g, "") > 0) row.cells[3].classList.add("wrong");
  byId("wrong").hidden = facts.wrong.length === 0;
  byId("wrong").append(...facts.wrong.map((text) => element("p", { textContent: text })));
  for (const [name, times] of Object.entries(facts.counts)) byId("counts").append(element("span", {}, `${name} `, element("b", { textContent: times.toLocaleString("en") })), " ");
}

function cell(text) {
  const made = element("td", { textContent: typeof text === "number" ? text.toLocaleString("en") : text });
  if (typeof text === "number") made.className = "number";
  return made;
}

function fail(sentence) {
  byId("problem").textContent = sentence;
  byId("problem").hidden = false;
}

function legends() {
  legend("heat-legend", CELLS);
  const packets = [...CONTENTS, { name: "lost", text: "lost" }];
  legend("ring-legend", packets, true);
  legend("lanes-legend", packets, true);
}

async function begin() {
  tellFacts();
  legends();
  if (typeof DecompressionStream === "undefined") {
    fail("This browser has no DecompressionStream, so the run cannot be unpacked: use Firefox 113, Chrome 80, Safari 16.4 or later.");
    return;
  }
  const run = await unpackedRun(facts);
  const cellsAt = heatReader(run);
  const heat = heatMap(run, facts, byId("heat"), byId("cell"));
  const ring = run.nodes <= 64 ? nodeRing(run, facts, byId("ring")) : null;
  if (!ring) {
    byId("ring-card").remove();
    byId("curves").closest(".card").classList.replace("wide", "narrow");
  }
  const lanes = spaceTime(run, facts, byId("lanes"));
  const line = timeLine(facts, byId("timeline"));
  const figures = charts(run, facts, byId("curves"));
  const slider = byId("slider");
  slider.max = Math.ceil(facts.end / 1000);
  if (run.nodes <= 16) byId("window").value = "2";
  let colours = palette();
  let moment = 0;
  let awaited = false;
  let resting = 0; // timer that writes the current moment to the URL
  let playing = null; // real time of the last frame (ms); null while paused

  function draw() {
    awaited = false;
    const speed = +byId("speed").value;
    const cells = cellsAt(moment);
    byId("clock").textContent = `${(moment / 1e6).toFixed(3)} s`;
    slider.value = Math.round(moment / 1000);
    byId("now").textContent = situation(cells);
    heat.draw(cells, moment, colours);
    ring?.draw(cells, moment, colours, speed);
    lanes.draw(moment, colours, byId("window").value * 1e6, cells);
    line.draw(moment, colours);
    figures.draw(moment, colours);
  }

  function situation(cells) {
    const seconds = moment / 1e6;
    const bands = facts.bands.filter(({ begins, ends }) => begins <= seconds && seconds < ends).map(({ name }) => name);
    const phase = facts.marks.filter(({ kind, at }) => kind === "phase" && at <= seconds).at(-1)?.text ?? "warm-up";
    const share = shareRight(cells, run.nodes);
    const truth = share === null ? "no pair of running nodes" : `${(100 * share).toFixed(1)} % of beliefs correct`;
    return [phase, ...bands.slice(0, 4), truth].join(" · ");
  }

  function show(at) {
    moment = Math.max(0, Math.min(facts.end, at));
    if (!awaited) requestAnimationFrame(draw);
    awaited = true;
    clearTimeout(resting);
    resting = setTimeout(() => history.replaceState(null, "", `#t=${(moment / 1e6).toFixed(3)}`), 300);
  }

  function step(now) {
    if (playing === null) return;
    show(moment + (now - playing) * 1000 * byId("speed").value);
    playing = now;
    if (moment >= facts.end) pause();
    else requestAnimationFrame(step);
  }

  function pause() {
    playing = null;
    byId("play").textContent = "▶";
  }

  function toggle() {
    if (playing !== null) {
      pause();
      return;
    }
    if (moment >= facts.end) moment = 0;
    playing = performance.now();
    byId("play").textContent = "❚❚";
    requestAnimationFrame(step);
  }

  function toMark(way) {
    const times = facts.marks.map(({ at }) => at * 1e6).filter((at) => (at - moment) * way > 500);
    if (times.length) show(way > 0 ? Math.min(...times) : Math.max(...times));
  }

  const keys = {
    " ": toggle,
    ArrowLeft: (fast) => show(moment - (fast ? 1e6 : 1e5)),
    ArrowRight: (fast) => show(moment + (fast ? 1e6 : 1e5)),
    Home: () => show(0),
    End: () => show(facts.end),
    ",": () => toMark(-1),
    ".": () => toMark(1),
  };
  addEventListener("keydown", (event) => {
    const key = keys[event.key];
    if (!key || event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
    event.preventDefault();
    key(event.shiftKey);
  });
  byId("play").addEventListener("keydown", (event) => event.key === " " && event.preventDefault());
  byId("play").addEventListener("click", toggle);
  byId("copy").addEventListener("click", () => navigator.clipboard?.writeText(facts.command));
  slider.addEventListener("input", () => show(slider.value * 1000));
  byId("timeline").addEventListener("pointerdown", (event) => show(line.timeAt(event)));
  byId("timeline").addEventListener("pointermove", (event) => event.buttons && show(line.timeAt(event)));
  byId("lanes").addEventListener("click", (event) => show(lanes.timeAt(event)));
  byId("curves").addEventListener("seek", (event) => show(event.detail));
  byId("heat").addEventListener("chosen", () => show(moment));
  for (const id of ["window", "speed"]) byId(id).addEventListener("change", () => show(moment));
  byId("order").addEventListener("change", () => {
    heat.setOrder(byId("order").value);
    show(moment);
  });
  new ResizeObserver(() => show(moment)).observe(document.body);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    colours = palette();
    show(moment);
  });
  const fromHash = () => show((parseFloat(location.hash.replace("#t=", "")) || facts.warmup) * 1e6);
  addEventListener("hashchange", fromHash);
  fromHash();
  // For scripts that control the page: go to a time (s), redraw, and find the position of a cell.
  window.report = {
    show: (seconds) => {
      moment = seconds * 1e6;
      draw();
    },
    middle: heat.middle,
  };
  document.documentElement.dataset.ready = "true";
}

begin().catch((error) => fail(`The run cannot be shown: ${error.message}`));
