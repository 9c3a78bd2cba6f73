// How things are called and numbers are written.

export const RUNTIME_NAMES = { pytorch: "PyTorch", tensorflow: "TensorFlow", jax: "JAX", onnx: "ONNX Runtime", null: "Null" };
export const PARTS = ["read", "decode", "preprocess", "queue", "infer", "encode"];
export const NETWORK = "network";
const STATES = { ready: "ready", starting: "starting", down: "down" };

export const runtimeName = (runtime) => RUNTIME_NAMES[runtime] ?? runtime;
export const stateName = (state) => STATES[state] ?? state;

/** A share as a percentage that never claims certainty that is not there. */
export function percent(share) {
  if (share > 0 && share < 0.0005) return "<0.1";
  if (share < 1 && share > 0.9995) return ">99.9";
  return (100 * share).toFixed(1);
}

/** Milliseconds with three significant digits. */
export function milliseconds(duration) {
  if (duration >= 100) return duration.toFixed(0);
  if (duration >= 10) return duration.toFixed(1);
  return duration.toFixed(2);
}

export const counted = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

/** "a", "a and b", "a, b and c". */
export function listed(words) {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}
