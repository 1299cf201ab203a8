// Small charts of figures over time, with the current moment as a line through all of them.

const CHART = { height: 132, left: 44, right: 8, top: 6, bottom: 18 };

function charts(run, facts, place) {
  const { curves } = facts;
  const fine = (values) => ({ values, step: curves.step });
  const coarse = (values) => ({ values, step: 1e6 });
  const plans = [
    {
      title: "correct beliefs (%)",
      most: 100,
      lines: [
        { name: "correct (observer, subject) pairs", colour: (c) => c.contents[0], ...fine(curves.right) },
        { name: "equal fingerprints", colour: (c) => c.contents[4], ...fine(curves.agreeing) },
      ],
    },
    {
      title: "local health score (0 is healthy)",
      least: 1,
      lines: [
        { name: "mean", colour: (c) => c.contents[0], ...fine(curves.health) },
        { name: "worst", colour: (c) => c.lost, ...fine(curves.health_worst) },
      ],
    },
    { title: "cluster size as seen by each node, every second", most: facts.names.length * 1.04, dots: run.sizes, lines: [] },
    {
      title: "messages sent per second",
      lines: [
        { name: "sent", colour: (c) => c.contents[1], ...coarse(curves.messages) },
        { name: "lost", colour: (c) => c.lost, ...coarse(curves.lost) },
      ],
    },
    { title: "bytes sent per second", lines: [{ name: "bytes", colour: (c) => c.contents[2], ...coarse(curves.bytes) }] },
  ];
  const made = plans.map((plan) => chart(plan, run, facts, place));
  return { draw: (moment, colours) => made.forEach((each) => each(moment, colours)) };
}

// The spans in which a fault is active.
function united(bands) {
  const spans = [];
  for (const { begins, ends } of [...bands].sort((one, other) => one.begins - other.begins)) {
    const last = spans.at(-1);
    if (last && begins <= last.ends) last.ends = Math.max(last.ends, ends);
    else spans.push({ begins, ends });
  }
  return spans;
}

function chart(plan, run, facts, place) {
  const said = element("span");
  const canvas = element("canvas");
  place.append(element("figure", { className: plan.dots ? "wide" : "" }, element("figcaption", {}, element("span", { textContent: plan.title }), said), canvas));
  const dots = plan.dots;
  const nodes = run.nodes;
  const highest = plan.most ?? Math.max(plan.least ?? 0, ...plan.lines.map((line) => line.values.reduce((a, b) => Math.max(a, b), 0)));
  let still = null;
  canvas.addEventListener("click", (event) => {
    const share = (event.offsetX - CHART.left) / (canvas.clientWidth - CHART.left - CHART.right);
    canvas.dispatchEvent(new CustomEvent("seek", { bubbles: true, detail: share * facts.end }));
  });

  const x = (at, width) => CHART.left + (at / facts.end) * (width - CHART.left - CHART.right);
  const y = (value) => CHART.height - CHART.bottom - (value / highest) * (CHART.height - CHART.top - CHART.bottom);

  function drawStill(colours) {
    const { context, width } = fresh(canvas, CHART.height);
    const floor = CHART.height - CHART.bottom;
    for (const { begins, ends } of united(facts.bands)) {
      context.fillStyle = colours.band;
      const [left, right] = [x(begins * 1e6, width), x(ends * 1e6, width)];
      context.fillRect(left, CHART.top, Math.max(1, right - left), floor - CHART.top);
    }
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (const tick of ticks(0, highest, 4)) {
      context.fillStyle = colours.line;
      context.fillRect(CHART.left, Math.round(y(tick)), width - CHART.left - CHART.right, 1);
      context.fillStyle = colours.quiet;
      context.fillText(shortNumber(tick), CHART.left - 5, y(tick));
    }
    context.textAlign = "center";
    for (const tick of ticks(0, facts.end / 1e6, width / 90)) context.fillText(tick || "0 s", x(tick * 1e6, width), CHART.height - 6);
    if (dots) drawDots(context, colours, width);
    for (const line of plan.lines) drawLine(context, line, colours, width);
    const copy = document.createElement("canvas");
    [copy.width, copy.height] = [canvas.width, canvas.height];
    copy.getContext("2d").drawImage(canvas, 0, 0);
    return copy;
  }

  // One dot for each node and second, with a small offset per node so that equal sizes show as a stripe.
  function drawDots(context, colours, width) {
    context.fillStyle = colours.contents[0];
    const size = nodes > 64 ? 1.2 : 2;
    dots.forEach((value, index) => {
      if (!value) return;
      const at = Math.floor(index / nodes) + (0.8 * (index % nodes)) / nodes;
      context.fillRect(x(at * 1e6, width), y(value) - size / 2, size, size);
    });
  }

  function drawLine(context, line, colours, width) {
    context.strokeStyle = line.colour(colours);
    context.lineWidth = 1.6;
    context.beginPath();
    line.values.forEach((value, place) => {
      context.lineTo(x(place * line.step, width), y(value));
      if (line.step === 1e6) context.lineTo(x(Math.min(facts.end, (place + 1) * line.step), width), y(value));
    });
    context.stroke();
    context.lineWidth = 1;
  }

  function tell(moment, colours) {
    if (dots) {
      const second = Math.min(Math.floor(moment / 1e6), Math.floor(dots.length / nodes) - 1);
      const now = dots.subarray(second * nodes, (second + 1) * nodes).filter((value) => value > 0);
      const span = now.length ? `${Math.min(...now)} to ${Math.max(...now)}` : "none";
      said.replaceChildren(element("b", { textContent: span }));
      return;
    }
    const parts = plan.lines.map((line) => {
      const value = line.values[Math.min(Math.floor(moment / line.step), line.values.length - 1)];
      const shown = element("b", { textContent: shortNumber(value) });
      shown.style.color = line.colour(colours);
      return element("span", {}, plan.lines.length > 1 ? ` ${line.name} ` : "", shown);
    });
    said.replaceChildren(...parts);
  }

  return (moment, colours) => {
    const key = `${canvas.clientWidth} ${colours.ink} ${window.devicePixelRatio}`;
    if (still?.key !== key) still = { key, copy: drawStill(colours) };
    const { context, width } = fresh(canvas, CHART.height);
    context.drawImage(still.copy, 0, 0, width, CHART.height);
    context.fillStyle = colours.accent;
    context.fillRect(x(moment, width) - 0.75, CHART.top, 1.5, CHART.height - CHART.top - CHART.bottom);
    tell(moment, colours);
  };
}
