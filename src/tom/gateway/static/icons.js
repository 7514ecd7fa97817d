// The icons of the page: strokes only, in the colour of the text around them, hidden from assistive technology.

const SPACE = "http://www.w3.org/2000/svg";
const PATHS = {
  tool: ["M14.5 6a4 4 0 0 0 4.9 4.9l-8.5 8.5a2.1 2.1 0 0 1-3-3l8.5-8.5z", "M14.5 6l3-2.5 3 3L18 9.5"],
  read_public: ["M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z", "M3 12h18", "M12 3c3 3 3 15 0 18", "M12 3c-3 3-3 15 0 18"],
  read_private: ["M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12z", "M12 9.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5z"],
  write_own: ["M4 20l1-4.5L16.5 4l3.5 3.5L8.5 19z", "M14 6.5l3.5 3.5"],
  write_external: ["M21 3L10 14", "M21 3l-7 18-4-7-7-4z"],
  destructive: ["M4 6.5h16", "M9 6.5V4h6v2.5", "M6 6.5l1 14h10l1-14", "M10 10.5v6", "M14 10.5v6"],
  question: ["M4 4h16v12H10l-4 4v-4H4z", "M9.5 8.5a2.5 2.5 0 1 1 2.5 2.5v1", "M12 14v.01"],
  bell: ["M6 16V11a6 6 0 1 1 12 0v5l1.5 2h-15z", "M10 20.5a2 2 0 0 0 4 0"],
  hand: ["M8 13V6a1.5 1.5 0 0 1 3 0v5", "M11 11V4.5a1.5 1.5 0 0 1 3 0V11", "M14 11V6a1.5 1.5 0 0 1 3 0v8c0 4-2 6.5-5.5 6.5S6.5 18 5 15l-1.2-2.5a1.4 1.4 0 0 1 2.5-1.3L8 13"],
  clip: ["M20 11l-8.5 8.5a5 5 0 0 1-7-7L13 4a3.4 3.4 0 0 1 4.8 4.8l-8.3 8.3a1.7 1.7 0 0 1-2.4-2.4L14.5 7.5"],
  text: ["M6 3h8l4 4v14H6z", "M14 3v4h4", "M9 12h6", "M9 16h6"],
};

/** An icon by its name, or that of a tool class. */
export function icon(name) {
  const svg = document.createElementNS(SPACE, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  for (const d of PATHS[name] ?? PATHS.tool) {
    const path = document.createElementNS(SPACE, "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}
