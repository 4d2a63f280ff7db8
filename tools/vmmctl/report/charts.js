// Charts over time, as SVG. A chart is drawn anew when its width changes.

const SVG = "http://www.w3.org/2000/svg";

function node(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  for (const child of children) made.append(child);
  return made;
}

function shape(name, attributes = {}, text = null) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  return made;
}

function bytesText(bytes) {
  if (bytes === null) return "-";
  if (bytes === 0) return "0";
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (bytes >= 1023.5 && unit + 1 < units.length) { bytes /= 1024; ++unit; }
  const digits = Number.isInteger(bytes) || bytes >= 99.95 ? 0 : bytes >= 9.995 ? 1 : 2;
  return bytes.toFixed(digits) + " " + units[unit];
}

function countText(count) {
  if (count === null) return "-";
  if (count >= 1e6) return (count / 1e6).toFixed(count < 1e7 ? 2 : 1) + " M";
  if (count >= 1e4) return (count / 1e3).toFixed(1) + " k";
  return Number.isInteger(count) || count >= 100 ? String(Math.round(count)) : count.toFixed(count < 10 ? 2 : 1);
}

const formats = {
  bytes: bytesText,
  rate: (value) => value === null ? "-" : bytesText(value) + "/s",
  events: (value) => value === null ? "-" : countText(value) + "/s",
};

function timeText(ms, withDate = false) {
  const date = new Date(ms);
  const two = (number) => String(number).padStart(2, "0");
  const time = two(date.getHours()) + ":" + two(date.getMinutes()) + ":" + two(date.getSeconds());
  return withDate ? date.getFullYear() + "-" + two(date.getMonth() + 1) + "-" + two(date.getDate()) + " " + time : time;
}

function durationText(ms) {
  const seconds = ms / 1000;
  if (seconds < 120) return seconds.toFixed(seconds < 10 ? 1 : 0) + " s";
  if (seconds < 7200) return (seconds / 60).toFixed(1) + " min";
  if (seconds < 172800) return (seconds / 3600).toFixed(1) + " h";
  return (seconds / 86400).toFixed(1) + " days";
}

// Round numbers from 0 to beyond `highest`, at most `most` steps: powers of two for bytes.
function scale(highest, binary, most) {
  if (!(highest > 0)) return { top: 1, ticks: [0] };
  let step;
  if (binary) {
    step = Math.pow(2, Math.ceil(Math.log2(highest / most)));
  } else {
    const power = Math.pow(10, Math.floor(Math.log10(highest / most)));
    step = [1, 2, 2.5, 5, 10].map((x) => x * power).find((x) => highest / x <= most) || 10 * power;
  }
  const ticks = [];
  for (let tick = 0; tick < highest + step * 0.999; tick += step) ticks.push(tick);
  return { top: ticks[ticks.length - 1], ticks };
}

function timeTicks(from, to, most) {
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400].map((s) => s * 1000);
  const step = steps.find((s) => (to - from) / s <= most) || Math.ceil((to - from) / most / 864e5) * 864e5;
  const zone = new Date(from).getTimezoneOffset() * 60000;
  const ticks = [];
  for (let tick = Math.ceil((from - zone) / step) * step + zone; tick <= to; tick += step) ticks.push(tick);
  return ticks;
}

// options: label, time, series [{name, values, colour, dash}], stacked, lines (as series, over a stack), unit,
// states (one a moment, drawn as bands), height, small.
function chart(options) {
  const holder = node("div", { class: "chart" });
  const all = options.series.concat(options.lines || []);
  let width = 0;
  function draw() {
    width = Math.max(200, Math.round(holder.clientWidth || 600));
    const svg = drawChart(options, all, width);
    holder.replaceChildren(svg);
  }
  draw();
  new ResizeObserver(() => { if (Math.round(holder.clientWidth) !== width) draw(); }).observe(holder);
  const box = node("div", {}, holder);
  if (!options.small) box.append(legend(options, all));
  return box;
}

function legend(options, all) {
  const list = node("ul", { class: "legend" });
  for (const one of all) {
    const filled = options.stacked && options.series.includes(one);
    const swatch = node("i", filled ? { style: "background:" + one.colour } :
      { class: !one.dash ? "stroke" : one.dash.startsWith("2") ? "stroke dotted" : "stroke dashed", style: "border-color:" + one.colour });
    list.append(node("li", {}, swatch, one.name));
  }
  if (options.states) {
    for (const state of ["high", "clear", "soft", "hard", "low", "unknown"])
      if (options.states.includes(state))
        list.append(node("li", {}, node("i", { style: "background:var(--state-" + state + ")" }), "state " + state));
  }
  return list;
}

function drawChart(options, all, width) {
  const time = options.time, last = time.length - 1;
  const height = options.height || 240;
  const left = options.small ? 62 : 76, right = 12, above = options.states ? 24 : 8, below = 22;
  const inner = { width: width - left - right, height: height - above - below };
  const svg = shape("svg", { width, height, viewBox: "0 0 " + width + " " + height, role: "img", tabindex: 0,
    "aria-label": options.label, "data-points": time.length });

  // One moment is shown in the middle of a second.
  const from = last > 0 ? time[0] : time[0] - 500, to = last > 0 ? time[last] : time[0] + 500;
  const x = (ms) => left + (to > from ? (ms - from) / (to - from) : 0.5) * inner.width;

  const tops = time.map(() => 0);
  const layers = options.series.map((one) => {
    if (!options.stacked) return null;
    const bottom = tops.slice();
    one.values.forEach((value, i) => { tops[i] += value || 0; });
    return { bottom, top: tops.slice() };
  });
  let highest = options.stacked ? Math.max(...tops) : 0;
  for (const one of all.slice(options.stacked ? options.series.length : 0))
    for (const value of one.values) if (value > highest) highest = value;
  const binary = options.unit !== "events";
  const { top, ticks } = scale(highest, binary, options.small ? 3 : 5);
  const y = (value) => above + (1 - value / top) * inner.height;
  const format = formats[options.unit];

  if (options.states) drawStates(svg, options, x, from, to, above, inner.height);
  for (const tick of ticks) {
    svg.append(shape("line", { x1: left, x2: width - right, y1: y(tick), y2: y(tick), stroke: "var(--grid)" }));
    svg.append(shape("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, tick === 0 ? "0" : format(tick)));
  }
  const labels = last > 0 ? timeTicks(from, to, Math.max(2, Math.floor(inner.width / 90))) : [time[0]];
  for (const tick of labels) {
    svg.append(shape("line", { x1: x(tick), x2: x(tick), y1: above + inner.height, y2: above + inner.height + 4,
      stroke: "var(--soft)" }));
    svg.append(shape("text", { x: Math.min(Math.max(x(tick), left + 20), width - right - 24), y: height - 5,
      "text-anchor": "middle" }, timeText(tick)));
  }

  options.series.forEach((one, k) => {
    if (!options.stacked) return;
    const { bottom, top: upper } = layers[k];
    let path = "";
    if (last === 0) {
      path = "M" + left + " " + y(bottom[0]) + "H" + (width - right) + "V" + y(upper[0]) + "H" + left + "Z";
    } else {
      upper.forEach((value, i) => { path += (i ? "L" : "M") + x(time[i]).toFixed(1) + " " + y(value).toFixed(1); });
      for (let i = last; i >= 0; --i) path += "L" + x(time[i]).toFixed(1) + " " + y(bottom[i]).toFixed(1);
      path += "Z";
    }
    svg.append(shape("path", { d: path, fill: one.colour, "fill-opacity": options.states ? .82 : .9 }));
  });
  for (const one of all.slice(options.stacked ? options.series.length : 0)) {
    let path = "", pen = false;
    const known = [];
    one.values.forEach((value, i) => {
      if (value === null) { pen = false; return; }
      path += (pen ? "L" : "M") + x(time[i]).toFixed(1) + " " + y(value).toFixed(1);
      pen = true;
      known.push(i);
    });
    svg.append(shape("path", { d: path, fill: "none", stroke: one.colour, "stroke-width": options.small ? 1.6 : 2,
      "stroke-linejoin": "round", ...(one.dash ? { "stroke-dasharray": one.dash } : {}) }));
    // A line of one point would not be seen.
    if (known.length === 1)
      svg.append(shape("circle", { cx: x(time[known[0]]), cy: y(one.values[known[0]]), r: 3.5, fill: one.colour }));
  }
  svg.append(shape("line", { x1: left, x2: width - right, y1: above + inner.height, y2: above + inner.height,
    stroke: "var(--soft)" }));
  follow(svg, options, all, { x, y, from, to, left, inner, above, format });
  return svg;
}

function drawStates(svg, options, x, from, to, above, height) {
  const { time, states } = options;
  let begin = 0;
  for (let i = 1; i <= states.length; ++i) {
    if (i < states.length && states[i] === states[begin]) continue;
    const start = begin === 0 ? from : time[begin];
    const end = i === states.length ? to : time[i];
    const place = { x: x(start), width: Math.max(1.5, x(end) - x(start)) };
    // A strip that nothing covers, and a shade behind the whole.
    svg.append(shape("rect", { ...place, y: 4, height: 10, fill: "var(--state-" + states[begin] + ")",
      "data-state": states[begin] }));
    if (states[begin] !== "high" && states[begin] !== "unknown")
      svg.append(shape("rect", { ...place, y: above, height, fill: "var(--state-" + states[begin] + ")",
        "fill-opacity": .28 }));
    begin = i;
  }
  svg.append(shape("text", { x: x(from) - 6, y: 13, "text-anchor": "end" }, "state"));
}

// Values under the pointer, or at the place that the arrow keys choose.
function follow(svg, options, all, area) {
  const tip = document.getElementById("tip");
  const mark = shape("line", { y1: area.above, y2: area.above + area.inner.height, stroke: "var(--text)",
    "stroke-width": 1, visibility: "hidden" });
  svg.append(mark);
  let at = options.time.length - 1;
  function show(i, clientX, clientY) {
    at = i;
    mark.setAttribute("x1", area.x(options.time[i]));
    mark.setAttribute("x2", area.x(options.time[i]));
    mark.setAttribute("visibility", "visible");
    const rows = node("table");
    for (const one of options.stacked ? all.slice().reverse() : all)
      rows.append(node("tr", {}, node("td", {}, one.name), node("td", {}, area.format(one.values[i]))));
    tip.replaceChildren(node("b", {}, timeText(options.time[i])), options.states ? " state " + options.states[i] : "", rows);
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(4, clientX + 16 + box.width > innerWidth ? clientX - box.width - 16 : clientX + 16) + "px";
    tip.style.top = Math.max(4, Math.min(clientY + 12, innerHeight - box.height - 4)) + "px";
  }
  function hide() { tip.hidden = true; mark.setAttribute("visibility", "hidden"); }
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const ms = area.from + (event.clientX - box.left - area.left) / area.inner.width * (area.to - area.from);
    let low = 0, high = options.time.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (options.time[middle] < ms) low = middle; else high = middle;
    }
    show(ms - options.time[low] <= options.time[high] - ms ? low : high, event.clientX, event.clientY);
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20 }[event.key];
    if (event.key === "Escape") hide();
    if (!step) return;
    event.preventDefault();
    const i = Math.min(options.time.length - 1, Math.max(0, at + step));
    const box = svg.getBoundingClientRect();
    show(i, box.left + area.x(options.time[i]), box.top + area.above);
  });
}
