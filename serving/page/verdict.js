// What the runtimes say together: who answered, whether they agree, and in which words.

import { counted, listed, runtimeName } from "./words.js";
import { sentence } from "./gateway.js";

/** The same weights differ in the fifth digit from runtime to runtime; more than a tenth of a point is worth a word. */
const SAME_PROBABILITY = 0.001;

/** `{ kind, text, label }`; kind is agree, alone, disagree or error. */
export function verdictOn(reply) {
  const outcomes = Object.entries(reply.runtimes);
  const answers = outcomes.filter(([, one]) => one.outcome === "answer").map(([runtime, one]) => [runtime, one.answer]);
  if (answers.length === 0) return { kind: "error", text: commonProblem(outcomes) };
  const labels = [...new Set(answers.map(([, answer]) => answer.label))];
  const missing = outcomes.length - answers.length;
  const without = missing ? `; ${counted(missing, "runtime")} did not answer` : "";
  if (labels.length > 1) return { kind: "disagree", text: `They disagree: ${disagreement(answers, labels)}${without}` };
  const [label] = labels;
  if (answers.length === 1) return { kind: "alone", label, text: `Only ${runtimeName(answers[0][0])} answered: ${label}${without}` };
  const spread = widestSpread(answers.map(([, answer]) => answer.probabilities));
  const apart = spread > SAME_PROBABILITY ? `, up to ${(100 * spread).toFixed(1)} points apart${whyApart(answers)}` : ", within 0.1 points";
  return { kind: "agree", label, text: `All ${answers.length} agree: ${label}${apart}${without}` };
}

/** Whether the image looks like what the models were trained on: true, false, or null where nobody says. */
export function inDistribution(reply) {
  const said = Object.values(reply.runtimes)
    .map((one) => one.answer?.in_distribution)
    .filter((one) => typeof one === "boolean");
  return said.length ? said.every(Boolean) : null;
}

/** Artifacts that were exported before and after their calibration give one label with different confidence. */
function whyApart(answers) {
  const calibrated = answers.filter(([, answer]) => answer.calibrated).length;
  return calibrated && calibrated < answers.length ? ` (only ${counted(calibrated, "runtime")} calibrated)` : "";
}

function disagreement(answers, labels) {
  return listed(
    labels.map((label) => `${listed(answers.filter(([, one]) => one.label === label).map(([name]) => runtimeName(name)))} ${label}`),
  );
}

function widestSpread(probabilities) {
  const spreads = Object.keys(probabilities[0]).map((label) => {
    const values = probabilities.map((one) => one[label]);
    return Math.max(...values) - Math.min(...values);
  });
  return Math.max(...spreads);
}

function commonProblem(outcomes) {
  const codes = new Set(outcomes.map(([, one]) => one.error.code));
  if (codes.size === 1) return sentence(outcomes[0][1].error.message);
  return "No runtime answered; each says why below.";
}
