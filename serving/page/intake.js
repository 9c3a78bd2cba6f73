// Images from wherever they come: dropped, pasted, chosen, or one of the examples.

import { byId } from "./dom.js";

/** Calls `take([{ name, blob }])` for every gift of images, and `complain(sentence)` where there was none in it. */
export function listenForImages(take, complain) {
  const give = (files) => {
    if (files.length) take(files.map((file) => ({ name: file.name || "pasted image", blob: file })));
    else complain("There was no file in that. Drop or paste an image, or choose one.");
  };
  const input = byId("files");
  input.addEventListener("change", () => {
    give([...input.files]);
    input.value = ""; // so that the same file can be chosen again
  });
  document.addEventListener("paste", (event) => give([...event.clipboardData.files]));
  listenForDrops(give);
  listenForExamples(take, complain);
}

function listenForDrops(give) {
  const veil = byId("drop-veil");
  let inside = 0; // enter and leave come for every element on the way
  const moved = (to) => {
    inside = Math.max(0, to);
    veil.hidden = inside === 0;
  };
  addEventListener("dragenter", () => moved(inside + 1));
  addEventListener("dragleave", () => moved(inside - 1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    moved(0);
    give([...event.dataTransfer.files]);
  });
}

function listenForExamples(take, complain) {
  const buttons = [...document.querySelectorAll("[data-example]")];
  const takeSome = async (names) => {
    try {
      take(await Promise.all(names.map(example)));
    } catch {
      complain("The example cannot be fetched. Is the gateway still running?");
    }
  };
  for (const button of buttons) button.addEventListener("click", () => takeSome([button.dataset.example]));
  byId("all-examples").addEventListener("click", () => takeSome(buttons.map((button) => button.dataset.example)));
}

async function example(name) {
  const response = await fetch(`examples/${name}.png`);
  if (!response.ok) throw new Error(`status ${response.status}`);
  return { name: `${name}.png`, blob: await response.blob() };
}
