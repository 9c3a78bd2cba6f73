// The gateway's API, as the page uses it. Whatever goes wrong becomes a sentence.

const GONE = "The gateway does not answer. Is `hemabench serve --all` still running?";

export class Refused extends Error {
  constructor(message, code = "") {
    super(message);
    this.code = code;
  }
}

/** What every runtime says of `blob`: `{ runtimes, timing_ms, ... }`. Throws `Refused`. */
export function classify(blob, resolution, signal) {
  const query = resolution ? `?resolution=${resolution}` : "";
  const headers = { "content-type": "application/octet-stream" };
  return asked(`v1/classify${query}`, { method: "POST", body: blob, headers, signal });
}

/** Every runtime's models, and the resolutions there are. Throws `Refused`. */
export const models = () => asked("v1/models");

/** Every runtime's state; also when none is ready. Throws `Refused`. */
export const readiness = () => asked("ready", {}, [503]);

async function asked(path, options = {}, alsoRead = []) {
  let response;
  let said;
  try {
    response = await fetch(path, { cache: "no-store", ...options });
    said = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(response ? `The gateway's answer cannot be read (status ${response.status}).` : GONE);
  }
  if (response.ok || alsoRead.includes(response.status)) return said;
  throw new Refused(sentence(said.error?.message ?? `status ${response.status}`), said.error?.code);
}

/** The service's words as a sentence. */
export function sentence(message) {
  const text = message.trim();
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

/** Milliseconds by part, from a `Server-Timing` value; entries without a duration are left out. */
export function partsOf(serverTiming) {
  const parts = {};
  for (const entry of serverTiming.replace(/desc="(?:[^"\\]|\\.)*"/g, "").split(",")) {
    const found = /^\s*([^;\s]+)\s*;.*?dur=([\d.]+)/.exec(entry);
    if (found) parts[found[1]] = Number(found[2]);
  }
  return parts;
}
