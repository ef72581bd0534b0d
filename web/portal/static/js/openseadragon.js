// OpenSeadragon as a module: the published file defines a global, and nothing else may use it.

import "../vendor/openseadragon/openseadragon.min.js";

export const { OpenSeadragon } = window;

// Its constructor adds a style element unless it finds one that says so, and the content policy
// refuses style elements. This one belongs to no namespace, so that it styles nothing.
const mark = document.createElementNS(null, "style");
mark.setAttribute("data-openseadragon-mobile-css", "true");
document.head.append(mark);
