// The round trips so far, a line per runtime on one common scale.

import { byId, draw, make, spoken } from "./dom.js";
import { milliseconds, runtimeName } from "./words.js";

const KEPT = 40;
const WIDTH = 160;
const HEIGHT = 26;
const history = new Map();

/** Takes the round trips of a reply; a runtime that did not answer leaves a gap. */
export function remember(reply) {
  for (const [runtime, one] of Object.entries(reply.runtimes)) {
    const kept = history.get(runtime) ?? [];
    kept.push(one.outcome === "answer" ? one.round_trip_ms : null);
    history.set(runtime, kept.slice(-KEPT));
  }
  show();
}

/** Another resolution is another story. */
export function forget() {
  history.clear();
  show();
}

function show() {
  const rows = [...history].filter(([, values]) => values.some((value) => value !== null));
  const highest = Math.max(...rows.flatMap(([, values]) => values.filter((value) => value !== null)), 0);
  const empty = make("p", { class: "empty" }, "Nothing was asked yet.");
  byId("latency").replaceChildren(...(rows.length ? rows.map(([runtime, values]) => row(runtime, values, highest)) : [empty]));
}

function row(runtime, values, highest) {
  const known = values.filter((value) => value !== null);
  const middle = known.toSorted((a, b) => a - b)[Math.floor(known.length / 2)];
  return make(
    "div",
    { class: "spark", "data-runtime": runtime },
    make("span", { class: "name" }, runtimeName(runtime)),
    line(values, highest),
    make("span", { class: "number" }, spoken(`median of ${known.length}: `), milliseconds(middle), spoken(" ms")),
  );
}

function line(values, highest) {
  const x = (index) => WIDTH - 3 - ((values.length - 1 - index) * (WIDTH - 6)) / (KEPT - 1);
  const y = (value) => HEIGHT - 3 - (value / highest) * (HEIGHT - 6);
  const at = (value, index) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`;
  const path = values.map((value, index) => (value === null ? "" : (values[index - 1] ?? null) === null ? `M${at(value, index)}` : `L${at(value, index)}`));
  const last = values.findLastIndex((value) => value !== null);
  return draw(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    draw("path", { class: "ground", d: `M0,${HEIGHT - 3}H${WIDTH}` }),
    draw("path", { class: "line", d: path.join("") }),
    draw("path", { class: "newest", d: `M${at(values[last], last)}h0` }),
  );
}
