// Who is up, and which resolutions there are to choose from.

import { byId, make, spoken } from "./dom.js";
import { runtimeName, stateName } from "./words.js";

const RESOLUTIONS = [28, 64, 128, 224];

/** A chip per service. */
export function showServices(runtimes) {
  const chips = Object.entries(runtimes).map(([runtime, service]) =>
    make(
      "li",
      { class: `service ${service.state}`, "data-runtime": runtime, title: service.reason || null },
      make("span", { class: "swatch", "aria-hidden": "true" }),
      make("span", { class: "name" }, runtimeName(runtime)),
      make("span", { class: "state" }, stateName(service.state)),
      service.reason ? spoken(`: ${service.reason}`) : null,
    ),
  );
  byId("services").replaceChildren(...chips);
}

/** The switch; `choose(px)` is called with each choice. Gives the resolution that is chosen at first. */
export function showResolutions(loaded, choose) {
  const options = RESOLUTIONS.map((side) => option(side, loaded.includes(side), side === loaded[0], choose));
  byId("resolutions").querySelector(".switch").replaceChildren(...options);
  return loaded[0] ?? null;
}

function option(side, isLoaded, isFirst, choose) {
  const radio = make("input", {
    type: "radio", name: "resolution", value: side, class: "visually-hidden", checked: isFirst, disabled: !isLoaded,
  });
  radio.addEventListener("change", () => choose(side));
  const why = isLoaded ? null : "No model of this resolution is loaded";
  return make("label", { title: why }, radio, make("span", {}, String(side)), why ? spoken(`, ${why}`) : null);
}
