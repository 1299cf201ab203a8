// Times: ages, clocks and durations as people read them. All times are in seconds since the epoch, unless said otherwise.

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

/** How long something lasts: `8 s`, `12 min`, `3 h`, `8 d`. */
export function age(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  for (const [size, unit] of UNITS) if (whole >= size) return `${Math.floor(whole / size)} ${unit}`;
  return "now";
}

/** The time of day, with the date unless it is of today. */
export function clock(at, now = Date.now() / 1000) {
  const then = new Date(at * 1000);
  const today = new Date(now * 1000);
  const time = [then.getHours(), then.getMinutes(), then.getSeconds()].map(two).join(":");
  const same = then.toDateString() === today.toDateString();
  return same ? time : `${then.getFullYear()}-${two(then.getMonth() + 1)}-${two(then.getDate())} ${time}`;
}

function two(value) {
  return String(value).padStart(2, "0");
}

/** A round trip: `0.31 ms`, `12 ms`; a dash where none was measured. */
export function trip(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const ms = seconds * 1000;
  return ms < 10 ? `${ms.toFixed(2)} ms` : `${Math.round(ms)} ms`;
}
