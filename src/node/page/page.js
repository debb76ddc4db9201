// The status page: asks the node once a second and shows what it says. Read only.
import { Plot } from "/page/plot.js";

const HISTORY_MAX = 900;
const SIGMAS = 4.5; // of the statistical bound, docs/timekeeping.md

const by_id = (id) => document.getElementById(id);

export function duration(ns) {
  const size = Math.abs(ns);
  for (const [unit, length] of [["s", 1e9], ["ms", 1e6], ["µs", 1e3]]) {
    if (size >= length) return `${Number((ns / length).toPrecision(4))} ${unit}`;
  }
  return `${Math.round(ns)} ns`;
}
const count = (value) => value.toLocaleString("en", { maximumFractionDigits: 2 });

const known = (sample, value) => (sample.state === "LOST" ? NaN : value);
const clock_plot = new Plot(by_id("clock-plot"), {
  height: 230,
  bands: [
    { name: "hard bound", color: "--hard", low: (s) => known(s, s.earliest_ns), high: (s) => known(s, s.latest_ns) },
    { name: "99.9%", color: "--soft", low: (s) => known(s, -SIGMAS * s.sigma_ns), high: (s) => known(s, SIGMAS * s.sigma_ns) },
  ],
  state: (s) => s.state,
  format: duration,
});
const traffic_plot = new Plot(by_id("traffic-plot"), {
  series: [
    { name: "grants", color: "--a", value: (s) => s.grants },
    { name: "releases", color: "--c", value: (s) => s.releases },
    { name: "refusals", color: "--b", value: (s) => s.refusals },
    { name: "rejected datagrams", color: "--d", value: (s) => s.rejected },
  ],
  format: count,
});
const occupancy_plot = new Plot(by_id("occupancy-plot"), {
  series: [
    { name: "sessions", color: "--a", value: (s) => s.sessions },
    { name: "locks", color: "--c", value: (s) => s.locks },
    { name: "waiters", color: "--b", value: (s) => s.waiters },
  ],
  format: count,
});

let samples = [];

async function ask(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(4000) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

async function refresh_history() {
  const newest = samples.length ? samples.at(-1).ms : 0;
  const { fields, samples: rows } = await ask(`/api/history?since=${newest}`);
  for (const row of rows) {
    const sample = Object.fromEntries(fields.map((name, i) => [name, row[i]]));
    sample.ms = sample.unix_ms;
    samples.push(sample);
  }
  samples = samples.slice(-HISTORY_MAX);
  for (const plot of [clock_plot, traffic_plot, occupancy_plot]) plot.draw(samples);
}

function element(name, { text = "", className = "" } = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

function facts(target, pairs) {
  target.replaceChildren(...pairs.map(([name, value]) => {
    const pair = document.createElement("div");
    pair.append(element("dt", { text: name }), element("dd", { text: value }));
    return pair;
  }));
}

// columns: [[title, cell(row)]]; a cell is text, a number, or an element.
function table(target, columns, rows, empty) {
  const head = document.createElement("tr");
  head.append(...columns.map(([title, , className = ""]) => element("th", { text: title, className })));
  const body = rows.map((row) => {
    const line = document.createElement("tr");
    line.append(...columns.map(([, cell, className = ""]) => {
      const value = cell(row);
      const made = element("td", { className });
      made.append(value instanceof Node ? value : String(value ?? ""));
      return made;
    }));
    return line;
  });
  if (rows.length === 0) {
    const line = document.createElement("tr");
    const cell = element("td", { text: empty, className: "empty" });
    cell.colSpan = columns.length;
    line.append(cell);
    body.push(line);
  }
  target.replaceChildren(head, ...body);
}

const name_of = (lock) => element("span", { text: `${lock.namespace}:${lock.key}`, className: "key" });

function show_head({ status, clock }) {
  by_id("node").textContent = status.node;
  document.title = `${status.node}: ${clock.state}`;
  const ready = status.ready ? ["ready", "ok"] : ["not ready: leases of the life before may run", "warning"];
  by_id("badges").replaceChildren(
    element("span", { text: clock.state, className: `badge ${clock.state}` }),
    element("span", { text: ready[0], className: `badge ${ready[1]}` }));
  by_id("facts").textContent =
    `version ${status.version}, epoch ${status.epoch}, up ${duration(status.uptime_s * 1e9)}, ` +
    `${status.port.address} by ${status.port.kind}${status.port.device ? ` (${status.port.device})` : ""}, ` +
    `${count(status.sessions)} of ${count(status.sessions_max)} sessions, ` +
    `${count(status.locks)} of ${count(status.locks_max)} locks`;
}

function show_clock(clock) {
  const pairs = [["source", clock.source], ["frequency", `${clock.frequency_ppb.toFixed(1)} ppb`]];
  if (clock.half_width_ns !== undefined) {
    pairs.push(["hard bound", `± ${duration(clock.half_width_ns)}`], ["sigma", duration(clock.sigma_ns)]);
  }
  pairs.push(["samples", `${count(clock.accepted)} accepted, ${count(clock.suspicious)} suspicious, ${count(clock.missed)} missed`]);
  if (clock.steps) pairs.push(["steps", clock.steps]);
  if (clock.trouble) pairs.push(["trouble", clock.trouble]);
  facts(by_id("clock-facts"), pairs);
}

function show_hot({ locks, deadlocks = [] }) {
  const rows = [...locks].sort((a, b) => b.waiters - a.waiters).slice(0, 20);
  const most = Math.max(1, ...rows.map((lock) => lock.waiters));
  const bar = (lock) => {
    const made = element("span", { className: "bar" });
    made.style.width = `${Math.max(2, (lock.waiters / most) * 160)}px`;
    return made;
  };
  const longest = (lock) => Math.max(0, ...(lock.queue ?? []).map((waiter) => waiter.waited_ms));
  table(by_id("hot"), [
    ["lock", name_of],
    ["waiting", (lock) => count(lock.waiters), "number"],
    ["", bar],
    ["longest wait", (lock) => duration(longest(lock) * 1e6), "number"],
    ["held by", (lock) => lock.holders.map((holder) => `client ${holder.client_id}`).join(", ") || "nobody"],
    ["for", (lock) => (lock.holders.length ? duration(lock.holders[0].since_ms * 1e6) : ""), "number"],
  ], rows, "Nobody waits.");
  by_id("deadlocks").replaceChildren(...deadlocks.map((cycle) => element("p", {
    text: "Deadlock: " + cycle.map((edge) =>
      `session ${edge.session_id} waits for ${edge.waits_for} (${edge.namespace}:${edge.key}, ${duration(edge.waited_ms * 1e6)})`).join("; "),
  })));
}

function show_holders({ locks, truncated }) {
  const rows = locks.flatMap((lock) => lock.holders.map((holder) => ({ ...holder, lock })));
  rows.sort((a, b) => b.since_ms - a.since_ms);
  table(by_id("holders"), [
    ["lock", (row) => name_of(row.lock)],
    ["mode", (row) => row.lock.mode],
    ["client", (row) => row.client_id, "number"],
    ["token", (row) => row.token, "number"],
    ["held for", (row) => duration(row.since_ms * 1e6), "number"],
    ["lease ends in", (row) => (row.remaining_ms === undefined ? "no clock" : duration(row.remaining_ms * 1e6)), "number"],
  ], rows.slice(0, 50), "Nothing is held.");
  if (truncated) by_id("holders").append(element("caption", { text: "There are more: driftlock holders" }));
}

// A section that the node has something to say about is shown; returns whether it has.
function unhide(id, answer) {
  const known = answer !== undefined && answer.error === undefined;
  by_id(id).closest("section").hidden = !known;
  return known;
}

function show_clocks(answer) {
  if (!unhide("clocks", answer)) return;
  facts(by_id("clocks-facts"), [
    ["stage", answer.stage], ["reason", answer.reason],
    ["fused bound", answer.fused_valid ? `± ${duration(answer.fused_half_width_ns)}` : "none"],
    ["false clocks", `${answer.rejected} of ${answer.voters}, at most ${answer.faulty_max} bearable`],
    ["guard time", duration(answer.guard_ns)],
    ["may take ownership", answer.may_take_ownership ? "yes" : "no"],
  ]);
  table(by_id("clocks"), [
    ["node", (row) => (row.self ? `${row.node} (this)` : row.node)],
    ["member", (row) => element("span", { text: row.member, className: row.member })],
    ["clock", (row) => element("span", { text: row.state, className: row.state })],
    ["stage", (row) => row.stage],
    ["verdict", (row) => row.verdict],
    ["offset", (row) => duration(row.offset_ns), "number"],
    ["bound", (row) => `± ${duration(row.half_width_ns)}`, "number"],
    ["age", (row) => duration(row.age_ns), "number"],
    ["round trip", (row) => (row.round_trip_ns === undefined ? "" : duration(row.round_trip_ns)), "number"],
  ], answer.clocks, "No peer is heard.");
}

// Rows of one shape, by their own names.
function plain_table(target, rows, empty) {
  const text = (value) => (typeof value === "object" ? JSON.stringify(value) : value);
  const columns = Object.keys(rows[0] ?? {}).map((name) => [name.replaceAll("_", " "), (row) => text(row[name])]);
  table(target, columns, rows, empty);
}

const single = (answer) => Object.entries(answer).filter(([, value]) => typeof value !== "object")
  .map(([name, value]) => [name.replaceAll("_", " "), value]);

function show_cluster(answer) {
  if (!unhide("cluster", answer)) return;
  facts(by_id("cluster-facts"), single(answer));
  plain_table(by_id("cluster"), answer.nodes, "No node is known.");
}

function show_prediction(answer) {
  if (!unhide("predict", answer)) return;
  facts(by_id("predict-facts"), single(answer));
  const rows = Object.entries(answer.actions).map(([action, counts]) => ({
    action, done: counts.done, rehearsed: counts.rehearsed,
    outcomes: Object.entries(counts.outcomes).map(([name, times]) => `${name} ${times}`).join(", "),
  }));
  plain_table(by_id("predict"), rows, "Nothing was done.");
}

async function refresh() {
  try {
    const state = await ask("/api/state");
    show_head(state);
    show_clock(state.clock);
    show_hot(state.waiting);
    show_holders(state.locks);
    show_clocks(state.clocks);
    show_cluster(state.cluster);
    show_prediction(state.predict);
    await refresh_history();
    by_id("silence").hidden = true;
    by_id("silence").querySelector("time").textContent = new Date().toLocaleTimeString();
  } catch (trouble) {
    console.warn(trouble);
    by_id("silence").hidden = false;
  }
}

for (;;) {
  await refresh();
  await new Promise((done) => setTimeout(done, 1000));
}
