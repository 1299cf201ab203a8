// Timeline of the whole run: fault bands, phases, actions on nodes, violations.

const BAND_ROWS = 6;

// Assign bands to rows so that none overlap.
function stacked(bands) {
  const rows = [];
  return bands.map((band) => {
    let row = rows.findIndex((ends) => ends <= band.begins);
    if (row < 0) row = rows.push(0) - 1;
    rows[row] = band.ends;
    return { ...band, row: row % BAND_ROWS };
  });
}

function timeLine(facts, canvas) {
  const bands = stacked(facts.bands);
  const rows = Math.max(1, ...bands.map((band) => band.row + 1));
  const height = 34 + rows * 15;
  let still = null;

  // Everything except the moving line is drawn once per width and palette.
  function draw(moment, colours) {
    const key = `${canvas.clientWidth} ${colours.ink} ${window.devicePixelRatio}`;
    const x = (seconds) => (seconds / (facts.end / 1e6)) * canvas.clientWidth;
    if (still?.key !== key) {
      const { context, width } = fresh(canvas, height);
      drawBands(context, x, colours, width);
      drawMarks(context, x, colours, width);
      const copy = document.createElement("canvas");
      [copy.width, copy.height] = [canvas.width, canvas.height];
      copy.getContext("2d").drawImage(canvas, 0, 0);
      still = { key, copy };
    }
    const { context, width } = fresh(canvas, height);
    context.drawImage(still.copy, 0, 0, width, height);
    context.fillStyle = colours.accent;
    context.fillRect(x(moment / 1e6) - 1, 0, 2, height);
  }

  function drawBands(context, x, colours, width) {
    context.textBaseline = "middle";
    for (const { name, begins, ends, row } of bands) {
      const [left, right] = [x(begins), x(ends)];
      context.fillStyle = colours.band;
      context.fillRect(left, 14 + row * 15, Math.max(2, right - left), 13);
      context.strokeStyle = colours.lost;
      context.strokeRect(left + 0.5, 14.5 + row * 15, Math.max(1, right - left - 1), 12);
      context.fillStyle = colours.ink;
      const room = context.measureText(name).width;
      const fits = right - left > room + 8;
      if (fits) context.fillText(name, left + 4, 21 + row * 15);
      else if (right + room + 6 < width) context.fillText(name, right + 4, 21 + row * 15);
    }
  }

  function drawMarks(context, x, colours, width) {
    context.textBaseline = "middle";
    const base = height - 14;
    context.fillStyle = colours.quiet;
    for (const tick of ticks(0, facts.end / 1e6, Math.min(12, width / 90))) {
      context.textAlign = tick === 0 ? "left" : "center";
      if (x(tick) > width - 14) break;
      context.fillText(`${tick}${tick ? "" : " s"}`, x(tick), height - 6);
      context.fillRect(x(tick), base - 2, 1, 4);
    }
    const phases = facts.marks.filter(({ kind }) => kind === "phase");
    for (const { at, kind } of facts.marks) {
      const place = x(at);
      context.fillStyle = colours.quiet;
      if (kind === "act") context.fillRect(place - 0.5, base - 6, 1.5, 6);
      if (kind === "violation") {
        context.fillStyle = colours.bad;
        context.beginPath();
        context.moveTo(place, base - 10);
        context.lineTo(place - 5, base);
        context.lineTo(place + 5, base);
        context.fill();
      }
    }
    context.fillStyle = colours.ink;
    let free = 0;
    phases.forEach(({ at, text }, number) => {
      const place = x(at);
      const room = context.measureText(text).width + 8;
      context.fillRect(place - 0.5, 2, 1, height - 18);
      const next = number + 1 < phases.length ? x(phases[number + 1].at) : width;
      const after = place + room <= next;
      if (!after && place - room < free) return; // the text above the controls names it anyway
      context.textAlign = after ? "left" : "right";
      context.fillText(text, place + (after ? 4 : -4), 7);
      free = after ? place + room : place;
    });
    context.textAlign = "left";
  }

  const timeAt = (event) => (event.offsetX / canvas.clientWidth) * facts.end;
  return { draw, timeAt };
}
