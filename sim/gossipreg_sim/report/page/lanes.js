// Space-time diagram of messages: one lane per node, a line for each packet, a dot for each new belief.

// Maximum number of packets drawn at once; a wider window shows a sample.
const LINES_MAX = 5000;

function spaceTime(run, facts, canvas) {
  const { nodes, packets, heat } = run;
  const places = facts.sides.flat().map((name) => facts.names.indexOf(name));
  const laneOf = new Int32Array(nodes);
  places.forEach((node, place) => (laneOf[node] = place));
  let box = null;

  function draw(moment, colours, window_, nearCells) {
    const lane = Math.max(4, Math.min(26, 560 / nodes));
    const { context, width, height } = fresh(canvas, lane * nodes + 26);
    const left = lane >= 9 ? 52 : 8;
    const begins = Math.max(0, Math.min(moment - window_ / 2, facts.end - window_));
    box = { left, begins, window: window_, width: width - left - 8 };
    const x = (at) => left + ((at - begins) / window_) * box.width;
    const y = (node) => (laneOf[node] + 0.5) * lane + 2;
    drawLanes(context, colours, { left, width, lane, y, nearCells });
    context.save();
    context.beginPath();
    context.rect(left, 0, width - left, height);
    context.clip();
    const shown = drawPackets(context, colours, x, y, begins, begins + window_);
    drawBeliefs(context, colours, x, y, begins, begins + window_);
    context.restore();
    drawAxis(context, colours, { x, begins, window: window_, height, width, moment, shown });
  }

  function drawLanes(context, colours, { left, width, lane, y, nearCells }) {
    context.font = `${Math.min(12, lane)}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (let node = 0; node < nodes; node++) {
      const down = nearCells[node * nodes + node] === DOWN;
      context.strokeStyle = colours.line;
      context.setLineDash(down ? [2, 4] : []);
      context.beginPath();
      context.moveTo(left, y(node));
      context.lineTo(width - 8, y(node));
      context.stroke();
      context.fillStyle = down ? colours.line : colours.quiet;
      if (lane >= 9) context.fillText(facts.names[node], left - 8, y(node));
    }
    context.setLineDash([]);
  }

  function drawPackets(context, colours, x, y, begins, ends) {
    const first = countUpTo(packets.sent, begins - Math.min(packets.longest, 4e6));
    const last = countUpTo(packets.sent, ends);
    const every = Math.ceil((last - first) / LINES_MAX);
    context.globalAlpha = last - first > 800 ? 0.45 : 0.9;
    for (let place = first; place < last; place += every) {
      const sent = packets.sent[place];
      const [from, to] = [Math.floor(packets.link[place] / nodes), packets.link[place] % nodes];
      const lost = packets.flight[place] === 0;
      const arrives = sent + Math.max(0, packets.flight[place] - 1);
      const middle = (y(from) + y(to)) / 2;
      context.strokeStyle = lost ? colours.lost : colours.contents[packets.content[place]];
      context.lineWidth = packets.content[place] === 5 ? 2.5 : 1.2;
      context.beginPath();
      context.moveTo(x(sent), y(from));
      context.lineTo(x(arrives), lost ? middle : y(to));
      context.stroke();
      if (lost) cross(context, x(sent), middle, 3);
    }
    context.globalAlpha = 1;
    return { count: last - first, every };
  }

  function drawBeliefs(context, colours, x, y, begins, ends) {
    const last = countUpTo(heat.at, ends);
    const first = countUpTo(heat.at, begins);
    const every = Math.ceil((last - first) / LINES_MAX);
    for (let place = first; place < last; place += every) {
      if (heat.state[place] === STALE || heat.state[place] === DOWN) continue; // the truth changed, not the belief
      const node = Math.floor(heat.cell[place] / nodes);
      context.fillStyle = colours.cells[heat.state[place]];
      context.strokeStyle = colours.ink;
      context.beginPath();
      context.arc(x(heat.at[place]), y(node), nodes > 64 ? 2.5 : 4.5, 0, 2 * Math.PI);
      context.fill();
      if (nodes <= 64) context.stroke();
    }
  }

  function drawAxis(context, colours, { x, begins, window: window_, height, width, moment, shown }) {
    context.fillStyle = colours.quiet;
    context.textBaseline = "alphabetic";
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "center";
    for (const tick of ticks(begins / 1e6, (begins + window_) / 1e6, Math.min(8, width / 110)))
      if (shown.every <= 1 || x(tick * 1e6) < width - 190) context.fillText(`${tick} s`, Math.max(x(tick * 1e6), 16), height - 6);
    context.strokeStyle = colours.accent;
    context.lineWidth = 2;
    context.beginPath();
    context.moveTo(x(moment), 0);
    context.lineTo(x(moment), height - 20);
    context.stroke();
    context.lineWidth = 1;
    if (shown.every <= 1) return;
    context.textAlign = "right";
    context.fillText(`one in ${shown.every} packets is drawn`, width - 8, height - 6);
  }

  const timeAt = (event) => box.begins + ((event.offsetX - box.left) / box.width) * box.window;
  return { draw, timeAt };
}
