// Elements made in one expression. Text is always text: nothing that a server or a file says becomes markup.

export const byId = (id) => document.getElementById(id);

/** An element: `make("p", { class: "x", "aria-label": "y" }, "text", child)`. Null children are left out. */
export function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function draw(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

/** Text for screen readers only. */
export const spoken = (text) => make("span", { class: "visually-hidden" }, text);

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("--")) element.style.setProperty(name, value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}
