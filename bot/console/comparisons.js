// The results of a comparison, with a chart of the interval that decides.
// Every number and sentence comes from the API; this file computes no statistics.

const $ = (id) => document.getElementById(id);
const KEY = "understudy-key";
const EVERY_MS = 15_000;
const SVG = "http://www.w3.org/2000/svg";
let shown = 0; // the number of the newest refresh

async function call(path) {
  const response = await fetch(`v1${path}`, { headers: { Authorization: `Bearer ${sessionStorage.getItem(KEY)}` } });
  const answer = await response.json().catch(() => ({})); // a proxy's error page, if the service is down
  if (response.ok) return answer;
  const error = new Error(answer.error?.message ?? `The service answered with status ${response.status}.`);
  error.signIn = response.status === 401 || response.status === 403;
  throw error;
}

// Control and bidirectional characters as symbols, so that no text can pretend to be another one;
// as in data/visible_text.py.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028-\u202e\u2060-\u206f\u061c\u200b\u200e\u200f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu;

function visible(text) {
  return String(text).replace(/\r\n/g, "\n").replace(HIDDEN, (found) => {
    const code = found.codePointAt(0);
    return code < 32 ? String.fromCharCode(0x2400 + code) : `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
  });
}

function element(name, text = "", attributes = {}) {
  const made = name === name.toUpperCase() ? document.createElementNS(SVG, name.toLowerCase()) : document.createElement(name);
  made.textContent = visible(text);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);
const percent = (share) => `${Math.round(100 * share)}%`;
const when = (microseconds) => new Date(microseconds / 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
const points = (share) => {
  const value = (100 * Math.max(-1, Math.min(1, share))).toFixed(1);
  return Number(value) < 0 ? value.replace("-", "−") : `+${value.replace("-", "")}`;
};

// Draws the interval on an axis that is symmetric around zero; the band is the minimum effect.
function picture(rating, least) {
  const reach = Math.min(1, Math.max(Math.abs(rating.low), Math.abs(rating.high), 2 * least)) * 1.05;
  const at = (share) => 50 + (50 * Math.max(-reach, Math.min(reach, share))) / reach;
  const where = (share) => `${at(share)}%`;
  const drawn = element("SVG", "", { role: "img", "aria-label": `interval ${points(rating.low)} to ${points(rating.high)} points` });
  drawn.append(
    element("RECT", "", { class: "band", x: where(-least), y: 4, width: `${at(least) - at(-least)}%`, height: 24 }),
    element("LINE", "", { class: "zero", x1: "50%", x2: "50%", y1: 0, y2: 32 }),
    element("LINE", "", { class: "reach", x1: where(rating.low), x2: where(rating.high), y1: 16, y2: 16 }),
    element("CIRCLE", "", { class: "estimate", cx: where(rating.estimate), cy: 16, r: 6 }),
    element("TEXT", "worse", { x: 0, y: 46 }),
    element("TEXT", "no difference", { x: "50%", y: 46, "text-anchor": "middle" }),
    element("TEXT", "better", { x: "100%", y: 46, "text-anchor": "end" }),
  );
  return drawn;
}

function candidate(found, terms) {
  const box = element("div", "", { class: "interval" });
  box.append(element("h3", `${found.label} (${found.adapter}): ${found.state}`));
  const rating = found.differences.rating;
  if (rating) {
    box.append(element("p", `${points(rating.estimate)} points in the mean rating, interval ${points(rating.low)} to ${points(rating.high)}.`));
    box.append(picture(rating, terms.minimum_effect));
  } else {
    box.append(element("p", found.sentence, { class: "quiet" }));
  }
  return box;
}

function row(variant, result) {
  const line = element("tr");
  const liked = result.mean === null ? "" : percent(result.mean);
  const cells = [result.label, result.adapter, percent(variant.share), result.people, result.raters, liked, result.replies, result.failed, result.up, result.down];
  line.append(...cells.map((cell) => element("td", typeof cell === "number" ? cell.toLocaleString("en") : cell)));
  return line;
}

function decision(made) {
  const line = element("li", `${when(made.at)}: ${made.action} (${made.state}, policy ${made.policy}). ${made.sentence} `);
  const button = element("button", "Recompute", { type: "button", class: "plain" });
  button.addEventListener("click", trying(async () => {
    const { differing } = await call(`/decisions/${made.id}`);
    button.replaceWith(differing.length ? `The result is NOT the same. It differs in: ${differing.join(", ")}.` : "The result is the same in every number.");
  }));
  line.append(button);
  return line;
}

const orNone = (lines, none) => (lines.length ? lines : [element("li", none, { class: "quiet" })]);

async function show() {
  const newest = ++shown;
  const id = $("experiment").value;
  const [found, decisions, voters] = await Promise.all([
    call(`/experiments/${id}`), call(`/experiments/${id}/decisions`), call(`/experiments/${id}/voters`),
  ]);
  if (newest !== shown) return; // the person has chosen another comparison
  const { results } = found;
  const running = found.state === "running";
  $("about").textContent = `Comparison ${found.id} of ${found.domain}, ${found.state}, started ${when(found.started_at)} by ${found.started_by}`
    + (found.stage > 1 ? `, stage ${found.stage}` : "");
  const last = decisions.data.at(-1);
  const state = running ? results.state : (last?.state ?? "ended");
  $("state").textContent = capital(state === "no difference" ? "no meaningful difference" : state);
  $("state").dataset.state = state;
  $("sentence").textContent = visible(running ? results.sentence : ending(last));
  $("intervals").replaceChildren(...results.comparisons.map((c) => candidate(c, results.terms)));
  $("variants").tBodies[0].replaceChildren(...found.variants.map((v, i) => row(v, results.variants[i])));
  $("details").replaceChildren(...results.details.map((line) => element("li", line)));
  $("not-counted").replaceChildren(...orNone(found.not_counted.map(leftOut), "All ratings count."));
  const version = `${id}/${found.state}/${decisions.data.length}`;
  if ($("decisions").dataset.newest !== version) $("decisions").replaceChildren(...orNone(decisions.data.map(decision).reverse(), running ? "No decision yet; the comparison continues." : "Nothing was decided."));
  $("decisions").dataset.newest = version; // unchanged decisions keep their recomputed result
  const excluded = voters.data.filter((v) => v.state !== "counted" || v.over_cap);
  $("voters").replaceChildren(...orNone(excluded.map(rater), "All ratings count."));
  $("results").hidden = false;
}

function leftOut(found) {
  const ratings = found.ratings === 1 ? "1 rating" : `${found.ratings.toLocaleString("en")} ratings`;
  const people = found.people === 1 ? "1 person" : `${found.people.toLocaleString("en")} people`;
  return element("li", `${ratings} ${found.why}, from ${people} (${found.up} up, ${found.down} down)`);
}

// How a comparison ended, as the heading of its results, which include later ratings.
function ending(last) {
  if (!last) return "It ended before a decision was made. Results with all ratings:";
  return `Decision ${last.id}, ${last.action}: ${last.sentence} Results with all ratings:`;
}

function rater(v) {
  const why = v.why ? `: ${v.why}` : "";
  const over = v.over_cap ? `, ${v.over_cap} over the daily cap` : "";
  return element("li", `${v.person}, ${v.state}${why}${over}`);
}

// Reloads everything, because comparisons start and end while the page is open.
async function refresh() {
  const newest = ++shown;
  const { data } = await call("/experiments");
  if (newest !== shown) return; // signed out, or another comparison chosen
  list(data.map((e) => [String(e.id), `${e.domain}: ${e.variants.map((v) => v.adapter).join(" / ")} (${e.state})`]));
  $("sign-in").hidden = true;
  $("leave").hidden = false;
  $("which").hidden = !data.length;
  if (!data.length) throw new Error("There is no comparison yet. Start one with `understudy ab start DOMAIN A B`.");
  await show();
}

// Fills the list of comparisons. The choice stays, and so does an open list while nothing has changed.
function list(comparisons) {
  const select = $("experiment");
  const chosen = select.value;
  const newest = JSON.stringify(comparisons);
  if (select.dataset.newest === newest) return;
  select.dataset.newest = newest;
  select.replaceChildren(...comparisons.map(([value, words]) => element("option", words, { value })));
  if (comparisons.some(([value]) => value === chosen)) select.value = chosen;
}

function leave() {
  shown += 1;
  sessionStorage.removeItem(KEY);
  for (const id of ["which", "leave", "results", "problem"]) $(id).hidden = true;
  $("sign-in").hidden = false;
  $("key").focus();
}

// Shows errors on the page; after an invalid key, asks for another one.
function trying(work) {
  return async (event) => {
    event?.preventDefault();
    try {
      await work();
      $("problem").hidden = true;
    } catch (error) {
      if (error.signIn) leave();
      $("problem").textContent = error instanceof TypeError ? "The service cannot be reached." : error.message;
      $("problem").hidden = false;
    }
  };
}

$("sign-in").addEventListener("submit", trying(async () => {
  const key = $("key").value.trim();
  $("key").value = "";
  if (!/^[!-~]+$/.test(key)) throw new Error("This is not an API key. `understudy keys create` shows the complete key only once.");
  sessionStorage.setItem(KEY, key);
  await refresh();
}));
$("leave").addEventListener("click", leave);
$("experiment").addEventListener("change", trying(show));
setInterval(() => {
  if (!document.hidden && !$("leave").hidden) trying(refresh)();
}, EVERY_MS);
if (sessionStorage.getItem(KEY)) trying(refresh)();
else leave();
