// The run packed into this page, and its state at any moment.

const [UNKNOWN, ALIVE, FAILED, LEFT, STALE, DOWN] = [0, 1, 3, 4, 5, 6];

async function inflated(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Varints: seven bits to a byte, lowest first; the high bit marks a continuation.
function varints(bytes) {
  const numbers = new Float64Array(bytes.length);
  let count = 0;
  let number = 0;
  let scale = 1;
  for (const byte of bytes) {
    number += (byte & 0x7f) * scale;
    scale *= 128;
    if (byte < 0x80) {
      numbers[count++] = number;
      number = 0;
      scale = 1;
    }
  }
  return numbers.subarray(0, count);
}

function summed(numbers) {
  let sum = 0;
  return numbers.map((number) => (sum += number));
}

// How many numbers of a sorted array are at most `limit`.
function countUpTo(numbers, limit) {
  let low = 0;
  let high = numbers.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] <= limit) low = middle + 1;
    else high = middle;
  }
  return low;
}

async function unpackedRun(facts) {
  const raw = {};
  const columns = Object.entries(facts.columns);
  const bytes = await Promise.all(columns.map(([, text]) => inflated(text)));
  columns.forEach(([name], place) => (raw[name] = bytes[place]));
  const kinds = raw["packets.kind"];
  const flights = varints(raw["packets.flight"]);
  const culprits = new Uint16Array(flights.length);
  const culpritOfLost = varints(raw["packets.culprit"]);
  let lost = 0;
  let longest = 0;
  flights.forEach((flight, place) => {
    if (flight === 0) culprits[place] = culpritOfLost[lost++];
    else longest = Math.max(longest, flight - 1);
  });
  return {
    nodes: facts.names.length,
    heat: {
      at: summed(varints(raw["heat.at"])),
      cell: Uint32Array.from(varints(raw["heat.cell"])),
      state: raw["heat.state"],
      keyframes: raw["heat.keyframes"],
      spacing: facts.spacing,
    },
    packets: {
      sent: summed(varints(raw["packets.sent"])),
      link: Uint32Array.from(varints(raw["packets.link"])),
      content: kinds.map((kind) => kind & 7),
      updates: kinds.map((kind) => kind >> 3),
      flight: flights, // µs plus one; 0: lost
      culprit: culprits,
      longest,
    },
    sizes: varints(raw["sizes"]),
  };
}

// The heat map at successive moments. Moving forward is cheap; moving back restarts at a keyframe.
function heatReader(run) {
  const { at, cell, state, keyframes, spacing } = run.heat;
  const size = run.nodes * run.nodes;
  const cells = new Uint8Array(size).fill(DOWN);
  let done = 0; // changes applied to `cells`
  return (moment) => {
    const wanted = countUpTo(at, moment);
    const keyframe = Math.min(Math.floor(wanted / spacing), Math.ceil(at.length / spacing) - 1);
    if (wanted < done || keyframe * spacing > done) {
      if (at.length) cells.set(keyframes.subarray(keyframe * size, (keyframe + 1) * size));
      done = Math.max(0, keyframe) * spacing;
    }
    for (; done < wanted; done++) cells[cell[done]] = state[done];
    return cells;
  };
}

// The share of (running observer, other node) pairs with a correct belief; null if no node is running.
function shareRight(cells, nodes) {
  let right = 0;
  let pairs = 0;
  for (let observer = 0; observer < nodes; observer++) {
    if (cells[observer * (nodes + 1)] !== ALIVE) continue;
    pairs += nodes - 1;
    for (let subject = 0; subject < nodes; subject++) {
      if (subject === observer) continue;
      const state = cells[observer * nodes + subject];
      const runs = cells[subject * (nodes + 1)] === ALIVE;
      right += runs ? state === ALIVE : state === UNKNOWN || state === FAILED || state === LEFT;
    }
  }
  return pairs ? right / pairs : null;
}

// The time of the last change of the cell before `moment` (µs).
function shownSince(run, cell, moment) {
  const { at, cell: cells } = run.heat;
  for (let place = countUpTo(at, moment) - 1; place >= 0; place--) if (cells[place] === cell) return at[place];
  return 0;
}
