// The list of conversations on a narrow screen, and the help: what opens over the room and gives the focus back.

import { byId } from "./dom.js";

/** Open or close the drawer. */
export function showShelf(open) {
  document.body.classList.toggle("shelf-open", open);
  byId("shelf-open").setAttribute("aria-expanded", String(open));
  byId("veil").hidden = !open;
  if (open) byId("shelf-close").focus();
}

function leaveShelf() {
  showShelf(false);
  byId("shelf-open").focus();
}

/** Show what keys and commands there are; the focus returns to the message. */
export function showHelp() {
  byId("help").showModal();
}

/** Let the buttons of the drawer and of the help work. */
export function furnish() {
  byId("shelf-open").addEventListener("click", () => showShelf(true));
  for (const id of ["shelf-close", "veil"]) byId(id).addEventListener("click", leaveShelf);
  byId("shelf").addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !document.body.classList.contains("shelf-open")) return;
    event.preventDefault();
    leaveShelf();
  });
  byId("help").addEventListener("close", () => byId("composer").focus());
  byId("help-close").addEventListener("click", () => byId("help").close());
}
