// An image on the page: its bytes, its picture, its card in the grid, and what became of it.

import { make } from "./dom.js";
import { inDistribution, verdictOn } from "./verdict.js";
import { percent } from "./words.js";

export class Item {
  constructor({ name, blob }, whenClicked) {
    this.name = name;
    this.blob = blob;
    this.reply = null;
    this.problem = null;
    this.isAsked = false;
    this.address = URL.createObjectURL(blob);
    this.button = make("button", { type: "button", class: "card" });
    this.button.addEventListener("click", () => whenClicked(this));
    this.card = make("li", {}, this.button);
    this.show(false);
  }

  /** The image itself, or its kind where the browser cannot draw it (TIFF, or a broken file). */
  picture() {
    const image = make("img", { src: this.address, alt: "", class: "picture" });
    image.addEventListener("error", () => image.replaceWith(make("span", { class: "picture none" }, this.kind)), { once: true });
    return image;
  }

  /** The ending of its name, for want of a picture. */
  get kind() {
    return /\.([a-z]{2,4})$/i.exec(this.name)?.[1].toUpperCase() ?? "?";
  }

  /** Ask again: at another resolution all that was said is void. */
  reset() {
    this.reply = this.problem = null;
    this.isAsked = false;
  }

  /** Bring the card up to date. */
  show(isChosen) {
    this.button.setAttribute("aria-pressed", String(isChosen));
    const { kind, title, text } = this.#summary();
    const isOutside = this.reply !== null && inDistribution(this.reply) === false;
    const signature = `${kind}|${title}|${text}|${isOutside}`;
    if (this.signature === signature) return;
    this.signature = signature;
    this.button.className = `card ${kind}`;
    const doubt = isOutside ? make("span", { class: "outside" }, "out of distribution") : null;
    const words = [make("strong", {}, title), make("span", { class: "said" }, text), doubt, make("span", { class: "file" }, this.name)];
    this.shown ??= this.picture();
    this.button.replaceChildren(this.button.querySelector(".picture") ?? this.shown, make("span", { class: "words" }, words));
  }

  /** Its image is not needed any more. */
  close() {
    URL.revokeObjectURL(this.address);
    this.card.remove();
  }

  #summary() {
    if (this.problem) return { kind: "error", title: "not classified", text: this.problem };
    if (!this.reply) return { kind: "waiting", title: "waiting", text: "" };
    const verdict = verdictOn(this.reply);
    if (verdict.kind === "error") return { kind: "error", title: "not classified", text: verdict.text };
    if (verdict.kind === "disagree") return { kind: "disagree", title: "they disagree", text: verdict.text.replace("They disagree: ", "") };
    const shares = Object.values(this.reply.runtimes).filter((one) => one.answer).map((one) => one.answer.probabilities[verdict.label]);
    return { kind: verdict.kind, title: verdict.label, text: `${percent(Math.min(...shares))} %, ${verdict.kind === "alone" ? "one answer" : `${shares.length} agree`}` };
  }
}
