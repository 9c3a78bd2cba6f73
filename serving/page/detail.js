// One image's answers in full: a table of runtimes side by side, and where each one's time went.

import { make, spoken } from "./dom.js";
import { partsOf, sentence } from "./gateway.js";
import { inDistribution, verdictOn } from "./verdict.js";
import { milliseconds, NETWORK, PARTS, percent, runtimeName } from "./words.js";

/** What the article of `item` holds; an item has a name, an image, and a reply or a problem once it has been asked. */
export function detailOf(item) {
  if (!item.reply) return [head(item, item.problem ? "error" : "waiting", item.problem ?? "Asking every runtime…")];
  const verdict = verdictOn(item.reply);
  const outcomes = Object.entries(item.reply.runtimes);
  const answered = outcomes.some(([, one]) => one.outcome === "answer");
  return [
    head(item, verdict.kind, verdict.text),
    answered ? table(outcomes) : problems(outcomes),
    answered ? waterfall(outcomes, item.reply) : null,
  ].filter(Boolean);
}

function head(item, kind, text) {
  return make(
    "div",
    { class: "detail-head" },
    item.picture(),
    make(
      "div",
      {},
      make("h3", { id: "detail-title" }, item.name),
      make("p", { class: `verdict ${kind}` }, make("span", { class: "mark", "aria-hidden": "true" }), text),
      item.reply ? distribution(inDistribution(item.reply)) : null,
    ),
  );
}

function distribution(inside) {
  if (inside === null) return null;
  const text = inside
    ? "In distribution: it looks like the cells that the models were trained on."
    : "Out of distribution: it does not look like the cells that the models were trained on. Do not rely on the label.";
  return make("p", { class: `distribution ${inside ? "inside" : "outside"}` }, make("span", { class: "mark", "aria-hidden": "true" }), text);
}

function problems(outcomes) {
  const codes = [...new Set(outcomes.map(([, one]) => one.error.code))];
  if (codes.length === 1) return make("p", { class: "same-problem" }, `So ${outcomes.length > 1 ? "say all the runtimes" : "says the runtime"}: `, make("code", {}, codes[0]));
  const lines = outcomes.map(([runtime, one]) =>
    make("li", { "data-runtime": runtime }, make("strong", {}, runtimeName(runtime)), " ", reasonOf(runtime, one), " ", make("code", {}, one.error.code)),
  );
  return make("ul", { class: "problems", "aria-label": "What each runtime says" }, lines);
}

/** Why it did not answer, with its name as people write it. */
function reasonOf(runtime, one) {
  const { message } = one.error;
  return sentence(message.startsWith(`${runtime} `) ? runtimeName(runtime) + message.slice(runtime.length) : message);
}

function table(outcomes) {
  const labels = Object.keys(outcomes.find(([, one]) => one.outcome === "answer")[1].answer.probabilities);
  return make(
    "table",
    { class: "probabilities", "--runtimes": outcomes.length },
    make("caption", { class: "visually-hidden" }, "Probability of each class in percent, by runtime"),
    make("thead", {}, make("tr", {}, make("td", {}), outcomes.map(columnHead)), make("tr", { class: "labels" }, make("th", { scope: "row" }, "label"), outcomes.map(labelCell))),
    make("tbody", {}, labels.map((label, index) => classRow(label, index, labels.length, outcomes))),
  );
}

function columnHead([runtime, one]) {
  return make("th", { scope: "col", "data-runtime": runtime, class: one.outcome }, make("span", { class: "swatch", "aria-hidden": "true" }), runtimeName(runtime));
}

function labelCell([runtime, one]) {
  const label = one.outcome === "answer" ? one.answer.label : "no answer";
  return make("td", { "data-runtime": runtime, class: one.outcome }, label);
}

function classRow(label, index, rows, outcomes) {
  const cells = outcomes.map(([runtime, one]) => {
    if (one.outcome === "answer") return share(runtime, one.answer.probabilities[label], one.answer.label === label);
    return index ? null : make("td", { rowspan: rows, class: "missing", "data-runtime": runtime }, reasonOf(runtime, one));
  });
  return make("tr", {}, make("th", { scope: "row" }, label), cells);
}

function share(runtime, probability, isTop) {
  return make(
    "td",
    { "data-runtime": runtime, class: isTop ? "share top" : "share" },
    make("span", { class: "bar", "--share": probability, "aria-hidden": "true" }),
    make("span", { class: "number" }, percent(probability)),
  );
}

function waterfall(outcomes, reply) {
  const rows = outcomes.filter(([, one]) => one.outcome === "answer").map(([runtime, one]) => timing(runtime, one));
  const longest = Math.max(...rows.map((row) => row.total));
  return make(
    "section",
    { class: "waterfall", "aria-labelledby": "waterfall-title" },
    make("h4", { id: "waterfall-title" }, "Where the time went ", make("small", {}, `ms from ask to answer; all of them, with the gateway: ${milliseconds(reply.timing_ms.total)}`)),
    make("div", { class: "tracks" }, rows.map((row) => track(row, longest))),
    make("ul", { class: "legend", "aria-hidden": "true" }, [...PARTS, NETWORK].map((part) => make("li", { "data-part": part }, make("span", { class: "swatch" }), part))),
  );
}

/** A runtime's parts in their order; what its service does not account for lies between it and the gateway. */
function timing(runtime, one) {
  const said = partsOf(one.server_timing);
  const parts = PARTS.filter((part) => part in said).map((part) => [part, said[part]]);
  const inside = parts.reduce((sum, [, duration]) => sum + duration, 0);
  return { runtime, parts: [...parts, [NETWORK, Math.max(0, one.round_trip_ms - inside)]], total: Math.max(one.round_trip_ms, inside) };
}

function track({ runtime, parts, total }, longest) {
  const inWords = parts.map(([part, duration]) => `${part} ${milliseconds(duration)}`).join(", ");
  return make(
    "div",
    { class: "track", "data-runtime": runtime },
    make("span", { class: "name" }, runtimeName(runtime)),
    make("span", { class: "parts", title: inWords, "aria-hidden": "true" }, parts.map(([part, duration]) => make("span", { class: "part", "data-part": part, "--width": duration / longest }))),
    make("span", { class: "number" }, milliseconds(total), spoken(` milliseconds: ${inWords}`)),
    make("span", { class: "infer", "aria-hidden": "true" }, inferOf(parts)),
  );
}

function inferOf(parts) {
  const infer = parts.find(([part]) => part === "infer");
  return infer ? `infer ${milliseconds(infer[1])}` : "";
}
