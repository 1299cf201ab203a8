// The nodes on a ring, and the packets between them.

// Minimum playback time for which a packet is drawn (s).
const SEEN = 0.15;

// The node state that each fault action sets.
const PAUSES = { freeze: "frozen", unfreeze: "", block: "blocked", unblock: "", crash: "", "crash-host": "" };

function nodeRing(run, facts, canvas) {
  const { nodes, packets } = run;
  const places = facts.sides.flat().map((name) => facts.names.indexOf(name));
  const placeOf = new Map(places.map((node, place) => [node, place]));

  const pauses = facts.marks.filter(({ text, kind }) => kind === "act" && text in PAUSES);

  // The nodes that a fault has stopped, with their states.
  function stopped(seconds) {
    const now = new Map();
    for (const { at, node, text } of pauses) if (at <= seconds) now.set(node, PAUSES[text]);
    return now;
  }

  function draw(cells, moment, colours, speed) {
    const halted = stopped(moment / 1e6);
    const { context, width, height } = fresh(canvas, Math.min(canvas.clientWidth * 0.95, 620));
    const radius = Math.min(width / 2 - 62, height / 2 - 34);
    const where = (node) => {
      const angle = (placeOf.get(node) / nodes) * 2 * Math.PI - Math.PI / 2;
      return [width / 2 + radius * Math.cos(angle), height / 2 + radius * Math.sin(angle), angle];
    };
    drawPackets(context, where, moment, colours, SEEN * 1e6 * speed);
    for (let node = 0; node < nodes; node++) drawNode(context, where(node), node, cells, colours, halted.get(facts.names[node]) ?? "");
  }

  function drawPackets(context, where, moment, colours, seen) {
    const last = countUpTo(packets.sent, moment);
    for (let place = countUpTo(packets.sent, moment - Math.max(seen, packets.longest)); place < last; place++) {
      const took = Math.max(seen, packets.flight[place] - 1);
      const share = (moment - packets.sent[place]) / took;
      if (share >= 1) continue;
      const [fromX, fromY] = where(Math.floor(packets.link[place] / nodes));
      const [toX, toY] = where(packets.link[place] % nodes);
      const lost = packets.flight[place] === 0;
      const way = lost ? Math.min(share, 0.5) : share;
      const [x, y] = [fromX + (toX - fromX) * way, fromY + (toY - fromY) * way];
      context.strokeStyle = context.fillStyle = lost ? colours.lost : colours.contents[packets.content[place]];
      context.globalAlpha = 0.25 + 0.75 * (1 - share);
      context.lineWidth = packets.content[place] === 5 ? 3 : 1.5;
      context.beginPath();
      context.moveTo(fromX, fromY);
      context.lineTo(x, y);
      context.stroke();
      context.globalAlpha = 1;
      if (lost && way >= 0.5) cross(context, x, y);
      else dot(context, x, y, packets.updates[place] ? 4 : 2.5);
    }
  }

  function drawNode(context, [x, y, angle], node, cells, colours, state) {
    const row = cells.subarray(node * nodes, (node + 1) * nodes);
    const counts = new Array(CELLS.length).fill(0);
    row.forEach((state, subject) => subject !== node && counts[state]++);
    const size = nodes > 32 ? 7 : 12;
    let from = -Math.PI / 2;
    counts.forEach((count, state) => {
      const upTo = from + (count / Math.max(1, nodes - 1)) * 2 * Math.PI;
      if (!count) return;
      context.fillStyle = colours.cells[state];
      context.beginPath();
      context.moveTo(x, y);
      context.arc(x, y, size, from, upTo);
      context.fill();
      from = upTo;
    });
    context.strokeStyle = row[node] === DOWN ? colours.line : colours.ink;
    context.lineWidth = 1.5;
    context.beginPath();
    context.arc(x, y, size, 0, 2 * Math.PI);
    context.stroke();
    context.fillStyle = row[node] === DOWN ? colours.quiet : colours.ink;
    context.font = `${nodes > 32 ? 10 : 12}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    const upright = Math.abs(Math.cos(angle)) < 0.45;
    context.textAlign = upright ? "center" : Math.cos(angle) > 0 ? "left" : "right";
    const away = size + (upright ? 10 : 5);
    const name = row[node] === DOWN ? `${facts.names[node]} down` : `${facts.names[node]} ${state}`.trim();
    context.fillText(name, x + away * Math.cos(angle), y + away * Math.sin(angle));
  }
  return { draw };
}

function dot(context, x, y, size) {
  context.beginPath();
  context.arc(x, y, size, 0, 2 * Math.PI);
  context.fill();
}

function cross(context, x, y, size = 4) {
  context.lineWidth = 2;
  context.beginPath();
  context.moveTo(x - size, y - size);
  context.lineTo(x + size, y + size);
  context.moveTo(x + size, y - size);
  context.lineTo(x - size, y + size);
  context.stroke();
  context.lineWidth = 1;
}
