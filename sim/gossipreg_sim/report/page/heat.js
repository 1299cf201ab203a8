// Heat map of beliefs: one row per observer, one column per subject; a split shows as blocks.

function heatMap(run, facts, canvas, note) {
  const { nodes } = run;
  const nodeOf = new Map(facts.names.map((name, node) => [name, node]));
  const orders = {
    name: facts.names.map((_, node) => node),
    side: facts.sides.flat().map((name) => nodeOf.get(name)),
  };
  const longestName = Math.max(...facts.names.map((name) => name.length));
  let order = orders.side;
  let borders = [];
  let box = null;
  let chosen = null;
  const small = document.createElement("canvas");
  small.width = small.height = nodes;
  const pixels = new ImageData(nodes, nodes);

  function setOrder(name) {
    order = orders[name];
    borders = [];
    if (name === "side" && facts.sides.length <= 16) {
      let place = 0;
      for (const side of facts.sides.slice(0, -1)) borders.push((place += side.length));
    }
  }
  setOrder("side");

  function layout(width) {
    const labels = nodes <= 64 ? Math.min(76, 28 + 6.5 * longestName) : 22;
    const across = Math.min(width - labels - 2, 620);
    const step = nodes <= 64 ? Math.max(2, Math.floor(across / nodes)) : across / nodes;
    return { left: labels, top: nodes <= 64 ? 34 : 20, step, size: step * nodes, labelled: step >= 9 };
  }

  function draw(cells, moment, colours) {
    const room = layout(canvas.clientWidth);
    const { context } = fresh(canvas, room.top + room.size + 4);
    box = room;
    (nodes <= 64 ? drawCells : drawPixels)(context, cells, colours);
    drawBorders(context, colours);
    drawLabels(context, colours);
    if (chosen) tell(cells, moment);
  }

  function drawCells(context, cells, colours) {
    const { left, top, step } = box;
    const gap = step >= 8 ? 1 : 0;
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (let row = 0; row < nodes; row++) {
      for (let column = 0; column < nodes; column++) {
        const state = cells[order[row] * nodes + order[column]];
        const x = left + column * step;
        const y = top + row * step;
        context.fillStyle = colours.cells[state];
        context.fillRect(x, y, step - gap, step - gap);
        if (state === 0 && gap) {
          context.strokeStyle = colours.line;
          context.strokeRect(x + 0.5, y + 0.5, step - 2, step - 2);
        }
        const { glyph } = CELLS[state];
        if (glyph && step >= 14) {
          context.font = `700 ${Math.min(18, step * 0.55)}px ui-monospace, monospace`;
          context.fillStyle = state === 2 ? "#1c2127" : colours.card;
          context.fillText(glyph, x + step / 2, y + step / 2 + 1);
        }
      }
    }
  }

  function drawPixels(context, cells, colours) {
    const bytes = new Uint32Array(pixels.data.buffer);
    const shades = colours.cells.map((colour) => {
      const [red, green, blue] = channels(colour);
      return (255 << 24) | (blue << 16) | (green << 8) | red;
    });
    let place = 0;
    for (const observer of order) for (const subject of order) bytes[place++] = shades[cells[observer * nodes + subject]];
    small.getContext("2d").putImageData(pixels, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, box.left, box.top, box.size, box.size);
  }

  function drawBorders(context, colours) {
    const { left, top, step, size } = box;
    context.strokeStyle = colours.ink;
    context.lineWidth = 2;
    context.beginPath();
    for (const border of borders) {
      context.moveTo(left + border * step - 0.5, top - 5);
      context.lineTo(left + border * step - 0.5, top + size);
      context.moveTo(left - 5, top + border * step - 0.5);
      context.lineTo(left + size, top + border * step - 0.5);
    }
    context.stroke();
    context.lineWidth = 1;
    context.strokeStyle = colours.line;
    context.strokeRect(left - 0.5, top - 0.5, size + 1, size + 1);
    if (!chosen) return;
    context.strokeStyle = colours.ink;
    context.lineWidth = 2;
    context.strokeRect(left + chosen.column * step - 1, top + chosen.row * step - 1, step + 1, step + 1);
    context.lineWidth = 1;
  }

  function drawLabels(context, colours) {
    const { left, top, step, size, labelled } = box;
    context.fillStyle = colours.quiet;
    context.font = `${Math.min(12, Math.max(9, step))}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    const widest = context.measureText("m".repeat(longestName)).width;
    const every = labelled ? Math.ceil((widest * 0.75 + 4) / step) : 0;
    order.forEach((node, place) => {
      if (!labelled) return;
      context.textAlign = "right";
      context.fillText(facts.names[node], left - 7, top + (place + 0.5) * step);
      context.textAlign = "center";
      if (place % every === 0) context.fillText(facts.names[node], left + (place + 0.5) * step, top - 9);
    });
    context.textAlign = "left";
    context.font = "11px system-ui, sans-serif";
    context.fillText("subject →", left, 7);
    context.save();
    context.translate(7, top + size);
    context.rotate(-Math.PI / 2);
    context.fillText("← observer", Math.max(0, size - 58), 0);
    context.restore();
  }

  function tell(cells, moment) {
    const observer = order[chosen.row];
    const subject = order[chosen.column];
    const cell = observer * nodes + subject;
    const since = shownSince(run, cell, moment) / 1e6;
    const [one, other] = [facts.names[observer], facts.names[subject]];
    const said = `${one} of ${other}, since ${since.toFixed(3)} s: ${CELLS[cells[cell]].text}. `;
    const at = Math.ceil(moment / 1000) / 1000;
    note.replaceChildren(said, element("br"), element("code", { textContent: facts.why.join(` ${one} ${other} ${at} `) }));
  }

  canvas.addEventListener("click", (event) => {
    const column = Math.floor((event.offsetX - box.left) / box.step);
    const row = Math.floor((event.offsetY - box.top) / box.step);
    const inside = Math.min(row, column) >= 0 && Math.max(row, column) < nodes;
    chosen = inside ? { row, column } : null;
    if (!inside) note.textContent = "\u00a0";
    canvas.dispatchEvent(new Event("chosen"));
  });

  // The centre of a cell on the canvas (CSS pixels).
  const middle = (observer, subject) => ({
    x: box.left + (order.indexOf(observer) + 0.5) * box.step,
    y: box.top + (order.indexOf(subject) + 0.5) * box.step,
  });
  return { draw, setOrder, middle };
}
