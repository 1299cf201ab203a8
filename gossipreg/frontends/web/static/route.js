// Routes: where in the page the viewer is, with search and filters, as the URL's fragment: a link leads others there.

const PAGES = new Set(["overview", "services", "service", "members", "policies", "access"]);

/** `#/service/orders?q=tag:v2` as `{page, name, query}`. What cannot be read is the overview. */
export function parse(hash) {
  const [path, text = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [page = "", name = ""] = path.split("/").map(decoded);
  const query = Object.fromEntries(new URLSearchParams(text));
  if (!PAGES.has(page)) return { page: "overview", name: "", query: {} };
  return { page: page === "service" && !name ? "services" : page, name, query };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The fragment of a place; parameters that are empty are left out. */
export function hash(page, name = "", query = {}) {
  const path = name ? `${page}/${encodeURIComponent(name)}` : page;
  const said = Object.entries(query).filter(([, value]) => value);
  const text = new URLSearchParams(said).toString().replaceAll("%3A", ":").replaceAll("%2F", "/");
  return `#/${path}${text ? `?${text}` : ""}`;
}
