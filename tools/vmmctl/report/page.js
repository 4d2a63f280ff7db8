// The page: what the record says, from the summary to the single event. Text from the record is only ever set as text.

const data = JSON.parse(document.getElementById("data").textContent);
const { host, series, guests, others, events } = data;
const time = series.time;
const page = document.getElementById("page");

const colours = { resident: "var(--blue)", copies: "var(--purple)", other: "var(--grey)", free: "var(--pale)",
  withheld: "var(--brown)", shared: "var(--purple)", swapped: "var(--orange)", ballooned: "var(--green)",
  untouched: "var(--pale)" };

function line(name, key, colour, dash) {
  return { name, values: series[key], colour: "var(--" + colour + ")", dash };
}
function layer(name, key) { return { name, values: series[key], colour: colours[key] }; }
function anything(...keys) { return keys.some((key) => series[key].some((value) => value > 0)); }

function section(title, text, ...content) {
  const made = node("section", {}, node("h2", {}, title));
  if (text) made.append(node("p", { class: "soft" }, text));
  made.append(...content);
  return made;
}

// A chart, or why there is none.
function figure(title, text, options, otherwise) {
  const made = section(title, text);
  const card = node("div", { class: "card" });
  made.append(card);
  page.lastElementChild.append(made);
  const flows = options.unit !== "bytes";
  if (otherwise) card.append(node("p", { class: "soft" }, otherwise));
  else if (flows && time.length < 2) card.append(node("p", { class: "soft" }, "Rates need a second sample."));
  else card.append(chart({ time, label: title, ...options }));
}

function tile(name, value, exact, figureName) {
  return node("div", { class: "card tile" },
    node("b", { "data-figure": figureName, "data-value": exact }, value), node("span", {}, name));
}

function header() {
  const span = host.last_ms - host.first_ms;
  page.append(node("h1", {}, "libvmm: process " + host.pid));
  page.append(node("p", { class: "soft" },
    timeText(host.first_ms, true) + " to " + timeText(host.last_ms, true) + " (" + durationText(span) + "), " +
    host.samples + (host.samples === 1 ? " sample" : " samples") + "; libvmm " + host.version + ", capability level " +
    host.level + ". " +
    (data.per_point > 1 ? "A point of the charts is the mean of up to " + data.per_point +
      " samples, and the shortest of memory among their states; the figures in tables are exact." : "")));
  const tiles = node("div", { class: "tiles" },
    tile("budget", bytesText(host.memory), host.memory, "memory"),
    tile("overcommit, at most", host.overcommit_max.toFixed(2) + " x", host.overcommit_max, "overcommit_max"),
    tile("consumed, at most", bytesText(host.consumed_max), host.consumed_max, "consumed_max"),
    tile("free, at least", bytesText(host.free_min), host.free_min, "free_min"),
    ...(host.withheld_max ?
      [tile("withheld, at most", bytesText(host.withheld_max), host.withheld_max, "withheld_max")] : []),
    tile("swapped, at most", bytesText(host.swapped_max), host.swapped_max, "swapped_max"),
    tile("ballooned, at most", bytesText(host.ballooned_max), host.ballooned_max, "ballooned_max"),
    tile("saved by sharing, at most", bytesText(host.saved_max), host.saved_max, "saved_max"));
  for (const state of ["high", "clear", "soft", "hard", "low"])
    if (host.states[state])
      tiles.append(tile("of samples in state " + state, (100 * host.states[state] / host.samples).toFixed(1) + " %",
        host.states[state], "state_" + state));
  page.append(tiles);
}

function notes() {
  if (data.end) page.append(node("p", { class: "soft", "data-figure": "end" }, "The record ends: " + data.end + "."));
  if (!data.notes.length) return;
  const list = node("ul", { class: "notes" });
  for (const note of data.notes) list.append(node("li", {}, note));
  page.append(section("About this record", null, node("div", { class: "card" }, list)));
}

function memory() {
  page.append(node("div"));
  const withheld = anything("withheld");
  figure("The budget", "What the memory of the host is used for. Bands behind it are times when memory was short." +
    (withheld ? " What is withheld could not be had: the process's control group had less than the budget." : ""), {
    series: [layer("guests: private pages in memory", "resident"), layer("copies that are shared", "copies"),
      layer("other: tables, buffers", "other"), layer("free", "free"),
      ...(withheld ? [layer("withheld", "withheld")] : [])],
    lines: [line("budget", "budget", "text", "5 3")], stacked: true, unit: "bytes", states: series.state, height: 280 });
  figure("The guests' memory", "Where the pages of all guests are. What is untouched was never used, or was discarded.", {
    series: [layer("in memory", "resident"), layer("shared", "shared"), layer("ballooned", "ballooned"),
      layer("swapped", "swapped"), layer("untouched", "untouched")],
    stacked: true, unit: "bytes", states: series.state, height: 280 });
  page.append(node("div", { class: "pair" }));
  figure("Faults by cause", "How often guests met a page that was not in place, and what answered.", {
    series: [line("fill: zeros", "fills", "blue"), line("rescue: still in staging", "rescues", "green"),
      line("swap-in: read from the swap file", "swap_ins", "orange"), line("pop: was ballooned", "pops", "purple"),
      line("stall: waited for free memory", "stalls", "red", "4 2")], unit: "events" });
  figure("Swap traffic", "Pages that left memory for the swap files, and came back.", {
    series: [line("written", "written", "orange"), line("read", "read", "blue", "6 2")], unit: "rate" },
    time.length > 1 && !anything("read", "written") && "Nothing was swapped.");
  figure("Balloons", "What the drivers have given up, beside what the host would have them give up.", {
    series: [line("ballooned", "ballooned", "green"), line("target", "balloon_target", "orange", "6 2"),
      line("at most", "balloon_max", "grey", "2 3")], unit: "bytes" },
    !anything("ballooned", "balloon_target", "balloon_max") && "No guest has a balloon.");
  figure("Sharing", "Equal pages that show one copy, or are zeros, and the memory that this saves.", {
    series: [line("shared", "shared", "purple"), line("saved", "saved", "green", "6 2"),
      line("copies", "copies", "grey", "2 3")], unit: "bytes" }, !anything("shared") && "Nothing was shared.");
  const oneNode = host.nodes < 2 && "The machine has one node: memory is at home everywhere.";
  figure("Locality", "Memory on the guests' home nodes and on others.", {
    series: [line("local", "local", "blue"), line("remote", "remote", "red", "6 2")], unit: "bytes" }, oneNode);
  figure("Migration", "Memory that followed its guest to a new home.", {
    series: [line("moved", "migrated", "purple")], unit: "rate" },
    oneNode || (time.length > 1 && !anything("migrated") && "Nothing was moved."));
}

// The values of a guest at all points: it has its own from its first to its last.
function wholeSeries(series, key) {
  const values = Array(time.length).fill(null);
  series[key].forEach((value, i) => { values[series.first + i] = value; });
  return values;
}

function guestCharts() {
  const charted = guests.filter((guest) => guest.series);
  const all = guests.length + others.guests;
  const grid = node("div", { class: "small" });
  const filter = node("input", { type: "search", placeholder: "name or pool", "aria-label": "filter guests" });
  page.append(section("Guests: target and memory",
    "The line is what a guest has in memory, the dashes what it is to have; dots are what it uses, by estimate." +
    (charted.length < all ? " Of " + all + " guests these are the " + charted.length + " that held most memory." : ""),
    node("div", { class: "filters" }, filter,
      legend({ series: [] }, [{ name: "in memory", colour: "var(--blue)" },
        { name: "target", colour: "var(--orange)", dash: "6 3" }, { name: "active", colour: "var(--green)", dash: "2 3" },
        { name: "swapped", colour: "var(--grey)" }])), grid));
  for (const guest of charted) {
    const card = node("div", { class: "card", "data-guest-chart": guest.name },
      node("h3", { title: guest.name }, guest.name + " "), node("span", { class: "soft" },
        bytesText(guest.memory) + (guest.pool && guest.pool !== "/" ? ", pool " + guest.pool : "")));
    grid.append(card);
    const value = (key, colour, dash, name) =>
      ({ name: name || key, values: wholeSeries(guest.series, key), colour: "var(--" + colour + ")", dash });
    card.append(chart({ time, label: "memory of a guest over time", small: true, height: 130, unit: "bytes", series: [
      value("swapped", "grey"), value("active", "green", "2 3"), value("target", "orange", "6 3"),
      value("resident", "blue", null, "in memory")] }));
  }
  filter.addEventListener("input", () => {
    const part = filter.value.toLowerCase();
    charted.forEach((guest, i) => {
      grid.children[i].hidden = !(guest.name + "\n" + guest.pool).toLowerCase().includes(part);
    });
  });
}

// Rows that sort by the column whose heading is pressed. columns: [title, key, text of a value, class]
function sortable(rows, columns, rowOf) {
  const body = node("tbody");
  const made = rows.map((row) => ({ row, element: rowOf(row) }));
  let by = null, down = false;
  const head = node("tr");
  columns.forEach(([title, key, , words], i) => {
    const button = node("button", { type: "button", title: "sort" }, title);
    const cell = node("th", { scope: "col", class: words ? "words" : "" }, button);
    button.addEventListener("click", () => {
      down = by === key ? !down : !words;
      by = key;
      made.sort((a, b) => (a.row[key] > b.row[key] ? 1 : a.row[key] < b.row[key] ? -1 : 0) * (down ? -1 : 1));
      body.replaceChildren(...made.map((one) => one.element));
      for (const other of head.children) other.removeAttribute("aria-sort");
      head.children[i].setAttribute("aria-sort", down ? "descending" : "ascending");
    });
    head.append(cell);
  });
  body.append(...made.map((one) => one.element));
  return node("div", { class: "card scroll" }, node("table", {}, node("thead", {}, head), body));
}

function summary() {
  const bytes = bytesText, limit = (value) => value === 0 ? "none" : bytesText(value);
  const columns = [["guest", "name", String, "name words"], ["pool", "pool", String, "words"], ["size", "memory", bytes],
    ["reserved", "reservation", bytes], ["limit", "limit", limit], ["in memory: least", "resident_min", bytes],
    ["mean", "resident_mean", bytes], ["most", "resident_max", bytes], ["last", "resident", bytes],
    ["target, last", "target", bytes], ["active, last", "active", bytes], ["swapped: most", "swapped_max", bytes],
    ["last", "swapped", bytes], ["ballooned: most", "ballooned_max", bytes], ["saved: most", "saved_max", bytes],
    ["faults", "faults", countText], ["read back", "swapped_in", bytes], ["swapped out", "swapped_out", bytes],
    ["stops", "stops", countText], ["home", "home_node", String], ["moves", "migrations", countText]];
  page.append(section("Guests: summary", "Exact, over all samples, guests of one name together. Faults and what " +
    "follows are what was counted during the record: of a guest that was there at its first sample, from then on; of " +
    "one that was created later, all up to the last sample that shows it. Guests that came and went between two " +
    "samples are not seen. Press a heading to sort.", sortable(guests, columns, (guest) => {
      const row = node("tr", { "data-guest": guest.name });
      for (const [, key, text, words] of columns)
        row.append(node("td", { class: words || "", "data-figure": key, "data-value": guest[key],
          title: typeof guest[key] === "number" ? guest[key].toLocaleString("en") : guest[key] }, text(guest[key])));
      return row;
    })));
  if (others.guests)
    page.append(node("p", { class: "soft", "data-figure": "others", "data-value": others.guests },
      "Those are the " + guests.length + " that held most memory. " + others.guests + " others did together: " +
      countText(others.faults) + " faults, " + bytesText(others.swapped_in) + " read back, " +
      bytesText(others.swapped_out) + " swapped out, " + countText(others.stops) + " stops, " +
      countText(others.migrations) + " moves."));
}

function eventTable() {
  const kinds = [...new Set(events.map((event) => event.kind))].sort();
  const kind = node("select", { "aria-label": "kind of event" }, node("option", { value: "" }, "all kinds"));
  for (const one of kinds)
    kind.append(node("option", { value: one }, one + " (" + events.filter((event) => event.kind === one).length + ")"));
  const text = node("input", { type: "search", placeholder: "guest or reason", "aria-label": "filter events" });
  const count = node("span", { class: "soft" });
  const body = node("tbody");
  const most = 1000;
  function show() {
    const part = text.value.toLowerCase();
    const found = events.filter((event) => (!kind.value || event.kind === kind.value) &&
      (event.guest + "\n" + event.mechanism + "\n" + event.reason + "\n" + event.kind).toLowerCase().includes(part));
    count.textContent = found.length + " of " + events.length + (found.length > most ? ", the last " + most + " are shown" : "");
    body.replaceChildren(...found.slice(-most).map((event) => node("tr", { "data-kind": event.kind },
      node("td", { class: "words" }, timeText(event.time)), node("td", { class: "words" }, event.kind),
      node("td", { class: "words name", title: event.guest }, event.guest || "(host)"),
      node("td", { "data-value": event.bytes }, event.bytes ? bytesText(event.bytes) : ""),
      node("td", { class: "words" }, event.mechanism), node("td", { class: "words long" }, event.reason))));
  }
  kind.addEventListener("change", show);
  text.addEventListener("input", show);
  show();
  const head = node("tr");
  for (const [title, words] of [["time", 1], ["event", 1], ["guest", 1], ["bytes", 0], ["by", 1], ["why", 1]])
    head.append(node("th", { scope: "col", class: words ? "words" : "" }, title));
  page.append(section("Events", null, node("div", { class: "filters" }, kind, text, count),
    events.length ? node("div", { class: "card scroll" }, node("table", {}, node("thead", {}, head), body)) :
      node("div", { class: "card soft" }, "No events.")));
}

header();
notes();
memory();
guestCharts();
summary();
eventTable();
document.documentElement.setAttribute("data-drawn", "yes");
