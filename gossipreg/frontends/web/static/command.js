// Command lines: what the page shows for a shell, to be run as it stands.

/** Where a command asks if it is not told. */
const DEFAULT = "127.0.0.1:8500";

const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${String(text).replaceAll("'", "'\\''")}'`);

/** The options by which a command asks the agent whose page is at `place`; none if it is below another path, of a proxy. */
export function agentOption(place) {
  if (!place?.host || place.host === DEFAULT || place.host === "localhost:8500" || !place.pathname.startsWith("/ui")) return [];
  const host = /:\d+$/.test(place.host) ? place.host : `${place.host}:${place.protocol === "https:" ? 443 : 80}`;
  return ["--http", place.protocol === "https:" ? `${place.protocol}//${host}` : host];
}

const AGENT = agentOption(globalThis.location);

/** A command line about the agent of this page, which a shell takes word by word. */
export function commandLine(...words) {
  return ["gossipreg", ...words, ...AGENT].map(quoted).join(" ");
}
