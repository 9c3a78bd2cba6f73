// The page: images come in, are asked one after another, and their answers are shown.

import { byId } from "./dom.js";
import { detailOf } from "./detail.js";
import { classify, models, readiness } from "./gateway.js";
import { listenForImages } from "./intake.js";
import { Item } from "./item.js";
import { forget, remember } from "./latency.js";
import { showResolutions, showServices } from "./services.js";
import { verdictOn } from "./verdict.js";
import { counted } from "./words.js";

const MOST_IMAGES = 64;
const LIVE_PAUSE_MS = 300;
const LOOK_EVERY_MS = 2000;

let items = [];
let chosen = null;
let resolution = null;
let isAsking = false;
let asking = new AbortController();

async function begin() {
  byId("live").addEventListener("change", askAll);
  byId("clear").addEventListener("click", clear);
  listenForImages(take, complain);
  forget();
  await learnModels();
  setInterval(look, LOOK_EVERY_MS);
}

/** Until the gateway says what there is, of one service at least: nothing can be asked before. */
async function learnModels() {
  try {
    const known = await models();
    showServices(known.runtimes);
    resolution = showResolutions(known.resolutions, chooseResolution);
    settle();
    if (resolution === null) setTimeout(learnModels, LOOK_EVERY_MS);
  } catch (error) {
    complain(error.message);
    setTimeout(learnModels, LOOK_EVERY_MS);
  }
}

async function look() {
  if (document.hidden) return;
  try {
    showServices((await readiness()).runtimes);
    if (byId("trouble").dataset.lasting) settle();
  } catch (error) {
    complain(error.message, true);
  }
}

function take(gifts) {
  settle();
  const room = MOST_IMAGES - items.length;
  if (gifts.length > room) complain(`The page holds ${MOST_IMAGES} images; ${gifts.length - room} were left out.`);
  const taken = gifts.slice(0, room).map((gift) => new Item(gift, open));
  items.push(...taken);
  byId("grid").append(...taken.map((item) => item.card));
  if (taken.length) choose(taken[0]);
  askAll();
}

function choose(item) {
  chosen = item;
  show();
}

/** What a person clicked is brought into sight. */
function open(item) {
  choose(item);
  byId("detail").scrollIntoView({ block: "nearest" });
}

function chooseResolution(side) {
  resolution = side;
  asking.abort();
  asking = new AbortController();
  for (const item of items) item.reset();
  forget();
  show();
  askAll();
}

function clear() {
  asking.abort();
  asking = new AbortController();
  for (const item of items) item.close();
  items = [];
  chosen = null;
  settle();
  show();
  byId("files").focus();
}

/** One image at a time, so that they do not wait for each other inside the services. */
async function askAll() {
  if (isAsking) return;
  isAsking = true;
  for (let item = next(); item; item = next()) {
    const isRepeated = item.isAsked;
    await ask(item);
    show();
    if (!isRepeated) announce();
    if (!items.some((one) => !one.isAsked)) await new Promise((resolve) => setTimeout(resolve, LIVE_PAUSE_MS));
  }
  isAsking = false;
}

function next() {
  const repeated = byId("live").checked && !document.hidden ? chosen : null;
  return items.find((item) => !item.isAsked) ?? repeated;
}

async function ask(item) {
  const { signal } = asking;
  try {
    const reply = await classify(item.blob, resolution, signal);
    if (signal.aborted) return;
    item.reply = reply;
    item.problem = null;
    remember(reply);
  } catch (error) {
    if (signal.aborted) return;
    item.reply = null;
    item.problem = error.message;
  }
  item.isAsked = true;
}

function show() {
  for (const item of items) item.show(item === chosen);
  byId("welcome").hidden = items.length > 0;
  byId("grid").hidden = items.length < 2;
  byId("clear").hidden = items.length === 0;
  byId("detail").hidden = chosen === null;
  byId("detail").replaceChildren(...(chosen ? detailOf(chosen) : []));
  byId("status").classList.toggle("visually-hidden", items.length < 2); // of one image the verdict says it all
  if (items.length === 0) byId("status").textContent = "";
}

function announce() {
  const asked = items.filter((item) => item.isAsked);
  if (items.length === 1 && asked.length) {
    byId("status").textContent = asked[0].problem ?? verdictOn(asked[0].reply).text;
    return;
  }
  const kinds = asked.map((item) => (item.reply ? verdictOn(item.reply).kind : "error"));
  const how = [["agree", "agree"], ["alone", "answered by one"], ["disagree", "disagree"], ["error", "not classified"]]
    .map(([kind, words]) => [kinds.filter((one) => one === kind).length, words])
    .filter(([count]) => count)
    .map(([count, words]) => `${count} ${words}`);
  byId("status").textContent = `${asked.length} of ${counted(items.length, "image")}: ${how.join(", ")}`;
}

/** `isLasting` for what goes away by itself when the gateway is back. */
function complain(sentence, isLasting = false) {
  const trouble = byId("trouble");
  if (!trouble.hidden && trouble.textContent === sentence) return;
  trouble.textContent = sentence;
  trouble.dataset.lasting = isLasting ? "yes" : "";
  trouble.hidden = false;
}

function settle() {
  byId("trouble").hidden = true;
  byId("trouble").textContent = "";
  byId("trouble").dataset.lasting = "";
}

document.addEventListener("visibilitychange", askAll);
begin();
