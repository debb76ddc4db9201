// Plots over time in SVG: bands, lines, and a strip of states, with a reading under the pointer.
// Nothing from elsewhere: the node may stand in a network that reaches nobody.

const NS = "http://www.w3.org/2000/svg";
const LEFT = 64;
const BOTTOM = 18;

function node(name, attributes = {}, text = "") {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== "") made.textContent = text;
  return made;
}

// Ticks at 1, 2 or 5 times a power of ten.
function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const out = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step / 1e6; at += step) out.push(at);
  return out;
}

const clock_text = (ms) => new Date(ms).toLocaleTimeString([], { hour12: false });

export class Plot {
  // series: [{name, color, value(sample)}]; bands: [{name, color, low(sample), high(sample)}];
  // state(sample) names a CSS variable for the strip; format(value) writes the axis.
  constructor(figure, { height = 200, series = [], bands = [], state = null, format, zero = true }) {
    Object.assign(this, { figure, height, series, bands, state, format, zero });
    this.svg = node("svg", { role: "img" });
    this.legend = document.createElement("div");
    this.legend.className = "legend";
    figure.replaceChildren(this.svg, this.legend);
    this.samples = [];
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.draw_legend(this.samples.at(-1)));
  }

  draw(samples) {
    this.samples = samples;
    // One unit is one pixel, so that letters keep their size in a wide plot.
    this.width = Math.max(this.figure.clientWidth, 320);
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    this.svg.replaceChildren();
    if (samples.length < 2) {
      this.svg.append(node("text", { x: LEFT, y: 20 }, "gathering samples"));
      return;
    }
    this.scale();
    this.draw_axes();
    for (const band of this.bands) this.draw_band(band);
    for (const line of this.series) this.draw_line(line);
    if (this.state) this.draw_states();
    this.cursor = node("line", { y1: 0, y2: this.floor(), stroke: "var(--faint)", opacity: 0 });
    this.svg.append(this.cursor);
    this.draw_legend(samples.at(-1));
  }

  floor() {
    return this.height - BOTTOM;
  }

  scale() {
    const values = [];
    for (const sample of this.samples) {
      for (const line of this.series) values.push(line.value(sample));
      for (const band of this.bands) values.push(band.low(sample), band.high(sample));
    }
    const known = values.filter(Number.isFinite);
    let low = Math.min(...known, this.zero ? 0 : Infinity);
    let high = Math.max(...known, this.zero ? 0 : -Infinity);
    if (!(high > low)) [low, high] = [low - 1, low + 1];
    const margin = (high - low) * 0.06;
    if (low < 0) low -= margin;
    high += margin;
    const from = this.samples[0].ms;
    const to = this.samples.at(-1).ms;
    const top = 6;
    this.range = { low, high, from, to };
    this.x = (ms) => LEFT + ((ms - from) / (to - from || 1)) * (this.width - LEFT - 4);
    this.y = (value) => top + ((high - value) / (high - low)) * (this.floor() - top);
  }

  draw_axes() {
    const { low, high, from, to } = this.range;
    for (const at of ticks(low, high, 4)) {
      const y = this.y(at);
      this.svg.append(
        node("line", { x1: LEFT, x2: this.width, y1: y, y2: y, stroke: "var(--line)" }),
        node("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, this.format(at)));
    }
    for (const share of [0, 1 / 3, 2 / 3, 1]) {
      const ms = from + (to - from) * share;
      const anchor = share === 0 ? "start" : share === 1 ? "end" : "middle";
      this.svg.append(node("text", { x: this.x(ms), y: this.height - 4, "text-anchor": anchor },
        clock_text(ms)));
    }
  }

  // Points that are not numbers break the path.
  path(value, samples = this.samples) {
    let out = "";
    let pen = "M";
    for (const sample of samples) {
      const at = value(sample);
      if (!Number.isFinite(at)) {
        pen = "M";
        continue;
      }
      out += `${pen}${this.x(sample.ms).toFixed(1)},${this.y(at).toFixed(1)}`;
      pen = "L";
    }
    return out;
  }

  draw_line(line) {
    this.svg.append(node("path", { d: this.path(line.value), fill: "none",
      stroke: `var(${line.color})`, "stroke-width": 1.6, "stroke-linejoin": "round" }));
  }

  draw_band(band) {
    let run = [];
    const flush = () => {
      if (run.length > 1) {
        const there = this.path(band.high, run);
        const back = this.path(band.low, [...run].reverse()).replace("M", "L");
        this.svg.append(node("path", { d: `${there}${back}Z`, fill: `var(${band.color})` }));
      }
      run = [];
    };
    for (const sample of this.samples) {
      if (Number.isFinite(band.high(sample))) run.push(sample);
      else flush();
    }
    flush();
  }

  draw_states() {
    let start = 0;
    for (let i = 1; i <= this.samples.length; ++i) {
      const ended = i === this.samples.length || this.state(this.samples[i]) !== this.state(this.samples[start]);
      if (!ended) continue;
      const last = this.samples[Math.min(i, this.samples.length - 1)];
      const x = this.x(this.samples[start].ms);
      const strip = node("rect", { x, y: this.floor() - 3, height: 3,
        width: Math.max(this.x(last.ms) - x, 1), fill: `var(--${this.state(this.samples[start]).toLowerCase()})` });
      strip.append(node("title", {}, this.state(this.samples[start])));
      this.svg.append(strip);
      start = i;
    }
  }

  point(event) {
    if (this.samples.length < 2) return;
    const box = this.svg.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * this.width;
    let nearest = this.samples[0];
    for (const sample of this.samples) {
      if (Math.abs(this.x(sample.ms) - at) < Math.abs(this.x(nearest.ms) - at)) nearest = sample;
    }
    const x = this.x(nearest.ms);
    for (const [key, value] of Object.entries({ x1: x, x2: x, opacity: 1 })) this.cursor.setAttribute(key, value);
    this.draw_legend(nearest);
  }

  draw_legend(sample) {
    if (!sample) return;
    const entries = [];
    const add = (color, text) => {
      const entry = document.createElement("span");
      const mark = document.createElement("i");
      mark.style.background = `var(${color})`;
      entry.append(mark, text);
      entries.push(entry);
    };
    for (const band of this.bands) {
      const [low, high] = [band.low(sample), band.high(sample)];
      const text = Number.isFinite(low) ? `${this.format(low)} to ${this.format(high)}` : "none";
      add(band.color, `${band.name} ${text}`);
    }
    for (const line of this.series) add(line.color, `${line.name} ${this.format(line.value(sample))}`);
    if (this.state) add(`--${this.state(sample).toLowerCase()}`, this.state(sample));
    const when = document.createElement("span");
    when.textContent = clock_text(sample.ms);
    this.legend.replaceChildren(when, ...entries);
  }
}
